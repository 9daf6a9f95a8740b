//! Writes a caption of an image, with a place for every word.
//!
//! ```console
//! $ cargo run --release --example narrate -- photo.jpg
//! ```

use pixelllm::backend;
use pixelllm::tasks::{Predictor, default_model};

fn main() -> pixelllm::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments
        .next()
        .unwrap_or_else(|| "data/samples/shapes/images/test/000200000001.png".into());

    let predictor = Predictor::open(default_model()?, &backend::device("cpu")?)?;
    let images = predictor.encode_files(&[image])?;
    let narration = predictor.narrate(&images)?.remove(0);

    println!("{}", narration.caption);
    for word in narration.words {
        println!("{} at {:.2}, {:.2}", word.text, word.point.x, word.point.y);
    }
    Ok(())
}
