//! Finds the box that an expression is about.
//!
//! ```console
//! $ cargo run --release --example locate -- photo.jpg "the red circle"
//! ```

use pixelllm::backend;
use pixelllm::tasks::{Predictor, default_model};

fn main() -> pixelllm::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments
        .next()
        .unwrap_or_else(|| "data/samples/shapes/images/test/000200000001.png".into());
    let expression = arguments.next().unwrap_or_else(|| "the red circle".into());

    let predictor = Predictor::open(default_model()?, &backend::device("cpu")?)?;
    let images = predictor.encode_files(&[image])?;
    let location = predictor.locate(&images, &[vec![expression]])?.remove(0).remove(0);

    println!("{}: {:?}", location.expression, location.bounds.to_array());
    Ok(())
}
