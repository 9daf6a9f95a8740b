//! Relative positions as a bias of attention scores (`spec/model.md` §8.1): distances share buckets,
//! small ones one each, larger ones on a logarithmic scale.

use std::ops::Range;

use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::config::T5Config;

/// A bias per bucket and head; one for all layers of a stack.
#[derive(Module, Debug)]
pub(super) struct RelativePositions {
    /// `[buckets, heads]`.
    table: Embedding,
    #[module(skip)]
    buckets: Buckets,
}

/// Which bucket a distance is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Buckets {
    count: usize,
    /// Distance from which on all are in the last bucket, in tokens.
    max_distance: usize,
    /// Whether what comes later has buckets of its own; else it is all in that of distance 0.
    bidirectional: bool,
}

impl RelativePositions {
    pub(super) fn new(config: &T5Config, bidirectional: bool, device: &Device) -> Self {
        let count = config.num_position_buckets;
        let num_heads = config.dimensions().num_heads;
        // Uniform with variance 2 / (buckets + heads), as in T5X.
        let limit = (6.0 / (count + num_heads) as f64).sqrt();
        let table = EmbeddingConfig::new(count, num_heads)
            .with_initializer(Initializer::Uniform { min: -limit, max: limit })
            .init(device);
        let max_distance = config.max_distance_tokens;
        Self { table, buckets: Buckets { count, max_distance, bidirectional } }
    }

    /// The bias of the rows at positions `rows` towards columns at 0 to `num_columns`:
    /// `[1, heads, rows, columns]`.
    pub(super) fn bias(&self, rows: Range<usize>, num_columns: usize) -> Tensor<4> {
        let num_rows = rows.len();
        let of_row = |row: usize| {
            (0..num_columns).map(move |column| self.buckets.index(column as i64 - row as i64))
        };
        let buckets: Vec<i64> = rows.flat_map(of_row).collect();
        let buckets = TensorData::new(buckets, [num_rows, num_columns]);
        let buckets = Tensor::<2, Int>::from_data(buckets, &self.table.weight.device());
        self.table.forward(buckets).permute([2, 0, 1]).unsqueeze()
    }
}

impl Buckets {
    /// The bucket of what is `distance` tokens later, or earlier where negative.
    fn index(self, distance: i64) -> i64 {
        let (count, first) = match self.bidirectional {
            true if distance > 0 => (self.count / 2, self.count / 2),
            true => (self.count / 2, 0),
            false => (self.count, 0),
        };
        let distance =
            if self.bidirectional { distance.abs() } else { (-distance).max(0) } as usize;
        let exact = count / 2;
        if distance < exact {
            return (first + distance) as i64;
        }
        let octaves = |distance: usize| distance as f64 / exact as f64;
        // The epsilon is the reference's: it keeps a distance on the border of a bucket in it.
        let place = (octaves(distance) + f64::from(f32::EPSILON)).ln();
        let place = place / octaves(self.max_distance).ln() * (count - exact) as f64;
        (first + (exact + place as usize).min(count - 1)) as i64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_have_a_bucket_each_and_far_ones_share() {
        // 8 each way: 0 to 3 on their own; from 4 on, four steps of 32^(1/4) = 2.38 up to 128:
        // borders at 4, 9.5, 22.6, 53.8.
        let buckets = Buckets { count: 16, max_distance: 128, bidirectional: true };
        let earlier = [0, 1, 3, 4, 9, 10, 22, 23, 53, 54, 127, 128, 5000];
        let expected = [0, 1, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 7];
        for (distance, expected) in earlier.into_iter().zip(expected) {
            assert_eq!(buckets.index(-distance), expected, "{distance} earlier");
            let later = if distance == 0 { 0 } else { expected + 8 };
            assert_eq!(buckets.index(distance), later, "{distance} later");
        }
    }

    #[test]
    fn a_distance_on_a_border_is_in_the_upper_bucket() {
        // The published numbers: 8 · log₁₆(d / 8) is 2, 4 and 6 at 16, 32 and 64.
        let buckets = Buckets { count: 32, max_distance: 128, bidirectional: true };
        assert_eq!([-15, -16, -32, -64].map(|d| buckets.index(d)), [9, 10, 12, 14]);
    }

    #[test]
    fn a_causal_stack_does_not_tell_later_tokens_apart() {
        let buckets = Buckets { count: 32, max_distance: 128, bidirectional: false };
        assert_eq!(
            [5, 1, 0, -1, -15, -16, -128].map(|d| buckets.index(d)),
            [0, 0, 0, 1, 15, 16, 31]
        );
    }

    #[test]
    fn rows_read_later_have_the_bias_of_rows_read_at_once() {
        let config = T5Config { num_heads: Some(3), ..T5Config::default() };
        let positions = RelativePositions::new(&config, false, &Device::flex());
        let whole = positions.bias(0..5, 5);
        assert_eq!(whole.dims(), [1, 3, 5, 5]);
        let last = positions.bias(4..5, 5);
        last.into_data().assert_eq(&whole.slice([0..1, 0..3, 4..5]).into_data(), true);
    }
}
