//! What can be said about an image: its objects as they are seen, without their pixels.

use super::attributes::{Attribute, Attributes};
use crate::geometry::{BoundingBox, Point};

/// One object as it is seen.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) attributes: Attributes,
    /// Around its visible pixels; pixels of the image.
    pub(super) bounds: BoundingBox,
}

/// An image as it is spoken about.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) subjects: Vec<Subject>,
}

/// Some of the four attributes, as bits in the order of [`Attribute::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subset(u8);

impl Subset {
    /// Every subset, the empty one included.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self)
    }

    pub(super) fn has(self, attribute: Attribute) -> bool {
        self.0 & (1 << attribute as u8) != 0
    }

    pub(super) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// "small red circle"; with `noun` where the shape is not said.
    pub(super) fn phrase(self, of: &Attributes, noun: &str) -> String {
        let said = Attribute::ALL.into_iter().zip(of.words()).filter(|(a, _)| self.has(*a));
        let mut words: Vec<_> = said.map(|(_, word)| word).collect();
        if !self.has(Attribute::Shape) {
            words.push(noun);
        }
        words.join(" ")
    }
}

impl View {
    /// Centre of a subject, from 0 to 1 in both directions.
    pub(super) fn place(&self, subject: usize) -> Point {
        let center = self.subjects[subject].bounds.center();
        Point { x: center.x / self.width, y: center.y / self.height }
    }

    /// The subjects that share these attributes with subject `of`, itself included.
    pub(super) fn alike(&self, subset: Subset, of: usize) -> Vec<usize> {
        let words = self.subjects[of].attributes.words();
        let same = |other: &Subject| {
            let pairs = Attribute::ALL.into_iter().zip(words.iter().zip(other.attributes.words()));
            pairs.filter(|(a, _)| subset.has(*a)).all(|(_, (word, other))| *word == other)
        };
        let subjects = self.subjects.iter().enumerate();
        subjects.filter(|(_, other)| same(other)).map(|(index, _)| index).collect()
    }

    /// Subsets of attributes that only this subject has.
    pub(super) fn unique_subsets(&self, subject: usize) -> Vec<Subset> {
        Subset::all().filter(|s| s.len() > 0 && self.alike(*s, subject).len() == 1).collect()
    }
}

/// Where one thing lies from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Left,
    Right,
    Above,
    Below,
}

impl Direction {
    pub(super) const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Above, Self::Below];

    /// "left of", …
    pub(super) fn preposition(self) -> &'static str {
        match self {
            Self::Left => "left of",
            Self::Right => "right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    /// How far `to` lies from `from` in this direction, and how far beside it.
    fn offsets(self, from: Point, to: Point) -> (f32, f32) {
        let (dx, dy) = (to.x - from.x, to.y - from.y);
        match self {
            Self::Left => (-dx, dy.abs()),
            Self::Right => (dx, dy.abs()),
            Self::Above => (-dy, dx.abs()),
            Self::Below => (dy, dx.abs()),
        }
    }

    /// Whether everybody would say so: the centre lies beyond the other's edge and further in this
    /// direction than beside it.
    pub(super) fn clearly(self, of: &BoundingBox, thing: &BoundingBox) -> bool {
        let (ahead, beside) = self.offsets(of.center(), thing.center());
        let half = match self {
            Self::Left | Self::Right => of.width() / 2.0,
            Self::Above | Self::Below => of.height() / 2.0,
        };
        ahead > half && ahead > beside * 1.25
    }

    /// Whether nobody would say so: the centre lies on the other side, or hardly on this one.
    pub(super) fn clearly_not(self, of: &BoundingBox, thing: &BoundingBox) -> bool {
        let (ahead, beside) = self.offsets(of.center(), thing.center());
        let size = of.width().min(of.height());
        ahead < 0.1 * size || beside > 2.5 * ahead
    }
}

/// A part of the image, by name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Zone {
    /// "at the top left", …
    pub(super) phrase: &'static str,
    x: f32,
    y: f32,
}

/// Parts of a 3 × 3 grid by their centres; a side without a second word is its middle.
const ZONES: [Zone; 9] = [
    Zone { phrase: "at the top left", x: 0.0, y: 0.0 },
    Zone { phrase: "at the top", x: 0.5, y: 0.0 },
    Zone { phrase: "at the top right", x: 1.0, y: 0.0 },
    Zone { phrase: "on the left", x: 0.0, y: 0.5 },
    Zone { phrase: "in the middle", x: 0.5, y: 0.5 },
    Zone { phrase: "on the right", x: 1.0, y: 0.5 },
    Zone { phrase: "at the bottom left", x: 0.0, y: 1.0 },
    Zone { phrase: "at the bottom", x: 0.5, y: 1.0 },
    Zone { phrase: "at the bottom right", x: 1.0, y: 1.0 },
];

impl Zone {
    /// The zone around a place.
    pub(super) fn around(place: Point) -> Self {
        let third = |v: f32| {
            if v < 0.37 {
                0.0
            } else if v > 0.63 {
                1.0
            } else {
                0.5
            }
        };
        let (x, y) = (third(place.x), third(place.y));
        ZONES.into_iter().find(|zone| zone.x == x && zone.y == y).unwrap_or(ZONES[4])
    }

    /// Whether a place lies well inside, `true`, or well outside, `false`; `None` near the border.
    pub(super) fn clearly_holds(&self, place: Point) -> Option<bool> {
        let axis = |zone: f32, v: f32| {
            let depth =
                if zone == 0.5 { 0.13 - (v - 0.5).abs() } else { 0.13 - (zone - v).abs() + 0.24 };
            if depth > 0.03 {
                Some(true)
            } else if depth < -0.06 {
                Some(false)
            } else {
                None
            }
        };
        match (axis(self.x, place.x), axis(self.y, place.y)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_is_true_false_or_too_close_to_call() {
        let anchor = BoundingBox::new(40.0, 40.0, 60.0, 60.0);
        let at = |x: f32, y: f32| BoundingBox::new(x - 5.0, y - 5.0, x + 5.0, y + 5.0);
        assert!(Direction::Left.clearly(&anchor, &at(20.0, 50.0)));
        assert!(Direction::Above.clearly(&anchor, &at(55.0, 20.0)));
        assert!(Direction::Right.clearly_not(&anchor, &at(20.0, 50.0)));
        let diagonal = at(25.0, 25.0);
        assert!(!Direction::Left.clearly(&anchor, &diagonal));
        assert!(!Direction::Left.clearly_not(&anchor, &diagonal));
        assert!(!Direction::Below.clearly(&anchor, &at(50.0, 55.0)));
    }

    #[test]
    fn zones_hold_their_own_centres_and_nobody_elses() {
        for (x, y, phrase) in [(0.1, 0.2, "at the top left"), (0.5, 0.5, "in the middle")] {
            assert_eq!(Zone::around(Point { x, y }).phrase, phrase);
        }
        let right = Zone::around(Point { x: 0.9, y: 0.5 });
        assert_eq!(right.phrase, "on the right");
        assert_eq!(right.clearly_holds(Point { x: 0.8, y: 0.5 }), Some(true));
        assert_eq!(right.clearly_holds(Point { x: 0.63, y: 0.5 }), None);
        assert_eq!(right.clearly_holds(Point { x: 0.2, y: 0.5 }), Some(false));
    }
}
