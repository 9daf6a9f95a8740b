//! The whole model: steps of training, and inference.
//!
//! | file | subject |
//! |---|---|
//! | [`settings`] | what the reference calls the parts, and how large they are |
//! | [`rows`] | what is asked about images: prompts, texts, and where they are |
//! | [`training`] | losses and gradients |
//! | [`inference`] | texts, points, boxes and masks |
//! | [`written`] | texts and their points from the code of the tasks |

mod inference;
mod rows;
mod settings;
mod training;
mod written;

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor};

use super::compare::Produced;
use super::vectors::Vectors;
use super::vision::channels_first;
use crate::error::Result;
use crate::model::pixel_llm::PixelLlm;
use crate::model::vision::VisionFeatures;
use crate::weights::layout;
use crate::weights::name_map::CompiledMap;
use rows::TokenRules;
use settings::Settings;

/// A model of a file, on a device.
struct Case<'a> {
    vectors: &'a Vectors,
    settings: &'a Settings,
    model: PixelLlm,
    rules: TokenRules,
    device: Device,
}

/// Images as the model sees them.
struct Images {
    features: VisionFeatures,
    /// `[B, S, S]`
    padding_mask: Tensor<3>,
}

impl<'a> Case<'a> {
    /// The model of a file with its parameters.
    fn load(
        vectors: &'a Vectors,
        settings: &'a Settings,
        maps: &[CompiledMap],
        device: Device,
    ) -> Result<Self> {
        let canvas_px = canvas_px(vectors, &device)?;
        let config = settings.config(vectors, canvas_px)?;
        let mut model = config.init(settings.vocabulary(), &device);
        vectors.load_whole(&mut model, maps)?;
        let [eva, sam] = settings.frozen(vectors)?;
        let model = model.freeze_vision(eva, sam);
        let rules = settings.token_rules(vectors)?;
        Ok(Self { vectors, settings, model, rules, device })
    }

    /// The images of a batch.
    fn images(&self, batch: &str) -> Result<Images> {
        let images: Tensor<4> = self.vectors.input(&format!("{batch}.images"), &self.device)?;
        let name = format!("{batch}.padding_mask");
        let padding_mask = match self.vectors.has_input(&name) {
            true => self.vectors.input(&name, &self.device)?,
            false => {
                let [count, height, width, _] = images.dims();
                Tensor::ones([count, height, width], &self.device)
            }
        };
        let features = self.model.encode(channels_first(images), padding_mask.clone());
        Ok(Images { features, padding_mask })
    }
}

/// Every batch of the file is learnt from, and asked what the file has outputs of.
pub(super) fn whole(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: Settings = vectors.config()?;
    let layout = layout::named("jax").ok_or_else(|| {
        vectors
            .problem("its layout of parameters is not known", "This is a mistake of the program.")
    })?;
    let maps = Vectors::parameter_maps(layout);
    let names: BTreeSet<&str> = vectors.output_names().collect();
    let first = |name: &&'_ str| name.split_once('.').map(|(first, _)| first.to_string());
    let groups: BTreeSet<String> = names.iter().filter_map(first).collect();
    let mut produced = Vec::new();
    let training = Case::load(vectors, &settings, &maps, device.clone().autodiff())?;
    let plain = Case::load(vectors, &settings, &maps, device.clone())?;
    for group in groups {
        match inference::Run::of(&group, &training) {
            Some(run) => produced.extend(run.outputs(&plain)?),
            None => produced.extend(training::outputs(&training, &group, &maps)?),
        }
    }
    // Not every file has every output.
    produced.retain(|one: &Produced| names.contains(one.name.as_str()));
    Ok(produced)
}

/// The side of the canvas, which is square and the same for all images.
fn canvas_px(vectors: &Vectors, device: &Device) -> Result<usize> {
    let mut sides = BTreeSet::new();
    for name in vectors.input_names("").filter(|name| name.ends_with(".images")) {
        let [_, height, width, _] = vectors.input::<4>(name, device)?.dims();
        sides.extend([height, width]);
    }
    let one = sides.len() == 1;
    vectors.require("a canvas that is square and the same for all images", &one, &true)?;
    Ok(sides.into_iter().next().unwrap_or_default())
}
