//! Measures of the COCO evaluation, of what *narrate* and *describe* write.

use super::Table;
use crate::metrics::bleu::bleu;
use crate::metrics::cider::cider;
use crate::metrics::coco::Captions;
use crate::metrics::penn_treebank::tokenize;
use crate::metrics::rouge::rouge_l;

/// Captions so far, one entry per image (or region), each beside its references.
pub(super) struct WrittenCaptions {
    written: Vec<Captions>,
    /// The trivial caption, its tokens.
    trivial: Option<String>,
    num_without_references: usize,
}

impl WrittenCaptions {
    /// None yet; `trivial` is the caption that is compared with them.
    pub(super) fn new(trivial: Option<&str>) -> Self {
        Self { written: Vec::new(), trivial: trivial.map(tokenize), num_without_references: 0 }
    }

    /// Adds what was written.
    pub(super) fn add(&mut self, written: &str, references: &[impl AsRef<str>]) {
        match Captions::of(written, references) {
            Some(captions) => self.written.push(captions),
            None => self.num_without_references += 1,
        }
    }

    /// Adds the metrics.
    pub(super) fn finish(&self, table: &mut Table) {
        if self.num_without_references > 0 {
            let number = self.num_without_references;
            table.note(format!(
                "{number} captions have no reference with words: bleu_4, rouge_l and cider leave \
                 them out"
            ));
        }
        let n = self.written.len();
        if n == 0 {
            return;
        }
        let trivial: Option<Vec<Captions>> = self.trivial.as_ref().map(|trivial| {
            let beside = |captions: &Captions| Captions {
                candidate: trivial.clone(),
                references: captions.references.clone(),
            };
            self.written.iter().map(beside).collect()
        });
        let meteor = table.meteor.clone();
        let mut add = |metric: &str, of: &dyn Fn(&[Captions]) -> f64| {
            table.add(metric, of(&self.written), trivial.as_deref().map(of), n);
        };
        add("bleu_4", &|set| {
            let [.., bleu_4] = bleu(set);
            bleu_4.corpus
        });
        add("rouge_l", &|set| rouge_l(set).corpus);
        if let Some(meteor) = meteor {
            add("meteor", &|set| meteor.score_set(set).corpus);
        }
        if n > 1 {
            add("cider", &|set| cider(set).corpus);
        } else {
            table.note("cider compares captions with those of other images, and there is one caption: it is left out");
        }
    }
}
