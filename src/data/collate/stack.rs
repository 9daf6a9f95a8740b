//! Encoded samples → one batch, padded to its longest rows.

use rayon::prelude::*;

use super::encode::{EncodedRow, Item, Picture};
use super::{Collator, Pick};
use crate::data::batch::{BatchDims, HostBatch, HostFeatures};
use crate::data::masks::HostMasks;
use crate::data::sample::Task;
use crate::data::source::AnswerForm;
use crate::geometry::BoundingBox;

impl Collator {
    /// The batch of `items`, each of which one of `picks` became; its seed is not known here.
    pub(super) fn stack(&self, picks: &[Pick<'_>], items: &[Item]) -> HostBatch {
        let longest = |length: fn(&EncodedRow) -> usize| {
            items.iter().flat_map(|item| &item.rows).map(length).max().unwrap_or(0)
        };
        let rows = items.iter().map(|item| item.rows.len()).max().unwrap_or(0).max(1);
        let shares_prompt = picks.iter().all(|pick| pick.source.config.shares_prompt());
        let has_masks = picks.iter().any(|pick| pick.source.config.masks);
        let text_tokens = match has_masks {
            // The mask branch reads the padding, too: there must always be the same of it.
            true => picks.iter().map(|pick| pick.source.config.max_text_tokens).max().unwrap_or(0),
            false => longest(|row| row.text.ids.len()),
        };
        let dims = BatchDims {
            images: items.len(),
            canvas_px: self.canvas_px,
            rows,
            prompts: if shares_prompt { 1 } else { rows },
            text_tokens: text_tokens.max(2),
            context_tokens: longest(|row| row.context.len()),
        };
        let pad = self.tokenizer.vocabulary().pad;
        let mut batch = HostBatch {
            task: picks.first().map_or(Task::Narrate, |pick| pick.source.task()),
            answer: picks.first().map_or(AnswerForm::Points, |pick| pick.source.config.answer),
            dims,
            images: images(items, self.canvas_px),
            features: HostFeatures::stack(items.iter().filter_map(|item| match &item.picture {
                Picture::Features(features) => Some(features),
                Picture::Canvas(_) => None,
            })),
            sizes: Vec::with_capacity(dims.images * 2),
            prompt_boxes: Vec::with_capacity(dims.images * dims.prompts * 4),
            prompt_traces: Vec::new(),
            context: Vec::with_capacity(dims.images * dims.prompts * dims.context_tokens),
            text: Vec::with_capacity(dims.images * rows * dims.text_tokens),
            row_valid: Vec::with_capacity(dims.images * rows),
            points: Vec::with_capacity(dims.images * rows * dims.text_tokens * 4),
            seed: 0,
            masks: has_masks.then(|| HostMasks::with_capacity(&dims)),
        };
        let trace_points = longest(|row| row.trace.len());
        for item in items {
            batch.sizes.extend(item.picture.size().map(|side| side as f32));
            for row in 0..dims.prompts {
                push_prompt(&mut batch, item, row, pad);
                push_trace(&mut batch, item, row, trace_points);
            }
            for row in 0..rows {
                push_text(&mut batch, item.rows.get(row), pad);
                if let Some(masks) = &mut batch.masks {
                    let mask = item.rows.get(row).and_then(|row| row.mask.as_ref());
                    masks.push(mask, item.picture.size(), self.canvas_px);
                }
            }
        }
        batch
    }
}

/// `[B, 3, S, S]`; empty where there are features instead.
fn images(items: &[Item], canvas_px: usize) -> Vec<f32> {
    let canvases: Vec<_> = items
        .iter()
        .filter_map(|item| match &item.picture {
            Picture::Canvas(canvas) => Some(canvas),
            Picture::Features(_) => None,
        })
        .collect();
    let size = 3 * canvas_px * canvas_px;
    let mut images = vec![0.0; canvases.len() * size];
    let targets = images.par_chunks_mut(size.max(1));
    targets.zip(canvases).for_each(|(planes, canvas)| canvas.write_planes(planes));
    images
}

/// The prompt of a filler is that of the whole image.
fn push_prompt(batch: &mut HostBatch, item: &Item, row: usize, pad: i64) {
    let row = item.rows.get(row);
    let prompt = match row {
        Some(row) if row.trace.is_empty() => row.prompt,
        Some(_) => BoundingBox::new(0.0, 0.0, 0.0, 0.0),
        None => BoundingBox::UNIT,
    };
    let [width, height] = item.picture.size().map(|side| side as f32);
    let prompt = prompt.scale(width, height);
    batch.prompt_boxes.extend(prompt.to_array());
    let context = row.map_or(&[][..], |row| &row.context);
    batch.context.extend(context);
    batch.context.extend(std::iter::repeat_n(pad, batch.dims.context_tokens - context.len()));
}

/// Nothing but padding where the prompt is a box.
fn push_trace(batch: &mut HostBatch, item: &Item, row: usize, trace_points: usize) {
    let trace = item.rows.get(row).map_or(&[][..], |row| &row.trace);
    let [width, height] = item.picture.size().map(|side| side as f32);
    let points = trace.iter().flat_map(|point| [point.x * width, point.y * height]);
    batch.prompt_traces.extend(points);
    batch.prompt_traces.extend(std::iter::repeat_n(0.0, (trace_points - trace.len()) * 2));
}

/// A filler is nothing but padding.
fn push_text(batch: &mut HostBatch, row: Option<&EncodedRow>, pad: i64) {
    batch.row_valid.push(f32::from(u8::from(row.is_some())));
    let (ids, places) = row.map_or((&[][..], &[][..]), |row| (&row.text.ids, &row.places));
    let fill = batch.dims.text_tokens - ids.len();
    batch.text.extend(ids);
    batch.text.extend(std::iter::repeat_n(pad, fill));
    for place in places {
        batch.points.extend(place.map_or([0.0; 4], BoundingBox::to_array));
    }
    batch.points.extend(std::iter::repeat_n(0.0, fill * 4));
}
