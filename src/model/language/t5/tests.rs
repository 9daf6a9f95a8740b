#![allow(clippy::unwrap_used)]

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Distribution, Gradients, Tolerance};

use super::*;
use crate::model::language::beam::{BeamConfig, beam_search, beam_search_by};
use crate::model::language::decoding::{Decoding, greedy, write};
use crate::model::language::lora::LoraConfig;
use crate::model::language::{LanguageInput, LanguageModel};
use crate::model::storage::{Storage, store_matrices};

const VISUAL_WIDTH: usize = 6;
const END: i64 = 1;
/// As T5's: texts begin with padding.
const VOCABULARY: Vocabulary = Vocabulary { size: 12, pad: 0, begin: 0, end: END };

fn config() -> T5Config {
    let lora = Some(LoraConfig { rank: 2, ..LoraConfig::default() });
    let config = T5Config {
        width: Some(16),
        num_heads: Some(2),
        head_width: Some(4),
        encoder_depth: Some(2),
        decoder_depth: Some(2),
        mlp_width: Some(12),
        dropout: 0.0,
        encoder_lora: lora.clone(),
        decoder_lora: lora,
        ..T5Config::default()
    };
    assert_eq!(config.validate(), []);
    config
}

fn visual(rows: usize, device: &Device) -> Tensor<3> {
    Tensor::random([rows, 3, VISUAL_WIDTH], Distribution::Normal(0.0, 1.0), device)
}

fn tokens<const R: usize, const L: usize>(rows: [[i64; L]; R], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(rows, device)
}

/// `written`, then end tokens: what the reference reads while it writes.
fn filled(written: &[i64], length: usize) -> Vec<i64> {
    let mut text = written.to_vec();
    text.resize(length, END);
    text
}

fn assert_near<const N: usize>(found: Tensor<N>, expected: Tensor<N>) {
    let tolerance = Tolerance::<f32>::absolute(1e-4);
    found.into_data().assert_approx_eq(&expected.into_data(), tolerance);
}

/// Features of `written` read one by one, beside those of reading all that was written up to each
/// token at once, as the reference does.
fn compare_steps(written: &[i64], context: Option<Tensor<2, Int>>) {
    let device = Device::flex();
    let model = config().init(VISUAL_WIDTH, VOCABULARY, &device);
    let begun = model.begin(visual(1, &device), context);
    let length = written.len() + 2;
    let mut state = begun.clone();
    for (place, &token) in written.iter().enumerate() {
        let step = model.read(&mut state, tokens([[token]], &device));
        let text = filled(&written[..=place], length);
        let text = Tensor::<1, Int>::from_data(text.as_slice(), &device).unsqueeze();
        let whole = model.read_text(begun.clone(), text);
        assert_near(step, whole.narrow(1, place, 1));
    }
}

#[test]
fn tokens_read_one_by_one_have_the_features_of_the_text_filled_with_ends() {
    let device = Device::flex();
    compare_steps(&[0, 5, 9, 3], None);
    compare_steps(&[0, 5, 9, 3], Some(tokens([[4, 2, 1, 0, 0]], &device)));
}

#[test]
fn a_token_that_turns_out_to_be_followed_by_padding_is_hidden_from_later_ones() {
    compare_steps(&[0, 5, 0, 3, 0, 0, 8], None);
}

#[test]
fn a_chunk_of_a_text_in_progress_is_read_as_its_tokens_are() {
    let device = Device::flex();
    let model = config().init(VISUAL_WIDTH, VOCABULARY, &device);
    let begun = model.begin(visual(1, &device), None);
    let text = [0, 5, 0, 3, 7];
    let mut state = begun.clone();
    let first = model.read(&mut state, tokens([[0, 5]], &device));
    let second = model.read(&mut state, tokens([[0, 3, 7]], &device));
    let mut state = begun;
    let one = |token| model.read(&mut state, tokens([[token]], &device));
    let steps: Vec<_> = text.into_iter().map(one).collect();
    let chunks = Tensor::cat(vec![first, second], 1);
    let steps = Tensor::cat(steps, 1);
    assert_near(chunks, steps);
}

#[test]
fn texts_that_share_a_prefix_read_what_each_would_alone() {
    let device = Device::flex();
    let model = config().init(VISUAL_WIDTH, VOCABULARY, &device);
    let visual = visual(2, &device);
    let context = tokens([[4, 2, 1], [3, 1, 0]], &device);
    let text = tokens([[0, 5, 1, 0], [0, 7, 8, 1], [0, 2, 1, 0], [0, 9, 9, 1]], &device);
    let shared = model.begin(visual.clone(), Some(context.clone())).repeat_rows(2);
    assert_eq!(shared.num_rows(), 4);
    let rows = Tensor::<1, Int>::from_data([0, 0, 1, 1], &device);
    let alone = model.begin(visual.select(0, rows.clone()), Some(context.select(0, rows)));
    assert_near(model.read_text(shared, text.clone()), model.read_text(alone, text));
}

