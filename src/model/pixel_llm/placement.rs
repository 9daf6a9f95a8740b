//! Parts of the model on devices of their own.
//!
//! What one part hands to the next is moved at the border, and nowhere else. A move is an operation of the
//! graph like any other: its gradient is moved back (`tests/wgpu.rs` holds gradients over two devices
//! against those over one).

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::kind::Basic;
use burn::tensor::{Device, Tensor};

use super::PixelLlm;
use crate::model::prompt::points::{PointPrompts, Prompts};
use crate::model::vision::VisionFeatures;

/// The device of each part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Of the image encoders.
    pub vision: Device,
    /// Of the location encoder and the prompt adapter.
    pub adapter: Device,
    /// Of the language model.
    pub language: Device,
    /// Of points, boxes and masks.
    pub heads: Device,
}

impl Placement {
    /// All of them.
    pub fn devices(&self) -> [&Device; 4] {
        [&self.vision, &self.adapter, &self.language, &self.heads]
    }
}

impl PixelLlm {
    /// The same with its parts where `placement` says; parameters become leaves there. Those that have no
    /// value yet are drawn before they move, so that a placement changes no weights.
    pub fn place(self, placement: &Placement) -> Self {
        self.visit(&mut Draw);
        Self {
            vision: self.vision.fork(&placement.vision),
            location: self.location.fork(&placement.adapter),
            adapter: self.adapter.fork(&placement.adapter),
            language: self.language.fork(&placement.language),
            points: self.points.fork(&placement.heads),
            boxes: self.boxes.fork(&placement.heads),
            masks: self.masks.fork(&placement.heads),
            is_placed: true,
            ..self
        }
    }

    /// The same on `device`, with the weights that it has, or draws, where it is.
    pub fn draw_and_move(self, device: &Device) -> Self {
        self.visit(&mut Draw);
        self.fork(device)
    }

    /// The same with all parts on `device`.
    pub fn gather(self, device: &Device) -> Self {
        Self { is_placed: false, ..self.fork(device) }
    }

    /// `tensor` on the device of `part`, which is a part of this model.
    pub(super) fn beside<P: Module, const D: usize, K: Basic>(
        &self,
        part: &P,
        tensor: Tensor<D, K>,
    ) -> Tensor<D, K> {
        if !self.is_placed {
            return tensor;
        }
        match part.devices().first() {
            Some(device) => on(device, tensor),
            None => tensor,
        }
    }

    /// `prompts` on the device of the adapter.
    pub(super) fn beside_adapter(&self, prompts: Prompts) -> Prompts {
        Prompts {
            boxes: self.beside(&self.adapter, prompts.boxes),
            points: prompts.points.map(|points| PointPrompts {
                points: self.beside(&self.adapter, points.points),
                labels: self.beside(&self.adapter, points.labels),
                order: self.beside(&self.adapter, points.order),
            }),
        }
    }

    /// The map in which boxes are found, on the device of the box decoder: `[B, D, H, W]`.
    pub fn beside_boxes(&self, features: &VisionFeatures) -> Tensor<4> {
        self.beside(&self.boxes, features.fused.clone())
    }
}

/// Gives every parameter its value where it is. Moved before, it would be drawn at its first use, by the
/// generator of the device it was moved to.
struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.base();
    }
}

/// `tensor` on `device`; one that is there already is left as it is.
pub fn on<const D: usize, K: Basic>(device: &Device, tensor: Tensor<D, K>) -> Tensor<D, K> {
    match tensor.device() == *device {
        true => tensor,
        false => tensor.to_device(device),
    }
}
