//! Operations of our own on the processor beside Burn's: forward and backward pass in training, and a step of
//! AdamW. Sizes are those of the quickstart's batch of 32 images; of cross-entropy, also those of BERT's
//! vocabulary. Prints the median milliseconds of both, which take turns, and the ratio of ours to Burn's.
//!
//! `cargo bench --bench kernels`, or with `RAYON_NUM_THREADS=1` for one thread.

use std::time::Instant;

use burn::module::Module;
use burn::nn::{DropoutConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Int, Tensor, activation, module};
use pixelllm::backend;
use pixelllm::experiment::schema::OptimizerConfig;
use pixelllm::model::kernels::cross_entropy::{Labels, cross_entropy};
use pixelllm::model::kernels::dropout::dropout;
use pixelllm::model::kernels::gelu::gelu;
use pixelllm::model::kernels::layer_norm::LayerNormConfig;
use pixelllm::model::kernels::rotation::turn;
use pixelllm::model::kernels::softmax::softmax;
use pixelllm::model::kernels::swiglu::silu_gate;
use pixelllm::training::optimizer::optimizer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 21;
/// Images times tokens, for one *narrate* batch: 8 queries and 64 cells, 3 of context, 64 of text.
const TOKENS: usize = 32 * (8 + 64 + 3 + 64);

/// Milliseconds that `work` takes.
fn milliseconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e3
}

/// Prints how many milliseconds `burn` and `ours` say that they took: each once to warm up, then in turns.
fn compare(name: &str, mut burn: impl FnMut() -> f64, mut ours: impl FnMut() -> f64) {
    burn();
    ours();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        times[0].push(burn());
        times[1].push(ours());
    }
    let [theirs, ours] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("| {name} | {theirs:.2} | {ours:.2} | {:.2} |", ours / theirs);
}

/// A forward and a backward pass of each operation, from `inputs` that have gradients.
fn passes<const D: usize, const E: usize, const N: usize>(
    name: &str,
    shapes: [[usize; D]; N],
    device: &Device,
    burn: impl Fn([Tensor<D>; N]) -> Tensor<E>,
    ours: impl Fn([Tensor<D>; N]) -> Tensor<E>,
) {
    let normal = Distribution::Normal(0.0, 1.0);
    let inputs = shapes.map(|shape| Tensor::<D>::random(shape, normal, device).require_grad());
    // The sum and its backward pass are the same for both.
    let pass = |operation: &dyn Fn([Tensor<D>; N]) -> Tensor<E>| {
        milliseconds(|| drop(operation(inputs.clone()).sum().backward()))
    };
    compare(name, || pass(&burn), || pass(&ours));
}

fn activations(device: &Device) {
    let norm = LayerNormConfig::new(128).init(device);
    let (gamma, beta) = (norm.gamma.val(), norm.beta.val());
    passes(
        "layer norm, 4448 × 128",
        [[TOKENS, 128]],
        device,
        |[x]| module::layer_norm(x, gamma.clone(), Some(beta.clone()), 1e-5),
        |[x]| norm.forward(x),
    );
    let scores = [32, 4, 139, 139];
    let burn = |[x]: [Tensor<4>; 1]| activation::softmax(x, 3);
    passes("softmax, 128 × 139 × 139", [scores], device, burn, |[x]| softmax(x));
    let hidden = [TOKENS, 256];
    passes("GELU, 4448 × 256", [hidden], device, |[x]| activation::gelu(x), |[x]| gelu(x));
    let burn = |[gate, up]: [Tensor<2>; 2]| activation::silu(gate) * up;
    let ours = |[gate, up]: [Tensor<2>; 2]| silu_gate(gate, up);
    passes("SwiGLU, 4448 × 256", [hidden; 2], device, burn, ours);
    let layer = DropoutConfig::new(0.1).init();
    let burn = |[x]: [Tensor<2>; 1]| layer.forward(x);
    passes("dropout, 4448 × 256", [hidden], device, burn, |[x]| dropout(&layer, x));
}

