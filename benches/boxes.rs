//! What the box decoder does between its two stages, on one core: suppression of overlapping boxes, and
//! RoIAlign, of 1,000 boxes of one image each, and RoIAlign of 256. The boxes lie anywhere, their sides are
//! 1/20 to 1/2 of the canvas, and all of them belong to the finest map: 16 × 16 cells of 64 channels (small),
//! 54 × 54 cells of 256 (paper). Prints the least and the median time of each.
//!
//! `cargo bench --bench boxes`

use std::time::{Duration, Instant};

use burn::tensor::{Device, Distribution, Tensor};
use pixelllm::backend;
use pixelllm::geometry::BoundingBox;
use pixelllm::model::heads::boxes::nms::suppress;
use pixelllm::model::heads::boxes::roi_align::{Grid, assign, roi_align};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

const BOXES: usize = 1000;
/// As many as the second stage sees of an image by default (`model.boxes.proposals.kept`).
const BOXES_OF_AN_IMAGE: usize = 256;
const ROUNDS: usize = 15;

/// A pyramid on a canvas: rows of each square map, finest first, and the sides of its cells.
struct Pyramid {
    name: &'static str,
    canvas_px: f32,
    channels: usize,
    first_level: usize,
    rows: &'static [usize],
}

const PYRAMIDS: [Pyramid; 2] = [
    Pyramid { name: "small", canvas_px: 64.0, channels: 64, first_level: 3, rows: &[16, 8] },
    Pyramid {
        name: "paper",
        canvas_px: 384.0,
        channels: 256,
        first_level: 3,
        rows: &[54, 27, 13, 7, 4],
    },
];

/// Boxes anywhere, from 1/20 to half of the canvas.
fn boxes(canvas_px: f32, rng: &mut ChaCha8Rng) -> Vec<BoundingBox> {
    let one = |_| {
        let [width, height] = [(); 2].map(|()| canvas_px * rng.random_range(0.05..0.5));
        let x = rng.random_range(0.0..canvas_px - width);
        let y = rng.random_range(0.0..canvas_px - height);
        BoundingBox::from_xywh(x, y, width, height)
    };
    (0..BOXES).map(one).collect()
}

fn measure(name: &str, mut run: impl FnMut()) {
    run();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let (least, median) = (milliseconds(times[0]), milliseconds(times[ROUNDS / 2]));
    println!("{name:<24} least {least:>8.2} ms, median {median:>8.2} ms");
}

fn main() -> Result<(), Failure> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let device: Device = backend::device("cpu")?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for pyramid in PYRAMIDS {
        let boxes = boxes(pyramid.canvas_px, &mut rng);
        measure(&format!("{} suppression 0.9", pyramid.name), || {
            assert!(!suppress(&boxes, 0.9, BOXES).is_empty());
        });
        measure(&format!("{} suppression 0.5", pyramid.name), || {
            assert!(!suppress(&boxes, 0.5, BOXES).is_empty());
        });
        let maps: Vec<Tensor<4>> = pyramid
            .rows
            .iter()
            .map(|&side| {
                let shape = [1, pyramid.channels, side, side];
                Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device)
            })
            .collect();
        let strides: Vec<f32> =
            pyramid.rows.iter().map(|&side| pyramid.canvas_px / side as f32).collect();
        for count in [BOXES, BOXES_OF_AN_IMAGE] {
            measure(&format!("{} RoIAlign of {count}", pyramid.name), || {
                let region = |one: &BoundingBox| assign(*one, &strides, pyramid.first_level);
                let regions = boxes[..count].iter().map(region).collect();
                let pooled = roi_align(&maps, &[regions], Grid { side: 7, samples: 2 });
                let value = pooled.slice([0..1, 0..1, 0..1, 0..1, 0..1]).into_scalar::<f32>();
                assert!(value.is_finite());
            });
        }
    }
    Ok(())
}
