//! What an object is like, in words: size, colour, fill pattern, shape.

/// An enum whose variants are words of the texts.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $name { $(#[doc = $word] $variant),+ }

        impl $name {
            /// Every value.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The words, in the order of [`Self::ALL`].
            const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word in a text.
            pub(super) fn word(self) -> &'static str {
                Self::WORDS[self as usize]
            }
        }
    };
}

words! {
    /// How large an object is; no size lies between the two.
    Size { Small = "small", Large = "large" }
}
words! {
    /// Its main colour.
    Colour {
        Red = "red",
        Green = "green",
        Blue = "blue",
        Yellow = "yellow",
        Purple = "purple",
        Orange = "orange",
        White = "white",
        Black = "black",
    }
}
words! {
    /// How it is filled: one colour, or a lighter or darker one on it.
    Pattern { Solid = "solid", Striped = "striped", Dotted = "dotted", Checkered = "checkered" }
}
words! {
    /// Its outline; the categories of the instances file.
    Shape {
        Circle = "circle",
        Square = "square",
        Triangle = "triangle",
        Star = "star",
        Cross = "cross",
        Ring = "ring",
    }
}

/// The four attributes of an object, in the order in which a text names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// small, large
    Size,
    /// red, green, blue, yellow, purple, orange, white, black
    Colour,
    /// solid, striped, dotted, checkered
    Pattern,
    /// circle, square, triangle, star, cross, ring
    Shape,
}

impl Attribute {
    /// Every attribute, in the order of [`words_of`].
    pub const ALL: [Self; 4] = [Self::Size, Self::Colour, Self::Pattern, Self::Shape];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Colour => "colour",
            Self::Pattern => "pattern",
            Self::Shape => "shape",
        }
    }

    /// The words that this attribute can be.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Size => Size::WORDS,
            Self::Colour => Colour::WORDS,
            Self::Pattern => Pattern::WORDS,
            Self::Shape => Shape::WORDS,
        }
    }
}

/// The word of each attribute in a text, in the order of [`Attribute::ALL`]; `None` where it is not
/// said. Of several words of one attribute the first counts.
pub fn words_of(text: &str) -> [Option<&'static str>; 4] {
    let mut found = [None; 4];
    let lower = text.to_lowercase();
    for word in lower.split(|c: char| !c.is_alphanumeric()) {
        for (found, attribute) in found.iter_mut().zip(Attribute::ALL) {
            if found.is_none() {
                *found = attribute.words().iter().copied().find(|known| *known == word);
            }
        }
    }
    found
}

/// All that a text can say about how one object looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Size,
    pub(super) colour: Colour,
    pub(super) pattern: Pattern,
    pub(super) shape: Shape,
}

impl Attributes {
    /// The four words, in the order of [`Attribute::ALL`].
    pub(super) fn words(&self) -> [&'static str; 4] {
        [self.size.word(), self.colour.word(), self.pattern.word(), self.shape.word()]
    }

    /// "a small red striped circle".
    pub(super) fn phrase(&self) -> String {
        format!("a {}", self.words().join(" "))
    }

    /// Whether this pair of colour and shape is kept for the held-out split.
    pub(super) fn is_held_out(&self) -> bool {
        held_out_shape(self.colour) == self.shape
    }
}

/// The one shape that each colour never has in train, val and test: 8 of 48 pairs, every shape at
/// least once, the same in every world.
fn held_out_shape(colour: Colour) -> Shape {
    Shape::ALL[(colour as usize * 5 + 2) % Shape::ALL.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_wherever_they_stand_and_the_first_one_counts() {
        assert_eq!(
            words_of("a small Red striped circle."),
            [Some("small"), Some("red"), Some("striped"), Some("circle")]
        );
        assert_eq!(
            words_of("the star left of the large green ring"),
            [Some("large"), Some("green"), None, Some("star")]
        );
        assert_eq!(words_of("redder circles, smallish"), [None; 4]);
        assert_eq!(words_of(""), [None; 4]);
    }

    #[test]
    fn one_pair_in_six_is_held_out_and_every_shape_and_colour_is_among_them() {
        for shape in Shape::ALL {
            assert!(Colour::ALL.iter().any(|c| held_out_shape(*c) == *shape), "{shape:?}");
        }
        assert_eq!(Colour::ALL.len() * Shape::ALL.len(), 48);
    }

    #[test]
    fn the_phrase_says_all_four_attributes_back() {
        let attributes = Attributes {
            size: Size::Large,
            colour: Colour::Orange,
            pattern: Pattern::Checkered,
            shape: Shape::Ring,
        };
        assert_eq!(attributes.phrase(), "a large orange checkered ring");
        assert_eq!(words_of(&attributes.phrase()), attributes.words().map(Some));
    }
}
