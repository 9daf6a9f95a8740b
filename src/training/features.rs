//! Fills the cache of features of frozen encoders before training starts (`data.cache_features`).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, ExecutionError, Tensor};
use rayon::prelude::*;
use xxhash_rust::xxh3::Xxh3;

use crate::data::batch::{padding_mask, tensor};
use crate::data::feature_cache::{
    CacheLock, Content, FeatureCache, FeatureShape, ImageUse, SegmentWriter,
};
use crate::data::image_file::DecodeConfig;
use crate::data::source::Source;
use crate::data::transform::{Canvas, load_canvas_with};
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::model::pixel_llm::PixelLlm;

/// Raised whenever pixels reach the encoders in another way, so that features of before are not used.
const TRANSFORM_VERSION: u32 = 1;

/// Path in the model of the encoders.
const VISION: &str = "vision";

/// Images that the encoders see at a time, at most.
const IMAGES_AT_A_TIME: usize = 16;

/// A segment is closed when it is as long, so that a process that is killed loses no more.
const SEGMENT_BYTES: u64 = 256 << 20;

/// Opens the cache of the experiment and fills it with the features of all images that training and
/// validation look at; `None` where the experiment has none. Where `stop` is set meanwhile, it keeps what is
/// done and comes back early.
///
/// # Errors
/// [`Error::Usage`] where the disk has no room for them; [`Error::Io`] or [`Error::Format`] where an image
/// or the cache cannot be read or written; [`Error::Compute`] where the device fails.
pub fn prepare(
    experiment: &Experiment,
    model: &PixelLlm,
    train: &[Source],
    validation: &[Source],
    stop: &AtomicBool,
) -> Result<Option<Arc<FeatureCache>>> {
    let Some(folder) = &experiment.data.cache_features else { return Ok(None) };
    let model = model.valid();
    let folder = folder.join(format!("{:032x}", state(experiment, &model)?));
    let _lock = CacheLock::wait(&folder, || {
        tracing::info!("waiting for another process that fills {}", folder.display());
    })?;
    let decoding = images(experiment, train, validation);
    let mut uses: Vec<ImageUse> = decoding.keys().cloned().collect();
    uses.sort_unstable_by(|a, b| a.file.cmp(&b.file));
    tracing::info!("comparing {} image files with {}", uses.len(), folder.display());
    let mut cache = FeatureCache::open(&folder)?;
    let missing = cache.missing(&uses)?;
    let filler = Filler { experiment, model: &model, folder: &folder, decoding: &decoding, stop };
    filler.fill(&mut cache, &missing)?;
    Ok(Some(Arc::new(cache)))
}

/// How each image that training and validation look at is decoded.
fn images(
    experiment: &Experiment,
    train: &[Source],
    validation: &[Source],
) -> HashMap<ImageUse, DecodeConfig> {
    let config = &experiment.training;
    let most = config.batch_size.saturating_mul(config.validation_batches);
    let all = train.iter().map(|source| (source, usize::MAX));
    let mut images = HashMap::new();
    for (source, most) in all.chain(validation.iter().map(|source| (source, most))) {
        let decoding = source.config.decoding;
        for sample in 0..source.samples.len().min(most) {
            let file = source.samples.image(sample).into_owned();
            images.insert(ImageUse { file, orientation: decoding.orientation }, decoding);
        }
    }
    images
}

/// Everything that features depend on but the image.
fn state(experiment: &Experiment, model: &PixelLlm) -> Result<u128> {
    let mut hash = Xxh3::new();
    let vision = serde_json::to_vec(&experiment.model.vision).unwrap_or_default();
    hash.update(&TRANSFORM_VERSION.to_le_bytes());
    hash.update(&(experiment.model.canvas_px as u64).to_le_bytes());
    hash.update(&[u8::from(keeps_sam(experiment))]);
    hash.update(&vision);
    let mut weights = Weights { path: Vec::new(), hash, failure: None };
    model.visit(&mut weights);
    match weights.failure {
        Some(error) => Err(unread(&error)),
        None => Ok(weights.hash.digest128()),
    }
}

fn unread(error: &ExecutionError) -> Error {
    Error::Compute {
        problem: format!("cannot read from the device: {error:?}"),
        help: "Look for an earlier error of the device, or train on another one.".into(),
    }
}

/// Only the mask branch reads SAM's own map.
fn keeps_sam(experiment: &Experiment) -> bool {
    experiment.model.masks.is_some()
}

/// Hashes the weights of the encoders.
struct Weights {
    path: Vec<String>,
    hash: Xxh3,
    failure: Option<ExecutionError>,
}

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.path.first().is_none_or(|first| first != VISION) {
            return;
        }
        self.hash.update(self.path.join(".").as_bytes());
        match param.val().try_into_data() {
            Ok(data) => {
                self.hash.update(format!("{:?} {:?}", data.dtype(), data.shape()).as_bytes());
                self.hash.update(data.as_bytes());
            }
            Err(error) => self.failure = Some(error),
        }
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

