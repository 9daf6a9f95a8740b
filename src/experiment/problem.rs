//! A key or value that cannot be used, and how problems become one error.

use super::document::Node;
use crate::error::{Error, Result};
use crate::model::ConfigProblem;

/// How like another a name must be to be what was meant, in Jaro-Winkler's measure; or it is one slip
/// away, which that measure overlooks in short names.
const SIMILAR: f64 = 0.8;

/// A key or value that cannot be used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    /// The file and line, or `--set`.
    pub(super) origin: String,
    /// Dotted path of the key.
    pub(super) key: String,
    /// What was found.
    pub(super) problem: String,
    /// What is allowed.
    pub(super) help: String,
}

impl Problem {
    /// A problem of a config, whose keys are those of the whole experiment.
    pub(super) fn of_config(problem: ConfigProblem, document: &Node) -> Self {
        let ConfigProblem { key, problem, allowed } = problem;
        let default = if document.contains(&key) { "" } else { " The value is the default." };
        Self {
            origin: document.origin_of(&key).to_string(),
            help: format!("Allowed: {allowed}.{default}"),
            key,
            problem,
        }
    }
}

/// An error about the first of `problems`, whose help lists the others.
pub(super) fn report(problems: Vec<Problem>) -> Result<()> {
    let mut problems = problems.into_iter();
    let Some(first) = problems.next() else { return Ok(()) };
    let mut help = first.help;
    if problems.len() > 0 {
        help.push_str(&format!("\n\nAnd {} more:", problems.len()));
    }
    for Problem { origin, key, problem, help: other } in problems {
        help.push_str(&format!("\n{origin}: `{key}`: {problem}. {other}"));
    }
    Err(Error::Experiment { origin: first.origin, key: first.key, problem: first.problem, help })
}

/// "Did you mean …? " where one of `allowed` is like `found`, else nothing.
pub(crate) fn did_you_mean<'a>(
    found: &str,
    allowed: impl IntoIterator<Item = &'a str>,
    quote: char,
) -> String {
    let score = |name: &'a str| {
        let one_slip = strsim::damerau_levenshtein(found, name) <= 1;
        (if one_slip { 1.0 } else { strsim::jaro_winkler(found, name) }, name)
    };
    let best = allowed.into_iter().map(score).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((score, name)) if score > SIMILAR => format!("Did you mean {quote}{name}{quote}? "),
        _ => String::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use miette::Diagnostic;

    use super::*;

    fn problem(key: &str) -> Problem {
        Problem {
            origin: "a.toml:1".into(),
            key: key.into(),
            problem: "is odd".into(),
            help: "Allowed: even.".into(),
        }
    }

    #[test]
    fn all_problems_are_in_one_error() {
        assert!(report(Vec::new()).is_ok());
        let one = report(vec![problem("x")]).unwrap_err();
        assert_eq!(one.to_string(), "a.toml:1: `x`: is odd");
        assert_eq!(one.help().unwrap().to_string(), "Allowed: even.");
        let two = report(vec![problem("x"), problem("y")]).unwrap_err();
        let help = two.help().unwrap().to_string();
        let expected = "Allowed: even.\n\nAnd 1 more:\na.toml:1: `y`: is odd. Allowed: even.";
        assert_eq!(help, expected);
    }

    #[test]
    fn only_similar_names_are_suggested() {
        let allowed = ["batch_size", "max_steps"];
        assert_eq!(did_you_mean("bach_size", allowed, '`'), "Did you mean `batch_size`? ");
        assert_eq!(did_you_mean("colour", allowed, '`'), "");
        assert_eq!(did_you_mean("gti", ["git"], '"'), "Did you mean \"git\"? ");
    }
}
