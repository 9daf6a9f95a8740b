//! What a step costs: tokens and floating-point operations per second, and memory.
//!
//! Operations are counted as is usual for language models: 2 per weight and token for the forward pass, and
//! 2 more for each of both gradients, of the weight and of what goes in. A weight that is trained counts 6.
//! A frozen one counts 2 in an image encoder, behind which nothing is trained, and 4 elsewhere, where
//! gradients go through it to what is trained before. Products of attention scores, the box decoder and the
//! mask branch are left out, so that the true number is higher. Padding is computed, and counted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::console::resident_memory;
use super::parameters::{Parameter, parameters};
use super::paths::is_under;
use crate::backend;
use crate::data::batch::{BatchDims, HostBatch};
use crate::model::pixel_llm::{PixelLlm, PixelLlmConfig};

/// Operations per trained weight and token.
const TRAINED: f64 = 6.0;
/// Operations per frozen weight and token where gradients go through it.
const PASSED: f64 = 4.0;
/// Operations per frozen weight and token where they do not.
const FORWARD: f64 = 2.0;

/// What a step cost; keys of its record. Older records lack them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StepCost {
    /// When it was done, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<f64>,
    /// Seconds that it took, waiting for its batch included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Tokens of texts per second, without padding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Floating-point operations per second, as counted here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flops_per_second: Option<f64>,
    /// Bytes of memory: of the process where the device is the host; `None` where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// What there is to do in a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Tokens of texts, without padding.
    pub tokens: usize,
    /// Floating-point operations.
    pub flops: f64,
}

/// Says what steps cost.
#[derive(Debug, Clone)]
pub struct Meter {
    /// Id of padding.
    pad: i64,
    /// Operations per image, by image encoders.
    per_image: f64,
    /// Operations per prompt: one for each of its visual tokens.
    per_prompt: f64,
    /// Operations per token that the language model reads.
    per_token: f64,
    /// Operations per token of a text beside those: by the point head.
    per_text_token: f64,
    /// Visual tokens of a prompt.
    num_visual: usize,
    is_host: bool,
}

impl Meter {
    /// For `model`, as it is trained, of `config` on `device`.
    pub fn new(model: &PixelLlm, config: &PixelLlmConfig, device: &Device) -> Self {
        let parameters = parameters(model);
        let in_part = |part: &str, frozen: f64| -> f64 {
            let weights = parameters.iter().filter(|one| one.num_axes > 1);
            let inside = weights.filter(|one| is_under(&one.path(), part));
            inside.map(|one: &Parameter| cost(one, frozen)).sum()
        };
        let side = |px: Option<usize>| px.unwrap_or(config.canvas_px);
        let patches = |px: Option<usize>, patch_px: usize| (side(px) / patch_px).pow(2) as f64;
        let vision = &config.vision;
        let eva = vision.eva.as_ref().map_or(0.0, |eva| patches(eva.input_px, eva.patch_px));
        let sam = vision.sam.as_ref().map_or(0.0, |sam| patches(sam.input_px, sam.patch_px));
        let num_visual = config.adapter.num_queries;
        Self {
            pad: model.language().vocabulary().pad,
            per_image: in_part("vision.eva", FORWARD) * eva + in_part("vision.sam", FORWARD) * sam,
            per_prompt: in_part("adapter", PASSED) * num_visual as f64,
            per_token: in_part("language", PASSED),
            per_text_token: in_part("points", PASSED),
            num_visual,
            is_host: backend::is_host(device),
        }
    }

    /// What there is to do in `batch`.
    pub fn work(&self, batch: &HostBatch) -> Work {
        let BatchDims { images, rows, prompts, text_tokens, context_tokens, .. } = batch.dims;
        let texts = batch.text.chunks(text_tokens.max(1)).zip(&batch.row_valid);
        let valid = texts.filter(|(_, valid)| **valid > 0.0).map(|(text, _)| text);
        let tokens = valid.flatten().filter(|id| **id != self.pad).count();
        let text = (images * rows * text_tokens) as f64;
        let read = (images * prompts * (self.num_visual + context_tokens)) as f64 + text;
        let seen = if batch.features.is_some() { 0.0 } else { images as f64 * self.per_image };
        let prompted = (images * prompts) as f64 * self.per_prompt;
        let flops = seen + prompted + read * self.per_token + text * self.per_text_token;
        Work { tokens, flops }
    }

    /// The cost of a step that did `work` in the time `taken`, and is just done.
    pub fn cost(&self, work: Work, taken: Duration) -> StepCost {
        let seconds = taken.as_secs_f64().max(f64::MIN_POSITIVE);
        StepCost {
            time: Some(now()),
            seconds: Some(seconds),
            tokens_per_second: Some(work.tokens as f64 / seconds),
            flops_per_second: Some(work.flops / seconds),
            memory_bytes: if self.is_host { resident_memory().map(|b| b as u64) } else { None },
        }
    }
}

fn cost(parameter: &Parameter, frozen: f64) -> f64 {
    parameter.count as f64 * if parameter.is_trained { TRAINED } else { frozen }
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::sample::Task;
    use crate::model::testing::{VOCABULARY, tiny_config};
    use crate::training::frozen;

    /// Two images with two texts each, of which one has no row.
    fn batch() -> HostBatch {
        let dims = BatchDims {
            images: 2,
            canvas_px: 16,
            rows: 2,
            prompts: 1,
            text_tokens: 3,
            context_tokens: 4,
        };
        HostBatch {
            text: vec![1, 5, 2, 1, 2, 0, 1, 5, 2, 1, 5, 2],
            row_valid: vec![1.0, 1.0, 1.0, 0.0],
            ..HostBatch::empty(Task::Describe, dims)
        }
    }

    #[test]
    fn work_is_that_of_the_weights_on_their_tokens() {
        let device = Device::flex().autodiff();
        let config = tiny_config();
        let model = config.init(VOCABULARY, &device);
        let all = Meter::new(&model, &config, &device);
        let work = all.work(&batch());
        assert_eq!(work.tokens, 3 + 2 + 3);
        let read = 2 * (config.adapter.num_queries + 4) + 12;
        let expected = 2.0 * (all.per_image + all.per_prompt)
            + read as f64 * all.per_token
            + 12.0 * all.per_text_token;
        assert_eq!(work.flops, expected);
        let cost = all.cost(Work { tokens: 8, flops: 100.0 }, Duration::from_millis(500));
        assert_eq!((cost.tokens_per_second, cost.flops_per_second), (Some(16.0), Some(200.0)));
        assert!(cost.memory_bytes.unwrap() > 1 << 20, "the CPU's is the process's");

        // Frozen: a third of the encoder, two thirds of the language model.
        let frozen = ["vision".to_string(), "language".to_string()];
        let frozen = frozen::freeze(model.clone(), &frozen).unwrap();
        let frozen = Meter::new(&frozen, &config, &device);
        assert!((frozen.per_image * 3.0 - all.per_image).abs() < 1e-6 * all.per_image);
        assert!((frozen.per_token * 1.5 - all.per_token).abs() < 1e-6 * all.per_token);
        assert_eq!(frozen.per_prompt, all.per_prompt);

        // By hand: the weights of the adapter, which have more than one axis.
        let weights = parameters(&model).into_iter().filter(|one| one.num_axes > 1);
        let adapter = weights.filter(|one| one.path().starts_with("adapter."));
        let count: usize = adapter.map(|one| one.count).sum();
        assert_eq!(all.per_prompt, (6 * count * config.adapter.num_queries) as f64);
    }
}
