//! From pixels to the first tokens of an encoder.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor, activation};

use super::Stem;

/// One or more convolutions from the image to a grid of patches.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    convolutions: Vec<Conv2d>,
}

impl PatchEmbedding {
    /// From RGB to `width` channels at one cell per `patch_px` pixels.
    pub fn new(stem: Stem, width: usize, patch_px: usize, device: &Device) -> Self {
        let convolutions = match stem {
            Stem::Patch => {
                let patch = Conv2dConfig::new([3, width], [patch_px; 2]).with_stride([patch_px; 2]);
                vec![patch.init(device)]
            }
            Stem::Convolutional => convolutional(width, patch_px, device),
        };
        Self { convolutions }
    }

    /// Pixels that do not fill a patch at the right and bottom are ignored by [`Stem::Patch`].
    ///
    /// # Shapes
    /// - `images`: `[B, 3, S, S]`
    /// - result: `[B, D, H, W]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let last = self.convolutions.len() - 1;
        self.convolutions.iter().enumerate().fold(images, |x, (i, convolution)| {
            let x = convolution.forward(x);
            if i < last { activation::relu(x) } else { x }
        })
    }
}

/// Halves the grid while doubling the channels, then mixes channels once more.
fn convolutional(width: usize, patch_px: usize, device: &Device) -> Vec<Conv2d> {
    let halvings = patch_px.ilog2() as usize;
    let mut convolutions = Vec::with_capacity(halvings + 1);
    let mut channels = 3;
    for i in 0..halvings {
        let next = (width >> (halvings - 1 - i)).max(16);
        let convolution = Conv2dConfig::new([channels, next], [3, 3])
            .with_stride([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        convolutions.push(convolution.init(device));
        channels = next;
    }
    convolutions.push(Conv2dConfig::new([channels, width], [1, 1]).init(device));
    convolutions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_stems_give_one_cell_per_patch() {
        let device = Device::flex();
        let images = Tensor::<4>::zeros([2, 3, 32, 32], &device);
        for stem in [Stem::Patch, Stem::Convolutional] {
            let embedding = PatchEmbedding::new(stem, 24, 8, &device);
            assert_eq!(embedding.forward(images.clone()).dims(), [2, 24, 4, 4]);
        }
    }

    #[test]
    fn the_patch_stem_drops_what_does_not_fill_a_patch() {
        let device = Device::flex();
        let embedding = PatchEmbedding::new(Stem::Patch, 8, 14, &device);
        let grid = embedding.forward(Tensor::zeros([1, 3, 96, 96], &device));
        assert_eq!(grid.dims(), [1, 8, 6, 6]);
    }
}
