//! The reference's language for which tokens of a text have a place (`spec/losses.md` §2.1): what is
//! left out, such as `begin,end,pad`; with `^` before it, what is not. [`super::point::TokenSelection`]
//! has the two selections that training needs.

use std::str::FromStr;

use burn::tensor::{Bool, Int, Tensor};

use crate::model::language::Vocabulary;

/// Id of padding in the rules, whatever the vocabulary says: the reference tests for 0.
const PAD: i64 = 0;

/// Which tokens are selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRule {
    /// What is left out.
    ignored: Vec<TokenKind>,
    /// Whether what is left out is what is selected.
    inverted: bool,
}

/// Kinds of tokens that a rule can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Padding.
    Pad,
    /// The first token.
    Begin,
    /// The last token.
    End,
    /// Everything else.
    Text,
    /// What the end follows, be it text or not.
    BeforeEnd,
}

impl FromStr for TokenRule {
    type Err = String;

    fn from_str(rule: &str) -> Result<Self, String> {
        let (inverted, kinds) = match rule.strip_prefix('^') {
            Some(kinds) => (true, kinds),
            None => (false, rule),
        };
        let kinds = kinds.split(',').map(str::trim).filter(|kind| !kind.is_empty());
        let ignored: Result<_, String> = kinds
            .map(|kind| match kind {
                "pad" => Ok(TokenKind::Pad),
                "begin" => Ok(TokenKind::Begin),
                "end" => Ok(TokenKind::End),
                "text" => Ok(TokenKind::Text),
                "end-1" => Ok(TokenKind::BeforeEnd),
                other => Err(format!("`{other}` is not one of pad, begin, end, text, end-1")),
            })
            .collect();
        Ok(Self { ignored: ignored?, inverted })
    }
}

impl TokenRule {
    /// True for the tokens that are selected.
    ///
    /// # Shapes
    /// - `tokens`: `[B, N, L]`
    /// - result: `[B, N, L]`
    pub fn select(&self, tokens: Tensor<3, Int>, vocabulary: &Vocabulary) -> Tensor<3, Bool> {
        let none = tokens.clone().not_equal(tokens.clone());
        let ignored = self
            .ignored
            .iter()
            .fold(none, |ignored, kind| ignored.bool_or(kind.of(tokens.clone(), vocabulary)));
        if self.inverted { ignored } else { ignored.bool_not() }
    }
}

impl TokenKind {
    /// True for the tokens of this kind, `[B, N, L]`.
    pub(super) fn of(self, tokens: Tensor<3, Int>, vocabulary: &Vocabulary) -> Tensor<3, Bool> {
        match self {
            Self::Pad => tokens.equal_elem(PAD),
            Self::Begin => tokens.equal_elem(vocabulary.begin),
            Self::End => tokens.equal_elem(vocabulary.end),
            Self::Text => {
                let special =
                    [PAD, vocabulary.begin, vocabulary.end].map(|id| tokens.clone().equal_elem(id));
                let [pad, begin, end] = special;
                pad.bool_or(begin).bool_or(end).bool_not()
            }
            Self::BeforeEnd => {
                let [batch, rows, length] = tokens.dims();
                let next = tokens.narrow(2, 1, length - 1).equal_elem(vocabulary.end);
                // Nothing follows the last token.
                let last = Tensor::<3, Bool>::full([batch, rows, 1], false, &next.device());
                Tensor::cat(vec![next, last], 2)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    const VOCABULARY: Vocabulary = Vocabulary { size: 10, pad: 0, begin: 1, end: 2 };

    fn selected(rule: &str) -> Vec<i64> {
        // Begin, two words, end, padding.
        let tokens = Tensor::<3, Int>::from_data([[[1, 5, 6, 2, 0]]], &Device::flex());
        let rule: TokenRule = rule.parse().unwrap();
        rule.select(tokens, &VOCABULARY).int().into_data().iter::<i64>().collect()
    }

    #[test]
    fn a_rule_names_what_is_left_out_and_a_caret_turns_it_round() {
        assert_eq!(selected("begin,end,pad"), [0, 1, 1, 0, 0]);
        assert_eq!(selected("text"), [1, 0, 0, 1, 1]);
        assert_eq!(selected("end-1"), [1, 1, 0, 1, 1]);
        assert_eq!(selected("^end-1"), [0, 0, 1, 0, 0]);
        assert_eq!(selected("^pad,begin"), [1, 0, 0, 0, 1]);
        assert_eq!(selected(""), [1; 5]);
    }

    #[test]
    fn what_no_rule_can_name_is_refused() {
        assert!("begin,middle".parse::<TokenRule>().is_err_and(|error| error.contains("middle")));
    }
}
