//! Training steps, for `benches/python/training_step.py`, which runs PyTorch's on the same cores in turn.
//!
//! Reads commands from standard input, a line each, and answers each with a line:
//!
//! | command | does | answers |
//! |---|---|---|
//! | `load NAME DROPOUT PARTS` | builds a model with random weights and an optimizer; `PARTS` of a batch are computed at the same time | number of parameters |
//! | `export PATH` | writes the weights as PyTorch has them | `0` |
//! | `step TASK` | losses, gradients, clipping and AdamW of one batch of numbers that follow from their place | seconds, loss and norm of the gradients before the step |
//! | `memory` | | largest resident memory so far, in bytes |

mod peer;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, SafetensorsStore};
use burn::tensor::Device;
use burn::train::TrainStep;
use pixelllm::backend;
use pixelllm::data::batch::{BatchDims, HostBatch};
use pixelllm::data::sample::Task;
use pixelllm::experiment::{self, Experiment};
use pixelllm::model::heads::points::PointConfig;
use pixelllm::model::language::git::GitConfig;
use pixelllm::model::language::{LanguageConfig, Vocabulary};
use pixelllm::model::pixel_llm::PixelLlmConfig;
use pixelllm::model::prompt::adapter::AdapterConfig;
use pixelllm::model::vision::VisionConfig;
use pixelllm::model::vision::eva::EvaConfig;
use pixelllm::training::optimizer::optimizer;
use pixelllm::training::training_model::TrainingModel;

use peer::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The experiment whose model, losses and optimizer are the first case, and whose losses and optimizer
/// are also those of the second.
const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/quickstart.toml");
/// The quickstart moves matrices by Muon; the peer has AdamW for all of them.
const ADAMW_ALONE: &str = "optimizer.muon=[]";
/// Context before every text.
const CONTEXT: [i64; 3] = [5, 6, 7];

/// A model in training.
struct Case {
    model: TrainingModel,
    optimizer: ModuleOptimizer,
    learning_rate: f64,
    vocabulary: Vocabulary,
    images: usize,
}

/// What the names in `training_step.py` stand for: model, vocabulary and images of a batch.
fn config(name: &str, quickstart: &Experiment) -> Result<(PixelLlmConfig, usize, usize), Failure> {
    match name {
        "quickstart" => Ok((quickstart.model.clone(), 256, quickstart.training.batch_size)),
        "git-100m" => Ok((git_100m(), 30_522, 8)),
        other => Err(format!("there is no case `{other}`").into()),
    }
}

/// The paper's small decoder behind an encoder of four blocks of EVA-02-S.
fn git_100m() -> PixelLlmConfig {
    let eva = EvaConfig {
        width: 384,
        depth: 4,
        num_heads: 6,
        drop_path: 0.0,
        inner_norm: false,
        ..EvaConfig::default()
    };
    PixelLlmConfig {
        canvas_px: 224,
        vision: VisionConfig { eva: Some(eva), sam: None, ..VisionConfig::default() },
        adapter: AdapterConfig {
            depth: 2,
            width: 256,
            mlp_width: 1024,
            num_queries: 16,
            output_width: 768,
            ..AdapterConfig::default()
        },
        language: LanguageConfig::Git(GitConfig { max_positions: 128, ..GitConfig::default() }),
        points: Some(PointConfig::default()),
        ..PixelLlmConfig::default()
    }
}

fn load(name: &str, dropout: f64, parts: usize, device: &Device) -> Result<Case, Failure> {
    let quickstart = experiment::load(Path::new(QUICKSTART), &[ADAMW_ALONE.to_string()])?;
    let (mut config, size, images) = config(name, &quickstart)?;
    if let LanguageConfig::Git(git) = &mut config.language {
        git.dropout = dropout;
    }
    let vocabulary = Vocabulary { size, pad: 0, begin: 1, end: 2 };
    let clip = quickstart.optimizer.clip_gradient_norm;
    let model = config.init(vocabulary, device);
    let model = TrainingModel::new(model, quickstart.losses, clip, parts, BTreeSet::new());
    Ok(Case {
        optimizer: optimizer(&quickstart.optimizer, &model),
        learning_rate: quickstart.optimizer.learning_rate,
        model,
        vocabulary,
        images,
    })
}

