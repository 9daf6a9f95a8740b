//! The input pipeline, for `benches/python/pipeline.py`, which runs PyTorch's DataLoader on the same cores
//! in turn.
//!
//! Reads commands from standard input, a line each, and answers each with a line:
//!
//! | command | does | answers |
//! |---|---|---|
//! | `load FOLDER WORKERS BATCH` | reads `tokenizer.json` and `captions.json` of a folder | number of images |
//! | `epoch` | makes batches of all images, each once, in a random order | seconds |
//! | `memory` | | largest resident memory so far, in bytes |

mod peer;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::data::dataloader::DataLoader;
use pixelllm::data::alignment::Alignment;
use pixelllm::data::collate::Collator;
use pixelllm::data::formats::{Format, Skipped};
use pixelllm::data::loader::Batches;
use pixelllm::data::mixture::{MixedSource, Mixing, Mixture, MixtureConfig};
use pixelllm::data::sample::{Row, Sample, Task};
use pixelllm::data::source::{Source, SourceConfig};
use pixelllm::data::tokenizer::Tokenizer;

use peer::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As the published models.
const CANVAS_PX: usize = 384;
/// Batches that wait for their use: what PyTorch's `prefetch_factor` is by default, per worker.
const PREFETCH: usize = 4;

struct Pipeline {
    sources: Arc<Vec<Source>>,
    collator: Arc<Collator>,
    batch_size: usize,
    epochs: u64,
}

impl Pipeline {
    fn load(folder: &Path, workers: usize, batch_size: usize) -> Result<Self, Failure> {
        let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json"))?;
        let captions = std::fs::read_to_string(folder.join("captions.json"))?;
        let captions: Vec<(String, String)> = serde_json::from_str(&captions)?;
        let samples = captions.into_iter().map(|(name, text)| Sample {
            image: folder.join(&name).into(),
            image_id: name,
            task: Task::Describe,
            rows: vec![Row::of_image(text)],
        });
        let config: SourceConfig = serde_json::from_value(serde_json::json!({
            "task": "describe",
            "format": "visual_genome_coco",
            "annotations": "",
            "images": "",
        }))?;
        assert_eq!(config.format, Format::VisualGenomeCoco);
        let samples = samples.collect::<Vec<_>>().into();
        let source = Source { config, samples, skipped: Skipped::default() };
        let collator = Collator::new(tokenizer, Alignment::Offsets, CANVAS_PX);
        Ok(Self {
            sources: Arc::new(vec![source]),
            collator: Arc::new(collator.with_workers(Some(workers))?),
            batch_size,
            epochs: 0,
        })
    }

    fn num_images(&self) -> usize {
        self.sources.iter().map(|source| source.samples.len()).sum()
    }

    fn epoch(&mut self) -> Result<f64, Failure> {
        self.epochs += 1;
        let config = MixtureConfig {
            seed: self.epochs,
            batch_size: self.batch_size,
            mixing: Mixing::PerSource,
            num_steps: 0,
            epochs: Some(1),
        };
        let num_samples = self.num_images();
        let source = MixedSource { task: Task::Describe, num_samples, weight: 1.0, first_step: 0 };
        let mixture = Mixture::new(&config, &[source])?;
        let (sources, collator) = (self.sources.clone(), self.collator.clone());
        let batches = Batches::mixed(sources, collator, mixture, PREFETCH);
        let begun = Instant::now();
        let mut images = 0;
        for batch in batches.iter() {
            images += batch?.dims.images;
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert_eq!(images, num_samples);
        Ok(seconds)
    }
}

fn answer(pipeline: &mut Option<Pipeline>, words: &[&str]) -> Result<String, Failure> {
    match (words, pipeline) {
        (["load", folder, workers, batch], pipeline) => {
            let loaded = Pipeline::load(Path::new(folder), workers.parse()?, batch.parse()?)?;
            Ok(pipeline.insert(loaded).num_images().to_string())
        }
        (["epoch"], Some(pipeline)) => Ok(pipeline.epoch()?.to_string()),
        _ => Err(peer::unknown(words)),
    }
}

fn main() -> Result<(), Failure> {
    let mut pipeline = None;
    peer::serve(|words| answer(&mut pipeline, words))
}