/// Computes what is missing.
struct Filler<'a> {
    experiment: &'a Experiment,
    model: &'a PixelLlm,
    folder: &'a Path,
    decoding: &'a HashMap<ImageUse, DecodeConfig>,
    stop: &'a AtomicBool,
}

/// Features of some images, one after the other.
struct Encoded {
    shape: FeatureShape,
    canvases: Vec<Canvas>,
    /// `[B, D, H, W]`
    fused: Vec<f32>,
    /// `[B, D, H, W]`; empty where SAM's map is not kept.
    sam: Vec<f32>,
}

impl Filler<'_> {
    fn fill(&self, cache: &mut FeatureCache, missing: &[(ImageUse, Content)]) -> Result<()> {
        let at_a_time = self.experiment.training.batch_size.clamp(1, IMAGES_AT_A_TIME);
        let mut segment: Option<SegmentWriter> = None;
        for (index, images) in missing.chunks(at_a_time).enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let encoded = self.encode(images)?;
            if index == 0 {
                self.check_room(encoded.shape, missing.len())?;
            }
            let writer = match segment.take() {
                Some(writer) => segment.insert(writer),
                None => segment.insert(cache.begin_segment(encoded.shape)?),
            };
            encoded.write(images, writer)?;
            if writer.len() as u64 * encoded.shape.num_bytes() >= SEGMENT_BYTES
                && let Some(writer) = segment.take()
            {
                cache.commit(writer)?;
                let done = index * at_a_time + images.len();
                tracing::info!("features of {done} of {} images", missing.len());
            }
        }
        segment.map_or(Ok(()), |writer| cache.commit(writer))
    }

    /// Says how much the features will take, and refuses to begin what will not fit.
    fn check_room(&self, shape: FeatureShape, num_images: usize) -> Result<()> {
        let needed = shape.num_bytes() * num_images as u64;
        let free = free_bytes(self.folder);
        let size = |bytes: u64| format!("{:.2} GB", bytes as f64 / 1e9);
        let folder = self.folder.display();
        if let Some(free) = free.filter(|free| *free < needed) {
            return Err(Error::Usage {
                problem: format!(
                    "features of {num_images} images would take {}, and {folder} has room for {}",
                    size(needed),
                    size(free)
                ),
                help: "Set data.cache_features to a folder on a larger disk, or leave it out."
                    .into(),
            });
        }
        let free = free.map_or("an unknown amount".to_string(), size);
        let needed = size(needed);
        tracing::info!(
            "computing features of {num_images} images: {needed} in {folder}, which has {free} free"
        );
        Ok(())
    }

    fn encode(&self, images: &[(ImageUse, Content)]) -> Result<Encoded> {
        let side = self.experiment.model.canvas_px;
        let canvases: Vec<Result<Canvas>> = images
            .par_iter()
            .map(|(image, _)| {
                let decoding = self.decoding.get(image).copied().unwrap_or_default();
                load_canvas_with(&image.file, side, &decoding)
            })
            .collect();
        let canvases = canvases.into_iter().collect::<Result<Vec<_>>>()?;
        let device = self.device();
        let pixels: Vec<f32> = canvases.iter().flat_map(Canvas::planes).collect();
        let sizes: Vec<f32> = canvases
            .iter()
            .flat_map(|canvas| [canvas.width as f32, canvas.height as f32])
            .collect();
        let pixels = tensor(pixels, [canvases.len(), 3, side, side], &device);
        let features = self.model.encode(pixels, padding_mask(&sizes, side, &device));
        let of = |map: &Tensor<4>| {
            let [_, channels, height, width] = map.dims();
            [channels, height, width]
        };
        let sam = features.sam.filter(|_| keeps_sam(self.experiment));
        let shape = FeatureShape { fused: of(&features.fused), sam: sam.as_ref().map(of) };
        let fused = read(features.fused)?;
        let sam = sam.map(read).transpose()?.unwrap_or_default();
        Ok(Encoded { shape, canvases, fused, sam })
    }

    fn device(&self) -> Device {
        self.model.devices().into_iter().next().unwrap_or_default()
    }
}

impl Encoded {
    fn write(&self, images: &[(ImageUse, Content)], segment: &mut SegmentWriter) -> Result<()> {
        let (fused, all) = (self.shape.num_fused(), self.shape.num_values());
        let sam = all - fused;
        for (at, ((_, content), canvas)) in images.iter().zip(&self.canvases).enumerate() {
            let part = |values: &[f32], size: usize| values[at * size..(at + 1) * size].to_vec();
            let values = [part(&self.fused, fused), part(&self.sam, sam)].concat();
            segment.push(*content, (canvas.width, canvas.height), &values)?;
        }
        Ok(())
    }
}

fn read(map: Tensor<4>) -> Result<Vec<f32>> {
    let data = map.try_into_data().map_err(|error| unread(&error))?;
    data.try_to_vec().map_err(|error| Error::Compute {
        problem: format!("features are no 32-bit numbers: {error:?}"),
        help: "Report this as a bug.".into(),
    })
}

/// What users may still write to the disk of `folder`; `None` where the system does not say.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// What users may still write to the disk of `folder`; unknown on this system.
#[cfg(not(unix))]
fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}
