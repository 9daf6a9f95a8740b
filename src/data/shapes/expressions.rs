//! Referring expressions: a phrase that fits exactly one object of its image.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::view::{Direction, Subset, View, Zone};
use crate::geometry::Point;

/// How much further out than every other a superlative's object must be, as a share of the image.
const MARGIN: f32 = 0.07;

/// An expression about one subject of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    /// "the small red circle left of the striped square".
    pub(super) text: String,
    /// Length in bytes of the part that names the subject: "the small red circle".
    pub(super) head: usize,
}

impl Expression {
    fn whole(text: String) -> Self {
        Self { head: text.len(), text }
    }
}

/// A way to name a subject.
type Kind = fn(&View, usize, &mut ChaCha8Rng) -> Option<Expression>;

/// An expression that fits `subject` alone; `None` where there is none. One that relates it to
/// another object is tried first with probability `relations`.
pub(super) fn expression(
    view: &View,
    subject: usize,
    relations: f64,
    rng: &mut ChaCha8Rng,
) -> Option<Expression> {
    let by_relation = rng.random_bool(relations);
    let by_position = rng.random_bool(0.25);
    let mut kinds: [Kind; 3] = [by_attributes, by_its_position, by_its_relation];
    match (by_relation, by_position) {
        (true, _) => kinds.rotate_right(1),
        (false, true) => kinds.swap(0, 1),
        (false, false) => {}
    }
    kinds.into_iter().find_map(|kind| kind(view, subject, rng))
}

/// "one" or "shape", where the shape is not said.
fn noun(rng: &mut ChaCha8Rng) -> &'static str {
    if rng.random_bool(0.5) { "one" } else { "shape" }
}

/// Chooses an expression; those with one or two attributes are likelier, but not alone.
fn choose<T: Copy>(candidates: &[(Subset, T)], rng: &mut ChaCha8Rng) -> Option<(Subset, T)> {
    // Of each number of attributes there are 1, 4, 6, 4, 1 subsets; all together weigh 12, 48, 48, 24, 12.
    const WEIGHTS: [u32; 5] = [12, 12, 8, 6, 12];
    let weight = |candidate: &(Subset, T)| WEIGHTS[candidate.0.len()];
    candidates.choose_weighted(rng, weight).ok().copied()
}

/// "the small striped one".
fn by_attributes(view: &View, subject: usize, rng: &mut ChaCha8Rng) -> Option<Expression> {
    let unique: Vec<_> = view.unique_subsets(subject).into_iter().map(|s| (s, ())).collect();
    let (subset, ()) = choose(&unique, rng)?;
    let phrase = subset.phrase(&view.subjects[subject].attributes, noun(rng));
    Some(Expression::whole(format!("the {phrase}")))
}

/// "the leftmost circle", "the circle at the top right".
fn by_its_position(view: &View, subject: usize, rng: &mut ChaCha8Rng) -> Option<Expression> {
    let mut candidates = Vec::new();
    for subset in Subset::all() {
        let mut others = view.alike(subset, subject);
        others.retain(|other| *other != subject);
        if others.is_empty() {
            continue;
        }
        candidates.extend(superlative(view, subject, &others).map(|word| (subset, (word, ""))));
        candidates.extend(zone(view, subject, &others).map(|zone| (subset, ("", zone))));
    }
    let (subset, (superlative, zone)) = choose(&candidates, rng)?;
    let phrase = subset.phrase(&view.subjects[subject].attributes, noun(rng));
    let words = ["the", superlative, &phrase, zone];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    Some(Expression::whole(words.join(" ")))
}

/// The way in which a subject is further out than all others.
fn superlative(view: &View, subject: usize, others: &[usize]) -> Option<&'static str> {
    /// How far out a place is.
    type Reach = fn(Point) -> f32;
    let ways: [(&str, Reach); 4] = [
        ("leftmost", |p| -p.x),
        ("rightmost", |p| p.x),
        ("topmost", |p| -p.y),
        ("bottommost", |p| p.y),
    ];
    let lead = |out: Reach| {
        let next = others.iter().map(|other| out(view.place(*other)));
        out(view.place(subject)) - next.fold(f32::NEG_INFINITY, f32::max)
    };
    let best = ways.into_iter().max_by(|a, b| lead(a.1).total_cmp(&lead(b.1)));
    best.filter(|(_, out)| lead(*out) > MARGIN).map(|(word, _)| word)
}

/// The part of the image that a subject has to itself.
fn zone(view: &View, subject: usize, others: &[usize]) -> Option<&'static str> {
    let zone = Zone::around(view.place(subject));
    let inside = zone.clearly_holds(view.place(subject)) == Some(true);
    let alone = others.iter().all(|other| zone.clearly_holds(view.place(*other)) == Some(false));
    (inside && alone).then_some(zone.phrase)
}

