//! T5 of Hugging Face in half precision: what stays so in memory, and what is computed from it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData, Tolerance};
use pixelllm::experiment;
use pixelllm::model::language::{LanguageInput, Vocabulary};
use pixelllm::model::pixel_llm::PixelLlm;
use pixelllm::weights::import::{self, ImportOptions};

use common::safetensors::{bfloat16, read, write};

const T5: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/vectors/hf_t5");
const VOCABULARY: Vocabulary = Vocabulary { size: 97, pad: 0, begin: 0, end: 1 };

/// The least model around a T5 that reads visual tokens as they are.
const MODEL: &str = r#"
[model]
location.width = 8
adapter = { depth = 1, width = 8, num_heads = 2, mlp_width = 8, num_queries = 2, output_width = 32 }
points.hidden_width = 8
[model.vision]
sam = false
[model.vision.eva]
width = 48
depth = 1
num_heads = 3
patch_px = 14
pretrain_image_px = 70
[model.language]
kind = "t5"
visual_projection = false
"#;

/// A folder with an experiment, and the golden T5 in bfloat16 in `bf16`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("e.toml"), MODEL).unwrap();
    let halves = bfloat16(read(&Path::new(T5).join("model.safetensors")));
    fs::create_dir(folder.path().join("bf16")).unwrap();
    write(&folder.path().join("bf16/model.safetensors"), &halves);
    fs::copy(format!("{T5}/config.json"), folder.path().join("bf16/config.json")).unwrap();
    folder
}

fn loaded(folder: &Path, weights: &Path, storage: &str) -> PixelLlm {
    let changes =
        [format!("model.language.config={T5:?}"), format!("model.language.storage=\"{storage}\"")];
    let config = experiment::load_model(&folder.join("e.toml"), &changes).unwrap();
    let mut model = config.init(VOCABULARY, &Device::flex());
    let options = ImportOptions::default();
    import::into_model(weights, &config, &mut model, &options).unwrap();
    model
}

fn logits(model: &PixelLlm) -> TensorData {
    let device = Device::flex();
    let visual = (0..2 * 3 * 32).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    let visual = Tensor::<3>::from_data(TensorData::new(visual, [2, 3, 32]), &device);
    let text = [[0i64, 5, 17, 96, 1], [0, 42, 8, 3, 1]];
    let text = Tensor::<2, Int>::from_data(text, &device);
    let input = LanguageInput { visual, context: None, text };
    model.language().forward(input).logits.into_data()
}

/// Types of the parameters of T5 by path.
fn types(model: &PixelLlm) -> BTreeMap<String, DType> {
    #[derive(Default)]
    struct Types(Vec<String>, BTreeMap<String, DType>);
    impl ModuleVisitor for Types {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.insert(self.0.join("."), param.val().dtype());
        }
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.0.push(name.to_string());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.0.pop();
        }
    }
    let mut types = Types::default();
    model.visit(&mut types);
    types.1.into_iter().filter(|(path, _)| path.starts_with("language.T5.t5.")).collect()
}

#[test]
fn matrices_stay_in_half_precision_and_all_else_has_32_bits() {
    let folder = folder();
    let weights: PathBuf = folder.path().join("bf16");
    let model = loaded(folder.path(), &weights, "bf16");
    for (path, dtype) in types(&model) {
        let is_matrix = path.ends_with(".weight");
        let is_kept = is_matrix && !path.contains(".lora.") && !path.contains(".positions.");
        assert_eq!(dtype, if is_kept { DType::BF16 } else { DType::F32 }, "{path}");
    }
    let wide = loaded(folder.path(), &weights, "f32");
    assert!(types(&wide).values().all(|dtype| *dtype == DType::F32));
}

#[test]
fn what_is_computed_is_that_of_the_same_numbers_in_32_bits() {
    let folder = folder();
    let weights = folder.path().join("bf16");
    let wide = logits(&loaded(folder.path(), &weights, "f32"));
    let half = logits(&loaded(folder.path(), &weights, "bf16"));
    half.assert_approx_eq(&wide, Tolerance::<f32>::absolute(1e-5));
    // Against the numbers that were rounded: 8 bits of each are left.
    let whole = logits(&loaded(folder.path(), Path::new(T5), "f32"));
    let largest = |data: &TensorData| {
        data.try_to_vec::<f32>().unwrap().iter().fold(0f32, |most, x| most.max(x.abs()))
    };
    let scale = largest(&whole);
    half.assert_approx_eq(&whole, Tolerance::<f32>::absolute(scale / 32.0));
    for storage in ["bf16", "f16"] {
        let narrowed = logits(&loaded(folder.path(), Path::new(T5), storage));
        narrowed.assert_approx_eq(&whole, Tolerance::<f32>::absolute(scale / 32.0));
    }
}
