//! T5 and the tokenizer, for `benches/python/decoding.py`, which runs transformers and tokenizers on the
//! same cores in turn.
//!
//! Reads commands from standard input, a line each, and answers each with a line:
//!
//! | command | does | answers |
//! |---|---|---|
//! | `load NAME` | builds a T5 with random weights; drops the one before | number of parameters |
//! | `greedy ROWS STEPS` | reads a prefix, then writes `ROWS` texts of so many steps | seconds, steps |
//! | `beam BEAMS STEPS` | the same by a beam search for one text, features of the best one included | seconds, steps |
//! | `steps ROWS STEPS BLOCK` | greedy again | seconds of a step, for each block of so many |
//! | `train ROWS TOKENS` | teacher-forced cross-entropy, backward, AdamW | seconds |
//! | `tokenizer FILE TEXTS` | reads a tokenizer and a file with a text per line | number of texts |
//! | `tokenize` | every text to ids | seconds |
//! | `memory` | | largest resident memory so far, in bytes |

mod peer;

use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Distribution, Int, Tensor};
use pixelllm::backend;
use pixelllm::data::tokenizer::Tokenizer;
use pixelllm::model::language::beam::BeamConfig;
use pixelllm::model::language::decoding::{Decoding, most_probable, write, write_by};
use pixelllm::model::language::lora::LoraConfig;
use pixelllm::model::language::t5::config::{T5Config, T5Size, Trained};
use pixelllm::model::language::{LanguageInput, LanguageModel, LanguageState, Vocabulary};
use pixelllm::model::storage::Storage;

use peer::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// T5's.
const VOCABULARY: Vocabulary = Vocabulary { size: 32_128, pad: 0, begin: 0, end: 1 };
/// Visual tokens before a text.
const PREFIX: usize = 32;
/// Longest text that the tokenizer is asked for.
const LONGEST_TEXT: usize = 512;

/// What the names in `decoding.py` stand for.
fn load(name: &str, device: &Device) -> Result<LanguageModel, Failure> {
    let config = T5Config {
        visual_projection: false,
        dropout: 0.0,
        encoder_lora: None,
        decoder_lora: None,
        ..T5Config::default()
    };
    let lora = || Some(LoraConfig::default());
    let base = T5Config { size: T5Size::Base, ..config.clone() };
    let training = device.clone().autodiff();
    let (config, device) = match name {
        "base" => (base, device),
        "base-all" => (T5Config { trained: Trained::All, ..base }, &training),
        "base-lora" => (T5Config { encoder_lora: lora(), decoder_lora: lora(), ..base }, &training),
        "xl-bf16" => (T5Config { storage: Storage::Bf16, ..config }, device),
        "xl-f16" => (T5Config { storage: Storage::F16, ..config }, device),
        other => return Err(format!("there is no case `{other}`").into()),
    };
    let width = config.dimensions().width;
    Ok(LanguageModel::T5(config.init(width, VOCABULARY, device)))
}

/// Visual tokens of `rows` prefixes, as wide as words: `[rows, PREFIX, D]`.
fn visual(model: &LanguageModel, rows: usize) -> Tensor<3> {
    let LanguageModel::T5(t5) = model else { unreachable!("every case is a T5") };
    let [_, width] = t5.t5().words_shape();
    Tensor::random([rows, PREFIX, width], Distribution::Normal(0.0, 1.0), &model.device())
}

fn begin(model: &LanguageModel, rows: usize) -> LanguageState {
    model.begin(visual(model, rows), None)
}

/// Steps of the longest of the texts `tokens`, `[R, M]`: tokens that were chosen, and the one that began it.
fn steps_of(tokens: Tensor<2, Int>) -> i64 {
    tokens.not_equal_elem(VOCABULARY.end).int().sum_dim(1).max().into_scalar::<i64>()
}

/// Seconds of a step of greedy decoding, for each `block` of `steps`.
fn time_steps(model: &LanguageModel, rows: usize, steps: usize, block: usize) -> Vec<f64> {
    let mut state = begin(model, rows);
    let mut begun = Vec::with_capacity(steps + 1);
    let read = |tokens: Tensor<2, Int>| {
        begun.push(Instant::now());
        let features = model.read(&mut state, tokens);
        (model.logits(features.clone()).squeeze_dim(1), features)
    };
    let device = model.device();
    let most_tokens = steps + 2;
    write_by(read, most_probable, true, rows, most_tokens, &VOCABULARY, &device);
    let blocks = (0..steps).step_by(block).map(|start| (start, (start + block).min(steps)));
    let inside = blocks.filter(|(_, end)| *end < begun.len());
    inside.map(|(a, b)| (begun[b] - begun[a]).as_secs_f64() / (b - a) as f64).collect()
}

