//! The adapters of a run, in the layout of Hugging Face's PEFT.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::store::bridge;
use burn::tensor::{DType, Int, Tensor, TensorData};
use serde_json::{Map, Value, json};

use super::frozen::T5;
use super::frozen_record::FrozenRecord;
use super::run_directory::{RunDirectory, write_atomically, write_json};
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::model::language::lora::{LoraConfig, Projection};
use crate::model::language::t5::config::{T5Config, Trained};
use crate::model::language::{LanguageConfig, LanguageModel};
use crate::model::pixel_llm::PixelLlm;
use crate::weights::array::Array;
use crate::weights::file::TensorFile;
use crate::weights::{safetensors, t5};

/// What all names in PEFT's files begin with.
const PREFIX: &str = "base_model.model.";
/// Files of an adapter, as PEFT calls them.
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

/// Writes the adapters of `run` to the folder `directory`; says how many matrices they have.
///
/// # Errors
/// [`Error::Run`] where the run has no adapters on T5, or some that PEFT cannot express; [`Error::Io`]
/// or [`Error::Format`] where a file cannot be read or written.
pub fn export(run: &RunDirectory, experiment: &Experiment, directory: &Path) -> Result<usize> {
    let refuse = |(problem, help): (String, &str)| Error::Run {
        path: run.path().into(),
        problem,
        help: help.into(),
    };
    let LanguageConfig::T5(config) = &experiment.model.language else {
        let problem = "its language model is not T5, and has no adapters".into();
        return Err(refuse((problem, "Export a run with `model.language.kind = \"t5\"`.")));
    };
    let stacks = Stacks::of(config).map_err(refuse)?;
    let weights = run.weights();
    if !weights.is_file() {
        let problem = "has no weights: its training was not finished".into();
        let help = "Finish it with `pixelllm train EXPERIMENT.toml --resume`.";
        return Err(refuse((problem, help)));
    }
    let frozen = FrozenRecord::read(run)?;
    let of_no_file = frozen.saved().iter().filter(|path| path.starts_with(T5)).count();
    if of_no_file > 0 {
        tracing::warn!(
            "{of_no_file} parameters of T5 under the adapters come from no public file: on others, \
             the adapters do not compute what was trained"
        );
    }
    let tensors = read(&weights, config, &stacks)?;
    fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let path = directory.join(WEIGHTS);
    write_atomically(&path, &safetensors::to_bytes(&path, &tensors)?)?;
    write_json(&directory.join(CONFIG), &adapter_config(&stacks, &tensors))?;
    Ok(tensors.len())
}

/// Rows, visual tokens and text tokens of a probe.
const PROBE: [usize; 3] = [2, 5, 7];

/// Writes to `path` what to compare PEFT with: `inputs_embeds` for the encoder, `decoder_input_ids` (as
/// numbers with a point), and the `logits` that the T5 of `model` has for them.
///
/// # Errors
/// [`Error::Usage`] where its language model is not T5, [`Error::Compute`], [`Error::Io`].
pub fn probe(model: &PixelLlm, path: &Path) -> Result<()> {
    let LanguageModel::T5(language) = model.language() else {
        return Err(Error::Usage {
            problem: "the language model of the run is not T5".into(),
            help: "A probe is of T5 with its adapters.".into(),
        });
    };
    let (t5, device) = (language.t5(), language.device());
    let [rows, visual, text] = PROBE;
    let [num_words, width] = t5.words_shape();
    // Any numbers will do; a generator's would depend on the device.
    let numbers = (0..rows * visual * width).map(|index| (index as f32 * 0.7).sin()).collect();
    let embeddings =
        Tensor::<1>::from_floats(TensorData::new(numbers, [rows * visual * width]), &device);
    let embeddings = embeddings.reshape([rows, visual, width]);
    let pad = language.vocabulary().pad;
    let words = (0..num_words as i64).filter(|id| *id != pad).cycle();
    let ids: Vec<i64> = words.step_by(3).take(rows * text).collect();
    let tokens = Tensor::<1, Int>::from_data(TensorData::new(ids, [rows * text]), &device);
    let tokens = tokens.reshape([rows, text]);
    let mut state = t5.begin(embeddings.clone(), None);
    let logits = t5.logits(t5.read(&mut state, tokens.clone()));
    let tensors = BTreeMap::from([
        ("inputs_embeds".into(), on_host(embeddings)?),
        ("decoder_input_ids".into(), on_host(tokens.float())?),
        ("logits".into(), on_host(logits)?),
    ]);
    write_atomically(path, &safetensors::to_bytes(path, &tensors)?)
}

fn on_host<const D: usize>(tensor: Tensor<D>) -> Result<Array> {
    let shape = tensor.dims().to_vec();
    let values = tensor.into_data().try_into_vec::<f32>().map_err(|error| Error::Compute {
        problem: format!("a tensor is not of 32-bit numbers: {error:?}"),
        help: "Report this as a bug.".into(),
    })?;
    Ok(Array { shape, values })
}

