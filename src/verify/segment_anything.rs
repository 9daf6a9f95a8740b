//! A whole Segment Anything model of Meta: its image encoder, its prompts, and the masks they give.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::masks::check;
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::heads::masks::mask_decoder::{Candidates, MaskDecoder, MaskDecoderConfig};
use crate::model::heads::masks::restore::{Frame, crop_pixels};
use crate::model::prompt::location::{LocationConfig, LocationEncoder};
use crate::model::prompt::mask_prompt::{MaskPromptConfig, MaskPromptEncoder};
use crate::model::vision::Resampling;
use crate::model::vision::sam::{Sam, SamConfig};
use crate::weights::{masks, prompt, sam};

/// Options of `segment_anything`'s models. What they leave open is read off the parameters.
#[derive(Debug, Deserialize)]
struct Settings {
    img: usize,
    embed: usize,
    depth: usize,
    heads: usize,
    win: usize,
    glob: Vec<usize>,
    dim: usize,
    mlp: usize,
    tdepth: usize,
    th: usize,
    iou_hidden: usize,
    maskin: usize,
}

/// The parts of a model.
#[derive(Module, Debug)]
struct Model {
    image: Sam,
    location: LocationEncoder,
    mask_prompt: MaskPromptEncoder,
    decoder: MaskDecoder,
}

/// The prompts of one kind.
struct Prompts {
    /// Its name.
    kind: &'static str,
    /// `[1, N, K, D]`
    sparse: Tensor<4>,
    /// `[1, N, D, H, W]`
    dense: Tensor<5>,
}

/// An image, points, boxes and masks → `out/image_embeddings`, `out/dense_pe`, and per kind of prompt
/// its tokens, its masks and what is expected of them.
pub(super) fn segment_anything(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: Settings = vectors.config()?;
    let model = load(vectors, &settings, device)?;
    let image = model.image.forward(vectors.input("image_padded", device)?);
    let [_, _, height, width] = image.dims();
    let grid = model.location.grid(height, width);
    let mut produced = vec![
        Produced::float("image_embeddings", image.clone(), Tolerance::FEATURES),
        Produced::float("dense_pe", grid.clone().unsqueeze::<4>(), Tolerance::FEATURES),
    ];
    let frame = Frame {
        canvas: [settings.img; 2],
        content: image_size(vectors.input("image_raw", device)?),
        image: [0; 2],
    };
    for Prompts { kind, sparse, dense } in
        prompts(vectors, &model, settings.img, [height, width], device)?
    {
        let mut add = |output: Produced| produced.push(output);
        let named = |name: &str| format!("{kind}.{name}");
        for (name, candidates) in [("single", Candidates::One), ("multi", Candidates::Several)] {
            let (image, grid) = (image.clone(), grid.clone());
            let found =
                model.decoder.forward(image, grid, sparse.clone(), dense.clone(), candidates);
            let logits = found.logits.squeeze_dim::<4>(0);
            if candidates == Candidates::One {
                restored(vectors, kind, &logits, frame).for_each(&mut add);
            }
            let ious = found.ious.squeeze_dim::<2>(0);
            add(Produced::float(named(&format!("masks.{name}")), logits, Tolerance::FEATURES));
            add(Produced::float(named(&format!("iou.{name}")), ious, Tolerance::FEATURES));
        }
        let (sparse, dense) = (sparse.squeeze_dim::<3>(0), dense.squeeze_dim::<4>(0));
        add(Produced::float(named("sparse"), sparse, Tolerance::FEATURES));
        add(Produced::float(named("dense"), dense, Tolerance::FEATURES));
    }
    // Not every file has every output of every kind.
    let names: Vec<&str> = vectors.output_names().collect();
    produced.retain(|one| names.contains(&one.name.as_str()));
    Ok(produced)
}

