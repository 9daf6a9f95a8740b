//! Measures of captions, and the tokens that they compare.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::compare::{Comparison, Tolerance};
use super::json;
use crate::data::formats::results::{Annotations, Caption, Image};
use crate::error::Result;
use crate::metrics::bleu::bleu;
use crate::metrics::cider::cider;
use crate::metrics::coco::{CaptionScore, Captions};
use crate::metrics::meteor::Meteor;
use crate::metrics::penn_treebank::tokenize;
use crate::metrics::rouge::rouge_l;

/// Scores are sums of numbers of the double precision of both sides.
const TOLERANCE: Tolerance = Tolerance::Close { absolute: 1e-6, relative: 0.0 };

/// What the reference's tokeniser makes of the captions, by image.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokenized {
    references: BTreeMap<String, Vec<String>>,
    candidates: BTreeMap<String, String>,
}

/// Metric → value.
type Scores = BTreeMap<String, f64>;

/// The scores; notes beside them are for people.
#[derive(Deserialize)]
struct Expected {
    corpus: Scores,
    per_image: BTreeMap<String, Scores>,
}

/// `caption_metrics`: the tokens of every caption, and the scores of the set and of every image. Scores
/// are of the reference's tokens, so that each part is checked by itself.
pub(super) fn captions(folder: &Path, meteor: Option<&Meteor>) -> Result<Vec<Comparison>> {
    let annotations: Annotations<Caption> = json::read(folder, "annotations.json")?;
    let results: Vec<Caption> = json::read(folder, "results.json")?;
    let tokenized: Tokenized = json::read(folder, "tokenized.json")?;
    let expected: Expected = json::read(folder, "expected_scores.json")?;
    let mut comparisons = tokens(&annotations.annotations, &results, &tokenized);
    comparisons.extend(scores(&annotations.images, &tokenized, &expected, meteor));
    Ok(comparisons)
}

fn tokens(references: &[Caption], candidates: &[Caption], expected: &Tokenized) -> Vec<Comparison> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for caption in references {
        found.entry(caption.image_id.to_string()).or_default().push(tokenize(&caption.caption));
    }
    let candidates: BTreeMap<String, Vec<String>> = candidates
        .iter()
        .map(|one| (one.image_id.to_string(), vec![tokenize(&one.caption)]))
        .collect();
    let expected_candidates: BTreeMap<String, Vec<String>> = expected
        .candidates
        .iter()
        .map(|(image, text)| (image.clone(), vec![text.clone()]))
        .collect();
    vec![
        same("tokens of references", &found, &expected.references),
        same("tokens of candidates", &candidates, &expected_candidates),
    ]
}

/// Compares the captions of each image.
fn same(
    output: &str,
    found: &BTreeMap<String, Vec<String>>,
    expected: &BTreeMap<String, Vec<String>>,
) -> Comparison {
    let differs = |image: &&String| found.get(*image) != expected.get(*image);
    let images: Vec<&String> = expected.keys().filter(differs).collect();
    let problem = images.first().map(|first| {
        let (found, expected) = (found.get(*first), expected.get(*first));
        let number = images.len();
        format!("{number} images; {first}: {found:?} in the place of {expected:?}")
    });
    Comparison::of_truth(output, problem)
}

fn scores(
    images: &[Image],
    tokenized: &Tokenized,
    expected: &Expected,
    meteor: Option<&Meteor>,
) -> Vec<Comparison> {
    let mut ids = Vec::new();
    let mut set = Vec::new();
    for Image { id } in images {
        let id = id.to_string();
        let texts = (tokenized.candidates.get(&id), tokenized.references.get(&id));
        if let (Some(candidate), Some(references)) = texts {
            ids.push(id);
            set.push(Captions { candidate: candidate.clone(), references: references.clone() });
        }
    }
    let [bleu_1, bleu_2, bleu_3, bleu_4] = bleu(&set);
    let mut found: Vec<(&str, CaptionScore)> = vec![
        ("Bleu_1", bleu_1),
        ("Bleu_2", bleu_2),
        ("Bleu_3", bleu_3),
        ("Bleu_4", bleu_4),
        ("ROUGE_L", rouge_l(&set)),
        ("CIDEr", cider(&set)),
    ];
    found.extend(meteor.map(|meteor| ("METEOR", meteor.score_set(&set))));
    let mut comparisons = Vec::new();
    for (metric, &corpus) in &expected.corpus {
        let name = format!("{metric}, per image");
        let Some((_, score)) = found.iter().find(|(name, _)| name == metric) else {
            comparisons.push(Comparison::not_implemented(metric));
            comparisons.push(Comparison::not_implemented(&name));
            continue;
        };
        comparisons.push(Comparison::numbers(metric, &[score.corpus], &[corpus], TOLERANCE));
        let of_images =
            expected.per_image.values().filter_map(|scores| scores.get(metric).copied());
        let of_images: Vec<f64> = of_images.collect();
        let by_id: BTreeMap<&String, f64> =
            ids.iter().zip(score.per_image.iter().copied()).collect();
        let per_image: Vec<f64> = by_id.into_values().collect();
        comparisons.push(Comparison::numbers(&name, &per_image, &of_images, TOLERANCE));
    }
    comparisons
}