impl Case {
    /// One step; its loss, and the norm of the gradients.
    fn step(self, batch: HostBatch) -> (Self, f64, f64) {
        let Self { model, mut optimizer, learning_rate, .. } = self;
        let output = TrainStep::step(&model, batch);
        let model = optimizer.step(learning_rate, model, output.grads);
        let (loss, norm) = (output.item.losses.loss, output.item.gradient_norm);
        (Self { model, optimizer, ..self }, loss, norm)
    }

    /// What Python makes, too, from the same formulas.
    fn batch(&self, task: Task) -> HostBatch {
        // Rows of an image, prompts of an image, tokens of a text.
        let (rows, prompts, length) = match task {
            Task::Narrate | Task::Detect => (1, 1, 64),
            Task::Describe => (4, 4, 12),
            Task::Locate => (4, 1, 12),
        };
        let (images, side) = (self.images, self.model.model.canvas_px());
        let num_prompts = images * prompts;
        let prompt_boxes = match task {
            Task::Describe => noise(num_prompts * 4, 1)
                .chunks_exact(4)
                .flat_map(|n| {
                    let half = side as f32 / 2.0;
                    let (x0, y0) = (half * n[0], half * n[1]);
                    [x0, y0, x0 + half * n[2] + 1.0, y0 + half * n[3] + 1.0]
                })
                .collect(),
            _ => [0.0, 0.0, side as f32, side as f32].repeat(num_prompts),
        };
        let words = (self.vocabulary.size - 3) as f32;
        let mut text: Vec<i64> = noise(images * rows * length, 2)
            .into_iter()
            .map(|value| 3 + (value * words) as i64)
            .collect();
        for row in text.chunks_exact_mut(length) {
            (row[0], row[length - 1]) = (self.vocabulary.begin, self.vocabulary.end);
        }
        HostBatch {
            images: noise(images * 3 * side * side, 3)
                .into_iter()
                .map(|value| value * 255.0)
                .collect(),
            sizes: vec![side as f32; images * 2],
            prompt_boxes,
            context: CONTEXT.repeat(num_prompts),
            text,
            row_valid: vec![1.0; images * rows],
            points: noise(images * rows * length * 4, 4),
            ..HostBatch::empty(
                task,
                BatchDims {
                    images,
                    canvas_px: side,
                    rows,
                    prompts,
                    text_tokens: length,
                    context_tokens: CONTEXT.len(),
                },
            )
        }
    }
}

/// Numbers from 0 to below 1 that spread evenly, in an order that looks like none.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let value = |i: u64| {
        let place = (i + 1 + seed * 1_000_003).wrapping_mul(2_654_435_761) % (1 << 32);
        (place >> 8) as f32 / (1 << 24) as f32
    };
    (0..count as u64).map(value).collect()
}

fn task(name: &str) -> Result<Task, Failure> {
    match name {
        "narrate" => Ok(Task::Narrate),
        "describe" => Ok(Task::Describe),
        "locate" => Ok(Task::Locate),
        other => Err(format!("no step for the task `{other}`").into()),
    }
}

/// Kernels of linear layers transposed, and PyTorch's names for the parts of norms.
fn export(model: &TrainingModel, path: &str) -> Result<(), Failure> {
    let store = SafetensorsStore::from_file(path).overwrite(true).skip_enum_variants(true);
    model.model.save_into(&mut store.with_to_adapter(BurnToPyTorchAdapter))?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    // As `pixelllm train`.
    pixelllm::allocator::keep_freed_memory(None);
    let device = backend::device("cpu")?.autodiff();
    device.seed(0);
    let mut case = None;
    peer::serve(|words| {
        let answer = match (words, case.take()) {
            (["load", name, dropout, parts], _) => {
                let loaded = load(name, dropout.parse()?, parts.parse()?, &device)?;
                let answer = loaded.model.num_params().to_string();
                case = Some(loaded);
                answer
            }
            (["export", path], Some(loaded)) => {
                export(&loaded.model, path)?;
                case = Some(loaded);
                "0".to_string()
            }
            (["step", name], Some(loaded)) => {
                let batch = loaded.batch(task(name)?);
                let begun = Instant::now();
                let (loaded, loss, norm) = loaded.step(batch);
                let seconds = begun.elapsed().as_secs_f64();
                case = Some(loaded);
                format!("{seconds} {loss} {norm}")
            }
            _ => return Err(peer::unknown(words)),
        };
        Ok(answer)
    })
}
