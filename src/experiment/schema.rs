//! The schema of an experiment: every key, its default and its meaning. The experiment reference in
//! `docs/` is generated from these doc comments.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::DType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checkpoints::CheckpointConfig;
use super::devices::DevicesConfig;
use super::logging::LoggingConfig;
use crate::data::alignment::Alignment;
use crate::data::mixture::Mixing;
use crate::data::shapes::ShapesConfig;
use crate::data::source::SourceConfig;
use crate::model::language::decoding::Decoding;
use crate::model::loss::detection::DetectionLossConfig;
use crate::model::loss::mask::MaskLossConfig;
use crate::model::loss::overlap::OverlapLossConfig;
use crate::model::loss::point::PointLossConfig;
use crate::model::loss::text::TextLossConfig;
use crate::model::pixel_llm::PixelLlmConfig;

/// Everything that makes a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Experiment {
    /// Name of the run; its directory is `{output}/{name}` unless `--out` says otherwise.
    pub name: String,
    /// Folder that run directories are made in.
    pub output: PathBuf,
    /// Seed of the initial weights, of dropout and of the order of the data.
    pub seed: u64,
    /// Where to train: `"cpu"`, `"wgpu"`, `"cuda"` or `"cuda:1"`.
    pub device: String,
    /// Parts of the model that train elsewhere than on `device`.
    pub devices: DevicesConfig,
    /// What matrix products are computed in while training; everything else has 32 bits.
    pub precision: Precision,
    /// Sizes of every module.
    pub model: PixelLlmConfig,
    /// Files that modules start from, in this order; what no file has starts from random numbers.
    pub weights: Vec<WeightsConfig>,
    /// What is learnt from.
    pub data: DataConfig,
    /// Steps, batches and checkpoints.
    pub training: TrainingConfig,
    /// Which checkpoints are kept.
    pub checkpoints: CheckpointConfig,
    /// What is written beside `metrics.jsonl`.
    pub logging: LoggingConfig,
    /// AdamW.
    pub optimizer: OptimizerConfig,
    /// Learning rate over the steps.
    pub schedule: ScheduleConfig,
    /// Weights and shapes of the losses.
    pub losses: LossConfig,
    /// How texts are found: in the evaluation, and by `pixelllm narrate` and `pixelllm describe`.
    pub decoding: Decoding,
    /// What is measured at the end of training and by `pixelllm eval`.
    pub evaluation: EvaluationConfig,
}

impl Default for Experiment {
    fn default() -> Self {
        Self {
            name: "experiment".into(),
            output: "runs".into(),
            seed: 0,
            device: "cpu".into(),
            devices: DevicesConfig::default(),
            precision: Precision::F32,
            model: PixelLlmConfig::default(),
            weights: Vec::new(),
            data: DataConfig::default(),
            training: TrainingConfig::default(),
            checkpoints: CheckpointConfig::default(),
            logging: LoggingConfig::default(),
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            losses: LossConfig::default(),
            decoding: Decoding::default(),
            evaluation: EvaluationConfig::default(),
        }
    }
}

/// A public checkpoint, or one of `pixelllm weights import`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightsConfig {
    /// A `.safetensors` file, the index of a sharded one, a folder with either, a PyTorch file, or a
    /// name of Hugging Face, `hf:owner/name[@revision][/file]`.
    pub file: PathBuf,
    /// Whose layout it has, such as `"timm-eva02"` or `"sam"`: see the guide to public weights. Without
    /// it, the layout that knows most of the file's tensors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// Whether a tensor that is missing, left over, of another shape or resized is an error.
    #[serde(default)]
    pub strict: bool,
}

/// What matrix products are computed in while training. Parameters, gradients, moments, norms, softmaxes,
/// losses and validation have 32 bits in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits: the published recipes.
    F32,
    /// 16 bits with the range of `f32` and 3 digits.
    Bf16,
    /// 16 bits with 4 digits, up to 65504; the loss is scaled so that gradients stay in range.
    F16,
}

