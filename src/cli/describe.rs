//! `pixelllm describe`.

use std::process::ExitCode;

use clap::Args;

use super::decoding::DecodingArguments;
use super::loaded_run::RunArguments;
use super::picture::PictureArguments;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::report::overlay;

/// Write a caption of a region of an image
#[derive(Debug, Args)]
pub(super) struct Describe {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    picture: PictureArguments,
    #[command(flatten)]
    decoding: DecodingArguments,
    /// The region: left, top, right and bottom edge in pixels of the image
    #[arg(
        long = "box",
        value_name = "X0,Y0,X1,Y1",
        value_parser = parse_box,
        allow_hyphen_values = true
    )]
    region: BoundingBox,
}

impl Describe {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?.decoding(&self.decoding)?;
        let picture = self.picture.read(loaded.predictor.canvas_px())?;
        let (width, height) = picture.image.dimensions();
        let region = self.region.scale(1.0 / width as f32, 1.0 / height as f32);
        if region.intersection(BoundingBox::UNIT) == 0.0 {
            return Err(outside(self.region, width, height));
        }
        if region.clip(1.0, 1.0) != region {
            eprintln!("note: the box reaches beyond the image of {width} × {height} pixels");
        }
        let images = loaded.predictor.encode(&[picture.canvas])?;
        let descriptions = loaded.predictor.describe(&images, &[vec![region]])?;
        for description in descriptions.iter().flatten() {
            let drawn = overlay::description(&picture.image, description)?;
            self.picture.answer("describe", description, &description.caption, &drawn)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn outside(region: BoundingBox, width: u32, height: u32) -> Error {
    let [x0, y0, x1, y1] = region.to_array();
    Error::Usage {
        problem: format!(
            "the box {x0},{y0},{x1},{y1} is outside the image of {width} × {height} pixels"
        ),
        help: format!("Give edges from 0,0 to {width},{height}."),
    }
}

fn parse_box(text: &str) -> Result<BoundingBox, String> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[x0, y0, x1, y1]) => {
            let region = BoundingBox::new(x0, y0, x1, y1);
            let problem = "the right edge must be right of the left one, the bottom below the top";
            region.is_valid().then_some(region).ok_or_else(|| problem.to_string())
        }
        _ => Err("four numbers with commas between them, such as 10,20,60,80".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_four_numbers_in_order() {
        assert_eq!(parse_box("1, 2,3,4.5"), Ok(BoundingBox::new(1.0, 2.0, 3.0, 4.5)));
        for wrong in ["", "1,2,3", "1,2,3,x", "3,2,1,4", "1,2,1,4", "nan,0,1,1"] {
            assert!(parse_box(wrong).is_err(), "{wrong}");
        }
    }
}
