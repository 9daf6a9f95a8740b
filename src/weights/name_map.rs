//! The language of name maps: which tensor of a file is which parameter here, and how it is laid out.
//!
//! A map is a table of [`Entry`]s. Most say "this layer is that layer" and leave the rest to the
//! [`Dialect`]: in PyTorch a linear layer is `weight` `[out, in]` and `bias`, in flax it is `kernel`
//! `[in, out]` and `bias`, in Burn `weight` `[in, out]` and `bias`. What is not a layer is a tensor of
//! its own, with the [`Change`]s that lay it out as here.
//!
//! In maps a `/` stands between a module and its part. In flax's files it is written so; in PyTorch's it
//! is a dot, so that one table serves a model in both.

use std::sync::Arc;

use burn::store::burn_pack;
use burn::tensor::{DType, Shape, TensorData};
use regex::{Captures, Regex};

use super::array::Array;

/// Who wrote the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `layer.weight`; linear `[out, in]`, convolutions `[out, in, h, w]`.
    Torch,
    /// `layer/kernel`; linear `[in, out]`, convolutions `[h, w, in, out]`.
    Flax,
}

/// What a name of a map stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A linear layer.
    Linear,
    /// A linear layer without a bias, and its low-rank adapter where the file has one: PEFT's
    /// `lora_A`, the reference's `kernel_left_lora`.
    Adapted,
    /// A convolution.
    Convolution,
    /// A transposed convolution.
    Transposed,
    /// A layer, group or batch norm.
    Norm,
    /// A table of embeddings.
    Embedding,
    /// One tensor, under exactly this name.
    Tensor(&'static [Change]),
    /// One tensor, under exactly this name, which is row `{i}` of the parameter's first axis.
    Row(&'static [Change]),
    /// One tensor over places, which is resized where the model's grid is another.
    Table(Places, &'static [Change]),
}

/// What the places of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// `[1, 1 + side², D]`: a class token, then the cells of a square grid. Bicubic.
    ClassAndCells,
    /// `[1, D, H, W]`. Bicubic.
    Grid,
    /// `[2·side − 1, D]`: distances. Linear.
    Distances,
    /// `[length, D]`: tokens of a text. A shorter model has the first of them.
    Positions,
}

/// A step from a tensor as it is in the file to the same as it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its axes, in this order.
    Permute(&'static [usize]),
    /// Part `index` of `of` equal parts of its first axis.
    Part {
        /// Which part.
        index: usize,
        /// How many there are.
        of: usize,
    },
    /// Without its axes of length 1.
    Squeeze,
    /// With an axis of length 1 at this position.
    Unsqueeze(usize),
    /// With this axis reversed.
    Reverse(usize),
}

/// One line of a map. `{i}` and `{j}` stand for numbers and `{path}` for anything, the same on both
/// sides.
pub type Entry = (&'static str, &'static str, Kind);

/// A table from their names to ours.
#[derive(Debug, Clone, Copy)]
pub struct NameMap {
    /// Who wrote the file.
    pub dialect: Dialect,
    /// The lines, in groups that several maps may share.
    pub entries: &'static [&'static [Entry]],
}

/// Where a tensor of a file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Path of the parameter here.
    pub path: String,
    /// What lays it out as here.
    pub changes: &'static [Change],
    /// What its places are, where it is a table.
    pub places: Option<Places>,
    /// Which row of the parameter it is, where it is not all of it.
    pub row: Option<usize>,
}

