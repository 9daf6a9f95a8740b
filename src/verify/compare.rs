//! Tolerances and differences.

use std::fmt;

use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use super::vectors::Vectors;

/// How far a number may be from the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// |found − expected| ≤ absolute + relative · |expected|.
    Close {
        /// In the unit of the output.
        absolute: f64,
        /// As a share of the expected value.
        relative: f64,
    },
    /// The same number.
    Exact,
}

impl Tolerance {
    /// Features, logits and normalised coordinates.
    pub const FEATURES: Self = Self::Close { absolute: 1e-4, relative: 1e-4 };
    /// Features of deep networks whose residual stream is not normalised: their magnitude is about 20.
    pub const UNNORMALISED: Self = Self::Close { absolute: 5e-4, relative: 1e-4 };
    /// Coordinates in pixels, up to about 200.
    pub const PIXELS: Self = Self::Close { absolute: 1e-2, relative: 0.0 };
    /// Losses.
    pub const LOSS: Self = Self::Close { absolute: 1e-6, relative: 1e-4 };
    /// Norms of gradients.
    pub const GRADIENT_NORM: Self = Self::Close { absolute: 1e-5, relative: 1e-3 };

    fn accepts(self, found: f64, expected: f64) -> bool {
        match self {
            // Equal infinities, too, are equal.
            _ if found == expected => true,
            Self::Close { absolute, relative } => {
                (found - expected).abs() <= absolute + relative * expected.abs()
            }
            Self::Exact => false,
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close { absolute, relative: 0.0 } => write!(f, "{absolute:.0e}"),
            Self::Close { absolute, relative } => write!(f, "{absolute:.0e} + {relative:.0e}·|x|"),
            Self::Exact => write!(f, "exact"),
        }
    }
}

/// An output that was computed here.
#[derive(Debug)]
pub struct Produced {
    /// Its name in the file, without `out/`.
    pub name: String,
    /// Its values.
    pub values: TensorData,
    /// How near they must come.
    pub tolerance: Tolerance,
}

impl Produced {
    /// Real numbers.
    pub fn float<const D: usize>(
        name: impl Into<String>,
        values: Tensor<D>,
        tolerance: Tolerance,
    ) -> Self {
        Self { name: name.into(), values: values.into_data(), tolerance }
    }

    /// Integers, which must be the same.
    pub fn integers<const D: usize>(name: impl Into<String>, values: Tensor<D, Int>) -> Self {
        Self { name: name.into(), values: values.into_data(), tolerance: Tolerance::Exact }
    }

    /// Truth values, which must be the same.
    pub fn truths<const D: usize>(name: impl Into<String>, values: Tensor<D, Bool>) -> Self {
        Self::integers(name, values.int())
    }
}

/// An output beside the reference's.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Name of the output.
    pub output: String,
    /// Largest difference, in the unit of the output.
    pub absolute: f64,
    /// Largest difference as a share of the largest expected magnitude.
    pub relative: f64,
    /// What is allowed.
    pub tolerance: Option<Tolerance>,
    /// How it went.
    pub verdict: Verdict,
}

/// How an output went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Within its tolerance.
    Passed,
    /// Not, and why.
    Failed(String),
    /// What computes it is not built.
    NotImplemented,
}

impl Comparison {
    /// One that holds or fails as a whole, for what is not made of numbers.
    pub fn of_truth(output: &str, problem: Option<String>) -> Self {
        let verdict = problem.map_or(Verdict::Passed, Verdict::Failed);
        Self::without_values(output, verdict)
    }

    /// One of an output that nothing here computes.
    pub fn not_implemented(output: &str) -> Self {
        Self::without_values(output, Verdict::NotImplemented)
    }

    /// As many numbers as are expected, each within `tolerance`.
    pub fn numbers(output: &str, found: &[f64], expected: &[f64], tolerance: Tolerance) -> Self {
        if found.len() == expected.len() {
            return compare(output, found, expected, tolerance);
        }
        let problem = format!("has {} values, not {}", found.len(), expected.len());
        Self::without_values(output, Verdict::Failed(problem))
    }

