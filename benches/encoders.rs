//! The image encoders, for `benches/python/encoders.py`, which runs PyTorch's on the same cores in turn.
//!
//! Reads commands from standard input, a line each, and answers each with a line:
//!
//! | command | does | answers |
//! |---|---|---|
//! | `load NAME` | builds an encoder with random weights; drops the one before | number of parameters |
//! | `forward` | one forward pass over one image | seconds |
//! | `train` | loss (mean square of the output), backward, AdamW | seconds |
//! | `memory` | | largest resident memory so far, in bytes |

mod peer;

use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor};
use pixelllm::backend;
use pixelllm::model::vision::eva::{Eva, EvaConfig};
use pixelllm::model::vision::sam::{Sam, SamConfig};

use peer::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An encoder with images, `[B, 3, side, side]`.
enum Case {
    Eva { model: Box<Eva>, images: Tensor<4> },
    Sam { model: Box<Sam>, images: Tensor<4> },
    Both { eva: Box<Eva>, sam: Box<Sam>, images: Tensor<4> },
}

/// What the names in `encoders.py` stand for.
fn load(name: &str, device: &Device) -> Result<Case, Failure> {
    let random = |batch: usize, side: usize, device: &Device| {
        Tensor::random([batch, 3, side, side], Distribution::Normal(0.0, 1.0), device)
    };
    let eva_large = EvaConfig { drop_path: 0.0, ..EvaConfig::default() };
    let sam = |width, depth, num_heads, global_blocks| SamConfig {
        width,
        depth,
        num_heads,
        global_blocks,
        drop_path: 0.0,
        ..SamConfig::default()
    };
    let sam_huge = SamConfig { drop_path: 0.0, ..SamConfig::default() };
    Ok(match name {
        "eva02-l-384" => {
            Case::Eva { model: eva_large.init(device).into(), images: random(1, 384, device) }
        }
        "sam-b-1024" => {
            let model = sam(768, 12, 12, vec![2, 5, 8, 11]).init(device);
            Case::Sam { model: model.into(), images: random(1, 1024, device) }
        }
        "pair-384" => Case::Both {
            eva: eva_large.init(device).into(),
            sam: sam_huge.init(device).into(),
            images: random(1, 384, device),
        },
        "eva02-b-224-train" => {
            let device = device.clone().autodiff();
            let config = EvaConfig { width: 768, depth: 12, num_heads: 12, ..eva_large };
            Case::Eva { model: config.init(&device).into(), images: random(4, 224, &device) }
        }
        other => return Err(format!("there is no case `{other}`").into()),
    })
}

impl Case {
    fn num_parameters(&self) -> usize {
        match self {
            Self::Eva { model, .. } => model.num_params(),
            Self::Sam { model, .. } => model.num_params(),
            Self::Both { eva, sam, .. } => eva.num_params() + sam.num_params(),
        }
    }

    /// Runs the encoder to its end: the result is read back.
    fn forward(&self) -> f32 {
        let sum = |map: Tensor<4>| map.sum().into_scalar::<f32>();
        match self {
            Self::Eva { model, images } => sum(model.forward(images.clone())),
            Self::Sam { model, images } => sum(model.forward(images.clone())),
            Self::Both { eva, sam, images } => {
                sum(eva.forward(images.clone())) + sum(sam.forward(images.clone()))
            }
        }
    }
}

/// A training step of an EVA-02 encoder on `images`, `[B, 3, side, side]`.
fn train(model: Eva, images: &Tensor<4>, optimizer: &mut ModuleOptimizer) -> (Eva, f32) {
    let loss = model.forward(images.clone()).square().mean();
    let value = loss.clone().into_scalar::<f32>();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    (optimizer.step(1e-4_f64, model, gradients), value)
}

fn main() -> Result<(), Failure> {
    let device = backend::device("cpu")?;
    let mut case = None;
    let mut optimizer = AdamWConfig::new().init();
    peer::serve(|words| {
        let begun = Instant::now();
        let answer = match (words, case.take()) {
            (["load", name], _) => {
                let loaded = load(name, &device)?;
                optimizer = AdamWConfig::new().init();
                let answer = loaded.num_parameters().to_string();
                case = Some(loaded);
                answer
            }
            (["forward"], Some(loaded)) => {
                let sum = loaded.forward();
                case = Some(loaded);
                format!("{} {sum}", begun.elapsed().as_secs_f64())
            }
            (["train"], Some(Case::Eva { model, images })) => {
                let (model, loss) = train(*model, &images, &mut optimizer);
                case = Some(Case::Eva { model: model.into(), images });
                format!("{} {loss}", begun.elapsed().as_secs_f64())
            }
            _ => return Err(peer::unknown(words)),
        };
        Ok(answer)
    })
}
