//! Boxes ranked by what is said of them, too (`spec/inference.md` §3).

/// A caption of a box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Captioned {
    /// Index of the box.
    pub bounding_box: usize,
    /// Index of the caption among those of the box.
    pub caption: usize,
    /// `√(score of the box · probability of the caption)`.
    pub score: f32,
}

/// The surest `count` captions of an image by falling score; of equals, the first. A box may be among
/// them with several captions. Where each box has a single one, all boxes stay in their order.
///
/// `boxes` are the scores of the boxes, of which those below 0 count as 0; `captions` the
/// log-probabilities of the captions of each.
pub fn rescore(boxes: &[f32], captions: &[Vec<f32>], count: usize) -> Vec<Captioned> {
    let of_box = |(bounding_box, (score, captions)): (usize, (&f32, &Vec<f32>))| {
        let score = score.max(0.0);
        let caption = move |(caption, log_probability): (usize, &f32)| {
            let score = (score * log_probability.exp()).sqrt();
            Captioned { bounding_box, caption, score }
        };
        captions.iter().enumerate().map(caption).collect::<Vec<_>>()
    };
    let mut ranked: Vec<_> = boxes.iter().zip(captions).enumerate().flat_map(of_box).collect();
    if captions.iter().any(|captions| captions.len() > 1) {
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked.truncate(count);
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_may_come_twice_and_a_score_below_zero_counts_as_zero() {
        let captions = [vec![0.25f32.ln(), 0.0], vec![0.0, 0.5f32.ln()], vec![0.0, 0.0]];
        let ranked = rescore(&[0.64, 0.04, -1.0], &captions, 4);
        let found: Vec<_> = ranked.iter().map(|one| (one.bounding_box, one.caption)).collect();
        assert_eq!(found, [(0, 1), (0, 0), (1, 0), (1, 1)]);
        assert!((ranked[0].score - 0.8).abs() < 1e-6 && (ranked[1].score - 0.4).abs() < 1e-6);
    }

    #[test]
    fn with_one_caption_each_boxes_stay_in_their_order() {
        let ranked = rescore(&[0.1, 0.9], &[vec![0.0], vec![0.0]], 1);
        assert_eq!(ranked.iter().map(|one| one.bounding_box).collect::<Vec<_>>(), [0, 1]);
    }
}