/// Queries or keys of EVA-02: 65 tokens with 4 heads of 24 channels.
fn rotation(device: &Device) {
    let table = || Tensor::<4>::random([1, 1, 65, 24], Distribution::Uniform(-1.0, 1.0), device);
    let (cos, sin) = (table(), table());
    // Burn has none: pairs are swapped by a product with a matrix, as on other devices.
    let swap = Tensor::<4>::random([1, 1, 24, 24], Distribution::Uniform(-1.0, 1.0), device);
    let burn = |[x]: [Tensor<3>; 1]| {
        let x = x.reshape([32, 65, 4, 24]).swap_dims(1, 2);
        let swapped = x.clone().matmul(swap.clone());
        x * cos.clone() + swapped * sin.clone()
    };
    let ours = |[x]: [Tensor<3>; 1]| turn(x, &cos, &sin).reshape([32, 65, 4, 24]).swap_dims(1, 2);
    passes("rotation, 32 × 65 × 96", [[32, 65, 96]], device, burn, ours);
}

fn text_loss(rows: usize, vocabulary: usize, device: &Device) {
    let classes: Vec<usize> = (0..rows).map(|row| row * 37 % vocabulary).collect();
    let picked: Vec<i64> = classes.iter().map(|class| *class as i64).collect();
    let picked = Tensor::<1, Int>::from_data(picked.as_slice(), device).unsqueeze_dim::<2>(1);
    let labels = || Labels {
        classes: classes.clone(),
        weights: vec![1.0; rows],
        of_class: 1.0,
        of_others: 0.0,
    };
    let burn = |[scores]: [Tensor<2>; 1]| {
        -activation::log_softmax(scores, 1).gather(1, picked.clone()).sum()
    };
    let ours = |[scores]: [Tensor<2>; 1]| {
        // Of a device without it, the bench would say nothing.
        cross_entropy(scores, labels).unwrap_or_else(|| unreachable!("on the processor"))
    };
    let name = format!("cross-entropy, {rows} × {vocabulary}");
    passes(&name, [[rows, vocabulary]], device, burn, ours);
}

/// A step of `count` matrices of `shape`.
fn adamw(count: usize, shape: [usize; 2], device: &Device) {
    let [inputs, outputs] = shape;
    let layer = |_| LinearConfig::new(inputs, outputs).with_bias(false).init(device);
    let model: Vec<Linear> = (0..count).map(layer).collect();
    let gradients = || {
        let sum = |layer: &Linear| layer.weight.val().square().sum();
        let loss = model.iter().map(sum).reduce(|one, other| one + other);
        loss.map(|loss| GradientsParams::from_grads(loss.backward(), &model))
    };
    let step = |optimizer: &mut ModuleOptimizer| {
        let Some(gradients) = gradients() else { return f64::NAN };
        milliseconds(|| drop(optimizer.step(1e-3, model.clone(), gradients)))
    };
    let mut burn = AdamWConfig::new().with_weight_decay(0.01).init();
    let config = OptimizerConfig { weight_decay: 0.01, ..OptimizerConfig::default() };
    let mut ours = optimizer(&config, &model);
    let name = format!("AdamW, {} parameters", model.num_params());
    compare(&name, || step(&mut burn), || step(&mut ours));
}

fn main() -> Result<(), Failure> {
    // As `pixelllm train`.
    pixelllm::allocator::keep_freed_memory(None);
    let device = backend::device("cpu")?.autodiff();
    device.seed(0);
    println!("| operation | Burn, ms | here, ms | ratio |");
    println!("|---|---|---|---|");
    activations(&device);
    rotation(&device);
    text_loss(32 * 64, 256, &device);
    text_loss(8 * 64, 30_522, &device);
    // The quickstart's, and the embedding of BERT's vocabulary.
    adamw(16, [262, 262], &device);
    adamw(1, [30_522, 768], &device);
    Ok(())
}