/// The adapters of both stacks, where they have any.
struct Stacks<'a> {
    encoder: Option<&'a LoraConfig>,
    decoder: Option<&'a LoraConfig>,
}

impl<'a> Stacks<'a> {
    /// The adapters of `config`, or what keeps them from being PEFT's, and what to do.
    fn of(config: &'a T5Config) -> Result<Self, (String, &'static str)> {
        fn adapters(lora: Option<&LoraConfig>) -> Option<&LoraConfig> {
            lora.filter(|lora| lora.rank > 0 && !lora.projections.is_empty())
        }
        let encoder = adapters(config.encoder_lora.as_ref());
        let decoder = adapters(config.decoder_lora.as_ref());
        if config.trained == Trained::All {
            let problem = "trained T5 itself, beside its adapters: they are not all that it learnt";
            return Err((problem.into(), "Train with `model.language.trained = \"lora\"`."));
        }
        match (encoder, decoder) {
            (None, None) => {
                let help = "Train with `encoder_lora` or `decoder_lora` of a rank above 0.";
                Err(("its T5 has no adapters".into(), help))
            }
            (Some(one), Some(other)) if one.dropout != other.dropout => Err((
                format!(
                    "its adapters have dropouts of {} (encoder) and {} (decoder), and PEFT has one \
                     for all",
                    one.dropout, other.dropout
                ),
                "Train with the same `dropout` in `encoder_lora` and `decoder_lora`.",
            )),
            _ => Ok(Self { encoder, decoder }),
        }
    }

    /// That of the stack that `name` is in.
    fn stack(&self, name: &str) -> Option<&'a LoraConfig> {
        if name.starts_with("encoder.") { self.encoder } else { self.decoder }
    }

    /// The one that PEFT's general settings are of.
    fn general(&self) -> Option<&'a LoraConfig> {
        self.encoder.or(self.decoder)
    }
}

/// What PEFT divides by the rank to get the scale.
fn alpha(lora: &LoraConfig) -> Value {
    let alpha = lora.scale * lora.rank as f64;
    // PEFT's own type is a whole number; it computes with others, too.
    if alpha.fract() == 0.0 && alpha.abs() < f64::from(i32::MAX) {
        json!(alpha as i64)
    } else {
        json!(alpha)
    }
}

/// The adapters in the file `weights`, by PEFT's names.
fn read(weights: &Path, config: &T5Config, stacks: &Stacks<'_>) -> Result<BTreeMap<String, Array>> {
    let file = TensorFile::open(weights)?;
    let size = config.dimensions();
    let mut tensors = BTreeMap::new();
    for (path, tensor) in &file.tensors {
        let adapter = path.strip_prefix(T5).and_then(|path| path.strip_prefix('.'));
        let adapter = adapter.filter(|path| path.contains(".lora."));
        let Some(name) = adapter.and_then(|path| t5::HUGGING_FACE.name_of(path)) else { continue };
        let unreadable =
            |problem: String| Error::format(weights, problem, "Restore the file of the run.");
        let data = bridge::to_data(tensor).map_err(|error| unreadable(error.to_string()))?;
        let data = data.convert_dtype(DType::F32);
        let shape = data.shape().to_vec();
        let values =
            data.try_into_vec::<f32>().map_err(|error| unreadable(format!("{error:?}")))?;
        // `[in, out]` here, `[out, in]` in PyTorch.
        tensors.insert(format!("{PREFIX}{name}"), Array { shape, values }.permute(&[1, 0]));
    }
    let found = |stack: &str| tensors.keys().filter(|name| name.contains(stack)).count();
    // Two matrices to a projection; the decoder has two attentions to a layer.
    let count = |lora: Option<&LoraConfig>, attentions: usize| {
        lora.map_or(0, |lora| 2 * attentions * projections(lora).len())
    };
    let expected =
        [count(stacks.encoder, size.encoder_depth), count(stacks.decoder, 2 * size.decoder_depth)];
    let found = [found(".encoder."), found(".decoder.")];
    if found == expected {
        return Ok(tensors);
    }
    let problem = format!(
        "has {found:?} matrices of adapters in encoder and decoder, and the experiment {expected:?}"
    );
    let help = "Adapters that were frozen are in the file that they came from, not in the run.";
    Err(Error::format(weights, problem, help))
}

/// PEFT's names of the projections that `lora` adapts, each once.
fn projections(lora: &LoraConfig) -> Vec<&'static str> {
    let names = [
        (Projection::Query, "q"),
        (Projection::Key, "k"),
        (Projection::Value, "v"),
        (Projection::Output, "o"),
    ];
    names.into_iter().filter(|(name, _)| lora.adapts(*name)).map(|(_, name)| name).collect()
}

