//! Finds what is in an image, and writes a caption of each. Needs a run that was taught to detect.
//!
//! ```console
//! $ cargo run --release --example detect -- photo.jpg runs/small-densecap
//! ```

use pixelllm::backend;
use pixelllm::tasks::{DetectionLimits, Predictor};

fn main() -> pixelllm::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments
        .next()
        .unwrap_or_else(|| "data/samples/shapes/images/test/000200000001.png".into());
    let run = arguments.next().unwrap_or_else(|| "runs/small-densecap".into());

    let predictor = Predictor::open(run, &backend::device("cpu")?)?;
    let images = predictor.encode_files(&[image])?;
    let detections = predictor.detect(&images, DetectionLimits::default())?.remove(0);

    for one in detections {
        println!("{:.2} {:?}: {}", one.score, one.bounds.to_array(), one.caption);
    }
    Ok(())
}
