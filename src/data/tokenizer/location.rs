//! Location tokens: coordinates as ids of their own, as in Pix2Seq (Chen et al., 2022) and OFA (Wang et
//! al., 2022), so that a language model can write a box.
//!
//! A coordinate from 0 to 1 is rounded to the nearest of `n` bins, the first at 0 and the last at 1; a
//! box is four of them: left, top, right, bottom.

use std::ops::Range;

use tokenizers::AddedToken;

use super::{Encoded, Tokenizer};
use crate::error::{Error, Result};
use crate::geometry::{BoundingBox, Point};

/// Location tokens of a box.
pub const COORDINATES: usize = 4;

/// How the token of a bin is spelled.
fn name(bin: usize) -> String {
    format!("<loc_{bin}>")
}

/// The ids of the location tokens of `inner`, one after the other.
pub(super) fn find(inner: &tokenizers::Tokenizer) -> Result<Range<i64>, String> {
    let id = |bin: usize| inner.token_to_id(&name(bin)).map(i64::from);
    let Some(first) = id(0) else { return Ok(0..0) };
    let count = (1..).take_while(|&bin| id(bin).is_some()).count() as i64 + 1;
    match (1..count).find(|&bin| id(bin as usize) != Some(first + bin)) {
        None => Ok(first..first + count),
        Some(bin) => {
            Err(format!("the id of {} does not follow that before it", name(bin as usize)))
        }
    }
}

impl Tokenizer {
    /// The same with `count` location tokens behind its words; 0 for none.
    ///
    /// # Errors
    /// [`Error::Usage`] where it has another number of them already.
    pub fn with_location_tokens(mut self, count: usize) -> Result<Self> {
        let usage = |problem: String| Error::Usage {
            problem,
            help:
                "Set data.tokenizer.location_tokens to the number that the tokenizer has, or give \
                   one without."
                    .into(),
        };
        let found = self.num_location_tokens();
        if found == count {
            return Ok(self);
        }
        if found > 0 {
            let problem = format!("the tokenizer has {found} location tokens, not {count}");
            return Err(usage(problem));
        }
        let tokens = (0..count).map(|bin| AddedToken::from(name(bin), true));
        self.inner.add_special_tokens(tokens).map_err(|error| usage(error.to_string()))?;
        Self::from_inner(self.inner).map_err(usage)
    }

    /// Ids of coordinates, the first of 0 and the last of 1; empty for none.
    pub fn location_tokens(&self) -> Range<i64> {
        self.location_tokens.clone()
    }

    /// How many location tokens there are.
    pub fn num_location_tokens(&self) -> usize {
        self.location_tokens.clone().count()
    }

    /// Begin, a box, end; what of the box is outside the image is cut off.
    ///
    /// # Errors
    /// [`Error::Usage`] without location tokens.
    pub fn encode_box(&self, bounds: BoundingBox) -> Result<Encoded> {
        let last = self.last_bin()?;
        let bin = |coordinate: f32| (coordinate.clamp(0.0, 1.0) * last).round() as i64;
        let [x0, y0, x1, y1] =
            bounds.to_array().map(|coordinate| self.location_tokens.start + bin(coordinate));
        let ids = vec![self.vocabulary.begin, x0, y0, x1, y1, self.vocabulary.end];
        Ok(Encoded { offsets: vec![None; ids.len()], ids })
    }

    /// The box that four location tokens say, in whatever order its corners are; `None` of anything else.
    pub fn decode_box(&self, ids: &[i64]) -> Option<BoundingBox> {
        let [x0, y0, x1, y1] = ids else { return None };
        let last = self.last_bin().ok()?;
        let coordinate = |id: &i64| {
            let is_location = self.location_tokens.contains(id);
            is_location.then(|| (id - self.location_tokens.start) as f32 / last)
        };
        let corner = |x, y| Some(Point { x: coordinate(x)?, y: coordinate(y)? });
        Some(BoundingBox::around(corner(x0, y0)?, corner(x1, y1)?))
    }

