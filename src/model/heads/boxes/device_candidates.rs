//! The surest places of a heat map, on a device that is not asked in between: the same as
//! [`super::proposals::candidates`], in the same order.
//!
//! 1. A score `lo` that at least `count` places reach and a score `hi` that fewer reach are brought together:
//!    in every round, all places are compared with many scores in between. Comparisons and counts are exact,
//!    so it does not matter how exactly a device computes where to look.
//! 2. All places from `hi` on are candidates, and the first of those from `lo` to `hi` fill up. That is
//!    right where the latter have the same score, as of equals the first come first on the host, too, or
//!    where all of them are wanted; otherwise the device says that it is undecided.
//! 3. The candidates are put into order by counting for each how many come before it.

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::device_rows::{first_chosen, indices, into_slots, is_before, running_count, take};
use super::targets::Cells;

/// Scores that all places are compared with in a round.
const PROBES: usize = 64;
/// Rounds whose probes are spread by the logarithm: from 126 powers of two to 1/2000 of one.
const COARSE_ROUNDS: usize = 3;
/// Rounds whose probes are spread evenly: to neighbouring numbers. One more than should be needed.
const FINE_ROUNDS: usize = 4;
/// Below this, the coarse rounds do not look: less and the product of two may be no normal number.
const LEAST_SCORE: f32 = 1e-37;
/// Distances to edges, in cells, beyond which boxes are left to the host: their areas may overflow there,
/// and what a GPU makes of infinities is its own affair.
const GREATEST_DISTANCE: f32 = 1e6;

/// The surest places of each image, surest first.
pub(super) struct Candidates {
    /// `[B, C, 4]`, corners in pixels of the canvas; may reach beyond it.
    pub(super) boxes: Tensor<3>,
    /// `[B, C]`, from 0 to 1.
    pub(super) scores: Tensor<2>,
    /// `[1]`: 0 where these are the candidates of the host; greater where that is not certain.
    pub(super) undecided: Tensor<1>,
}

/// The surest `count` places of every image.
///
/// # Shapes
/// - `heatmap`: `[B, M]`, logits
/// - `distances`: `[B, M, 4]`, in cells
/// - `count`: at most `M`
pub(super) fn candidates(
    heatmap: Tensor<2>,
    distances: Tensor<3>,
    levels: &[Cells],
    count: usize,
) -> Candidates {
    let (scores, strange_scores) = within(activation::sigmoid(heatmap), 1.0);
    let (distances, strange_distances) = within(distances, GREATEST_DISTANCE);
    let (places, ambiguous) = surest(scores.clone(), count);
    let scores = scores.gather(1, places.clone());
    let order = order(scores.clone());
    let places = places.gather(1, order.clone());
    let boxes = boxes(take(distances, places.clone()), places, levels);
    Candidates {
        boxes,
        scores: scores.gather(1, order),
        undecided: strange_scores + strange_distances + ambiguous,
    }
}

/// `values` with 0 in the place of what is not from 0 to `most`, and how many those are, `[1]`.
fn within<const D: usize>(values: Tensor<D>, most: f32) -> (Tensor<D>, Tensor<1>) {
    // What is not a number is not within either.
    let inside =
        values.clone().greater_equal_elem(0.0).bool_and(values.clone().lower_equal_elem(most));
    let outside = inside.bool_not();
    (values.mask_fill(outside.clone(), 0.0), outside.float().sum())
}

/// The `count` places with the greatest scores in the order of places, `[B, count]`, and in how many
/// images it is not certain that they are, `[1]`.
fn surest(scores: Tensor<2>, count: usize) -> (Tensor<2, Int>, Tensor<1>) {
    let [lo, hi] = around(scores.clone(), count);
    let certain = scores.clone().greater_equal(hi);
    let tied = scores.clone().greater_equal(lo).bool_and(certain.clone().bool_not());
    let wanted = certain.clone().int().sum_dim(1).neg() + count as i64;
    let filling = tied.clone().bool_and(running_count(tied.clone()).lower_equal(wanted.clone()));

    let too_many = tied.clone().int().sum_dim(1).not_equal(wanted);
    let others = tied.bool_not();
    let greatest = scores.clone().mask_fill(others.clone(), 0.0).max_dim(1);
    let least = scores.mask_fill(others, 2.0).min_dim(1);
    let ambiguous = too_many.bool_and(greatest.not_equal(least));
    (first_chosen(certain.bool_or(filling), count), ambiguous.float().sum())
}

