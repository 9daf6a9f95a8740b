//! Scores of captions, for `benches/python/metrics.py`, which runs pycocoevalcap on the same files in turn.
//!
//! Arguments: references, predictions, and METEOR's files or nothing. Prints the scores, a line each, and
//! the seconds that everything took, from reading the files on.

use std::path::Path;
use std::time::Instant;

use pixelllm::metrics::meteor::Meteor;
use pixelllm::scoring::{Options, captions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (references, predictions, data) = match arguments.as_slice() {
        [references, predictions] => (references, predictions, None),
        [references, predictions, data] => (references, predictions, Some(Path::new(data))),
        _ => return Err("arguments: references predictions [METEOR's files]".into()),
    };
    let start = Instant::now();
    let meteor = || match data {
        Some(data) => Meteor::open(data),
        None => Ok(Meteor::exact_and_stem()),
    };
    let (references, predictions) = (Path::new(references), Path::new(predictions));
    let scored = captions::score(references, predictions, &meteor, Options::default())?;
    for score in &scored.scores {
        println!("{} {}", score.name, score.value);
    }
    println!("seconds {}", start.elapsed().as_secs_f64());
    Ok(())
}
