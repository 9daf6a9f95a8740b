//! Dense captioning: are regions found, and said right? Mean average precision over thresholds of
//! both (`spec/metrics.md` §4).
//!
//! Boxes are `[x, y, width, height]` in pixels of the image. In 32 bits, as in the reference: recall is
//! compared with a grid that it meets exactly.

use std::collections::BTreeMap;

use super::merging::{self, Overlap};

/// Least IoU of a region that is found.
pub const IOU_THRESHOLDS: [f32; 5] = [0.3, 0.4, 0.5, 0.6, 0.7];
/// A caption must score more than this.
pub const CAPTION_THRESHOLDS: [f64; 6] = [0.0, 0.05, 0.10, 0.15, 0.20, 0.25];
/// Points of the precision-recall curve: recall 0, 0.01, …, 0.99. (Not 1: `spec/metrics.md`, Quirk 5.)
const NUM_RECALLS: u16 = 100;
/// Stands for both captions where the reference is empty and that is not held against the prediction.
const SAME_WORD: &str = "empty";

/// What regions without a caption mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmptyCaptions {
    /// Any caption is right for them, and they have to be found like others (the reference's
    /// `ignore_empty_string`, on by default; `spec/metrics.md`, Quirk 4).
    #[default]
    AnyCaption,
    /// They need not be found: regions with an empty caption are not among those that recall is a
    /// share of. What is found of them still counts as it is (the reference with the option off).
    NotCounted,
}

/// How good a caption is beside references, in `[0, 1]`: METEOR, in the reference.
pub type CaptionScore<'a> = &'a dyn Fn(&str, &[String]) -> f64;

/// An annotated region, or several that were merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Mean of the annotated boxes.
    pub bounds: [f32; 4],
    /// The captions of all of them.
    pub captions: Vec<String>,
}

/// A region that a model found.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Where.
    pub bounds: [f32; 4],
    /// How sure the model is.
    pub score: f32,
    /// What it says.
    pub caption: String,
}

/// The regions of an image, those that are the same merged. Line breaks in captions are taken out.
pub fn merge(annotated: &[([f32; 4], String)]) -> Vec<Region> {
    let boxes: Vec<_> = annotated.iter().map(|(bounds, _)| *bounds).collect();
    let region = |cluster: Vec<usize>| Region {
        bounds: merging::mean_box(&boxes, &cluster),
        captions: cluster.iter().map(|&member| annotated[member].1.replace('\n', "")).collect(),
    };
    merging::clusters(&boxes, Overlap::Iou).into_iter().map(region).collect()
}

/// A detection with the region that it overlaps most.
#[derive(Debug, Clone)]
struct Record {
    score: f32,
    iou: f32,
    /// Whether it overlaps the region at all, and no surer detection has the same one.
    is_first: bool,
    caption: String,
    references: Vec<String>,
    /// How good the caption is, once it is rated.
    quality: Option<f64>,
}

/// Detections and regions of all images so far.
#[derive(Debug, Clone, Default)]
pub struct DenseCaptions {
    empty: EmptyCaptions,
    records: Vec<Record>,
    num_regions: usize,
}

impl DenseCaptions {
    /// No image yet.
    pub fn new(empty: EmptyCaptions) -> Self {
        Self { empty, ..Self::default() }
    }

    /// An image with its merged regions and all that was found in it.
    pub fn add_image(&mut self, regions: &[Region], detections: &[Detection]) {
        let counts = |region: &&Region| {
            self.empty == EmptyCaptions::AnyCaption || !region.captions.iter().any(String::is_empty)
        };
        self.num_regions += regions.iter().filter(counts).count();
        let mut detections: Vec<_> = detections.iter().collect();
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut is_taken = vec![false; regions.len()];
        for detection in detections {
            let Detection { bounds, score, ref caption } = *detection;
            // The nearest of all, not of those that are left (`spec/metrics.md`, Quirk 6).
            let overlaps = regions.iter().map(|region| Overlap::Iou.of(bounds, region.bounds));
            let nearest =
                overlaps.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
            let (iou, is_first, references) = match nearest {
                None => (0.0, false, Vec::new()),
                Some((index, iou)) => {
                    let is_first = iou > 0.0 && !is_taken[index];
                    is_taken[index] |= is_first;
                    (iou, is_first, regions[index].captions.clone())
                }
            };
            let caption = caption.clone();
            let record = Record { score, iou, is_first, caption, references, quality: None };
            self.records.push(record);
        }
    }