/// A score that at least `count` places reach, and one that fewer reach, as near to each other as could be
/// found: `[B, 1]` each.
fn around(scores: Tensor<2>, count: usize) -> [Tensor<2>; 2] {
    let [batch, _] = scores.dims();
    let device = scores.device();
    let shares = (1..=PROBES).map(|probe| probe as f32 / (PROBES + 1) as f32);
    let shares = TensorData::new(shares.collect::<Vec<_>>(), [1, PROBES]);
    let shares = Tensor::<2>::from_data(shares, &device);
    let scores: Tensor<3> = scores.unsqueeze_dim(2);
    let mut lo = Tensor::<2>::zeros([batch, 1], &device);
    // No score is greater than 1.
    let mut hi = Tensor::<2>::full([batch, 1], 2.0, &device);
    for round in 0..COARSE_ROUNDS + FINE_ROUNDS {
        let between = |lo: Tensor<2>, hi: Tensor<2>| lo.clone() + (hi - lo) * shares.clone();
        let probes = if round < COARSE_ROUNDS {
            between(lo.clone().clamp_min(LEAST_SCORE).log(), hi.clone().log()).exp()
        } else {
            between(lo.clone(), hi.clone())
        };
        let reached = scores.clone().greater_equal(probes.clone().unsqueeze_dim(1));
        let counts: Tensor<2, Int> = reached.int().sum_dim(1).squeeze_dim(1);
        let enough = counts.greater_equal_elem(count as i64);
        let highest = probes.clone().mask_fill(enough.clone().bool_not(), 0.0).max_dim(1);
        let lowest = probes.mask_fill(enough, 2.0).min_dim(1);
        (lo, hi) = (lo.max_pair(highest), hi.min_pair(lowest));
    }
    [lo, hi]
}

/// By falling score, which place of the list comes first, second, …; of equals, the first: `[B, C]`.
fn order(scores: Tensor<2>) -> Tensor<2, Int> {
    let [batch, count] = scores.dims();
    let device = scores.device();
    let other: Tensor<3> = scores.clone().unsqueeze_dim(1);
    let own: Tensor<3> = scores.unsqueeze_dim(2);
    let equal = other.clone().equal(own.clone());
    let better = other.greater(own);
    let ahead = better.bool_or(equal.bool_and(is_before(batch, count, &device)));
    let rank: Tensor<2, Int> = ahead.int().sum_dim(2).squeeze_dim(2);
    into_slots(indices([batch, count], 1, &device), rank, count)
}

