//! Masks: which pixels of an image belong to an object, held as COCO holds them.

use hotcoco::mask;
use hotcoco::types::Rle;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoundingBox, Point};

/// Most pixels of a mask: 16384 a side, as for images.
pub const MAX_PIXELS: u64 = 1 << 28;

/// Which pixels of an image belong to an object; held as runs, so that a dataset's masks fit in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// Column by column, outside first.
    runs: Rle,
}

/// A mask as COCO writes it: a run-length encoding, compressed to characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CocoMask {
    /// Height and width in pixels.
    pub size: [u32; 2],
    /// The runs.
    pub counts: String,
}

impl Mask {
    /// From runs, column by column and outside first. Pixels that no run covers are outside, as for
    /// COCO's own tools.
    ///
    /// # Errors
    /// What is wrong with them, in words: they may cover at most `width × height` pixels.
    pub fn from_runs(mut runs: Vec<u32>, width: u32, height: u32) -> Result<Self, String> {
        check_size(width, height)?;
        let covered: u64 = runs.iter().copied().map(u64::from).sum();
        let pixels = u64::from(width) * u64::from(height);
        let left = pixels.checked_sub(covered).and_then(|left| u32::try_from(left).ok());
        let left = left.ok_or_else(|| format!("runs of {covered} pixels in a mask of {pixels}"))?;
        // Runs begin outside, so the last of an odd number is outside too.
        let ends_outside = runs.len() % 2 == 1;
        match runs.last_mut() {
            Some(last) if ends_outside => *last += left,
            _ if left > 0 => runs.push(left),
            _ => (),
        }
        let runs = Rle::new(height, width, runs).map_err(|error| error.to_string())?;
        Ok(Self { runs })
    }

    /// From logits, row by row: a pixel is inside where its logit is above 0.
    ///
    /// # Errors
    /// As [`Self::from_pixels`].
    pub fn from_logits(logits: &[f32], width: u32, height: u32) -> Result<Self, String> {
        Self::from_places(logits.len(), width, height, |at| {
            logits.get(at).is_some_and(|x| *x > 0.0)
        })
    }

    /// From whether each pixel is inside, row by row.
    ///
    /// # Errors
    /// What is wrong, in words: there have to be `width × height` pixels, and no more than
    /// [`MAX_PIXELS`].
    pub fn from_pixels(pixels: &[bool], width: u32, height: u32) -> Result<Self, String> {
        Self::from_places(pixels.len(), width, height, |at| pixels.get(at).is_some_and(|x| *x))
    }

    fn from_places(
        count: usize,
        width: u32,
        height: u32,
        is_inside: impl Fn(usize) -> bool,
    ) -> Result<Self, String> {
        check_size(width, height)?;
        let [w, h] = [width, height].map(|side| side as usize);
        if count != w * h {
            return Err(format!("{count} pixels are no mask of {width} × {height}"));
        }
        let columns = (0..w).flat_map(|x| (0..h).map(move |y| x + w * y));
        let columns: Vec<u8> = columns.map(|at| u8::from(is_inside(at))).collect();
        let runs = mask::encode(&columns, height, width).map_err(|error| error.to_string())?;
        Ok(Self { runs })
    }

    /// Pixels.
    pub fn width(&self) -> u32 {
        self.runs.w
    }

    /// Pixels.
    pub fn height(&self) -> u32 {
        self.runs.h
    }

    /// How many pixels belong to the object.
    pub fn area(&self) -> u64 {
        mask::area(&self.runs)
    }

    /// How many pixels belong to both masks.
    ///
    /// # Errors
    /// In words, where they have different sizes.
    pub fn shared_area(&self, other: &Self) -> Result<u64, String> {
        let shared = mask::merge(&[self.runs.clone(), other.runs.clone()], true);
        Ok(mask::area(&shared.map_err(|error| error.to_string())?))
    }

    /// The smallest box around its pixels, in pixels of the image; `None` where it has none.
    pub fn bounds(&self) -> Option<BoundingBox> {
        let [x, y, width, height] = mask::to_bbox(&self.runs).map(|value| value as f32);
        (self.area() > 0).then(|| BoundingBox::from_xywh(x, y, width, height))
    }

    /// Whether each pixel belongs to the object: row by row, `width · height`.
    pub fn pixels(&self) -> Vec<bool> {
        let columns = mask::decode(&self.runs);
        let (width, height) = (self.runs.w as usize, self.runs.h as usize);
        let places = (0..height).flat_map(|y| (0..width).map(move |x| y + height * x));
        places.map(|at| columns.get(at).is_some_and(|&inside| inside != 0)).collect()
    }