    /// Adds the images of another worker, after those so far. Of detections with the same score, the
    /// image that was added first counts first.
    pub fn merge(&mut self, other: Self) {
        self.records.extend(other.records);
        self.num_regions += other.num_regions;
    }

    /// Rates the captions that are not rated yet. Rated once, they can be scored many times.
    pub fn rate(&mut self, caption_score: CaptionScore<'_>) {
        let empty = self.empty;
        for record in self.records.iter_mut().filter(|record| record.quality.is_none()) {
            record.quality = Some(quality(empty, record, caption_score));
        }
    }

    /// All scores by name, with those of captions where there is a `caption_score`: `mAP_iou0.5_meteor0.10`
    /// and their mean `mAP`, `mAP_detection_iou0.5` and their mean `mAP_detection`. Empty where there are
    /// no regions.
    pub fn scores(&self, caption_score: Option<CaptionScore<'_>>) -> BTreeMap<String, f64> {
        let Some(caption_score) = caption_score else { return self.rated_scores(None) };
        let mut rated = self.clone();
        rated.records.iter_mut().for_each(|record| record.quality = None);
        rated.rate(caption_score);
        rated.rated_scores(Some("meteor"))
    }

    /// All scores by name. `text_score` names what captions are rated by, `meteor` as in the literature; by
    /// another measure `x`, the mean is called `mAP_x`. Without it, or where a caption is not rated, there
    /// are those of detection only.
    pub fn rated_scores(&self, text_score: Option<&str>) -> BTreeMap<String, f64> {
        let mut scores = BTreeMap::new();
        if self.num_regions == 0 {
            return scores;
        }
        let mut ranked: Vec<_> = self.records.iter().collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut detection = Vec::new();
        for iou in IOU_THRESHOLDS {
            let precision = self.average_precision(&ranked, |at| is_found(ranked[at], iou));
            detection.push(precision);
            scores.insert(format!("mAP_detection_iou{iou:.1}"), precision);
        }
        scores.extend(super::mean(detection).map(|mean| ("mAP_detection".to_string(), mean)));
        let qualities: Option<Vec<f64>> = ranked.iter().map(|record| record.quality).collect();
        let (Some(qualities), Some(text_score)) = (qualities, text_score) else { return scores };

        let mut captions = Vec::new();
        for iou in IOU_THRESHOLDS {
            for least in CAPTION_THRESHOLDS {
                let is_right = |at: usize| is_found(ranked[at], iou) && qualities[at] > least;
                let precision = self.average_precision(&ranked, is_right);
                captions.push(precision);
                scores.insert(format!("mAP_iou{iou:.1}_{text_score}{least:.2}"), precision);
            }
        }
        let name = if text_score == "meteor" { "mAP".into() } else { format!("mAP_{text_score}") };
        scores.extend(super::mean(captions).map(|mean| (name, mean)));
        scores
    }

    /// Mean over the grid of recalls of the best precision at that recall or beyond.
    fn average_precision(&self, ranked: &[&Record], is_right: impl Fn(usize) -> bool) -> f64 {
        let mut num_right = 0.0_f32;
        let mut curve = Vec::with_capacity(ranked.len());
        for at in 0..ranked.len() {
            num_right += f32::from(u8::from(is_right(at)));
            curve.push((num_right / self.num_regions as f32, num_right / (at + 1) as f32));
        }
        let best_beyond = |least: f32| {
            let beyond = curve.iter().filter(|(recall, _)| *recall >= least);
            beyond.map(|(_, precision)| *precision).fold(0.0, f32::max)
        };
        let grid = (0..NUM_RECALLS).map(|step| f32::from(step) / f32::from(NUM_RECALLS));
        f64::from(grid.map(best_beyond).sum::<f32>() / f32::from(NUM_RECALLS))
    }
}

/// How good the caption of a detection is.
fn quality(empty: EmptyCaptions, record: &Record, score: CaptionScore<'_>) -> f64 {
    let is_empty = record.references.iter().any(String::is_empty);
    if empty == EmptyCaptions::AnyCaption && record.is_first && is_empty {
        return score(SAME_WORD, &[SAME_WORD.to_string()]);
    }
    if record.references.is_empty() { 0.0 } else { score(&record.caption, &record.references) }
}