/// The boxes around the centres of `places` `[B, C]`: `[B, C, 4]`.
///
/// `distances`: `[B, C, 4]`, in cells
fn boxes(distances: Tensor<3>, places: Tensor<2, Int>, levels: &[Cells]) -> Tensor<3> {
    let [batch, count] = places.dims();
    let of_level = |cells: &Cells| {
        let stride = cells.stride;
        cells.centers().flat_map(move |center| [center.x, center.y, stride])
    };
    let table: Vec<f32> = levels.iter().flat_map(of_level).collect();
    let shape = [table.len() / 3, 3];
    let table = Tensor::<2>::from_data(TensorData::new(table, shape), &distances.device());
    let cells = table.select(0, places.reshape([batch * count])).reshape([batch, count, 3]);
    let centers = cells.clone().narrow(2, 0, 2);
    let distances = distances * cells.narrow(2, 2, 1);
    let start = centers.clone() - distances.clone().narrow(2, 0, 2);
    Tensor::cat(vec![start, centers + distances.narrow(2, 2, 2)], 2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::model::heads::boxes::proposals::{self, Proposal};

    const LEVELS: [(f32, usize, usize); 2] = [(8.0, 30, 31), (16.0, 15, 16)];
    const PLACES: usize = 30 * 31 + 15 * 16;

    fn levels() -> Vec<Cells> {
        LEVELS
            .iter()
            .map(|&(stride, rows, columns)| Cells::nominal(stride, rows, columns))
            .collect()
    }

    fn distances(device: &Device) -> Tensor<3> {
        Tensor::random([2, PLACES, 4], Distribution::Uniform(0.0, 6.0), device)
    }

    fn undecided(found: &Candidates) -> f32 {
        found.undecided.clone().into_scalar::<f32>()
    }

    /// Both ways give the same numbers, bit for bit.
    fn assert_as_on_the_host(heatmap: Tensor<2>, distances: Tensor<3>, count: usize) {
        let expected = proposals::candidates(heatmap.clone(), distances.clone(), &levels(), count);
        let found = candidates(heatmap, distances, &levels(), count);
        assert_eq!(undecided(&found), 0.0);
        let scores: Vec<f32> = found.scores.into_data().try_to_vec().unwrap();
        let boxes: Vec<f32> = found.boxes.into_data().try_to_vec().unwrap();
        let expected: Vec<Proposal> = expected.concat();
        assert_eq!(expected.len(), scores.len());
        for ((expected, score), found) in expected.iter().zip(scores).zip(boxes.chunks_exact(4)) {
            assert_eq!(expected.score, score);
            assert_eq!(expected.bounding_box.to_array(), found);
        }
    }

    #[test]
    fn they_are_those_of_the_host_in_the_same_order() {
        let device = Device::flex();
        for (mean, deviation) in [(-4.6, 0.01), (-4.0, 3.0), (-60.0, 8.0), (20.0, 5.0)] {
            let normal = Distribution::Normal(mean, deviation);
            let heatmap = Tensor::random([2, PLACES], normal, &device);
            for count in [1, 300, PLACES] {
                assert_as_on_the_host(heatmap.clone(), distances(&device), count);
            }
        }
    }

    #[test]
    fn of_equal_scores_the_first_places_are_taken() {
        let device = Device::flex();
        let constant = Tensor::<2>::full([2, PLACES], -4.6, &device);
        assert_as_on_the_host(constant, distances(&device), 300);
        // Nine different scores, one of which straddles the last candidate; and all of them 0.
        let few = Tensor::<2>::random([2, PLACES], Distribution::Uniform(-4.0, 4.0), &device);
        assert_as_on_the_host(few.round(), distances(&device), 300);
        let none = Tensor::<2>::full([2, PLACES], -200.0, &device);
        assert_as_on_the_host(none, distances(&device), 300);
        // Neighbouring numbers: far nearer to each other than the probes of any coarse round.
        let near = indices([2, PLACES], 1, &device).float() * 2e-7 - 2.0;
        assert_as_on_the_host(near, distances(&device), 300);
        // Scores below the least that coarse rounds look for: fine ones find them.
        let tiny = indices([2, PLACES], 1, &device).float() * -0.001 - 86.0;
        assert_as_on_the_host(tiny, distances(&device), 300);
    }

    #[test]
    fn what_only_the_host_can_say_is_undecided() {
        let device = Device::flex();
        let heatmap = Tensor::<2>::zeros([2, PLACES], &device);
        for strange in [f32::NAN, f32::INFINITY, 2e6] {
            let strange = Tensor::<3>::full([2, 1, 4], strange, &device);
            let distances =
                Tensor::cat(vec![distances(&device).narrow(1, 1, PLACES - 1), strange], 1);
            let found = candidates(heatmap.clone(), distances, &levels(), 300);
            assert!(undecided(&found) > 0.0);
            let boxes: Vec<f32> = found.boxes.into_data().try_to_vec().unwrap();
            assert!(boxes.into_iter().all(f32::is_finite));
        }
        let nan = Tensor::<2>::full([2, PLACES], f32::NAN, &device);
        assert!(undecided(&candidates(nan, distances(&device), &levels(), 300)) > 0.0);
    }
}
