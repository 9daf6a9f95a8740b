//! Boxes that are written: what has to go together for *locate* to answer by text.

use super::problem;
use crate::data::sample::Task;
use crate::data::source::{AnswerForm, SourceConfig, TEXT_PLACEHOLDER};
use crate::data::tokenizer::COORDINATES;
use crate::experiment::Experiment;
use crate::model::ConfigProblem;

/// A first coordinate and a last.
const FEWEST_LOCATION_TOKENS: usize = 2;
/// Begin, the coordinates, end.
const TEXT_TOKENS: usize = COORDINATES + 2;

/// With dotted keys.
pub(super) fn validate(experiment: &Experiment) -> Vec<ConfigProblem> {
    let sources = &experiment.data.sources;
    let mut problems = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let of_source = source_problem(experiment, source);
        problems.extend(of_source.map(|(key, found, allowed)| {
            problem(&format!("data.sources.{index}.{key}"), found, allowed)
        }));
    }
    let count = experiment.data.tokenizer.location_tokens;
    if sources.iter().any(SourceConfig::writes_boxes) && count < FEWEST_LOCATION_TOKENS {
        let found = format!("is {count}, but boxes are to be written");
        let allowed = format!("at least {FEWEST_LOCATION_TOKENS}, such as 64");
        problems.push(problem("data.tokenizer.location_tokens", found, allowed));
    }
    problems
}

/// The key of a source, what is wrong with it, and what would be right.
fn source_problem(
    experiment: &Experiment,
    source: &SourceConfig,
) -> Option<(&'static str, String, String)> {
    if source.answer == AnswerForm::Points {
        return None;
    }
    if source.task != Task::Locate {
        let found = format!("is \"text\", but {} has no such choice", source.task.name());
        return Some(("answer", found, "\"text\" for locate only".into()));
    }
    let is_other =
        |other: &SourceConfig| other.task == Task::Locate && other.answer != AnswerForm::Text;
    if experiment.data.sources.iter().any(is_other) {
        let found = "is \"text\", but another source of locate answers by points".to_string();
        return Some(("answer", found, "the same for every source of locate".into()));
    }
    if experiment.model.masks.is_some() {
        let found = "is \"text\", but the mask branch reads expressions where answers are written";
        return Some(("answer", found.into(), "\"points\", or model.masks = false".into()));
    }
    if !source.prompt.contains(TEXT_PLACEHOLDER) {
        let found = "the model would not see what it is to locate".to_string();
        let allowed = "an instruction with `{text}`, such as \"locate {text}\"";
        return Some(("prompt", found, allowed.into()));
    }
    let longest = experiment.model.language.max_text_tokens();
    (longest < TEXT_TOKENS).then(|| {
        let found = format!("is \"text\", but the language model has {longest} positions");
        ("answer", found, format!("at least {TEXT_TOKENS} positions"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::validate::tests::valid;
    use crate::model::heads::masks::MaskConfig;
    use crate::model::language::LanguageConfig;

    /// An experiment that locates by text.
    fn written() -> Experiment {
        let mut experiment = valid();
        experiment.data.tokenizer.location_tokens = 32;
        let source = &mut experiment.data.sources[0];
        (source.answer, source.prompt) = (AnswerForm::Text, "locate {text}".into());
        experiment
    }

    fn keys(change: impl Fn(&mut Experiment)) -> Vec<String> {
        let mut experiment = written();
        change(&mut experiment);
        experiment.validate().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn written_boxes_need_no_point_head() {
        assert_eq!(written().validate(), []);
        assert!(keys(|e| e.model.points = None).is_empty());
        let by_points = |e: &mut Experiment| {
            e.model.points = None;
            e.data.sources[0].answer = AnswerForm::Points;
        };
        assert_eq!(keys(by_points), ["model.points"]);
    }

    #[test]
    fn boxes_are_written_in_location_tokens_after_the_expression() {
        let key = "data.tokenizer.location_tokens";
        assert_eq!(keys(|e| e.data.tokenizer.location_tokens = 1), [key]);
        let prompt = "data.sources.0.prompt";
        assert_eq!(keys(|e| e.data.sources[0].prompt = "locate".into()), [prompt]);
        let short = |e: &mut Experiment| {
            e.data.sources[0].max_text_tokens = 5;
            e.data.sources[0].max_context_tokens = 5;
            if let LanguageConfig::Git(git) = &mut e.model.language {
                git.max_positions = 5;
            }
        };
        assert_eq!(keys(short), ["data.sources.0.answer"]);
    }

    #[test]
    fn only_locate_answers_by_text_without_masks_and_all_of_it_alike() {
        let key = "data.sources.0.answer";
        assert_eq!(keys(|e| e.data.sources[0].task = Task::Describe), [key]);
        assert_eq!(keys(|e| e.model.masks = Some(MaskConfig::default())), [key]);
        let mixed = |e: &mut Experiment| {
            let other = SourceConfig { answer: AnswerForm::Points, ..e.data.sources[0].clone() };
            e.data.sources.push(other);
        };
        assert_eq!(keys(mixed), [key]);
    }
}
