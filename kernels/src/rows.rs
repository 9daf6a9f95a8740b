//! Rows of numbers: how they are shared out to threads, and sums over one.

/// Numbers that a thread takes at once, at least.
const WORTH_A_THREAD: usize = 1 << 14;
/// Sums that are formed side by side: the compiler adds several at once where none waits for another.
const LANES: usize = 16;

/// How many rows of `length` numbers a thread takes at once.
pub(crate) fn rows_at_once(length: usize) -> usize {
    WORTH_A_THREAD.div_ceil(length.max(1))
}

/// The sum of `value(i)` for `i` up to `count`.
#[inline(always)]
pub(crate) fn sum(count: usize, value: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let whole = count / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += value(start + lane);
        }
    }
    let rest: f32 = (whole..count).map(value).sum();
    sums.iter().sum::<f32>() + rest
}

/// The largest of `row`.
#[inline(always)]
pub(crate) fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = row.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (largest, value) in lanes.iter_mut().zip(chunk) {
            *largest = if *value > *largest { *value } else { *largest };
        }
    }
    lanes.iter().chain(chunks.remainder()).copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_maxima_are_over_all_of_a_row() {
        for count in [0, 1, 15, 16, 17, 100] {
            let row: Vec<f32> = (0..count).map(|i| ((i * 37) % 101) as f32).collect();
            assert_eq!(sum(count, |i| row[i]), row.iter().sum::<f32>());
            assert_eq!(largest(&row), row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