fn is_found(record: &Record, iou: f32) -> bool {
    record.is_first && record.iou >= iou
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(x: f32, caption: &str) -> Region {
        Region { bounds: [x, 0.0, 10.0, 10.0], captions: vec![caption.to_string()] }
    }

    fn detection(x: f32, score: f32, caption: &str) -> Detection {
        Detection { bounds: [x, 0.0, 10.0, 10.0], score, caption: caption.to_string() }
    }

    fn same(caption: &str, references: &[String]) -> f64 {
        f64::from(u8::from(references.iter().any(|reference| reference == caption)))
    }

    fn scores(
        empty: EmptyCaptions,
        regions: &[Region],
        found: &[Detection],
    ) -> BTreeMap<String, f64> {
        let mut captions = DenseCaptions::new(empty);
        captions.add_image(regions, found);
        captions.scores(Some(&same))
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn average_precision_by_hand() {
        let regions = [region(0.0, "cat"), region(100.0, "dog")];
        // Right; the same region again; the second, with a wrong caption.
        let found =
            [detection(0.0, 0.9, "cat"), detection(0.0, 0.8, "cat"), detection(100.0, 0.7, "cat")];
        let scores = scores(EmptyCaptions::AnyCaption, &regions, &found);
        // Precision 1 up to a recall of 1/2 (51 of 100 points), then 2/3.
        close(scores["mAP_detection_iou0.5"], (51.0 + 49.0 * 2.0 / 3.0) / 100.0);
        close(scores["mAP_detection"], scores["mAP_detection_iou0.5"]);
        close(scores["mAP_iou0.5_meteor0.10"], 0.51);
        close(scores["mAP"], 0.51);
        assert_eq!(scores.len(), 5 + 30 + 2);
    }

    #[test]
    fn a_surer_detection_takes_its_region_even_where_it_is_too_far_away() {
        // 5 of 15 shared: enough for 0.3, not for 0.4.
        let found = [detection(5.0, 0.9, "cat"), detection(0.0, 0.8, "cat")];
        let scores = scores(EmptyCaptions::AnyCaption, &[region(0.0, "cat")], &found);
        close(scores["mAP_detection_iou0.3"], 1.0);
        close(scores["mAP_detection_iou0.4"], 0.0);
    }

    #[test]
    fn empty_captions_are_right_or_not_counted() {
        let regions = [region(0.0, "cat"), region(100.0, "")];
        let found = [detection(0.0, 0.9, "cat"), detection(100.0, 0.8, "dog")];
        let any = scores(EmptyCaptions::AnyCaption, &regions, &found);
        close(any["mAP_iou0.5_meteor0.10"], 1.0);
        let not_counted = scores(EmptyCaptions::NotCounted, &regions[..], &found[1..]);
        // One of one region, by the detection of another.
        close(not_counted["mAP_detection_iou0.5"], 1.0);
        close(not_counted["mAP_iou0.5_meteor0.10"], 0.0);
        assert!(scores(EmptyCaptions::NotCounted, &regions[1..], &found).is_empty());
    }

    #[test]
    fn parts_of_a_set_have_the_scores_of_the_whole() {
        // Half of the images have detections with the same scores.
        let regions = |image: usize| {
            [region(0.0, ["cat", "dog", "cow"][image % 3]), region(image as f32 + 5.0, "cat")]
        };
        let found = |image: usize| {
            let score = if image.is_multiple_of(2) { 0.5 } else { 0.1 * image as f32 };
            [detection(1.0, score, "cat"), detection(image as f32 + 4.0, score, "dog")]
        };
        let of = |images: std::ops::Range<usize>| {
            let mut captions = DenseCaptions::new(EmptyCaptions::AnyCaption);
            images.for_each(|image| captions.add_image(&regions(image), &found(image)));
            captions
        };
        let whole = of(0..9);
        let mut parts = DenseCaptions::default();
        for part in [0..4, 4..4, 4..5, 5..9] {
            let mut part = of(part);
            part.rate(&same);
            parts.merge(part);
        }
        let scores = whole.scores(Some(&same));
        assert_eq!(parts.rated_scores(Some("meteor")), scores);
        assert!(scores["mAP"] > 0.0 && scores["mAP"] < scores["mAP_detection"]);
    }

    #[test]
    fn captions_of_the_same_region_are_merged() {
        let annotated =
            [([0.0, 0.0, 10.0, 10.0], "a\ncat".to_string()), ([2.0, 0.0, 8.0, 10.0], "cat".into())];
        let captions = vec!["acat".to_string(), "cat".to_string()];
        assert_eq!(merge(&annotated), [Region { bounds: [1.0, 0.0, 9.0, 10.0], captions }]);
    }
}
