//! Floor 1: the model, read top-down like the paper. Nothing here knows of files, TOML, datasets or
//! training loops.
//!
//! Letters in shapes (`docs/src/notation.md`): `B` images, `N` rows (prompts, captions) per image,
//! `L` text tokens, `C` context tokens, `Q` visual tokens per prompt, `V` vocabulary, `H W` grid of a
//! feature map, `D` width, `P` points per token.
//!
//! Config structs derive serde rather than Burn's `Config`: Burn's derive has no defaults on
//! reading and ignores unknown keys in silence, and an experiment must do neither.

pub mod activation;
pub mod attention;
pub mod dense;
pub mod heads;
pub mod kernels;
pub mod language;
pub mod loss;
pub mod matrix_product;
pub mod mixed_precision;
pub mod pixel_llm;
pub mod places;
pub mod prompt;
pub mod storage;
#[cfg(test)]
pub(crate) mod testing;
pub mod vision;

/// A setting from which no module can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key, relative to the config that was checked.
    pub key: String,
    /// What is wrong with its value.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

impl ConfigProblem {
    /// The same problems seen from the table that holds `key`.
    pub fn under(key: &str, problems: Vec<Self>) -> Vec<Self> {
        let nest = |problem: Self| Self { key: format!("{key}.{}", problem.key), ..problem };
        problems.into_iter().map(nest).collect()
    }

    /// A problem unless `heads` divide `width`.
    pub fn heads(key: &str, heads: usize, width: usize) -> Option<Self> {
        let divides = heads > 0 && width.is_multiple_of(heads);
        (!divides).then(|| Self {
            key: key.to_string(),
            problem: format!("{heads} heads do not divide a width of {width}"),
            allowed: format!("a divisor of {width}"),
        })
    }

    /// A problem unless `probability` can be that of dropout.
    pub fn dropout(key: &str, probability: f64) -> Option<Self> {
        (!(0.0..1.0).contains(&probability)).then(|| Self {
            key: key.to_string(),
            problem: format!("{probability} is not a probability below 1"),
            allowed: "at least 0 and below 1".to_string(),
        })
    }
}
