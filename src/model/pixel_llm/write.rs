//! Texts out: what the model writes about prompts.

use burn::tensor::{Int, Tensor};

use super::PixelLlm;
use crate::model::language::beam::beam_search;
use crate::model::language::decoding::{Decoding, write};

/// Texts about prompts, `K` for each, the best last.
#[derive(Debug, Clone)]
pub struct Written {
    /// `[B, N, K, M]`: begin, words, end; end again in what is left.
    pub tokens: Tensor<4, Int>,
    /// `[B, N, K]`: log-probabilities, divided by what [`Decoding`] divides them by.
    pub scores: Tensor<3>,
}

impl Written {
    /// The best text of each prompt and its score: `[B, N, M]` and `[B, N]`.
    pub fn best(&self) -> (Tensor<3, Int>, Tensor<2>) {
        let [_, _, count, _] = self.tokens.dims();
        let tokens = self.tokens.clone().narrow(2, count - 1, 1).squeeze_dim(2);
        (tokens, self.scores.clone().narrow(2, count - 1, 1).squeeze_dim(2))
    }
}

impl PixelLlm {
    /// Texts of at most `max_tokens` about prompts that were looked at
    /// ([`Self::visual_tokens`]).
    ///
    /// # Shapes
    /// - `visual`: `[B, N, Q, D]`
    /// - `context`: `[B, N, C]`, padded
    pub fn write(
        &self,
        visual: Tensor<4>,
        context: Option<Tensor<3, Int>>,
        max_tokens: usize,
        decoding: &Decoding,
    ) -> Written {
        let [batch, rows, _, _] = visual.dims();
        let state = self.begin_at(visual, context, rows);
        let (tokens, scores) = match decoding {
            Decoding::Greedy | Decoding::Sample(_) => {
                let texts = write(&self.language, state, max_tokens, decoding);
                (texts.tokens.unsqueeze_dim::<3>(1), texts.scores.unsqueeze_dim::<2>(1))
            }
            Decoding::Beams(config) => {
                let beams = beam_search(&self.language, state, max_tokens, config);
                (beams.tokens, beams.scores)
            }
        };
        let [_, count, length] = tokens.dims();
        Written {
            tokens: tokens.reshape([batch, rows, count, length]),
            scores: scores.reshape([batch, rows, count]),
        }
    }
}
