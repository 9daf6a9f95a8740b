//! What T5 remembers of a prefix and of a text in progress, and what of it each row sees.

use burn::tensor::{Bool, Int, Tensor};

use super::config::Masking;
use super::layer::LayerMemory;
use crate::model::language::key_value::RowChange;

/// Added to the score of what is hidden. In `float32` it swallows every score and bias: a row from
/// which everything is hidden attends to all columns alike, as in the reference.
const HIDDEN: f32 = -1.0e10;

/// A prefix that is ready to be encoded.
#[derive(Debug, Clone)]
pub struct Prefix {
    /// Visual tokens, then embedded context: `[R, S, D]`.
    pub embeddings: Tensor<3>,
    /// 1 at visual tokens and real context, 0 at padding: `[R, S]`; `None` where there is no context,
    /// and nothing is masked.
    pub real: Option<Tensor<2>>,
}

/// What is remembered: of each decoder layer its keys and values.
#[derive(Debug, Clone)]
pub struct T5State {
    pub(super) layers: Vec<LayerMemory>,
    pub(super) masking: Masking,
    /// As [`Prefix::real`].
    pub(super) real: Option<Tensor<2>>,
    /// 1 where a token that was read is followed by another, 0 where by padding: `[R, T − 1]`. What
    /// follows the newest is known when it is read.
    pub(super) followed: Option<Tensor<2>>,
    pub(super) num_rows: usize,
    /// Tokens read up to now, `T`.
    pub(super) num_text: usize,
}

/// What follows the newest token that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Not known yet; the reference fills texts in progress with end tokens, so: a token.
    More,
    /// Nothing: the text is whole.
    Nothing,
}

/// Masks of rows that are read: 0 or [`HIDDEN`].
pub(super) struct TextMasks {
    /// Towards the text, `[R or 1, 1, L, T]`.
    pub(super) text: Tensor<4>,
    /// Towards the prefix, `[R, 1, L or 1, S or 1]`; `None` where nothing is hidden.
    pub(super) prefix: Option<Tensor<4>>,
}

impl T5State {
    /// Row `r` becomes rows `r·count ..`, for `count` texts that share a prefix.
    pub fn repeat_rows(self, count: usize) -> Self {
        let change = RowChange::Repeat(count);
        Self {
            layers: self.layers.into_iter().map(|layer| layer.change_rows(&change)).collect(),
            real: self.real.map(|real| change.apply(real)),
            followed: self.followed.map(|followed| change.apply(followed)),
            num_rows: change.num_rows(self.num_rows),
            ..self
        }
    }

    /// Text `indices[i]`, which has the prefix of text `i`, becomes text `i`; `indices`: `[R]`. What is
    /// known of prefixes stays where it is.
    pub fn reorder_texts(self, indices: Tensor<1, Int>) -> Self {
        let change = RowChange::Select(indices);
        Self {
            layers: self.layers.into_iter().map(|layer| layer.change_texts(&change)).collect(),
            followed: self.followed.map(|followed| change.apply(followed)),
            ..self
        }
    }

    /// Number of texts, `R`.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Takes note of `tokens` `[R, L]`, and says what each of them sees.
    pub(super) fn read(&mut self, tokens: &Tensor<2, Int>, pad: i64, after: After) -> TextMasks {
        let [num_rows, length] = tokens.dims();
        let device = tokens.device();
        let start = self.num_text;
        self.num_text += length;
        let causal =
            Tensor::<2, Bool>::tril_mask([length, self.num_text], start as i64, &device).float();
        let visible = causal.neg().add_scalar(1.0).unsqueeze::<3>();
        if self.masking == Masking::Columns {
            let prefix = self.real.clone().map(|real| hide(real.unsqueeze_dim(1)));
            return TextMasks { text: hide(visible), prefix };
        }
        let followed = self.follow(tokens, pad);
        let newest = match after {
            After::More => Tensor::ones([num_rows, 1], &device),
            After::Nothing => Tensor::zeros([num_rows, 1], &device),
        };
        let columns = match followed {
            Some(followed) => Tensor::cat(vec![followed, newest], 1),
            None => newest,
        };
        let rows = columns.clone().narrow(1, start, length).unsqueeze_dim::<3>(2);
        let text = visible * columns.unsqueeze_dim(1) * rows.clone();
        let prefix = match &self.real {
            Some(real) => rows * real.clone().unsqueeze_dim(1),
            None => rows,
        };
        TextMasks { text: hide(text), prefix: Some(hide(prefix)) }
    }