#[test]
fn without_a_context_nothing_of_the_prefix_is_hidden_and_padding_of_one_changes_nothing() {
    let device = Device::flex();
    let model = config().init(VISUAL_WIDTH, VOCABULARY, &device);
    let visual = visual(1, &device);
    let text = tokens([[0, 5, 6]], &device);
    let read = |context| {
        let mut state = model.begin(visual.clone(), context);
        model.read(&mut state, text.clone())
    };
    assert_near(read(Some(tokens([[0, 0]], &device))), read(None));
}

#[test]
fn tied_logits_are_products_with_the_words_over_the_root_of_the_width() {
    let device = Device::flex();
    let model = T5Config { tied_output: true, ..config() }.init_t5(VOCABULARY, &device);
    let features = Tensor::<3>::random([1, 2, 16], Distribution::Normal(0.0, 1.0), &device);
    let words = model.words.weight.val().transpose().unsqueeze::<3>();
    assert_near(model.logits(features.clone()), features.matmul(words) / 4.0);
}

#[test]
fn a_text_written_from_the_cache_is_what_reading_all_of_it_again_at_every_step_gives() {
    let device = Device::flex();
    let model = LanguageModel::T5(config().init(VISUAL_WIDTH, VOCABULARY, &device));
    let length = 8;
    let begun = model.begin(visual(3, &device), None);
    let mut text = vec![Tensor::<2, Int>::full([3, 1], VOCABULARY.begin, &device)];
    text.extend((1..length).map(|_| Tensor::full([3, 1], END, &device)));
    let ids = Tensor::<1, Int>::arange(0..VOCABULARY.size as i64, &device).unsqueeze::<2>();
    for place in 1..length - 1 {
        let previous = text[place - 1].clone();
        let features = model.read_text(begun.clone(), Tensor::cat(text.clone(), 1));
        let logits = model.logits(features).narrow(1, place - 1, 1).squeeze_dim::<2>(1);
        let best = logits.mask_fill(ids.clone().equal(previous.clone()), -1e4).argmax(1);
        text[place] = best.mask_fill(previous.equal_elem(END), END);
    }
    let written = greedy(&model, begun, length).tokens;
    written.into_data().assert_eq(&Tensor::cat(text, 1).into_data(), true);
}

#[test]
fn beams_from_the_cache_are_those_of_reading_every_text_again_at_every_step() {
    let device = Device::flex();
    let model = LanguageModel::T5(config().init(VISUAL_WIDTH, VOCABULARY, &device));
    let (length, beams, rows) = (7, 3, 2);
    let begun = model.begin(visual(rows, &device), None);
    let search = BeamConfig { beams, ..BeamConfig::default() };
    let cached = beam_search(&model, begun.clone(), length, &search);
    let mut so_far: Option<Tensor<2, Int>> = None;
    let read = |parents: Option<Tensor<1, Int>>, tokens: Tensor<2, Int>| {
        let past = so_far.take().map(|past| match parents {
            Some(parents) => past.select(0, parents),
            None => past,
        });
        let written = Tensor::cat(past.into_iter().chain([tokens]).collect(), 1);
        so_far = Some(written.clone());
        let [_, place] = written.dims();
        let rest = Tensor::full([rows * beams, length - place], END, &device);
        let text = Tensor::cat(vec![written, rest], 1);
        let features = model.read_text(begun.clone().repeat_rows(beams), text);
        model.logits(features.narrow(1, place - 1, 1)).squeeze_dim(1)
    };
    let again = beam_search_by(read, rows, length, &VOCABULARY, &search, &device);
    cached.tokens.into_data().assert_eq(&again.tokens.into_data(), true);
    assert_near(cached.scores, again.scores);
}

#[test]
fn the_features_of_the_best_beam_are_those_of_reading_it_token_by_token() {
    let device = Device::flex();
    let model = LanguageModel::T5(config().init(VISUAL_WIDTH, VOCABULARY, &device));
    let begun = model.begin(visual(2, &device), None);
    let decoding = Decoding::Beams(BeamConfig { beams: 2, ..BeamConfig::default() });
    let best = write(&model, begun.clone(), 7, &decoding);
    let [_, read, _] = best.features.dims();
    let mut state = begun;
    let token = |place| best.tokens.clone().narrow(1, place, 1);
    for place in 0..read - 1 {
        let step = model.read(&mut state, token(place));
        // What is hidden because padding follows (which random weights write, too) is not known to be
        // so on the way.
        let followed = token(place + 1).not_equal_elem(VOCABULARY.pad).float();
        let shown = token(place).not_equal_elem(END).float() * followed;
        let shown = shown.unsqueeze_dim::<3>(2);
        let whole = best.features.clone().narrow(1, place, 1);
        assert_near(step * shown.clone(), whole * shown);
    }
}