    /// The bin at 1; those before it are from 0 on.
    ///
    /// # Errors
    /// [`Error::Usage`] where there are fewer than two.
    fn last_bin(&self) -> Result<f32> {
        let count = self.num_location_tokens();
        if count < 2 {
            return Err(Error::Usage {
                problem: format!("a box cannot be written with {count} location tokens"),
                help: "Set data.tokenizer.location_tokens, such as to 64.".into(),
            });
        }
        Ok((count - 1) as f32)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXTS: [&str; 2] = ["a red circle", "a red square"];

    fn with(count: usize) -> Tokenizer {
        Tokenizer::train(TEXTS, 200).unwrap().with_location_tokens(count).unwrap()
    }

    #[test]
    fn location_tokens_come_after_the_words_and_leave_them_as_they_are() {
        let (plain, located) = (Tokenizer::train(TEXTS, 200).unwrap(), with(5));
        let (before, after) = (plain.vocabulary(), located.vocabulary());
        assert_eq!((after.size, plain.num_location_tokens()), (before.size + 5, 0));
        assert_eq!((after.begin, after.end, after.pad), (before.begin, before.end, before.pad));
        let text = "the red circle";
        assert_eq!(located.encode(text, 9).unwrap(), plain.encode(text, 9).unwrap());
        let spelled = located.encode("red <loc_1>", 32).unwrap().ids;
        assert!(spelled.iter().all(|id| !located.location_tokens.contains(id)), "{spelled:?}");
    }

    #[test]
    fn a_box_is_four_tokens_and_comes_back_to_the_nearest_bin() {
        let tokenizer = with(11);
        let bounds = BoundingBox::new(0.0, 0.13, 1.0, 0.48);
        let encoded = tokenizer.encode_box(bounds).unwrap();
        let first = tokenizer.vocabulary().size as i64 - 11;
        let vocabulary = tokenizer.vocabulary();
        let expected = [vocabulary.begin, first, first + 1, first + 10, first + 5, vocabulary.end];
        assert_eq!((&encoded.ids[..], encoded.offsets.len()), (&expected[..], 6));
        let back = tokenizer.decode_box(&encoded.ids[1..5]).unwrap();
        let differences = back.to_array().into_iter().zip([0.0, 0.1, 1.0, 0.5]);
        assert!(differences.into_iter().all(|(a, b)| (a - b).abs() < 1e-6), "{back:?}");
        // Outside is at the edge; corners may be told in any order.
        let outside = tokenizer.encode_box(BoundingBox::new(-0.3, 0.0, 1.7, 1.0)).unwrap();
        assert_eq!(outside.ids[1..5], [first, first, first + 10, first + 10]);
        let turned = [expected[3], expected[4], expected[1], expected[2]];
        assert_eq!(tokenizer.decode_box(&turned), Some(back));
    }

    #[test]
    fn anything_but_four_location_tokens_is_no_box() {
        let tokenizer = with(4);
        let first = tokenizer.location_tokens.start;
        let end = tokenizer.vocabulary().end;
        assert!(tokenizer.decode_box(&[first, first, first + 3, first + 3]).is_some());
        let broken: [&[i64]; 5] = [
            &[],
            &[first, first, first],
            &[first, first, first + 3, first + 4],
            &[first, first, first + 3, end],
            &[first - 1, first, first + 3, first + 3],
        ];
        assert!(broken.iter().all(|ids| tokenizer.decode_box(ids).is_none()));
        let plain = Tokenizer::train(TEXTS, 200).unwrap();
        assert_eq!(plain.decode_box(&[4, 5, 6, 7]), None);
        let error = plain.encode_box(BoundingBox::UNIT).unwrap_err().to_string();
        assert!(error.contains("0 location tokens"), "{error}");
    }

    #[test]
    fn location_tokens_are_in_the_file_and_are_not_added_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let tokenizer = with(6);
        tokenizer.save(&path).unwrap();
        let read = Tokenizer::from_file(&path).unwrap();
        assert_eq!(read.location_tokens, tokenizer.location_tokens);
        assert_eq!(read.vocabulary(), tokenizer.vocabulary());
        let again = read.clone().with_location_tokens(6).unwrap();
        assert_eq!(again.vocabulary(), tokenizer.vocabulary());
        let error = read.with_location_tokens(7).unwrap_err().to_string();
        assert!(error.contains("has 6 location tokens, not 7"), "{error}");
    }
}
