//! Scores of *narrate*.

use super::baselines::{Baselines, CENTER};
use super::captions::WrittenCaptions;
use super::{Batch, ImageAnswers, Table, TaskEvaluation};
use crate::data::sample::Sample;
use crate::data::tokenizer::Encoded;
use crate::error::Result;
use crate::geometry::{BoundingBox, Point};
use crate::metrics::captions::token_f1;
use crate::metrics::mean;
use crate::metrics::trace::{PlacedWord, TraceErrors};
use crate::tasks::prompt::Corners;

/// Errors and shares so far, one entry per image.
pub(super) struct NarrateEvaluation<'a> {
    baselines: &'a Baselines,
    errors: Vec<TraceErrors>,
    center_errors: Vec<TraceErrors>,
    mean_box_errors: Vec<TraceErrors>,
    f1: Vec<f64>,
    baseline_f1: Vec<f64>,
    written: WrittenCaptions,
    num_images: usize,
    num_narratives: usize,
    num_cut: usize,
}

/// A narrative with the places of its tokens.
struct Reference {
    encoded: Encoded,
    places: Vec<Option<BoundingBox>>,
}

impl<'a> NarrateEvaluation<'a> {
    pub(super) fn new(baselines: &'a Baselines) -> Self {
        Self {
            baselines,
            errors: Vec::new(),
            center_errors: Vec::new(),
            mean_box_errors: Vec::new(),
            f1: Vec::new(),
            baseline_f1: Vec::new(),
            written: WrittenCaptions::new(baselines.narrative.as_deref()),
            num_images: 0,
            num_narratives: 0,
            num_cut: 0,
        }
    }

    /// What is compared in `sample`'s narratives.
    fn references(&mut self, batch: &Batch<'_>, sample: &Sample) -> Result<Vec<Reference>> {
        let predictor = batch.predictor;
        let most = predictor.max_text_tokens(&batch.settings);
        let end = predictor.tokenizer().vocabulary().end;
        let reference = |row: &crate::data::sample::Row| {
            let encoded = predictor.tokenizer().encode(&row.text, most)?;
            self.num_narratives += 1;
            self.num_cut += usize::from(encoded.ids.last() != Some(&end));
            let places = batch.alignment.align(&row.locations, &encoded.offsets);
            Ok(Reference { encoded, places })
        };
        sample.rows.iter().map(reference).collect()
    }

    /// Errors of an image, all its narratives together.
    fn add_traces(&mut self, references: &[Reference], traces: &[Vec<Corners>]) {
        let words = |predicted: &dyn Fn(usize, usize) -> Option<Corners>| -> Vec<PlacedWord> {
            let rows = references.iter().enumerate();
            let tokens = rows.flat_map(|(row, reference)| {
                reference.places.iter().enumerate().map(move |(token, place)| (row, token, place))
            });
            tokens
                .filter_map(|(row, token, place)| {
                    Some(PlacedWord { reference: (*place)?, predicted: predicted(row, token)? })
                })
                .collect()
        };
        let model = |row: usize, token: usize| traces.get(row)?.get(token).copied();
        self.errors.extend(TraceErrors::of_image(&words(&model)));
        let center = words(&|_, _| Some(corners_of(CENTER)));
        self.center_errors.extend(TraceErrors::of_image(&center));
        if let Some(bounds) = self.baselines.utterance {
            let mean_box = words(&|_, _| Some(corners_of(bounds)));
            self.mean_box_errors.extend(TraceErrors::of_image(&mean_box));
        }
    }
}

fn corners_of(bounds: BoundingBox) -> Corners {
    [Point { x: bounds.x0, y: bounds.y0 }, Point { x: bounds.x1, y: bounds.y1 }]
}

impl TaskEvaluation for NarrateEvaluation<'_> {
    fn add(&mut self, batch: &Batch<'_>, answers: &mut [ImageAnswers]) -> Result<()> {
        let references: Result<Vec<Vec<Reference>>> =
            batch.samples.iter().map(|sample| self.references(batch, sample)).collect();
        let references = references?;
        let ids = |rows: &Vec<Reference>| rows.iter().map(|row| row.encoded.ids.clone()).collect();
        let texts: Vec<Vec<Vec<i64>>> = references.iter().map(ids).collect();
        let traces = batch.predictor.trace_as(&batch.images, &texts, &batch.settings)?;
        for (references, traces) in references.iter().zip(&traces) {
            self.add_traces(references, traces);
        }

        let narrations = batch.predictor.narrate_as(&batch.images, &batch.settings)?;
        for ((sample, narration), answers) in batch.samples.iter().zip(narrations).zip(answers) {
            let texts: Vec<_> = sample.rows.iter().map(|row| row.text.clone()).collect();
            self.written.add(&narration.caption, &texts);
            self.f1.push(token_f1(&narration.caption, &texts));
            if let Some(narrative) = &self.baselines.narrative {
                self.baseline_f1.push(token_f1(narrative, &texts));
            }
            answers.reference_narrations = texts;
            answers.narration = Some(narration);
        }
        self.num_images += batch.samples.len();
        Ok(())
    }

    fn finish(&self, table: &mut Table) {
        match (TraceErrors::mean(&self.errors), TraceErrors::mean(&self.center_errors)) {
            (Some(model), Some(center)) => {
                let n = self.errors.len();
                table.add("trace_error", model.trace_error, Some(center.trace_error), n);
                table.add("center_error", model.center_error, Some(center.center_error), n);
                table.add("point_l1", model.point_l1, Some(center.point_l1), n);
                if let Some(mean_box) = TraceErrors::mean(&self.mean_box_errors) {
                    let baseline = Some(mean_box.trace_error);
                    table.add("trace_error_vs_mean_box", model.trace_error, baseline, n);
                }
            }
            _ => table.note("no word has a place: the trace metrics are left out"),
        }
        if let Some(f1) = mean(self.f1.iter().copied()) {
            let baseline = mean(self.baseline_f1.iter().copied());
            table.add("token_f1", f1, baseline, self.f1.len());
        }
        self.written.finish(table);
        if self.errors.len() < self.num_images {
            let without = self.num_images - self.errors.len();
            table.note(format!("{without} images have no word with a place: no trace was scored"));
        }
        if self.num_cut > 0 {
            table.note(format!(
                "{} of {} narratives are longer than the run's texts; what is beyond was not \
                 placed",
                self.num_cut, self.num_narratives
            ));
        }
    }
}
