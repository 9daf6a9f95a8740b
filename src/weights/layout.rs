//! Public checkpoints: which maps they are made of, and which one a file is.

use super::file::TensorFile;
use super::name_map::{CompiledMap, Dialect, Kind, NameMap, Target};
use super::{bert, boxes, eva, git, masks, points, prompt, sam, t5};

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

/// What BERT's embeddings are kept under.
const BERT_PREFIXES: &[&str] = &["", "bert.", "model.bert.", "module.bert."];

/// Our own format: names are paths in the whole model.
const OURS: NameMap =
    NameMap { dialect: Dialect::Torch, entries: &[&[("{path}", "{path}", Kind::Tensor(&[]))]] };

const fn ours(path: &'static str) -> Component {
    Component { theirs: path, ours: path, map: &OURS }
}

/// All layouts.
pub const LAYOUTS: &[Layout] = &[
    Layout {
        name: "pixelllm",
        about: "our own format: `pixelllm weights import`, and the weights of a run",
        prefixes: &[""],
        components: &[
            ours("vision.eva."),
            ours("vision.sam."),
            ours("location."),
            ours("adapter."),
            ours("language."),
            ours("points."),
            ours("boxes."),
            ours("masks."),
        ],
    },
    Layout {
        name: "jax",
        about: "the reference's parameters, `params/…`",
        prefixes: &["params/", "param/", ""],
        components: &[
            Component { theirs: "git_backbone/", ours: "vision.eva.", map: &eva::JAX },
            Component { theirs: "sam_backbone/", ours: "vision.sam.", map: &sam::JAX },
            Component {
                theirs: "box_decoder/fpn/",
                ours: "boxes.pyramid.",
                map: &boxes::PYRAMID_JAX,
            },
            Component {
                theirs: "box_decoder/proposal_generator/",
                ours: "boxes.head.",
                map: &boxes::HEAD_JAX,
            },
            Component {
                theirs: "box_decoder/roi_heads/box_head.0/",
                ours: "boxes.roi_head.",
                map: &boxes::ROI_HEAD_JAX,
            },
            Component { theirs: "mask_decoder/", ours: "masks.decoder.", map: &masks::DECODER_JAX },
            Component { theirs: "mask_adapter/", ours: "masks.adapter.", map: &masks::ADAPTER_JAX },
            Component { theirs: "prompt_encoder/", ours: "location.", map: &prompt::LOCATION_JAX },
            Component { theirs: "prompt_adapter/", ours: "adapter.", map: &prompt::ADAPTER_JAX },
            Component { theirs: "textual/", ours: "language.Git.", map: &git::JAX },
            Component { theirs: "point_predictor/", ours: "points.", map: &points::JAX },
            Component {
                theirs: "visual_project_layers/",
                ours: "language.T5.visual_projection.",
                map: &t5::VISUAL_PROJECTION_JAX,
            },
            Component { theirs: "textual/t5_module/", ours: "language.T5.t5.", map: &t5::JAX },
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
        components: &[
            Component { theirs: "image_encoder.", ours: "vision.sam.", map: &sam::META },
            Component { theirs: "prompt_encoder.", ours: "location.", map: &prompt::LOCATION_META },
            Component {
                theirs: "mask_decoder.",
                ours: "masks.decoder.",
                map: &masks::DECODER_META,
            },
        ],
    },
    Layout {
        name: "hf-sam",
        about: "Segment Anything of Hugging Face (`SamModel`)",
        prefixes: TORCH_PREFIXES,
        components: &[
            Component { theirs: "vision_encoder.", ours: "vision.sam.", map: &sam::HUGGING_FACE },
            Component { theirs: "", ours: "location.", map: &prompt::LOCATION_HUGGING_FACE },
            Component {
                theirs: "mask_decoder.",
                ours: "masks.decoder.",
                map: &masks::DECODER_HUGGING_FACE,
            },
        ],
    },
    Layout {
        name: "hf-t5",
        about: "T5 1.1 and Flan-T5 of Hugging Face (`T5ForConditionalGeneration`)",
        prefixes: TORCH_PREFIXES,
        components: &[Component { theirs: "", ours: "language.T5.t5.", map: &t5::HUGGING_FACE }],
    },
    Layout {
        name: "hf-bert",
        about: "the embeddings of BERT of Hugging Face, for the GIT-style decoder",
        prefixes: BERT_PREFIXES,
        components: &[
            Component {
                theirs: "embeddings.word_embeddings",
                ours: "language.Git.words",
                map: &bert::WORDS,
            },
            Component {
                theirs: "embeddings.position_embeddings",
                ours: "language.Git.positions",
                map: &bert::POSITIONS,
            },
            Component {
                theirs: "embeddings.LayerNorm",
                ours: "language.Git.embedding_norm",
                map: &bert::NORM,
            },
        ],
    },
];

/// A layout with the prefix that a file has.
#[derive(Debug)]
pub struct Fitted {
    /// The layout.
    pub layout: &'static Layout,
    /// Its modules of which the file has something.
    pub components: Vec<FittedComponent>,
    /// How many tensors of the file it knows.
    pub known: usize,
}

/// A module of a checkpoint that a file has something of.
#[derive(Debug)]
pub struct FittedComponent {
    /// What the module's parameters begin with in our whole model.
    pub ours: &'static str,
    /// Its map.
    pub map: CompiledMap,
}

impl Fitted {
    /// Where the tensor `name` goes.
    pub fn targets(&self, name: &str) -> Vec<Target> {
        self.components.iter().flat_map(|component| component.map.targets(name)).collect()
    }
}

/// The layout called `name`.
pub fn named(name: &str) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.name == name)
}