/// A step of training on random texts.
fn train(
    model: LanguageModel,
    rows: usize,
    length: usize,
    optimizer: &mut ModuleOptimizer,
) -> (LanguageModel, f32) {
    let device = model.device();
    let words = Distribution::Uniform(2.0, VOCABULARY.size as f64 - 1.0);
    let labels = Tensor::<2, Int>::random([rows, length], words, &device);
    let begin = Tensor::<2, Int>::full([rows, 1], VOCABULARY.begin, &device);
    let text = Tensor::cat(vec![begin, labels.clone().narrow(1, 0, length - 1)], 1);
    let input = LanguageInput { visual: visual(&model, rows), context: None, text };
    let log_probs = log_softmax(model.forward(input).logits, 2);
    let loss = log_probs.gather(2, labels.unsqueeze_dim(2)).mean().neg();
    let value = loss.clone().into_scalar::<f32>();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    (optimizer.step(1e-4_f64, model, gradients), value)
}

/// What was loaded.
struct Loaded {
    device: Device,
    model: Option<LanguageModel>,
    optimizer: ModuleOptimizer,
    tokenizer: Option<(Tokenizer, Vec<String>)>,
}

impl Loaded {
    fn model(&self) -> Result<&LanguageModel, Failure> {
        self.model.as_ref().ok_or_else(|| "nothing is loaded".into())
    }

    /// The answer to a command.
    fn answer(&mut self, words: &[&str]) -> Result<String, Failure> {
        let number = |at: usize| -> Result<usize, Failure> {
            Ok(words.get(at).ok_or("a number is missing")?.parse()?)
        };
        let begun = Instant::now();
        let seconds = || begun.elapsed().as_secs_f64();
        Ok(match words {
            ["load", name] => {
                self.model = None;
                self.optimizer = AdamWConfig::new().init();
                self.model = Some(load(name, &self.device)?);
                self.model()?.num_params().to_string()
            }
            ["greedy", ..] => {
                let (model, most_tokens) = (self.model()?, number(2)? + 1);
                let state = begin(model, number(1)?);
                let texts = write(model, state, most_tokens, &Decoding::Greedy);
                let steps = steps_of(texts.tokens);
                format!("{} {steps}", seconds())
            }
            ["beam", ..] => {
                let (model, most_tokens) = (self.model()?, number(2)? + 2);
                let config = BeamConfig { beams: number(1)?, ..BeamConfig::default() };
                let texts = write(model, begin(model, 1), most_tokens, &Decoding::Beams(config));
                let steps = steps_of(texts.tokens) - 1;
                format!("{} {steps}", seconds())
            }
            ["steps", ..] => {
                let blocks = time_steps(self.model()?, number(1)?, number(2)?, number(3)?);
                blocks.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
            }
            ["train", ..] => {
                let (rows, length) = (number(1)?, number(2)?);
                let model = self.model.take().ok_or("nothing is loaded")?;
                let (model, loss) = train(model, rows, length, &mut self.optimizer);
                self.model = Some(model);
                format!("{} {loss}", seconds())
            }
            ["tokenizer", tokenizer, texts] => {
                let texts = std::fs::read_to_string(texts)?;
                let texts: Vec<_> = texts.lines().map(str::to_string).collect();
                let count = texts.len();
                self.tokenizer = Some((Tokenizer::from_file(tokenizer)?, texts));
                count.to_string()
            }
            ["tokenize"] => {
                let (tokenizer, texts) = self.tokenizer.as_ref().ok_or("there is no tokenizer")?;
                let mut count = 0;
                for text in texts {
                    count += tokenizer.encode(text, LONGEST_TEXT)?.ids.len();
                }
                format!("{} {count}", seconds())
            }
            other => return Err(peer::unknown(other)),
        })
    }
}

fn main() -> Result<(), Failure> {
    let mut loaded = Loaded {
        device: backend::device("cpu")?,
        model: None,
        optimizer: AdamWConfig::new().init(),
        tokenizer: None,
    };
    peer::serve(|words| loaded.answer(words))
}
