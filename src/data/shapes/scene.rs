//! Which objects an image has, and where.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::attributes::{Attributes, Colour, Pattern, Shape, Size};
use super::outline;
use super::raster::Painting;

/// Share of an object that the objects in front of it leave visible, at least.
pub(super) const LEAST_VISIBLE: f64 = 0.6;

/// Samples per pixel and axis when a place is tried; a wrong verdict is caught by the exact check.
const COARSE: f64 = 0.5;

/// Places tried for an object before the scene is begun anew.
const PLACES_TRIED: usize = 40;

/// One object, in pixels of the image.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) attributes: Attributes,
    pub(super) center: (f64, f64),
    /// Half of its extent.
    pub(super) radius: f64,
    /// Cosine and sine of its rotation.
    pub(super) rotation: (f64, f64),
    /// Cosine and sine of its pattern's rotation.
    pub(super) pattern_rotation: (f64, f64),
    /// Length of a period of its pattern.
    pub(super) pattern_period: f64,
    /// Main colour and second colour of the pattern, 0 to 255.
    pub(super) colours: [[f64; 3]; 2],
}

/// A size of image and what is in it, from back to front.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) objects: Vec<Object>,
}

/// What a scene must be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) long_side: u32,
    pub(super) min_objects: usize,
    pub(super) max_objects: usize,
    /// Whether at least one object is of a held-out pair of colour and shape; otherwise none is.
    pub(super) held_out: bool,
}

impl Scene {
    /// A random scene.
    pub(super) fn random(wish: &Wish, rng: &mut ChaCha8Rng) -> Self {
        let (width, height) = image_size(wish.long_side, rng);
        let num_objects = rng.random_range(wish.min_objects..=wish.max_objects);
        // A crowd of large objects may not fit: with every failure large ones become rarer.
        let mut large = 0.5;
        loop {
            let mut scene = Self { width, height, objects: Vec::with_capacity(num_objects) };
            let added = (0..num_objects).all(|_| scene.add(wish, large, rng));
            if added && scene.painting(super::raster::SAMPLES).least_visible() >= LEAST_VISIBLE {
                return scene;
            }
            large *= 0.9;
        }
    }

    /// The scene on a grid of samples.
    pub(super) fn painting(&self, samples_per_px: f64) -> Painting {
        Painting::new(self, samples_per_px)
    }

    /// Adds an object in front of the others; whether there was a place for it.
    fn add(&mut self, wish: &Wish, large: f64, rng: &mut ChaCha8Rng) -> bool {
        let attributes = self.attributes(wish, large, rng);
        let short_side = f64::from(self.width.min(self.height));
        let extent = match attributes.size {
            Size::Small => rng.random_range(0.2..0.26),
            Size::Large => rng.random_range(0.36..0.48),
        };
        let radius = short_side * extent / 2.0;
        let margin = radius * outline::reach(attributes.shape);
        for _ in 0..PLACES_TRIED {
            let center = (
                rng.random_range(margin..f64::from(self.width) - margin),
                rng.random_range(margin..f64::from(self.height) - margin),
            );
            let object = Object {
                attributes,
                center,
                radius,
                rotation: turn(0.26, rng),
                pattern_rotation: match attributes.pattern {
                    Pattern::Striped => turn(std::f64::consts::PI, rng),
                    _ => turn(0.26, rng),
                },
                pattern_period: outline::period(attributes.pattern) * short_side,
                colours: colours(attributes.colour, rng),
            };
            if self.objects.iter().any(|other| object.merges_with(other)) {
                continue;
            }
            self.objects.push(object);
            if self.painting(COARSE).least_visible() >= LEAST_VISIBLE + 0.05 {
                return true;
            }
            self.objects.pop();
        }
        false
    }