    fn without_values(output: &str, verdict: Verdict) -> Self {
        Self {
            output: output.to_string(),
            absolute: f64::NAN,
            relative: f64::NAN,
            tolerance: None,
            verdict,
        }
    }
}

/// Compares every output of the file.
pub fn all(vectors: &Vectors, produced: Vec<Produced>) -> Vec<Comparison> {
    let names = vectors.output_names().map(|name| {
        let Some(found) = produced.iter().find(|one| one.name == name) else {
            return Comparison::without_values(name, Verdict::NotImplemented);
        };
        match vectors.output(name) {
            Ok(expected) => one(found, &expected),
            Err(error) => Comparison::without_values(name, Verdict::Failed(error.to_string())),
        }
    });
    let mut comparisons: Vec<_> = names.collect();
    let known: Vec<&str> = vectors.output_names().collect();
    let invented = produced.iter().filter(|one| !known.contains(&one.name.as_str()));
    comparisons.extend(invented.map(|one| {
        let problem = "is not in the file".to_string();
        Comparison::without_values(&one.name, Verdict::Failed(problem))
    }));
    comparisons
}

fn one(found: &Produced, expected: &TensorData) -> Comparison {
    let name = found.name.as_str();
    let values = found.values.clone().convert_dtype(DType::F64);
    if values.shape() != expected.shape() {
        let problem = format!("has the shape {:?}, not {:?}", values.shape(), expected.shape());
        return Comparison::without_values(name, Verdict::Failed(problem));
    }
    let (Ok(found_values), Ok(expected)) =
        (values.try_to_vec::<f64>(), expected.try_to_vec::<f64>())
    else {
        let problem = "is not made of numbers".to_string();
        return Comparison::without_values(name, Verdict::Failed(problem));
    };
    compare(name, &found_values, &expected, found.tolerance)
}

fn compare(name: &str, found: &[f64], expected: &[f64], tolerance: Tolerance) -> Comparison {
    let magnitude = expected.iter().filter(|x| x.is_finite()).fold(0.0f64, |a, x| a.max(x.abs()));
    let mut absolute = 0.0f64;
    let mut wrong = 0;
    for (&found, &expected) in found.iter().zip(expected) {
        if found != expected {
            let difference = (found - expected).abs();
            absolute =
                if difference.is_finite() { absolute.max(difference) } else { f64::INFINITY };
        }
        wrong += usize::from(!tolerance.accepts(found, expected));
    }
    let relative = if absolute == 0.0 { 0.0 } else { absolute / magnitude };
    let verdict = match wrong {
        0 => Verdict::Passed,
        _ => Verdict::Failed(format!("{wrong} of {} values", expected.len())),
    };
    Comparison { output: name.to_string(), absolute, relative, tolerance: Some(tolerance), verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_beyond_the_tolerance_fails_and_is_counted() {
        let near = compare("x", &[1.0, 2.0001], &[1.0, 2.0], Tolerance::FEATURES);
        assert_eq!(near.verdict, Verdict::Passed);
        let far = compare("x", &[1.0, 2.1], &[1.0, 2.0], Tolerance::FEATURES);
        assert_eq!(far.verdict, Verdict::Failed("1 of 2 values".into()));
        assert!((far.absolute - 0.1).abs() < 1e-9 && (far.relative - 0.05).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_a_number_fails_and_equal_infinities_pass() {
        assert_ne!(compare("x", &[f64::NAN], &[1.0], Tolerance::FEATURES).verdict, Verdict::Passed);
        assert_ne!(
            compare("x", &[f64::INFINITY], &[1.0], Tolerance::FEATURES).verdict,
            Verdict::Passed
        );
        let infinite = [f64::NEG_INFINITY];
        assert_eq!(compare("x", &infinite, &infinite, Tolerance::Exact).verdict, Verdict::Passed);
        assert_ne!(compare("x", &[1.0], &[2.0], Tolerance::Exact).verdict, Verdict::Passed);
    }
}
