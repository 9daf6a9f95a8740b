//! Public checkpoints: which maps they are made of, and which one a file is.

use super::file::TensorFile;
use super::name_map::{CompiledMap, NameMap};
use super::{eva, sam};

/// A module of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    /// What its names begin with there.
    pub theirs: &'static str,
    /// What its names begin with in our whole model.
    pub ours: &'static str,
    /// The rest of the names.
    pub map: &'static NameMap,
}

/// A public checkpoint, as its authors lay it out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Its name in experiments and on the command line.
    pub name: &'static str,
    /// Whose files have it.
    pub about: &'static str,
    /// What all its names may begin with.
    pub prefixes: &'static [&'static str],
    /// Its modules.
    pub components: &'static [Component],
}

/// What a state dict is kept under in many PyTorch files, or nothing.
const TORCH_PREFIXES: &[&str] = &["", "model.", "module.", "state_dict.", "model.module."];

/// All layouts.
pub const LAYOUTS: &[Layout] = &[
    Layout {
        name: "jax",
        about: "the reference's parameters, `params/…`",
        prefixes: &["params/", "param/", ""],
        components: &[
            Component { theirs: "git_backbone/", ours: "vision.eva.", map: &eva::JAX },
            Component { theirs: "sam_backbone/", ours: "vision.sam.", map: &sam::JAX },
        ],
    },
    Layout {
        name: "timm-eva02",
        about: "EVA-02 of timm and Hugging Face",
        prefixes: TORCH_PREFIXES,
        components: &[Component { theirs: "", ours: "vision.eva.", map: &eva::TIMM }],
    },
    Layout {
        name: "eva02",
        about: "EVA-02 of its authors",
        prefixes: TORCH_PREFIXES,
        components: &[Component { theirs: "", ours: "vision.eva.", map: &eva::ORIGINAL }],
    },
    Layout {
        name: "sam",
        about: "Segment Anything of Meta",
        prefixes: TORCH_PREFIXES,
        components: &[Component { theirs: "image_encoder.", ours: "vision.sam.", map: &sam::META }],
    },
    Layout {
        name: "hf-sam",
        about: "Segment Anything of Hugging Face (`SamModel`)",
        prefixes: TORCH_PREFIXES,
        components: &[Component {
            theirs: "vision_encoder.",
            ours: "vision.sam.",
            map: &sam::HUGGING_FACE,
        }],
    },
];

/// A layout with the prefix that a file has.
#[derive(Debug)]
pub struct Fitted {
    /// The layout.
    pub layout: &'static Layout,
    /// Its maps, compiled with the prefix.
    pub maps: Vec<CompiledMap>,
    /// How many tensors of the file it knows.
    pub known: usize,
}

/// The layout called `name`.
pub fn named(name: &str) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.name == name)
}

impl Layout {
    /// The layout with the prefix under which it knows most tensors of `file`.
    pub fn fit(&'static self, file: &TensorFile) -> Fitted {
        let fitted = |prefix: &&str| {
            let compile = |component: &Component| {
                component.map.compile(&format!("{prefix}{}", component.theirs), component.ours)
            };
            let maps: Vec<_> = self.components.iter().map(compile).collect();
            let known = |name: &&String| maps.iter().any(|map| !map.targets(name).is_empty());
            let known = file.tensors.keys().filter(known).count();
            Fitted { layout: self, maps, known }
        };
        let best = self.prefixes.iter().map(fitted).reduce(|best, next| {
            if next.known > best.known { next } else { best }
        });
        best.unwrap_or(Fitted { layout: self, maps: Vec::new(), known: 0 })
    }
}

/// The layout that knows most tensors of `file`; `None` where none knows any.
pub fn guess(file: &TensorFile) -> Option<Fitted> {
    let fitted = LAYOUTS.iter().map(|layout| layout.fit(file));
    let best = fitted.reduce(|best, next| if next.known > best.known { next } else { best })?;
    (best.known > 0).then_some(best)
}