    /// What the next object looks like: anything, or (one in three) like an earlier object but for
    /// one or two attributes, so that a single word seldom tells an object from all others.
    fn attributes(&self, wish: &Wish, large: f64, rng: &mut ChaCha8Rng) -> Attributes {
        let first_of_held_out = wish.held_out && self.objects.is_empty();
        loop {
            let mut drawn = any_attributes(large, rng);
            if let Some(like) = self.objects.choose(rng).filter(|_| rng.random_bool(1.0 / 3.0)) {
                let like = like.attributes;
                let keep = rng.random_range(0..4);
                let kept = |attribute: usize| attribute == keep || attribute == (keep + 1) % 4;
                drawn = Attributes {
                    size: if kept(0) { like.size } else { drawn.size },
                    colour: if kept(1) { like.colour } else { drawn.colour },
                    pattern: if kept(2) { like.pattern } else { drawn.pattern },
                    shape: if kept(3) { like.shape } else { drawn.shape },
                };
            }
            // A held-out pair is one in six by chance: too rare for an image that is to be about
            // them, so half of the others are drawn again there.
            let wanted = match (wish.held_out, drawn.is_held_out()) {
                (false, held_out) => !held_out,
                (true, true) => true,
                (true, false) => !first_of_held_out && rng.random_bool(0.5),
            };
            if wanted {
                return drawn;
            }
        }
    }
}

impl Object {
    /// Whether two objects are so near and so alike that no outline could be seen between them.
    fn merges_with(&self, other: &Self) -> bool {
        let reach = |o: &Self| o.radius * outline::reach(o.attributes.shape);
        let (dx, dy) = (self.center.0 - other.center.0, self.center.1 - other.center.1);
        let near = reach(self) + reach(other);
        self.attributes.colour == other.attributes.colour && dx * dx + dy * dy < near * near
    }
}

/// Square, or a little wider or higher: 4:3 is as far as it goes.
fn image_size(long_side: u32, rng: &mut ChaCha8Rng) -> (u32, u32) {
    let short_side = match rng.random_range(0..4) {
        0 | 1 => long_side,
        2 => long_side * 3 / 4,
        _ => long_side * 7 / 8,
    };
    if rng.random_bool(0.5) { (long_side, short_side) } else { (short_side, long_side) }
}

fn any_attributes(large: f64, rng: &mut ChaCha8Rng) -> Attributes {
    let size = Size::ALL[usize::from(rng.random_bool(large))];
    let mut pick = |num: usize| rng.random_range(0..num);
    Attributes {
        size,
        colour: Colour::ALL[pick(Colour::ALL.len())],
        pattern: Pattern::ALL[pick(Pattern::ALL.len())],
        shape: Shape::ALL[pick(Shape::ALL.len())],
    }
}

/// Cosine and sine of an angle of at most `most` either way.
fn turn(most: f64, rng: &mut ChaCha8Rng) -> (f64, f64) {
    let angle = rng.random_range(-most..most);
    (libm::cos(angle), libm::sin(angle))
}

/// The colour with a slight variation, and one for patterns that contrasts with it and keeps off the
/// background's greys: lighter or darker of the same hue; tan on white, brown on black.
fn colours(colour: Colour, rng: &mut ChaCha8Rng) -> [[f64; 3]; 2] {
    let (main, second) = match colour {
        Colour::Red => ([214.0, 40.0, 40.0], [250.0, 178.0, 178.0]),
        Colour::Green => ([40.0, 145.0, 60.0], [180.0, 235.0, 185.0]),
        Colour::Blue => ([40.0, 80.0, 205.0], [170.0, 200.0, 250.0]),
        Colour::Yellow => ([240.0, 215.0, 50.0], [125.0, 105.0, 0.0]),
        Colour::Purple => ([135.0, 50.0, 165.0], [222.0, 175.0, 240.0]),
        Colour::Orange => ([242.0, 132.0, 28.0], [115.0, 55.0, 0.0]),
        Colour::White => ([246.0, 246.0, 246.0], [205.0, 172.0, 125.0]),
        Colour::Black => ([12.0, 12.0, 12.0], [110.0, 66.0, 40.0]),
    };
    let mut vary = |rgb: [f64; 3], by: f64| {
        let shift = rng.random_range(-by..by);
        rgb.map(|v: f64| (v + shift + rng.random_range(-by..by) / 2.0).clamp(0.0, 255.0))
    };
    [vary(main, 8.0), vary(second, 4.0)]
}
