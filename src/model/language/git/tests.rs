use burn::tensor::Distribution;

use super::super::hidden_states::FusionMethod;
use super::*;

/// A small decoder.
pub(in super::super) fn config() -> GitConfig {
    GitConfig {
        width: 8,
        depth: 2,
        num_heads: 2,
        mlp_width: 16,
        max_positions: 6,
        dropout: 0.0,
        initial_deviation: 0.4,
        ..GitConfig::default()
    }
}

fn decoder(config: &GitConfig) -> GitDecoder {
    let device = Device::flex();
    assert!(config.validate().is_empty());
    config.init(4, Vocabulary { size: 9, pad: 0, begin: 1, end: 2 }, &device)
}

fn visual() -> Tensor<3> {
    Tensor::random([2, 3, 4], Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn scores_are_read_from_the_last_layer_and_the_point_head_reads_the_fused_states() {
    let plain = decoder(&config());
    let fusion = HiddenFusion { method: FusionMethod::Concat, layers: vec![0, -1] };
    let fused = GitDecoder { fusion: Some(fusion), ..plain.clone() };
    let tokens = Tensor::<2, Int>::from_data([[1, 5, 6], [1, 7, 2]], &Device::flex());
    let visual = visual();
    let last = plain.read(&mut plain.begin(visual.clone(), None), tokens.clone());
    let features = fused.read(&mut fused.begin(visual, None), tokens.clone());
    assert_eq!(features.dims(), [2, 3, 8 + 16]);
    assert!(difference(fused.logits(features.clone()), plain.logits(last.clone())) < 1e-6);
    let read = fused.point_features(features.unsqueeze_dim(0)).squeeze_dim::<3>(0);
    assert!(difference(read.clone().narrow(2, 0, 8), plain.embed(tokens, 0)) < 1e-6);
    assert!(difference(read.narrow(2, 8, 8), last) < 1e-6);
}

#[test]
fn selected_rows_go_on_where_they_were() {
    let decoder = decoder(&config());
    let device = Device::flex();
    let tokens = |data: [[i64; 2]; 2]| Tensor::<2, Int>::from_data(data, &device);
    let context = Tensor::<2, Int>::from_data([[3, 0], [4, 5]], &device);
    let mut state = decoder.begin(visual(), Some(context));
    decoder.read(&mut state, tokens([[1, 5], [1, 7]]));
    let mut swapped = state.clone().select_rows(Tensor::from_data([1, 0], &device));
    let features = decoder.read(&mut state, tokens([[6, 2], [8, 2]]));
    let others = decoder.read(&mut swapped, tokens([[8, 2], [6, 2]]));
    assert!(difference(features, others.flip([0])) < 1e-6);
}

#[test]
fn the_prefix_has_features_where_they_are_asked_for_and_the_same_state() {
    let decoder = decoder(&config());
    let tokens = Tensor::<2, Int>::from_data([[1, 5], [1, 7]], &Device::flex());
    let visual = visual();
    let (mut state, features) = decoder.begin_with_features(visual.clone(), None);
    assert_eq!(features.dims(), [2, 3, 8]);
    let read = decoder.read(&mut state, tokens.clone());
    assert!(difference(read, decoder.read(&mut decoder.begin(visual, None), tokens)) < 1e-6);
}
