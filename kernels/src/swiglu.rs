//! The gate of SwiGLU (Shazeer, *GLU variants improve Transformer*, 2020): `silu(gate) · up`.

use multiversion::multiversion;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use crate::exponential::sigmoid;
use crate::rows::rows_at_once;

/// `silu(gate) · up`.
pub fn forward(gate: &[f32], up: &[f32], output: &mut [f32]) {
    let length = rows_at_once(1);
    let inputs = gate.par_chunks(length).zip(up.par_chunks(length));
    output.par_chunks_mut(length).zip(inputs).for_each(|(output, (gate, up))| {
        forward_block(gate, up, output);
    });
}

#[multiversion(targets = "simd")]
fn forward_block(gate: &[f32], up: &[f32], output: &mut [f32]) {
    for (output, (gate, up)) in output.iter_mut().zip(gate.iter().zip(up)) {
        *output = gate * sigmoid(*gate) * up;
    }
}

/// The gradient of the output becomes that of `gate`; that of `up` goes to `of_up`.
pub fn backward(gate: &[f32], up: &[f32], gradient: &mut [f32], of_up: &mut [f32]) {
    let length = rows_at_once(1);
    let inputs = gate.par_chunks(length).zip(up.par_chunks(length));
    let outputs = gradient.par_chunks_mut(length).zip(of_up.par_chunks_mut(length));
    outputs.zip(inputs).for_each(|((gradient, of_up), (gate, up))| {
        backward_block(gate, up, gradient, of_up);
    });
}

#[multiversion(targets = "simd")]
fn backward_block(gate: &[f32], up: &[f32], gradient: &mut [f32], of_up: &mut [f32]) {
    let outputs = gradient.iter_mut().zip(of_up);
    for ((gradient, of_up), (gate, up)) in outputs.zip(gate.iter().zip(up)) {
        let open = sigmoid(*gate);
        *of_up = *gradient * gate * open;
        *gradient *= up * open * (1.0 + gate * (1.0 - open));
    }
}
