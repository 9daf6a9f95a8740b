//! Scores of *describe*.

use super::baselines::Baselines;
use super::captions::WrittenCaptions;
use super::{Batch, ImageAnswers, Table, TaskEvaluation};
use crate::data::sample::Row;
use crate::data::shapes::attributes::words_of;
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::metrics::attributes::AttributeScores;
use crate::metrics::captions::{is_exact_match, token_f1};
use crate::metrics::mean;
use crate::tasks::Place;

/// Captions so far: predicted, reference.
pub(super) struct DescribeEvaluation<'a> {
    baselines: &'a Baselines,
    captions: Vec<(String, String)>,
    written: WrittenCaptions,
}

impl<'a> DescribeEvaluation<'a> {
    pub(super) fn new(baselines: &'a Baselines) -> Self {
        let written = WrittenCaptions::new(baselines.caption.as_deref());
        Self { baselines, captions: Vec::new(), written }
    }

    /// Mean of a measure over the model's captions, and over the baseline's.
    fn measure(&self, of: impl Fn(&str, &[&str]) -> f64) -> Option<(f64, Option<f64>)> {
        let model = self.captions.iter().map(|(predicted, text)| of(predicted, &[text]));
        let baseline =
            self.baselines.caption.as_deref().and_then(|caption| {
                mean(self.captions.iter().map(|(_, text)| of(caption, &[text])))
            });
        Some((mean(model)?, baseline))
    }
}

/// What the text of `row` is about: its trace, or its region.
fn asked_about(row: &Row) -> Place {
    let trace: Vec<_> = row.trace().collect();
    match trace.is_empty() {
        true => Place::Box(row.region.unwrap_or(BoundingBox::UNIT)),
        false => Place::Trace(trace),
    }
}

impl TaskEvaluation for DescribeEvaluation<'_> {
    fn add(&mut self, batch: &Batch<'_>, answers: &mut [ImageAnswers]) -> Result<()> {
        let places: Vec<Vec<Place>> = batch
            .samples
            .iter()
            .map(|sample| sample.rows.iter().map(asked_about).collect())
            .collect();
        let described = batch.predictor.describe_as(&batch.images, &places, &batch.settings)?;
        for ((sample, described), answers) in batch.samples.iter().zip(described).zip(answers) {
            for (row, description) in sample.rows.iter().zip(described) {
                self.written.add(&description.caption, &[&row.text]);
                self.captions.push((description.caption.clone(), row.text.clone()));
                answers.descriptions.push((description, row.text.clone()));
            }
        }
        Ok(())
    }

    fn finish(&self, table: &mut Table) {
        let pairs = self.captions.iter().map(|(said, text)| (words_of(said), words_of(text)));
        let trivial =
            self.captions.iter().map(|(_, text)| (self.baselines.attributes, words_of(text)));
        match AttributeScores::of(pairs) {
            Some(scores) => {
                // Without captions to learn from, the trivial answer names nothing.
                let baseline = AttributeScores::of(trivial)
                    .filter(|_| self.baselines.attributes.iter().any(Option::is_some));
                let n = scores.num_captions;
                let accuracy = baseline.map(|baseline| baseline.attribute_accuracy);
                table.add("attribute_accuracy", scores.attribute_accuracy, accuracy, n);
                let all = baseline.map(|baseline| baseline.all_attributes);
                table.add("all_attributes", scores.all_attributes, all, n);
            }
            None => table.note(
                "no caption names a size, colour, pattern or shape: attribute_accuracy and \
                 all_attributes are left out",
            ),
        }
        let n = self.captions.len();
        let exact = |said: &str, texts: &[&str]| f64::from(u8::from(is_exact_match(said, texts)));
        if let Some((model, baseline)) = self.measure(exact) {
            table.add("exact_match", model, baseline, n);
        }
        if let Some((model, baseline)) = self.measure(|said, texts| token_f1(said, texts)) {
            table.add("token_f1", model, baseline, n);
        }
        self.written.finish(table);
    }
}
