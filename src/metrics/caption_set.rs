//! Captions of a set, and every measure of the COCO evaluation of them.

use rayon::prelude::*;

use super::bleu::Counts;
use super::bootstrap;
use super::cider::cider_of_numbered;
use super::coco::Captions;
use super::meteor::Meteor;
use super::meteor::statistics::Statistics;
use super::ngrams;
use super::rouge::rouge_l;
use super::sample_set::SampleSet;

/// The captions so far, by the id of their image.
pub type CaptionSet<I> = SampleSet<I, Captions>;

/// All measures of a set, in the order of [`Self::names`].
#[derive(Debug)]
pub struct CaptionScores<I> {
    /// `Bleu_1` to `Bleu_4`, `METEOR` (or what [`Meteor::name`] says), `ROUGE_L`, `CIDEr`: the names of
    /// the COCO evaluation.
    pub names: Vec<&'static str>,
    /// Of the whole set.
    pub corpus: Vec<f64>,
    /// Of each image.
    pub per_image: Vec<(I, Vec<f64>)>,
    counts: Vec<Counts>,
    statistics: Vec<Statistics>,
}

impl<I: Ord + Clone + Sync + Send> CaptionSet<I> {
    /// Everything that is measured.
    pub fn scores(&self, meteor: &Meteor) -> CaptionScores<I> {
        let set: Vec<&Captions> = self.iter().map(|(_, captions)| captions).collect();
        let of_ngrams = || {
            let numbered = ngrams::numbered_set(&set);
            let counts: Vec<Counts> = numbered.par_iter().map(Counts::of).collect();
            (counts, cider_of_numbered(&numbered))
        };
        // The n-grams of a set are counted by one thread; the others have METEOR and ROUGE-L to do.
        let ((counts, cider), (statistics, rouge)) =
            rayon::join(of_ngrams, || (meteor.statistics_of_set(&set), rouge_l(&set)));
        let per_image = self.iter().enumerate().map(|(at, (id, _))| {
            let mut scores = counts[at].scores().to_vec();
            scores.extend([statistics[at].score(), rouge.per_image[at], cider.per_image[at]]);
            (id.clone(), scores)
        });
        let names = vec!["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", meteor.name(), "ROUGE_L", "CIDEr"];
        let per_image = per_image.collect();
        let mut scores = CaptionScores { names, corpus: vec![], per_image, counts, statistics };
        scores.corpus = scores.corpus_of(&(0..set.len()).collect::<Vec<_>>());
        scores
    }
}

impl<I: Sync> CaptionScores<I> {
    /// Bootstrap intervals of the corpus' scores; n-grams keep the weights of the whole set for CIDEr.
    pub fn intervals(&self, num_resamples: usize, seed: u64) -> Vec<[f64; 2]> {
        let of = |drawn: &[usize]| self.corpus_of(drawn);
        bootstrap::intervals(self.per_image.len(), num_resamples, seed, of)
    }

    /// Scores of the images at these positions, as a set.
    fn corpus_of(&self, positions: &[usize]) -> Vec<f64> {
        if positions.is_empty() {
            return vec![0.0; self.names.len()];
        }
        let mut counts = Counts::default();
        positions.iter().for_each(|&at| counts.add(&self.counts[at]));
        let statistics: Statistics = positions.iter().map(|&at| &self.statistics[at]).sum();
        let mut scores = counts.scores().to_vec();
        scores.push(statistics.score());
        for column in [5, 6] {
            let sum: f64 = positions.iter().map(|&at| self.per_image[at].1[column]).sum();
            scores.push(sum / positions.len() as f64);
        }
        scores
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn captions(index: usize) -> Captions {
        let texts = ["a red circle", "two blue squares", "a cat on a mat", "a dog runs"];
        Captions::all_of(texts[index], &[texts[index], texts[(index + 1) % 4], "a red square"])
    }

    #[test]
    fn workers_find_what_one_finds_in_any_order() {
        let (mut one, mut first, mut second) =
            (CaptionSet::default(), CaptionSet::default(), CaptionSet::default());
        for index in 0..4 {
            one.add(index, captions(index)).unwrap();
            let worker = if index % 2 == 0 { &mut second } else { &mut first };
            worker.add(index, captions(index)).unwrap();
        }
        assert_eq!(one.add(2, captions(2)), Err(2));
        first.merge(second.clone()).unwrap();
        assert_eq!(first.merge(second), Err(0), "the images of a worker twice");
        let meteor = Meteor::exact_and_stem();
        let (together, apart) = (one.scores(&meteor), first.scores(&meteor));
        assert_eq!(together.corpus, apart.corpus);
        assert_eq!(together.per_image, apart.per_image);
        assert_eq!(together.names[4], "meteor_exact_stem");
        assert!((together.corpus[4] - 1.0).abs() < 1e-12, "each caption is a reference of its own");
    }

    #[test]
    fn intervals_contain_the_score() {
        let mut set = CaptionSet::default();
        for index in 0..40 {
            set.add(index, captions(index % 4)).unwrap();
        }
        set.add(40, Captions::all_of("a tree", &["a house"])).unwrap();
        let scores = set.scores(&Meteor::exact_and_stem());
        let intervals = scores.intervals(200, 0);
        assert_eq!(intervals.len(), scores.names.len());
        for ([low, high], score) in intervals.iter().zip(&scores.corpus) {
            assert!(low <= score && score <= high, "{low} {score} {high}");
        }
    }
}