    /// Notes which tokens are followed by `tokens` `[R, L]` or are followed within them; [`Self::followed`].
    fn follow(&mut self, tokens: &Tensor<2, Int>, pad: i64) -> Option<Tensor<2>> {
        let length = tokens.dims()[1];
        // The first token of all follows nothing.
        let skipped = usize::from(self.num_text == length);
        let mut parts: Vec<_> = self.followed.take().into_iter().collect();
        if length > skipped {
            let following = tokens.clone().narrow(1, skipped, length - skipped);
            parts.push(following.not_equal_elem(pad).float());
        }
        self.followed = (!parts.is_empty()).then(|| Tensor::cat(parts, 1));
        self.followed.clone()
    }
}

/// What the rows of an encoder over `real` `[R, S]` see: `[R, 1, S or 1, S]`.
pub(super) fn encoder_mask(real: Tensor<2>, masking: Masking) -> Tensor<4> {
    let columns = real.clone().unsqueeze_dim::<3>(1);
    hide(match masking {
        Masking::Pairs => columns * real.unsqueeze_dim(2),
        Masking::Columns => columns,
    })
}

/// `visible`, 1 or 0: `[R, L, S]` → 0 or [`HIDDEN`], for all heads: `[R, 1, L, S]`.
fn hide(visible: Tensor<3>) -> Tensor<4> {
    visible.neg().add_scalar(1.0).mul_scalar(HIDDEN).unsqueeze_dim(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn state(masking: Masking, real: Option<Tensor<2>>) -> T5State {
        T5State { layers: Vec::new(), masking, real, followed: None, num_rows: 1, num_text: 0 }
    }

    /// Which columns each row sees.
    fn seen(mask: Tensor<4>) -> Vec<Vec<usize>> {
        let [_, _, _, columns] = mask.dims();
        let values: Vec<f32> = mask.into_data().try_to_vec().unwrap();
        let seen = |row: &[f32]| (0..columns).filter(|&column| row[column] == 0.0).collect();
        values.chunks(columns).map(seen).collect()
    }

    /// Begin, two words, end, padding.
    fn text(device: &Device) -> Tensor<2, Int> {
        Tensor::from_data([[9, 4, 5, 1, 0]], device)
    }

    #[test]
    fn of_a_whole_text_the_end_and_padding_neither_look_nor_are_looked_at() {
        let device = Device::flex();
        let real = Tensor::from_data([[1.0, 1.0, 0.0]], &device);
        let mut state = state(Masking::Pairs, Some(real));
        let masks = state.read(&text(&device), 0, After::Nothing);
        assert_eq!(seen(masks.text), [vec![0], vec![0, 1], vec![0, 1, 2], vec![], vec![]]);
        let columns = vec![0, 1];
        let expected = [columns.clone(), columns.clone(), columns, vec![], vec![]];
        assert_eq!(seen(masks.prefix.unwrap()), expected);
    }

    #[test]
    fn where_columns_alone_are_masked_every_row_looks() {
        let device = Device::flex();
        let mut state = state(Masking::Columns, None);
        let masks = state.read(&text(&device), 0, After::Nothing);
        let expected: [Vec<usize>; 5] = std::array::from_fn(|row| (0..=row).collect());
        assert_eq!(seen(masks.text), expected);
        assert!(masks.prefix.is_none());
    }

    #[test]
    fn the_newest_token_looks_until_it_is_known_that_padding_follows() {
        let device = Device::flex();
        let mut state = state(Masking::Pairs, None);
        let mut read = |token: i64| {
            let token = Tensor::from_data([[token]], &device);
            seen(state.read(&token, 0, After::More).text).concat()
        };
        assert_eq!(read(9), [0]);
        assert_eq!(read(4), [0, 1]);
        // That token 1 is followed by padding is known now.
        assert_eq!(read(0), [0, 2]);
        assert_eq!(read(5), [0, 2, 3]);
    }

    #[test]
    fn a_row_from_which_all_is_hidden_is_level_whatever_its_scores() {
        let device = Device::flex();
        let scores = Tensor::<4>::from_data([[[[-30.0, 7.0, 0.3, 200.0]]]], &device);
        let hidden = scores + hide(Tensor::zeros([1, 1, 4], &device));
        let weights = burn::tensor::activation::softmax(hidden, 3);
        assert_eq!(weights.into_data().try_to_vec::<f32>().unwrap(), [0.25; 4]);
    }
}