/// "the small red circle left of the striped square".
fn by_its_relation(view: &View, subject: usize, rng: &mut ChaCha8Rng) -> Option<Expression> {
    let mut candidates = Vec::new();
    for anchor in (0..view.subjects.len()).filter(|anchor| *anchor != subject) {
        if view.unique_subsets(anchor).is_empty() {
            continue;
        }
        for (direction, subset) in
            Direction::ALL.into_iter().flat_map(|d| Subset::all().map(move |s| (d, s)))
        {
            if singles_out(view, subject, subset, direction, anchor) {
                candidates.push((subset, (direction, anchor)));
            }
        }
    }
    // An expression whose relation is needed is worth more than one that is true beside the point.
    let needed: Vec<_> = candidates
        .iter()
        .filter(|(subset, _)| view.alike(*subset, subject).len() > 1)
        .copied()
        .collect();
    let (subset, (direction, anchor)) =
        choose(if needed.is_empty() { &candidates } else { &needed }, rng)?;
    let anchor_subsets: Vec<_> =
        view.unique_subsets(anchor).into_iter().map(|subset| (subset, ())).collect();
    let (anchor_subset, ()) = choose(&anchor_subsets, rng)?;
    let head = format!("the {}", subset.phrase(&view.subjects[subject].attributes, noun(rng)));
    let anchor = anchor_subset.phrase(&view.subjects[anchor].attributes, noun(rng));
    let text = format!("{head} {} the {anchor}", direction.preposition());
    Some(Expression { head: head.len(), text })
}

/// Whether the relation holds for `subject` and clearly for nothing else that fits the subset.
fn singles_out(
    view: &View,
    subject: usize,
    subset: Subset,
    direction: Direction,
    anchor: usize,
) -> bool {
    let anchor_bounds = &view.subjects[anchor].bounds;
    direction.clearly(anchor_bounds, &view.subjects[subject].bounds)
        && view
            .alike(subset, subject)
            .into_iter()
            .filter(|other| *other != subject && *other != anchor)
            .all(|other| direction.clearly_not(anchor_bounds, &view.subjects[other].bounds))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::super::attributes::{Attributes, Colour, Pattern, Shape, Size};
    use super::super::view::Subject;
    use super::*;
    use crate::geometry::BoundingBox;

    fn subject(colour: Colour, shape: Shape, x: f32, y: f32) -> Subject {
        let attributes = Attributes { size: Size::Small, colour, pattern: Pattern::Solid, shape };
        Subject { attributes, bounds: BoundingBox::new(x - 10.0, y - 10.0, x + 10.0, y + 10.0) }
    }

    fn view(subjects: Vec<Subject>) -> View {
        View { width: 100.0, height: 100.0, subjects }
    }

    /// All that is ever said about a subject.
    fn said(view: &View, subject: usize, relations: f64) -> BTreeSet<String> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let expressions = (0..1000).filter_map(|_| expression(view, subject, relations, &mut rng));
        expressions.map(|expression| expression.text).collect()
    }

    #[test]
    fn an_object_is_named_by_what_only_it_has() {
        let view = view(vec![
            subject(Colour::Red, Shape::Circle, 20.0, 20.0),
            subject(Colour::Red, Shape::Square, 80.0, 80.0),
        ]);
        let said = said(&view, 0, 0.0);
        assert!(said.contains("the circle") && said.contains("the small red solid circle"));
        assert!(said.contains("the leftmost shape") || said.contains("the topmost red one"));
        assert!(!said.contains("the red one") && !said.contains("the small shape"), "{said:?}");
    }

    #[test]
    fn twins_are_told_apart_by_place_and_relation_alone() {
        let view = view(vec![
            subject(Colour::Red, Shape::Circle, 15.0, 50.0),
            subject(Colour::Red, Shape::Circle, 85.0, 50.0),
            subject(Colour::Blue, Shape::Star, 50.0, 50.0),
        ]);
        let left = said(&view, 0, 1.0);
        assert!(left.contains("the circle left of the star"), "{left:?}");
        assert!(left.iter().all(|text| text.contains(" left of the ")), "{left:?}");
        let placed = said(&view, 0, 0.0);
        assert!(placed.contains("the leftmost circle"), "{placed:?}");
        assert!(placed.contains("the circle on the left"), "{placed:?}");
        assert!(!placed.contains("the circle"), "{placed:?}");
    }

    #[test]
    fn what_no_phrase_tells_apart_gets_none() {
        let view = view(vec![
            subject(Colour::Red, Shape::Circle, 52.0, 50.0),
            subject(Colour::Red, Shape::Circle, 54.0, 51.0),
        ]);
        assert!(said(&view, 0, 0.5).is_empty());
    }

    #[test]
    fn the_head_is_the_part_about_the_object() {
        let view = view(vec![
            subject(Colour::Red, Shape::Circle, 15.0, 50.0),
            subject(Colour::Blue, Shape::Star, 60.0, 50.0),
        ]);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for expression in (0..50).filter_map(|_| expression(&view, 1, 1.0, &mut rng)) {
            let (head, rest) = expression.text.split_at(expression.head);
            assert!(rest.starts_with(" right of the "), "{}", expression.text);
            assert!(head.starts_with("the "));
        }
    }
}