/// A tensor of a layer: suffix there, suffix here, changes.
type Part = (&'static str, &'static str, &'static [Change]);

const SAME: &[Change] = &[];
const TURNED: &[Change] = &[Change::Permute(&[1, 0])];
/// `[h, w, in, out]` → `[out, in, h, w]`; `[h, w, out, in]` → `[in, out, h, w]`.
const CHANNELS_FIRST: &[Change] = &[Change::Permute(&[3, 2, 0, 1])];

impl Kind {
    /// The tensors of a layer in a dialect.
    fn parts(self, dialect: Dialect) -> &'static [Part] {
        match (self, dialect) {
            (Self::Linear, Dialect::Torch) => {
                &[(".weight", ".weight", TURNED), (".bias", ".bias", SAME)]
            }
            (Self::Linear, Dialect::Flax) => {
                &[("/kernel", ".weight", SAME), ("/bias", ".bias", SAME)]
            }
            (Self::Adapted, Dialect::Torch) => &[
                (".weight", ".base.weight", TURNED),
                (".lora_A.weight", ".lora.down.weight", TURNED),
                (".lora_B.weight", ".lora.up.weight", TURNED),
            ],
            (Self::Adapted, Dialect::Flax) => &[
                ("/kernel", ".base.weight", SAME),
                ("/kernel_left_lora", ".lora.down.weight", SAME),
                ("/kernel_right_lora", ".lora.up.weight", SAME),
            ],
            (Self::Convolution | Self::Transposed, Dialect::Torch) => {
                &[(".weight", ".weight", SAME), (".bias", ".bias", SAME)]
            }
            (Self::Convolution | Self::Transposed, Dialect::Flax) => {
                &[("/kernel", ".weight", CHANNELS_FIRST), ("/bias", ".bias", SAME)]
            }
            (Self::Norm, Dialect::Torch) => {
                &[(".weight", ".gamma", SAME), (".bias", ".beta", SAME)]
            }
            (Self::Norm, Dialect::Flax) => &[("/scale", ".gamma", SAME), ("/bias", ".beta", SAME)],
            (Self::Embedding, Dialect::Torch) => &[(".weight", ".weight", SAME)],
            (Self::Embedding, Dialect::Flax) => &[("/embedding", ".weight", SAME)],
            (Self::Tensor(_) | Self::Row(_) | Self::Table(..), _) => &[("", "", SAME)],
        }
    }
}

/// A map whose patterns are compiled.
#[derive(Debug)]
pub struct CompiledMap {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    theirs: Regex,
    ours: String,
    changes: &'static [Change],
    places: Option<Places>,
    is_row: bool,
}

impl Dialect {
    /// A name of a map as files write it.
    fn name(self, name: &str) -> String {
        match self {
            Self::Torch => name.replace('/', "."),
            Self::Flax => name.to_string(),
        }
    }
}

impl NameMap {
    /// Every tensor that the map knows: its name there, its path here, how it is laid out.
    fn tensors(&self) -> impl Iterator<Item = (String, String, Kind, &'static [Change])> {
        let dialect = self.dialect;
        self.entries.iter().copied().flatten().flat_map(move |&(theirs, ours, kind)| {
            kind.parts(dialect).iter().map(move |&(suffix, our_suffix, changes)| {
                let theirs = dialect.name(theirs) + suffix;
                (theirs, format!("{ours}{our_suffix}"), kind, changes)
            })
        })
    }

    /// Compiles the map for names that begin with `their_prefix` there and `our_prefix` here.
    pub fn compile(&self, their_prefix: &str, our_prefix: &str) -> CompiledMap {
        let lines = self.tensors().filter_map(|(theirs, ours, kind, changes)| {
            let (changes, places) = match kind {
                Kind::Tensor(changes) | Kind::Row(changes) => (changes, None),
                Kind::Table(places, changes) => (changes, Some(places)),
                _ => (changes, None),
            };
            let theirs = pattern(&format!("{their_prefix}{theirs}"))?;
            let ours = format!("{our_prefix}{ours}");
            let is_row = matches!(kind, Kind::Row(_));
            Some(Line { theirs, ours, changes, places, is_row })
        });
        CompiledMap { lines: lines.collect() }
    }

    /// The name there of the parameter `path` here; `None` where the map has none.
    pub fn name_of(&self, path: &str) -> Option<String> {
        self.tensors().find_map(|(theirs, ours, _, _)| {
            let captures = pattern(&ours)?.captures(path)?;
            Some(filled(theirs, &captures))
        })
    }
}

