//! A batch as a safetensors file, so that what a step was given can be given to it again.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::batch::{BatchDims, HostBatch, HostFeatures};
use super::feature_cache::FeatureShape;
use super::masks::HostMasks;
use super::sample::Task;
use super::source::AnswerForm;
use crate::error::{Error, Result};

/// Key of the metadata that has what is no tensor.
const ABOUT: &str = "batch";

/// What of a batch is no tensor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    task: Task,
    /// Not in the files of older runs, all of whose answers are points.
    #[serde(default)]
    answer: AnswerForm,
    images: usize,
    canvas_px: usize,
    rows: usize,
    prompts: usize,
    text_tokens: usize,
    context_tokens: usize,
    seed: u64,
    /// Shapes of the features of an image, where there are any.
    features: Option<([usize; 3], Option<[usize; 3]>)>,
    has_masks: bool,
}

/// Tensors on their way into a file.
#[derive(Default)]
struct Writer {
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl Writer {
    fn push(&mut self, name: &str, dtype: &str, shape: &[usize], bytes: impl Iterator<Item = u8>) {
        let start = self.data.len();
        self.data.extend(bytes);
        let offsets = [start, self.data.len()];
        let about = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        self.header.insert(name.into(), about);
    }

    /// Without anything where there is nothing.
    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        if !values.is_empty() {
            self.push(name, "F32", shape, values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }

    fn integers(&mut self, name: &str, shape: &[usize], values: &[i64]) {
        if !values.is_empty() {
            self.push(name, "I64", shape, values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
}

/// The bytes of a file of `batch`.
///
/// # Errors
/// [`Error::Format`] where its header cannot be written.
pub fn to_bytes(path: &Path, batch: &HostBatch) -> Result<Vec<u8>> {
    let BatchDims { images: b, canvas_px: s, rows: n, prompts: m, text_tokens: l, context_tokens } =
        batch.dims;
    let about = About {
        task: batch.task,
        answer: batch.answer,
        images: b,
        canvas_px: s,
        rows: n,
        prompts: m,
        text_tokens: l,
        context_tokens,
        seed: batch.seed,
        features: batch
            .features
            .as_ref()
            .map(|features| (features.shape.fused, features.shape.sam)),
        has_masks: batch.masks.is_some(),
    };
    let bug =
        |error: serde_json::Error| Error::format(path, error.to_string(), "Report this as a bug.");
    let about = serde_json::to_string(&about).map_err(bug)?;
    let mut file = Writer::default();
    file.header.insert("__metadata__".into(), json!({ "format": "pt", ABOUT: about }));
    file.floats("images", &[b, 3, s, s], &batch.images);
    if let Some(HostFeatures { shape, fused, sam }) = &batch.features {
        let of = |[d, h, w]: [usize; 3]| [b, d, h, w];
        file.floats("features.fused", &of(shape.fused), fused);
        file.floats("features.sam", &of(shape.sam.unwrap_or_default()), sam);
    }
    let points = batch.prompt_traces.len() / (b * m * 2).max(1);
    file.floats("sizes", &[b, 2], &batch.sizes);
    file.floats("prompt_boxes", &[b, m, 4], &batch.prompt_boxes);
    file.floats("prompt_traces", &[b, m, points, 2], &batch.prompt_traces);
    file.integers("context", &[b, m, context_tokens], &batch.context);
    file.integers("text", &[b, n, l], &batch.text);
    file.floats("row_valid", &[b, n], &batch.row_valid);
    file.floats("points", &[b, n, l, 2, 2], &batch.points);
    if let Some(masks) = &batch.masks {
        file.push("masks.pixels", "U8", &[b, n, s, s], masks.pixels.iter().copied());
        file.floats("masks.valid", &[b, n], &masks.valid);
    }
    let mut header = serde_json::to_vec(&file.header).map_err(bug)?;
    // The numbers begin at a multiple of 8.
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    Ok([&length[..], &header, &file.data].concat())
}

/// The batch in the bytes of a file that [`to_bytes`] made; `path` is what errors name.
///
/// # Errors
/// [`Error::Format`] where it is something else.
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<HostBatch> {
    read(bytes).ok_or_else(|| {
        let help = "Only the batch that a failed step left in its run directory can be replayed.";
        Error::format(path, "is not a whole file of a batch", help)
    })
}

/// Tensors of a file.
struct Reader<'a> {
    header: Map<String, Value>,
    data: &'a [u8],
}

impl Reader<'_> {
    fn bytes(&self, name: &str) -> Option<&[u8]> {
        let Some(about) = self.header.get(name) else { return Some(&[]) };
        let [start, end] = [0, 1].map(|index| about["data_offsets"][index].as_u64());
        self.data.get(usize::try_from(start?).ok()?..usize::try_from(end?).ok()?)
    }

    /// `count` numbers of four bytes; none where the file has no such tensor and `optional`.
    fn floats(&self, name: &str, count: usize) -> Option<Vec<f32>> {
        let bytes = self.bytes(name)?;
        let values = bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number));
        (bytes.len() == 4 * count).then(|| values.collect())
    }

    fn integers(&self, name: &str, count: usize) -> Option<Vec<i64>> {
        let bytes = self.bytes(name)?;
        let values = bytes.as_chunks().0.iter().map(|number| i64::from_le_bytes(*number));
        (bytes.len() == 8 * count).then(|| values.collect())
    }
}

fn read(bytes: &[u8]) -> Option<HostBatch> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (header, data) =
        rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Map<String, Value> = serde_json::from_slice(header).ok()?;
    let about: About = serde_json::from_str(header.get("__metadata__")?[ABOUT].as_str()?).ok()?;
    let file = Reader { header, data };
    let About { images: b, canvas_px: s, rows: n, prompts: m, text_tokens: l, .. } = about;
    let features = match about.features {
        None => None,
        Some((fused, sam)) => {
            let count = |shape: [usize; 3]| b * shape.iter().product::<usize>();
            Some(HostFeatures {
                shape: FeatureShape { fused, sam },
                fused: file.floats("features.fused", count(fused))?,
                sam: file.floats("features.sam", sam.map_or(0, count))?,
            })
        }
    };
    let masks = match about.has_masks {
        false => None,
        true => Some(HostMasks {
            pixels: file.bytes("masks.pixels").filter(|p| p.len() == b * n * s * s)?.to_vec(),
            valid: file.floats("masks.valid", b * n)?,
        }),
    };
    let traces = file.bytes("prompt_traces")?.len() / 4;
    Some(HostBatch {
        task: about.task,
        answer: about.answer,
        dims: BatchDims {
            images: b,
            canvas_px: s,
            rows: n,
            prompts: m,
            text_tokens: l,
            context_tokens: about.context_tokens,
        },
        images: file.floats("images", if features.is_some() { 0 } else { b * 3 * s * s })?,
        features,
        sizes: file.floats("sizes", b * 2)?,
        prompt_boxes: file.floats("prompt_boxes", b * m * 4)?,
        prompt_traces: file.floats("prompt_traces", traces)?,
        context: file.integers("context", b * m * about.context_tokens)?,
        text: file.integers("text", b * n * l)?,
        row_valid: file.floats("row_valid", b * n)?,
        points: file.floats("points", b * n * l * 4)?,
        seed: about.seed,
        masks,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn batch() -> HostBatch {
        let dims = BatchDims {
            images: 1,
            canvas_px: 2,
            rows: 2,
            prompts: 1,
            text_tokens: 3,
            context_tokens: 2,
        };
        HostBatch {
            task: Task::Locate,
            dims,
            answer: AnswerForm::Text,
            images: (0..12).map(|value| value as f32).collect(),
            features: None,
            sizes: vec![2.0, 1.0],
            prompt_boxes: vec![0.0, 0.0, 2.0, 1.0],
            prompt_traces: vec![0.5, f32::NAN, 1.0, 1.0],
            context: vec![7, 2],
            text: vec![1, 5, 2, 1, 2, 0],
            row_valid: vec![1.0, 0.0],
            points: vec![0.25; 24],
            seed: u64::MAX,
            masks: Some(HostMasks { pixels: vec![1, 0, 0, 1, 0, 0, 0, 0], valid: vec![1.0, 0.0] }),
        }
    }

    #[test]
    fn a_batch_comes_back_as_it_was() {
        let path = Path::new("batch.safetensors");
        let bytes = to_bytes(path, &batch()).unwrap();
        let back = from_bytes(path, &bytes).unwrap();
        // Not equal to itself as a number.
        assert!(back.prompt_traces[1].is_nan());
        let without = |batch: HostBatch| HostBatch { prompt_traces: vec![], ..batch };
        assert_eq!(without(back), without(batch()));

        let shape = FeatureShape { fused: [2, 1, 1], sam: Some([3, 1, 1]) };
        let features = HostFeatures { shape, fused: vec![1.0, 2.0], sam: vec![3.0, 4.0, 5.0] };
        let cached = HostBatch {
            images: vec![],
            features: Some(features),
            masks: None,
            prompt_traces: vec![],
            ..batch()
        };
        let bytes = to_bytes(path, &cached).unwrap();
        assert_eq!(from_bytes(path, &bytes).unwrap(), cached);
    }

    #[test]
    fn a_file_that_was_cut_off_is_refused() {
        let path = Path::new("batch.safetensors");
        let bytes = to_bytes(path, &batch()).unwrap();
        for length in [0, 4, 20, bytes.len() - 1] {
            let error = from_bytes(path, &bytes[..length]).unwrap_err().to_string();
            assert!(error.contains("batch.safetensors"), "{error}");
        }
    }
}