    /// Whether the pixel at a point, in pixels of the image, belongs to the object.
    pub fn contains(&self, point: Point) -> bool {
        let (x, y) = (point.x.floor(), point.y.floor());
        if !(0.0..self.runs.w as f32).contains(&x) || !(0.0..self.runs.h as f32).contains(&y) {
            return false;
        }
        let at = x as u64 * u64::from(self.runs.h) + y as u64;
        let ends = self.runs.counts.iter().scan(0, |end, &run| {
            *end += u64::from(run);
            Some(*end)
        });
        // Runs begin outside: every second one is inside.
        ends.take_while(|&end| end <= at).count() % 2 == 1
    }

    /// The mask as COCO writes it.
    pub fn to_coco(&self) -> CocoMask {
        let size = [self.runs.h, self.runs.w];
        CocoMask { size, counts: mask::rle_to_string(&self.runs) }
    }
}

impl TryFrom<&CocoMask> for Mask {
    type Error = String;

    fn try_from(coco: &CocoMask) -> Result<Self, String> {
        let [height, width] = coco.size;
        check_size(width, height)?;
        let runs = mask::rle_from_string(&coco.counts, height, width);
        let runs = runs.map_err(|error| error.to_string())?;
        Self::from_runs(runs.counts, width, height)
    }
}

/// An error where a mask would not fit in memory.
///
/// # Errors
/// The size, in words.
pub fn check_size(width: u32, height: u32) -> Result<(), String> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("a mask of {width} × {height} pixels is too large"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// 4 × 3 with 2 × 2 inside, at (1, 1).
    const SQUARE: [f32; 12] = [-1., -1., -1., -1., 0., 2., 0.5, -3., -1., 1., 1., -1.];

    #[test]
    fn logits_above_zero_are_inside() {
        let mask = Mask::from_logits(&SQUARE, 4, 3).unwrap();
        assert_eq!((mask.width(), mask.height(), mask.area()), (4, 3, 4));
        assert_eq!(mask.bounds(), Some(BoundingBox::new(1.0, 1.0, 3.0, 3.0)));
        assert_eq!(mask.pixels(), SQUARE.map(|logit| logit > 0.0));
        // 4 outside, 2 inside, 1 outside, 2 inside, 3 outside.
        assert_eq!(Mask::from_runs(vec![4, 2, 1, 2, 3], 4, 3).unwrap(), mask);
        assert_eq!(Mask::from_pixels(&mask.pixels(), 4, 3).unwrap(), mask);
        let inside = |x, y| mask.contains(Point { x, y });
        assert!(inside(1.0, 1.0) && inside(2.9, 2.9) && inside(1.5, 2.0));
        assert!(!inside(0.9, 1.5) && !inside(3.0, 1.0) && !inside(-1.0, 1.0) && !inside(1.0, 3.0));
    }

    #[test]
    fn a_mask_survives_being_written_as_coco_does() {
        let mask = Mask::from_logits(&SQUARE, 4, 3).unwrap();
        let coco = mask.to_coco();
        // Differences to two runs before, from the third on, as characters from `0` on.
        assert_eq!(coco, CocoMask { size: [3, 4], counts: "42102".into() });
        assert_eq!(Mask::try_from(&coco).unwrap(), mask);
        // Without its last run.
        assert_eq!(Mask::from_runs(vec![4, 2, 1, 2], 4, 3).unwrap(), mask);
        for counts in ["42109", "4210zzzz", "é"] {
            let damaged = CocoMask { counts: counts.into(), ..coco.clone() };
            assert!(Mask::try_from(&damaged).is_err(), "{counts}");
        }
    }

    #[test]
    fn an_empty_mask_has_no_bounds() {
        let mask = Mask::from_logits(&[-1.0; 6], 2, 3).unwrap();
        assert_eq!((mask.area(), mask.bounds()), (0, None));
        assert_eq!(Mask::try_from(&mask.to_coco()).unwrap(), mask);
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        assert!(Mask::from_logits(&SQUARE, 3, 3).unwrap_err().contains("12 pixels"));
        assert!(Mask::from_runs(vec![4, 9], 4, 3).unwrap_err().contains("13 pixels"));
        assert!(Mask::from_runs(vec![0], u32::MAX, 2).unwrap_err().contains("too large"));
    }
}