/// What may stand in a name, and what it matches.
const PLACEHOLDERS: [(&str, &str); 3] = [("i", "[0-9]+"), ("j", "[0-9]+"), ("path", ".+")];

/// The pattern of a name. Always `Some`: all but the placeholders is escaped.
fn pattern(name: &str) -> Option<Regex> {
    let pattern = PLACEHOLDERS.iter().fold(regex::escape(name), |pattern, (name, matches)| {
        pattern.replace(&format!("\\{{{name}\\}}"), &format!("(?<{name}>{matches})"))
    });
    Regex::new(&format!("^{pattern}$")).ok()
}

/// A name with what was captured in place of its placeholders.
fn filled(name: String, captures: &Captures<'_>) -> String {
    PLACEHOLDERS.iter().fold(name, |name, (placeholder, _)| match captures.name(placeholder) {
        Some(found) => name.replace(&format!("{{{placeholder}}}"), found.as_str()),
        None => name,
    })
}

impl CompiledMap {
    /// Where the tensor `name` goes: usually to one place, to several where it is cut into parts, to
    /// none where the map does not know it.
    pub fn targets(&self, name: &str) -> Vec<Target> {
        let target = |line: &Line| {
            let captures = line.theirs.captures(name)?;
            let path = filled(line.ours.clone(), &captures);
            let row = captures.name("i").filter(|_| line.is_row);
            let row = row.map(|row| row.as_str().parse()).transpose().ok()?;
            Some(Target { path, changes: line.changes, places: line.places, row })
        };
        self.lines.iter().filter_map(target).collect()
    }
}

impl Change {
    /// The shape after the change, or why it cannot be made.
    fn shape(self, shape: &[usize]) -> Result<Vec<usize>, String> {
        let unfit = |wanted: &str| Err(format!("{wanted}, found {shape:?}"));
        match self {
            Self::Permute(axes) if axes.len() == shape.len() => {
                Ok(axes.iter().map(|&axis| shape[axis]).collect())
            }
            Self::Permute(axes) => unfit(&format!("expected {} axes", axes.len())),
            Self::Part { of, .. } => match shape.split_first() {
                Some((first, rest)) if first.is_multiple_of(of) => {
                    Ok([&[first / of], rest].concat())
                }
                _ => unfit(&format!("expected a first axis of {of} equal parts")),
            },
            Self::Squeeze => Ok(shape.iter().copied().filter(|&length| length != 1).collect()),
            Self::Unsqueeze(axis) if axis <= shape.len() => {
                Ok([&shape[..axis], &[1], &shape[axis..]].concat())
            }
            Self::Unsqueeze(axis) => unfit(&format!("expected at least {axis} axes")),
            Self::Reverse(axis) if axis < shape.len() => Ok(shape.to_vec()),
            Self::Reverse(axis) => unfit(&format!("expected more than {axis} axes")),
        }
    }

    fn apply(self, array: Array) -> Array {
        match self {
            Self::Permute(axes) => array.permute(axes),
            Self::Part { index, of } => array.part(index, of),
            Self::Squeeze => {
                let shape = array.shape.iter().copied().filter(|&length| length != 1).collect();
                Array { shape, ..array }
            }
            Self::Unsqueeze(axis) => {
                let shape = [&array.shape[..axis], &[1], &array.shape[axis..]].concat();
                Array { shape, ..array }
            }
            Self::Reverse(axis) => array.reverse(axis),
        }
    }
}

/// What else happens to a tensor after its [`Change`]s.
pub type Finish = Arc<dyn Fn(Array) -> Array + Send + Sync>;

impl Target {
    /// The shape that a tensor of `shape` has here, before any resize; or why it does not fit.
    ///
    /// # Errors
    /// One line that names what the map expects and what was found.
    pub fn shape(&self, shape: &[usize]) -> Result<Vec<usize>, String> {
        self.changes.iter().try_fold(shape.to_vec(), |shape, change| change.shape(&shape))
    }

