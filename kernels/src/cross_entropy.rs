//! Cross-entropy of rows of scores with smoothed labels.

use multiversion::multiversion;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use crate::exponential::exp;
use crate::rows::{largest, rows_at_once, sum};

/// What each row should say.
#[derive(Debug, Clone)]
pub struct Labels {
    /// The class of each row, `[R]`.
    pub classes: Vec<usize>,
    /// What each row counts, `[R]`.
    pub weights: Vec<f32>,
    /// Probability of the class of a row.
    pub of_class: f32,
    /// Probability of each other class.
    pub of_others: f32,
}

impl Labels {
    /// The sum of the probabilities of a row over `length` classes.
    fn total(&self, length: usize) -> f32 {
        self.of_class + self.of_others * (length as f32 - 1.0)
    }
}

/// The weighted sum over rows of `length` scores of `−Σ p · log softmax(scores)`, and log Σ exp of every row.
pub fn forward(scores: &[f32], length: usize, labels: &Labels) -> (f32, Vec<f32>) {
    let total = labels.total(length);
    let rows = scores.par_chunks_exact(length.max(1)).enumerate();
    let (normalisers, losses): (Vec<f32>, Vec<f32>) = rows
        .with_min_len(rows_at_once(length))
        .map(|(index, row)| {
            let weight = labels.weights[index];
            if weight == 0.0 {
                return (0.0, 0.0);
            }
            let normaliser = log_of_sum(row);
            let right = row[labels.classes[index]];
            let all = if labels.of_others == 0.0 { right } else { sum(length, |i| row[i]) };
            let expected = labels.of_class * right + labels.of_others * (all - right);
            (normaliser, weight * (total * normaliser - expected))
        })
        .unzip();
    (losses.into_iter().map(f64::from).sum::<f64>() as f32, normalisers)
}

/// The scores become their gradients, from that of the sum.
pub fn backward(
    scores: &mut [f32],
    length: usize,
    labels: &Labels,
    normalisers: &[f32],
    gradient: f32,
) {
    let total = labels.total(length);
    let rows = scores.par_chunks_exact_mut(length.max(1)).enumerate();
    rows.with_min_len(rows_at_once(length)).for_each(|(index, row)| {
        let weight = gradient * labels.weights[index];
        if weight == 0.0 {
            row.fill(0.0);
            return;
        }
        let (weighted, others) = (weight * total, weight * labels.of_others);
        let normaliser = normalisers[index];
        gradient_of_row(row, normaliser, weighted, others);
        row[labels.classes[index]] -= weight * (labels.of_class - labels.of_others);
    });
}

/// log Σ exp of `row`.
#[multiversion(targets = "simd")]
fn log_of_sum(row: &[f32]) -> f32 {
    let largest = largest(row);
    largest + sum(row.len(), |i| exp(row[i] - largest)).ln()
}

#[multiversion(targets = "simd")]
fn gradient_of_row(row: &mut [f32], normaliser: f32, weighted: f32, others: f32) {
    row.iter_mut().for_each(|value| *value = weighted * exp(*value - normaliser) - others);
}
