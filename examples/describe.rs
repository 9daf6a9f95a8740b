//! Writes captions of the left and the right half of an image.
//!
//! ```console
//! $ cargo run --release --example describe -- photo.jpg
//! ```

use pixelllm::backend;
use pixelllm::geometry::BoundingBox;
use pixelllm::tasks::{Predictor, default_model};

fn main() -> pixelllm::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments
        .next()
        .unwrap_or_else(|| "data/samples/shapes/images/test/000200000001.png".into());
    let halves =
        [(0.0, 0.5), (0.5, 1.0)].map(|(left, right)| BoundingBox::new(left, 0.0, right, 1.0));

    let predictor = Predictor::open(default_model()?, &backend::device("cpu")?)?;
    let images = predictor.encode_files(&[image])?;
    let descriptions = predictor.describe(&images, &[halves.to_vec()])?.remove(0);

    for description in descriptions {
        println!("{:?}: {}", description.region.to_array(), description.caption);
    }
    Ok(())
}