impl Layout {
    /// The layout with the prefix under which it knows most tensors of `file`.
    pub fn fit(&'static self, file: &TensorFile) -> Fitted {
        let fitted = |prefix: &&str| {
            let mut known = 0;
            let compiled = self.components.iter().filter_map(|component| {
                let theirs = format!("{prefix}{}", component.theirs);
                let map = component.map.compile(&theirs, component.ours);
                let here = file.tensors.keys().filter(|name| !map.targets(name).is_empty()).count();
                known += here;
                (here > 0).then_some(FittedComponent { ours: component.ours, map })
            });
            let components = compiled.collect();
            Fitted { layout: self, components, known }
        };
        let best = self
            .prefixes
            .iter()
            .map(fitted)
            .reduce(|best, next| if next.known > best.known { next } else { best });
        best.unwrap_or(Fitted { layout: self, components: Vec::new(), known: 0 })
    }
}

/// The layout that knows most tensors of `file`; `None` where none knows any.
pub fn guess(file: &TensorFile) -> Option<Fitted> {
    let fitted = LAYOUTS.iter().map(|layout| layout.fit(file));
    let best = fitted.reduce(|best, next| if next.known > best.known { next } else { best })?;
    (best.known > 0).then_some(best)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use burn::store::bridge;
    use burn::tensor::TensorData;

    use super::*;
    use crate::weights::file::Format;

    /// A file of one number under each of `names`.
    pub(in super::super) fn file(names: impl IntoIterator<Item = impl ToString>) -> TensorFile {
        let tensor = |name: String| {
            let data = TensorData::new(vec![0.0f32], [1]);
            (name.clone(), bridge::from_data(data, name, None))
        };
        TensorFile {
            path: "model.safetensors".into(),
            format: Format::Safetensors,
            metadata: BTreeMap::new(),
            tensors: names.into_iter().map(|name| tensor(name.to_string())).collect(),
        }
    }

    #[test]
    fn a_layout_is_known_by_its_names_also_under_a_prefix() {
        let cases: [(&str, &[&str]); 14] = [
            ("timm-eva02", &["cls_token", "blocks.0.mlp.fc1_g.weight"]),
            ("eva02", &["module.cls_token", "module.blocks.0.mlp.w1.weight"]),
            ("sam", &["image_encoder.neck.0.weight", "mask_decoder.iou_token.weight"]),
            ("sam", &["prompt_encoder.point_embeddings.0.weight", "mask_decoder.iou_token.weight"]),
            ("hf-sam", &["vision_encoder.neck.conv1.weight"]),
            ("hf-sam", &["prompt_encoder.point_embed.0.weight", "mask_decoder.iou_token.weight"]),
            ("jax", &["params/mask_decoder/mask_tokens.weight"]),
            ("jax", &["params/git_backbone/cls_token", "params/sam_backbone/pos_embed"]),
            (
                "jax",
                &["params/textual/output/kernel", "params/prompt_adapter/output_tokens.weight"],
            ),
            ("hf-t5", &["shared.weight", "decoder.block.0.layer.1.EncDecAttention.q.weight"]),
            ("jax", &["params/textual/t5_module/decoder/layers_0/self_attention/query/kernel"]),
            ("hf-bert", &["bert.embeddings.LayerNorm.gamma", "cls.predictions.bias"]),
            ("hf-bert", &["embeddings.word_embeddings.weight", "pooler.dense.bias"]),
            ("pixelllm", &["vision.eva.norm.gamma"]),
        ];
        for (name, tensors) in cases {
            let guessed = guess(&file(tensors)).map(|fitted| fitted.layout.name);
            assert_eq!(guessed, Some(name));
        }
        assert!(guess(&file(["something.else"])).is_none());
    }

    #[test]
    fn of_bert_the_embeddings_are_taken_and_nothing_else() {
        let names = [
            "bert.embeddings.word_embeddings.weight",
            "bert.embeddings.position_embeddings.weight",
            "bert.embeddings.LayerNorm.gamma",
            "bert.embeddings.LayerNorm.beta",
            "bert.embeddings.token_type_embeddings.weight",
            "bert.encoder.layer.0.attention.self.query.weight",
            "bert.pooler.dense.weight",
            "cls.predictions.decoder.weight",
        ];
        let file = file(names);
        let fitted = named("hf-bert").unwrap().fit(&file);
        let paths = |name: &str| -> Vec<String> {
            fitted.targets(name).into_iter().map(|target| target.path).collect()
        };
        let found: Vec<_> = names.iter().flat_map(|name| paths(name)).collect();
        let expected =
            ["words.weight", "positions.weight", "embedding_norm.gamma", "embedding_norm.beta"];
        assert_eq!(found, expected.map(|path| format!("language.Git.{path}")));
        assert_eq!(fitted.known, 4);
    }
}