fn load(vectors: &Vectors, settings: &Settings, device: &Device) -> Result<Model> {
    let image = SamConfig {
        width: settings.embed,
        depth: settings.depth,
        num_heads: settings.heads,
        window_tokens: settings.win,
        global_blocks: settings.glob.clone(),
        pretrain_image_px: settings.img,
        output_channels: settings.dim,
        drop_path: 0.0,
        resampling: Resampling::Torch,
        ..SamConfig::default()
    };
    let num_masks = vectors.parameter_shape("mask_decoder.mask_tokens.weight");
    let num_masks = num_masks.and_then(|shape| shape.first()).copied().unwrap_or_default();
    let iou_layer = |i: usize| format!("mask_decoder.iou_prediction_head.layers.{i}.weight");
    let decoder = MaskDecoderConfig {
        width: settings.dim,
        depth: settings.tdepth,
        num_heads: settings.th,
        mlp_width: settings.mlp,
        num_multiple: num_masks.saturating_sub(1),
        hyper_width: settings.dim,
        iou_depth: (0..).take_while(|&i| vectors.parameter_shape(&iou_layer(i)).is_some()).count(),
        iou_width: settings.iou_hidden,
        ..MaskDecoderConfig::default()
    };
    let mask_prompt = MaskPromptConfig {
        channels: settings.maskin,
        width: settings.dim,
        ..MaskPromptConfig::default()
    };
    let location = LocationConfig { width: settings.dim, ..LocationConfig::default() };
    for problems in
        [image.validate(), location.validate(), mask_prompt.validate(), decoder.validate()]
    {
        check(vectors, problems)?;
    }
    let mut model = Model {
        image: image.init(device),
        location: location.init(device),
        mask_prompt: mask_prompt.init(device),
        decoder: decoder.init(device),
    };
    vectors.load_parts(
        &mut model,
        &[
            (&sam::META, "image_encoder.", "image."),
            (&prompt::LOCATION_META, "prompt_encoder.", "location."),
            (&prompt::MASK_META, "prompt_encoder.mask_downscaling.", "mask_prompt."),
            (&masks::DECODER_META, "mask_decoder.", "decoder."),
        ],
    )?;
    Ok(model)
}

/// Points, boxes, both, and points with masks, on a square canvas.
fn prompts(
    vectors: &Vectors,
    model: &Model,
    canvas_px: usize,
    [height, width]: [usize; 2],
    device: &Device,
) -> Result<[Prompts; 4]> {
    let canvas = [canvas_px; 2];
    let points: Tensor<4> = vectors.input::<3>("points", device)?.unsqueeze();
    let labels: Tensor<3, Int> = vectors.integers::<2>("labels", device)?.unsqueeze();
    let boxes: Tensor<3> = vectors.input::<2>("boxes", device)?.unsqueeze();
    let masks = model.mask_prompt.forward(vectors.input("mask_input", device)?);

    let location = &model.location;
    let corners = location.box_corners(boxes, canvas);
    let padded = location.padded_points(points.clone(), labels.clone(), canvas);
    let both = Tensor::cat(vec![location.points(points, labels, canvas), corners.clone()], 2);
    let no_mask = location.no_mask();
    let [rows, channels] = [corners.dims()[1], no_mask.dims()[0]];
    let no_mask = no_mask.reshape([1, 1, channels, 1, 1]);
    let no_mask = no_mask.expand([1, rows, channels, height, width]);
    let prompts = |kind, sparse, dense| Prompts { kind, sparse, dense };
    Ok([
        prompts("points", padded.clone(), no_mask.clone()),
        prompts("boxes", corners, no_mask.clone()),
        prompts("points_boxes", both, no_mask),
        prompts("points_mask", padded, masks.unsqueeze()),
    ])
}

/// Rows and columns of `[3, H, W]`.
fn image_size(image: Tensor<3>) -> [usize; 2] {
    let [_, height, width] = image.dims();
    [height, width]
}

/// Masks at the size of the image, for every size that the file asks for in the name of an output.
fn restored<'a>(
    vectors: &'a Vectors,
    kind: &'a str,
    logits: &'a Tensor<4>,
    frame: Frame,
) -> impl Iterator<Item = Produced> + 'a {
    vectors.output_names().filter_map(move |name| {
        let size = name.strip_prefix(kind)?.strip_prefix(".postprocessed_")?;
        let (rows, columns) = size.split_once('x')?;
        let image = [rows.parse().ok()?, columns.parse().ok()?];
        let restored = crop_pixels(logits.clone(), Frame { image, ..frame });
        Some(Produced::float(name, restored, Tolerance::FEATURES))
    })
}
