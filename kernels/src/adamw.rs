//! A step of AdamW (Loshchilov and Hutter, *Decoupled weight decay regularization*, ICLR 2019).

use multiversion::multiversion;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

/// Numbers of a block: its four parts stay in the second cache, and waking a thread is little beside it.
const BLOCK: usize = 1 << 15;

/// The numbers of AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the denominator.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

/// A parameter and its two moments.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// Its numbers.
    pub values: &'a mut [f32],
    /// The means of its gradients.
    pub moment_1: &'a mut [f32],
    /// The means of their squares.
    pub moment_2: &'a mut [f32],
}

impl AdamW {
    /// The step number `time`, from 1.
    pub fn step(self, rate: f64, time: usize, parameter: Parameter<'_>, gradient: &[f32]) {
        let update = Update::new(self, rate, time);
        let Parameter { values, moment_1, moment_2 } = parameter;
        values
            .par_chunks_mut(BLOCK)
            .zip(gradient.par_chunks(BLOCK))
            .zip(moment_1.par_chunks_mut(BLOCK).zip(moment_2.par_chunks_mut(BLOCK)))
            .for_each(|((values, gradient), (moment_1, moment_2))| {
                step_block(update, Parameter { values, moment_1, moment_2 }, gradient);
            });
    }
}

/// What one step does to every number.
#[derive(Clone, Copy)]
struct Update {
    beta: [f32; 2],
    /// 1 − β.
    gain: [f32; 2],
    /// 1 − βᵗ.
    correction: [f32; 2],
    epsilon: f32,
    kept: f32,
    rate: f32,
}

impl Update {
    fn new(settings: AdamW, rate: f64, time: usize) -> Self {
        let beta = [settings.beta_1, settings.beta_2];
        Self {
            beta,
            gain: beta.map(|beta| 1.0 - beta),
            correction: beta.map(|beta| 1.0 - beta.powi(time as i32)),
            epsilon: settings.epsilon,
            kept: (1.0 - rate * f64::from(settings.weight_decay)) as f32,
            rate: rate as f32,
        }
    }
}

#[multiversion(targets = "simd")]
fn step_block(update: Update, parameter: Parameter<'_>, gradient: &[f32]) {
    let Parameter { values, moment_1, moment_2 } = parameter;
    let Update { beta, gain, correction, epsilon, kept, rate } = update;
    let moments = moment_1.iter_mut().zip(moment_2);
    for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
        *first = *first * beta[0] + gradient * gain[0];
        *second = *second * beta[1] + gradient * gradient * gain[1];
        let corrected = [*first / correction[0], *second / correction[1]];
        let change = corrected[0] / (corrected[1].sqrt() + epsilon);
        *value = *value * kept - change * rate;
    }
}