/// `adapter_config.json`.
fn adapter_config(stacks: &Stacks<'_>, tensors: &BTreeMap<String, Array>) -> Value {
    let lora = stacks.general();
    let (mut ranks, mut alphas) = (Map::new(), Map::new());
    // By the whole name of a module: how a pattern is matched differs between versions of PEFT.
    let modules =
        tensors.keys().filter_map(|name| name.strip_prefix(PREFIX)?.strip_suffix(".lora_A.weight"));
    for module in modules {
        let (Some(own), Some(general)) = (stacks.stack(module), lora) else { continue };
        if own.rank != general.rank {
            ranks.insert(module.into(), json!(own.rank));
        }
        if alpha(own) != alpha(general) {
            alphas.insert(module.into(), alpha(own));
        }
    }
    json!({
        "peft_type": "LORA",
        "task_type": "SEQ_2_SEQ_LM",
        "base_model_name_or_path": null,
        "inference_mode": true,
        "r": lora.map(|lora| lora.rank),
        "lora_alpha": lora.map(alpha),
        "lora_dropout": lora.map(|lora| lora.dropout),
        "target_modules": target_modules(stacks),
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "bias": "none",
        "fan_in_fan_out": false,
        "use_rslora": false,
        "use_dora": false,
        "modules_to_save": null,
    })
}

/// The ends of names where both stacks adapt the same projections, else a pattern of whole names.
fn target_modules(stacks: &Stacks<'_>) -> Value {
    let [encoder, decoder] =
        [stacks.encoder, stacks.decoder].map(|lora| lora.map(projections).unwrap_or_default());
    if encoder == decoder {
        return json!(encoder);
    }
    let stacks = [("encoder", encoder), ("decoder", decoder)];
    let stacks = stacks.into_iter().filter(|(_, names)| !names.is_empty());
    let patterns = stacks.map(|(stack, names)| format!(r"{stack}\..*\.({})", names.join("|")));
    json!(patterns.collect::<Vec<_>>().join("|"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lora(rank: usize, scale: f64, projections: &[Projection]) -> Option<LoraConfig> {
        Some(LoraConfig { rank, scale, dropout: 0.0, projections: projections.to_vec() })
    }

    fn config(encoder_lora: Option<LoraConfig>, decoder_lora: Option<LoraConfig>) -> T5Config {
        T5Config { encoder_lora, decoder_lora, ..T5Config::default() }
    }

    /// `adapter_config.json` for one adapter in each stack.
    fn written(config: &T5Config) -> Value {
        let names = [
            "encoder.block.0.layer.0.SelfAttention.q",
            "decoder.block.1.layer.1.EncDecAttention.q",
        ];
        let tensor = Array { shape: vec![1, 1], values: vec![0.0] };
        let tensors =
            names.map(|name| (format!("{PREFIX}{name}.lora_A.weight"), tensor.clone())).into();
        adapter_config(&Stacks::of(config).unwrap(), &tensors)
    }

    #[test]
    fn alpha_is_the_scale_times_the_rank_and_stacks_that_are_alike_need_no_patterns() {
        let both = lora(4, 2.5, &[Projection::Value, Projection::Query]);
        let json = written(&config(both.clone(), both));
        assert_eq!((&json["r"], &json["lora_alpha"]), (&json!(4), &json!(10)));
        assert_eq!(json["target_modules"], json!(["q", "v"]));
        assert_eq!((&json["rank_pattern"], &json["alpha_pattern"]), (&json!({}), &json!({})));
    }

    #[test]
    fn stacks_that_differ_are_told_apart_by_the_names_of_modules() {
        let (encoder, decoder) =
            (lora(4, 2.0, &[Projection::Query]), lora(2, 0.25, &[Projection::Output]));
        let json = written(&config(encoder, decoder.clone()));
        let module = "decoder.block.1.layer.1.EncDecAttention.q";
        assert_eq!(json["rank_pattern"], json!({ module: 2 }));
        assert_eq!(json["alpha_pattern"], json!({ module: 0.5 }));
        assert_eq!(json["target_modules"], r"encoder\..*\.(q)|decoder\..*\.(o)");
        let json = written(&config(lora(0, 1.0, &[Projection::Query]), decoder));
        assert_eq!(json["target_modules"], r"decoder\..*\.(o)");
    }

    #[test]
    fn what_peft_cannot_express_is_refused() {
        let query = lora(4, 2.0, &[Projection::Query]);
        let dropout = query.clone().map(|lora| LoraConfig { dropout: 0.1, ..lora });
        let all = T5Config { trained: Trained::All, ..config(query.clone(), None) };
        for refused in [config(None, None), config(query, dropout), all] {
            assert!(Stacks::of(&refused).is_err());
        }
    }
}
