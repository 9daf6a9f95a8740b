//! What annotations are like: how long texts are, how many boxes an image has, how much is said along
//! a trace.

use std::collections::BTreeSet;

use super::formats::{Loaded, Skipped};
use super::sample::{ImageFile, Row, Task};
use super::tokenizer::Tokenizer;
use crate::error::Result;

/// Bars of a histogram.
const BINS: usize = 24;

/// Longer than any text; nothing is cut.
const UNCUT: usize = usize::MAX;

/// One set of annotations, read for one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// What it is called.
    pub name: String,
    /// What it was read for.
    pub task: Task,
    /// Images with at least one text.
    pub num_images: usize,
    /// Texts of all of them.
    pub num_texts: usize,
    /// What was left out.
    pub skipped: Skipped,
    /// Those there is something to count of.
    pub distributions: Vec<Distribution>,
}

/// How often a quantity has which value.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// What is counted: "words per text".
    pub quantity: &'static str,
    /// Ascending; at least one.
    values: Vec<f64>,
}

/// A bar of a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Lowest value of the bar.
    pub from: f64,
    /// The value after its highest.
    pub to: f64,
    /// Values in it.
    pub count: usize,
}

impl Distribution {
    /// `None` of nothing. Values that are not finite are left out.
    pub fn new(quantity: &'static str, values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self { quantity, values })
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The average.
    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    /// The smallest value of which at least `share` of all are no larger; 0 is the smallest of all, 1
    /// the largest.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.values.len() as f64).ceil() as usize;
        self.values[rank.clamp(1, self.values.len()) - 1]
    }

    /// Bars of equal width over all values; whole numbers are not cut in two.
    pub fn histogram(&self) -> Vec<Bin> {
        let (low, high) = (self.quantile(0.0), self.quantile(1.0));
        let is_whole = self.values.iter().all(|value| value.fract() == 0.0);
        let even = (high - low) / BINS as f64;
        let width = match is_whole {
            true => ((high - low + 1.0) / BINS as f64).ceil(),
            false if even > 0.0 => even,
            false => 1.0,
        };
        let index = |value: f64| (((value - low) / width) as usize).min(BINS - 1);
        let mut counts = vec![0; index(high) + 1];
        self.values.iter().for_each(|value| counts[index(*value)] += 1);
        let bin = |(at, count)| {
            let from = low + at as f64 * width;
            Bin { from, to: from + width, count }
        };
        counts.into_iter().enumerate().map(bin).collect()
    }
}