impl Precision {
    /// The type, where it is not that of the parameters.
    pub fn narrow(self) -> Option<DType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }
}

/// What is learnt from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Makes a `shapes` world before anything is read, unless it is there already; leave out to use
    /// your own data only.
    pub shapes: Option<ShapesDirectory>,
    /// Texts to ids.
    pub tokenizer: TokenizerConfig,
    /// How a word of a narrative finds the place it was said about.
    pub alignment: Alignment,
    /// What `{split}` stands for in the paths of sources.
    pub splits: SplitConfig,
    /// How samples of several sources come into batches.
    pub mixing: Mixing,
    /// Threads that read images and texts; one per core without it. How many there are changes nothing of
    /// what is learnt.
    pub workers: Option<usize>,
    /// Folder of features of frozen image encoders, each of which is then computed only once: needs
    /// every encoder in `training.frozen`, with a `drop_path` of 0, and no augmentation. Several runs
    /// may share it.
    pub cache_features: Option<PathBuf>,
    /// Where samples come from.
    pub sources: Vec<SourceConfig>,
}

/// A `shapes` world and where to keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShapesDirectory {
    /// Folder of the world.
    pub directory: PathBuf,
    /// What the world is like.
    pub world: ShapesConfig,
}

impl Default for ShapesDirectory {
    fn default() -> Self {
        Self { directory: "data/shapes/default".into(), world: ShapesConfig::default() }
    }
}

/// Texts to ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerConfig {
    /// A `tokenizer.json` of Hugging Face (WordPiece as BERT's, Unigram as T5's), or a SentencePiece
    /// `.model` of type Unigram (T5's `spiece.model`), or BERT's `vocab.txt`; a folder with one of
    /// them, or a name of Hugging Face, `hf:owner/name[@revision][/file]`. Padding must be id 0;
    /// where a Unigram has no begin token, texts begin with padding, as T5's do. Left out, a
    /// lower-casing WordPiece is trained on the texts of the sources.
    pub file: Option<PathBuf>,
    /// Size of a trained vocabulary, at most.
    pub vocabulary_size: usize,
    /// Location tokens behind the words, into so many of which a coordinate is rounded: for sources
    /// with `answer = "text"`. 0 for none.
    pub location_tokens: usize,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { file: None, vocabulary_size: 30_522, location_tokens: 0 }
    }
}

impl TokenizerConfig {
    /// Ids of a trained vocabulary and of coordinates, at most.
    pub(crate) fn max_ids(&self) -> usize {
        self.vocabulary_size.saturating_add(self.location_tokens)
    }
}

/// What `{split}` stands for in the paths of sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// Learnt from.
    pub train: String,
    /// Looked at while training, at every checkpoint.
    pub validation: String,
    /// Measured at the end.
    pub evaluation: Vec<String>,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self { train: "train".into(), validation: "val".into(), evaluation: vec!["test".into()] }
    }
}

/// Steps, batches and checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Optimiser steps.
    pub max_steps: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Steps between two checkpoints; the validation split is looked at then, too.
    pub checkpoint_every_steps: usize,
    /// Batches of the validation split per source, at most.
    pub validation_batches: usize,
    /// Batches that wait, ready, for their step; one more is in the making. A batch takes
    /// `12 · batch_size · canvas_px²` bytes and a little.
    pub prefetch_batches: usize,
    /// Parts of a batch that are computed at the same time, each on a thread and with a mean of its
    /// own, as the paper's devices do; gradients are averaged. A small model on a CPU trains up to so
    /// many times as fast. With dropout or drop path, only 1 gives the same losses every time.
    pub parallel_parts: usize,
    /// Parts of a batch that are computed one after the other, so that only one's activations are in
    /// memory at a time. Their gradients add up to those of the whole batch, as do their losses: a step
    /// is still one update after `batch_size` images. With dropout, other numbers are drawn; the losses
    /// of *detect* are means of each part.
    pub micro_batches: usize,
    /// Whether results of cheap operations are computed again in the backward pass rather than kept:
    /// less memory, more time, the same gradients.
    pub gradient_checkpointing: bool,
    /// Devices that share every batch, `device` first, each with a mean of its own as with
    /// `parallel_parts`; empty for `device` alone.
    pub devices: Vec<String>,
    /// Parts of the model that stay as they start, by their paths, such as `["vision.sam",
    /// "language"]`: without gradients, moments, or a place in checkpoints. The paper freezes SAM. In a
    /// path, `*` stands for any part of a name and `**` for any number of names: `"**.bias"`.
    pub frozen: Vec<String>,
    /// How often every sample of every source with a weight is seen, in place of `max_steps`: the weights
    /// then say nothing else, and the last batch of a source and an epoch may be smaller.
    pub epochs: Option<usize>,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            max_steps: 10_000,
            batch_size: 256,
            checkpoint_every_steps: 1_000,
            validation_batches: 4,
            prefetch_batches: 2,
            parallel_parts: 1,
            micro_batches: 1,
            gradient_checkpointing: false,
            devices: Vec::new(),
            frozen: Vec::new(),
            epochs: None,
        }
    }
}

