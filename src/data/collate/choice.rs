//! Which rows of a sample a batch has, and whether the sample is changed at random.

use rand::Rng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::Pick;

/// How many rows of a sample, and which.
#[derive(Debug)]
pub enum RowChoice<'a> {
    /// For training: `rows_per_image` of them, drawn at random.
    Random {
        /// What draws the rows of the samples that are not changed at random.
        rows: &'a mut ChaCha8Rng,
        /// What draws everything else about each sample.
        samples: &'a [ChaCha8Rng],
    },
    /// The first of them.
    First(usize),
}

/// What is to be done with a sample.
pub(super) enum Choice {
    /// These rows, of the image as it is.
    Rows(Vec<usize>),
    /// What is drawn with these numbers.
    Augmented(Box<ChaCha8Rng>),
}

/// What is drawn for each sample by the numbers of the batch, in the order of the samples; and the seed
/// of the batch, drawn last, so that rows are the same with it and without.
pub(super) fn choices(picks: &[Pick<'_>], choice: RowChoice<'_>) -> (Vec<Choice>, u64) {
    let total = |pick: &Pick<'_>| pick.source.samples.num_rows(pick.sample);
    match choice {
        RowChoice::First(count) => {
            let choose = |pick| Choice::Rows((0..total(pick).min(count)).collect());
            (picks.iter().map(choose).collect(), 0)
        }
        RowChoice::Random { rows, samples } => {
            let mut choose = |(pick, rng): (&Pick<'_>, Option<&ChaCha8Rng>)| match rng {
                Some(rng) if !pick.source.config.augmentation.is_off() => {
                    Choice::Augmented(Box::new(rng.clone()))
                }
                _ => Choice::Rows(choose(total(pick), pick.source.config.rows_per_image, rows)),
            };
            let samples = samples.iter().map(Some).chain(std::iter::repeat(None));
            let choices = picks.iter().zip(samples).map(&mut choose).collect();
            (choices, rows.random())
        }
    }
}

/// `count` of `total` rows at random, in their order; all where there are fewer.
pub(super) fn choose(total: usize, count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut chosen = index::sample(rng, total, count.min(total)).into_vec();
    chosen.sort_unstable();
    chosen
}
