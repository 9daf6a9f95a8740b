//! `pixelllm locate`.

use std::process::ExitCode;

use clap::Args;

use super::loaded_run::RunArguments;
use super::picture::PictureArguments;
use crate::error::Result;
use crate::geometry::mask::Mask;
use crate::report::overlay;
use crate::tasks::LocatedMask;

/// Find the box, and the mask, that an expression is about
#[derive(Debug, Args)]
pub(super) struct Locate {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    picture: PictureArguments,
    /// The expression, such as "the small red circle"
    #[arg(long, value_name = "EXPRESSION")]
    text: String,
    /// Find its mask too, where the run has learnt masks: drawn over the picture, and in JSON as COCO
    /// writes it, of the size of the image
    #[arg(long)]
    mask: bool,
}

impl Locate {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?;
        let picture = self.picture.read(loaded.predictor.canvas_px())?;
        let (width, height) = picture.image.dimensions();
        let images = loaded.predictor.encode(&[picture.canvas])?;
        let texts = [vec![self.text.clone()]];
        let locations = match self.mask {
            true => loaded.predictor.segment(&images, &texts, &[[width, height]])?,
            false => loaded.predictor.locate(&images, &texts)?,
        };
        for location in locations.iter().flatten() {
            let pixels = location.bounds.scale(width as f32, height as f32).to_array();
            let [x0, y0, x1, y1] = pixels.map(|value| format!("{value:.1}"));
            let mut text = format!("{x0},{y0},{x1},{y1} (left, top, right, bottom in pixels)");
            if let Some(mask) = &location.mask {
                text += &format!("\n{}", describe(mask));
            }
            let drawn = overlay::location(&picture.image, location, None)?;
            self.picture.answer("locate", location, &text, &drawn)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How large a mask is, and how good it is thought to be.
fn describe(mask: &LocatedMask) -> String {
    let [height, width] = mask.segmentation.size;
    let pixels = Mask::try_from(&mask.segmentation).map_or(0, |mask| mask.area());
    let total = u64::from(width) * u64::from(height);
    format!(
        "mask of {pixels} of {total} pixels, expected IoU with the true one {:.2}",
        mask.predicted_iou
    )
}