    /// The tensor as it is here: `float32`, laid out by the changes and then by `finish`, whose result
    /// has the shape `shape`. Nothing is read until its data is asked for, and then only this tensor.
    pub fn tensor(
        &self,
        tensor: &burn_pack::Tensor,
        shape: Vec<usize>,
        finish: Option<Finish>,
    ) -> burn_pack::Tensor {
        let (source, changes, expected) = (tensor.clone(), self.changes, shape.clone());
        let read = move || {
            let data = burn::store::bridge::to_data(&source)?;
            let data = data.convert_dtype(DType::F32);
            let shape = data.shape().to_vec();
            let values = data
                .try_into_vec::<f32>()
                .map_err(|error| burn_pack::Error::ValidationError(format!("{error:?}")))?;
            let array = changes.iter().fold(Array { shape, values }, |x, change| change.apply(x));
            let array = match &finish {
                Some(finish) => finish(array),
                None => array,
            };
            Ok(TensorData::new(array.values, Shape::from(expected.clone())))
        };
        burn::store::bridge::deferred(self.path.clone(), DType::F32, Shape::from(shape), None, read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MAP: NameMap = NameMap {
        dialect: Dialect::Torch,
        entries: &[
            &[("blocks.{i}/norm", "layers.{i}.norm_1", Kind::Norm)],
            &[
                (
                    "qkv",
                    "query.weight",
                    Kind::Tensor(&[Change::Part { index: 0, of: 3 }, Change::Permute(&[1, 0])]),
                ),
                ("qkv", "value.weight", Kind::Tensor(&[Change::Part { index: 2, of: 3 }])),
                ("attention/q", "attention.query", Kind::Adapted),
            ],
        ],
    };

    #[test]
    fn a_layer_brings_its_tensors_and_numbers_stay() {
        let map = MAP.compile("image.", "vision.");
        let targets = map.targets("image.blocks.12.norm.weight");
        assert_eq!(targets.len(), 1);
        assert_eq!(targets[0].path, "vision.layers.12.norm_1.gamma");
        assert!(map.targets("image.blocks.x.norm.weight").is_empty());
        assert!(map.targets("image.blocks.12.norm.weight.more").is_empty());
    }

    #[test]
    fn one_table_serves_the_names_of_both_dialects() {
        let flax = NameMap { dialect: Dialect::Flax, ..MAP }.compile("", "");
        assert_eq!(flax.targets("blocks.3/norm/scale")[0].path, "layers.3.norm_1.gamma");
        assert!(flax.targets("blocks.3.norm.scale").is_empty());
        let torch = MAP.compile("", "");
        for (name, path) in [("weight", "base"), ("lora_A.weight", "lora.down")] {
            let target = &torch.targets(&format!("attention.q.{name}"))[0];
            assert_eq!(target.path, format!("attention.query.{path}.weight"));
        }
        assert_eq!(
            flax.targets("attention/q/kernel_right_lora")[0].path,
            "attention.query.lora.up.weight"
        );
    }

    #[test]
    fn a_parameter_has_the_name_that_it_is_loaded_from() {
        let name = MAP.name_of("attention.query.lora.up.weight");
        assert_eq!(name.as_deref(), Some("attention.q.lora_B.weight"));
        assert_eq!(MAP.name_of("layers.7.norm_1.beta").as_deref(), Some("blocks.7.norm.bias"));
        assert_eq!(MAP.name_of("layers.x.norm_1.beta"), None);
    }

    #[test]
    fn one_tensor_may_become_several() {
        let map = MAP.compile("", "");
        let targets = map.targets("qkv");
        let paths: Vec<_> = targets.iter().map(|target| target.path.as_str()).collect();
        assert_eq!(paths, ["query.weight", "value.weight"]);
        assert_eq!(targets[0].shape(&[6, 4]), Ok(vec![4, 2]));
        assert!(targets[0].shape(&[7, 4]).unwrap_err().contains("3 equal parts"));
    }
}
