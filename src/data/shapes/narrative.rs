//! Spoken narratives: short phrases, each about a place.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::attributes::{Attribute, Attributes};
use super::background::Texture;
use super::view::{Direction, View, Zone};

/// What a speaker looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    /// Nothing yet.
    Nowhere,
    /// On the way to a subject.
    Towards(usize),
    /// A subject.
    On(usize),
    /// All of the image.
    Everywhere,
}

/// A phrase said in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Utterance {
    pub(super) text: String,
    pub(super) focus: Focus,
}

/// A narrative of every subject of a view. Joined by spaces, the utterances are the caption.
pub(super) fn narrative(view: &View, texture: Texture, rng: &mut ChaCha8Rng) -> Vec<Utterance> {
    let order = order(view, rng);
    let mut said = Vec::new();
    let mut say = |text: &str, focus| said.push(Utterance { text: text.to_string(), focus });
    if let Some(first) = order.first() {
        say(pick(&["in this image", "in this picture", "here"], rng), Focus::Nowhere);
        say(see(rng), Focus::Towards(*first));
        let zone = Zone::around(view.place(*first)).phrase;
        say(&mention(&view.subjects[*first].attributes, rng), Focus::On(*first));
        say(&format!("{zone} ."), Focus::On(*first));
    }
    for pair in order.windows(2) {
        let &[previous, next] = pair else { continue };
        let mention = mention(&view.subjects[next].attributes, rng);
        let zone = Zone::around(view.place(next)).phrase;
        let (before, after) = (&view.subjects[previous].bounds, &view.subjects[next].bounds);
        let relation = Direction::ALL.into_iter().find(|d| d.clearly(before, after));
        match relation {
            Some(direction) if rng.random_bool(0.6) => {
                say(beside(direction), Focus::Towards(next));
                say(see(rng), Focus::Towards(next));
                say(&format!("{mention} ."), Focus::On(next));
            }
            _ if rng.random_bool(0.5) => {
                say(zone, Focus::Towards(next));
                say(see(rng), Focus::Towards(next));
                say(&format!("{mention} ."), Focus::On(next));
            }
            _ => {
                say(pick(&["there is also", "we also see", "and then"], rng), Focus::Towards(next));
                say(&mention, Focus::On(next));
                say(&format!("{zone} ."), Focus::On(next));
            }
        }
    }
    if rng.random_bool(0.5) {
        say("the background is", Focus::Everywhere);
        say(&format!("{} .", texture.word()), Focus::Everywhere);
    }
    said
}

fn pick(phrases: &[&'static str], rng: &mut ChaCha8Rng) -> &'static str {
    phrases.choose(rng).copied().unwrap_or_default()
}

fn see(rng: &mut ChaCha8Rng) -> &'static str {
    pick(&["there is", "we can see", "i can see"], rng)
}

fn beside(direction: Direction) -> &'static str {
    match direction {
        Direction::Left => "to the left of it",
        Direction::Right => "to the right of it",
        Direction::Above => "above it",
        Direction::Below => "below it",
    }
}

/// People name what stands out first, then what is near: one of the largest, then always the
/// nearest that is left.
fn order(view: &View, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut left: Vec<_> = (0..view.subjects.len()).collect();
    let area = |subject: &usize| view.subjects[*subject].bounds.area();
    left.sort_by(|a, b| area(b).total_cmp(&area(a)));
    let mut order: Vec<usize> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let next = match order.last() {
            None => rng.random_range(0..left.len().min(2)),
            Some(last) => {
                let from = view.subjects[*last].bounds.center();
                let distance = |subject: &usize| {
                    let to = view.subjects[*subject].bounds.center();
                    (to.x - from.x) * (to.x - from.x) + (to.y - from.y) * (to.y - from.y)
                };
                let nearest = left.iter().enumerate();
                let nearest = nearest.min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
                nearest.map_or(0, |(index, _)| index)
            }
        };
        order.push(left.remove(next));
    }
    order
}

/// "a large red striped circle"; often with less: "solid" goes without saying, and people leave
/// out the size or the pattern.
fn mention(attributes: &Attributes, rng: &mut ChaCha8Rng) -> String {
    let mut words = Vec::new();
    for (attribute, word) in Attribute::ALL.into_iter().zip(attributes.words()) {
        let said = match attribute {
            Attribute::Size => 0.8,
            Attribute::Pattern if word == "solid" => 0.2,
            Attribute::Pattern => 0.85,
            Attribute::Colour | Attribute::Shape => 1.0,
        };
        if rng.random_bool(said) {
            words.push(word);
        }
    }
    let vowel = words.first().is_some_and(|word| word.starts_with(['a', 'e', 'i', 'o', 'u']));
    format!("{} {}", if vowel { "an" } else { "a" }, words.join(" "))
}