/// Gives adapters numbers that add something: fresh ones add nothing.
struct Disturb;

impl ModuleMapper for Disturb {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|values| {
            let noise = Distribution::Normal(0.0, 0.1);
            values.clone() + Tensor::random(values.dims(), noise, &values.device())
        })
    }
}

#[test]
fn merged_adapters_give_the_same_words_and_logits() {
    let device = Device::flex();
    let model = config().init(VISUAL_WIDTH, VOCABULARY, &device).map(&mut Disturb);
    let model = LanguageModel::T5(model);
    let merged = model.clone().merge_adapters();
    assert!(merged.num_params() < model.num_params(), "no adapter is left");
    let visual = visual(3, &device);
    let text = tokens([[0, 5, 6, 1], [0, 7, 1, 0], [0, 2, 3, 4]], &device);
    let input = LanguageInput { visual: visual.clone(), context: None, text };
    let logits = |model: &LanguageModel| model.forward(input.clone()).logits.into_data();
    let tolerance = Tolerance::<f32>::absolute(1e-5);
    logits(&merged).assert_approx_eq(&logits(&model), tolerance);
    let written = |model: &LanguageModel| {
        greedy(model, model.begin(visual.clone(), None), 8).tokens.into_data()
    };
    written(&merged).assert_eq(&written(&model), true);
}

#[test]
fn matrices_in_half_precision_compute_as_the_wide_ones_of_their_numbers() {
    let device = Device::flex();
    let wide = config().init_t5(VOCABULARY, &device).map(&mut Disturb);
    for storage in [Storage::Bf16, Storage::F16] {
        let narrow = T5Config { storage, ..config() }.init_t5(VOCABULARY, &device);
        // What is loaded becomes narrow too.
        let narrow = narrow.load_record(wide.clone().into_record());
        assert_eq!(narrow.words.weight.val().dtype(), storage.dtype());
        let rounded = store_matrices(narrow.clone(), DType::F32);
        let logits = |model: &T5| {
            let visual = Tensor::ones([1, 3, 16], &device);
            let mut state = model.begin(visual, Some(tokens([[4, 2, 0]], &device)));
            model.logits(model.read(&mut state, tokens([[0, 5, 7]], &device)))
        };
        assert_near(logits(&narrow), logits(&rounded));
        let error = (logits(&rounded) - logits(&wide)).abs().max().into_scalar::<f32>();
        assert!(error > 0.0 && error < 1.0, "rounded by {error}");
    }
}

#[test]
fn adapters_on_matrices_in_half_precision_are_trained_and_not_merged() {
    let narrow = T5Config { storage: Storage::Bf16, ..config() };
    assert_eq!(trained(&narrow), trained(&config()));
    let model = narrow.init(VISUAL_WIDTH, VOCABULARY, &Device::flex());
    assert_eq!(model.clone().merge_adapters().num_params(), model.num_params());
}

/// Names of the parameters that have a gradient.
struct WithGradient<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for WithGradient<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.val().grad(self.gradients).is_some() {
            self.found.push(self.path.join("."));
        }
    }
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

/// Parameters with a gradient of the loss of a text.
fn trained(config: &T5Config) -> Vec<String> {
    let device = Device::flex().autodiff();
    let model = config.init(VISUAL_WIDTH, VOCABULARY, &device);
    let context = tokens([[4, 2, 1]], &device);
    let state = model.begin(visual(1, &device), Some(context));
    let features = model.read_text(state, tokens([[0, 5, 6, 1]], &device));
    let gradients = model.logits(features).square().mean().backward();
    let mut visitor = WithGradient { gradients: &gradients, path: vec![], found: vec![] };
    model.visit(&mut visitor);
    visitor.found
}

#[test]
fn adapters_and_the_visual_projection_alone_are_trained() {
    let names = trained(&config());
    let (projection, t5): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| name.starts_with("visual_projection."));
    assert_eq!(projection.len(), 4);
    assert!(t5.iter().all(|name| name.contains(".lora.")), "{t5:?}");
    // Two matrices for query and value of 2 encoder and 2 × 2 decoder attentions.
    assert_eq!(t5.len(), 2 * 2 * 6);
}

#[test]
fn everything_is_trained_where_that_is_asked_for() {
    let names = trained(&T5Config { trained: Trained::All, dropout: 0.3, ..config() });
    for part in
        ["words", "encoder.positions", "decoder.layers.1.mlp.gate", "decoder.norm", "output"]
    {
        assert!(names.iter().any(|name| name.contains(part)), "{part}");
    }
}