impl Statistics {
    /// Counts what `loaded` has. Tokens are counted where there is a tokenizer: begin and end
    /// included, nothing cut.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) where the tokenizer fails on a text.
    pub fn of(
        name: impl Into<String>,
        task: Task,
        loaded: &Loaded,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Self> {
        let rows: Vec<&Row> = loaded.samples.iter().flat_map(|sample| &sample.rows).collect();
        let images: BTreeSet<&ImageFile> = loaded.samples.iter().map(|s| &s.image).collect();
        let words = |row: &&Row| row.text.split_whitespace().count() as f64;
        let per_image = |count: &dyn Fn(&Row) -> bool| -> Vec<f64> {
            let samples = loaded.samples.iter();
            samples.map(|s| s.rows.iter().filter(|row| count(row)).count() as f64).collect()
        };
        let regions: Vec<_> = rows.iter().filter_map(|row| row.region).collect();
        let traced = || rows.iter().filter(|row| !row.locations.is_empty());
        let spans = || traced().flat_map(|row| &row.locations);
        let seconds = spans().filter_map(|said| said.seconds);
        let tokens = match tokenizer {
            Some(tokenizer) => token_counts(&rows, tokenizer)?,
            None => Vec::new(),
        };
        let boxes =
            if regions.is_empty() { Vec::new() } else { per_image(&|r| r.region.is_some()) };
        let distributions = [
            Distribution::new("texts per image", per_image(&|_| true)),
            Distribution::new("words per text", rows.iter().map(words)),
            Distribution::new("tokens per text", tokens),
            Distribution::new("boxes per image", boxes),
            Distribution::new(
                "box area, % of image",
                regions.iter().map(|region| 100.0 * f64::from(region.area())),
            ),
            Distribution::new("words per trace", traced().map(words)),
            Distribution::new("utterances per trace", traced().map(|r| r.locations.len() as f64)),
            Distribution::new(
                "seconds per utterance",
                seconds.map(|[begin, end]| f64::from(end) - f64::from(begin)),
            ),
            Distribution::new(
                "utterance area, % of image",
                spans().map(|said| 100.0 * f64::from(said.bounds.area())),
            ),
        ];
        Ok(Self {
            name: name.into(),
            task,
            num_images: images.len(),
            num_texts: rows.len(),
            skipped: loaded.skipped.clone(),
            distributions: distributions.into_iter().flatten().collect(),
        })
    }
}

fn token_counts(rows: &[&Row], tokenizer: &Tokenizer) -> Result<Vec<f64>> {
    let count = |row: &&Row| Ok(tokenizer.encode(&row.text, UNCUT)?.ids.len() as f64);
    rows.iter().map(count).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::sample::{LocatedSpan, Sample};
    use crate::geometry::BoundingBox;

    #[test]
    fn quantiles_are_values_that_came_up() {
        let values = Distribution::new("x", [4.0, 1.0, f64::NAN, 3.0, 2.0]).unwrap();
        assert_eq!((values.count(), values.mean()), (4, 2.5));
        let quantiles = [0.0, 0.25, 0.5, 0.51, 0.95, 1.0].map(|share| values.quantile(share));
        assert_eq!(quantiles, [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
        assert!(Distribution::new("x", []).is_none());
    }

    #[test]
    fn histograms_count_every_value_once() {
        let whole = Distribution::new("x", [1.0, 2.0, 2.0, 5.0]).unwrap().histogram();
        let counts: Vec<_> = whole.iter().map(|bin| (bin.from, bin.count)).collect();
        assert_eq!(counts, [(1.0, 1), (2.0, 2), (3.0, 0), (4.0, 0), (5.0, 1)]);
        let many = Distribution::new("x", (0..1000).map(|v| f64::from(v) / 7.0)).unwrap();
        assert_eq!(many.histogram().iter().map(|bin| bin.count).sum::<usize>(), 1000);
        assert_eq!(many.histogram().len(), BINS);
        let one = Distribution::new("x", [0.5, 0.5]).unwrap().histogram();
        assert_eq!(one, [Bin { from: 0.5, to: 1.5, count: 2 }]);
    }

    #[test]
    fn only_what_there_is_is_counted() {
        let region = BoundingBox::new(0.0, 0.0, 0.5, 0.5);
        let said = LocatedSpan { seconds: Some([1.0, 3.0]), ..LocatedSpan::new(None, region) };
        let narrative = Row { locations: vec![said], ..Row::of_image("a red circle") };
        let sample = |rows| Sample {
            image: std::path::Path::new("a.png").into(),
            image_id: "a".into(),
            task: Task::Narrate,
            rows,
        };
        let of = |rows| {
            let loaded = Loaded { samples: vec![sample(rows)], ..Loaded::default() };
            Statistics::of("x", Task::Narrate, &loaded, None).unwrap()
        };
        let shown = |statistics: &Statistics| -> Vec<_> {
            statistics.distributions.iter().map(|d| (d.quantity, d.mean())).collect()
        };
        let expected = [
            ("texts per image", 1.0),
            ("words per text", 3.0),
            ("words per trace", 3.0),
            ("utterances per trace", 1.0),
            ("seconds per utterance", 2.0),
            ("utterance area, % of image", 25.0),
        ];
        assert_eq!(shown(&of(vec![narrative])), expected);
        let regions = of(vec![Row::of_region("a b", region), Row::of_region("c", region)]);
        let expected = [
            ("texts per image", 2.0),
            ("words per text", 1.5),
            ("boxes per image", 2.0),
            ("box area, % of image", 25.0),
        ];
        assert_eq!(shown(&regions), expected);
    }
}