/// AdamW; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Learning rate after warm-up.
    pub learning_rate: f64,
    /// Decoupled weight decay; biases, norms and other vectors have none.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Largest norm of all gradients together; leave out for no clipping (the paper).
    pub clip_gradient_norm: Option<f64>,
    /// Parts of the model that do not decay, by their paths as in `training.frozen`, beside biases, norms
    /// and other vectors.
    pub no_decay: Vec<String>,
    /// Learning rates as multiples of the schedule's, by the paths of parts of the model:
    /// `{ "masks.adapter" = 10.0, "**.lora" = 2.0 }`. Of several paths that name a parameter, the
    /// longest counts.
    pub rate_multipliers: BTreeMap<String, f64>,
    /// Layer-wise decay of EVA-02's learning rates: the last block's is multiplied by this once, each
    /// block before by one time more, patch embedding and position table by one time more than the first
    /// block; leave out for none.
    pub layer_decay: Option<f64>,
    /// Parts of the model whose matrices (parameters with two axes) are moved by Muon instead of AdamW: momentum
    /// made orthogonal by Newton-Schulz iterations, with steps as large as AdamW's. For hidden layers: not
    /// for embeddings or the layer that chooses words.
    pub muon: Vec<String>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: 5e-5,
            weight_decay: 0.0,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            clip_gradient_norm: None,
            no_decay: Vec::new(),
            rate_multipliers: BTreeMap::new(),
            layer_decay: None,
            muon: Vec::new(),
        }
    }
}

/// Learning rate over the steps: linear warm-up, then a cosine to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Steps until the learning rate is reached.
    pub warmup_steps: usize,
    /// Learning rate at the last step, as a share of the highest.
    pub final_share: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { warmup_steps: 250, final_share: 0.0 }
    }
}

/// Weights and shapes of the losses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Cross-entropy of the texts.
    pub text: TextLossConfig,
    /// Distance of the points.
    pub point: PointLossConfig,
    /// Overlap of the boxes of expressions.
    pub overlap: OverlapLossConfig,
    /// What *detect* learns of boxes.
    pub detection: DetectionLossConfig,
    /// Masks of expressions, of sources with `masks = true`.
    pub mask: MaskLossConfig,
}

/// What is measured at the end of training and by `pixelllm eval`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Images per task and split, at most; the first of the file.
    pub max_images: usize,
    /// Images at once.
    pub batch_size: usize,
    /// Images of the gallery in the report.
    pub gallery_images: usize,
    /// METEOR's files, for scores of captions by METEOR: `meteor-1.5.jar` or the folder that has it,
    /// with `data/paraphrase-en.gz` beside it. Without this, the environment variable
    /// `PIXELLLM_METEOR_DATA`; without both, METEOR is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meteor_data: Option<PathBuf>,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self { max_images: 5_000, batch_size: 32, gallery_images: 12, meteor_data: None }
    }
}
