//! Steps of training: losses, and norms of all gradients.

use burn::tensor::{Int, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::super::box_decoder::training_outputs;
use super::super::boxes::{boxes_by_image, numbers, tensor_of};
use super::super::compare::{Produced, Tolerance};
use super::super::gradients::gradient_norms;
use super::rows::{Rows, flags, is_traced};
use super::{Case, Images};
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::model::heads::boxes::Training;
use crate::model::loss::mask::{MaskLossConfig, MaskTargets, mask_loss};
use crate::model::loss::point::point_loss;
use crate::model::loss::text::text_loss;
use crate::model::pixel_llm::locate::box_of_points;
use crate::model::places::{image_sizes, to_absolute};
use crate::model::prompt::adapter::PromptScope;
use crate::weights::name_map::CompiledMap;

/// A step: its outputs so far, and the sum of its losses.
struct Step<'a> {
    case: &'a Case<'a>,
    batch: &'a str,
    prefix: String,
    produced: Vec<Produced>,
    total: Tensor<1>,
}

/// What the language model makes of the rows.
struct Read {
    /// `[B, N, Q, D]`
    visual: Tensor<4>,
    /// `[B, N, L]`
    text: Tensor<3, Int>,
    /// `[B, N, L, D]`
    features: Tensor<4>,
    /// 1 for rows that teach something: `[B, N]`.
    row_valid: Tensor<2>,
}

/// The outputs `{batch}.train.…`.
pub(super) fn outputs(case: &Case<'_>, batch: &str, maps: &[CompiledMap]) -> Result<Vec<Produced>> {
    let images = case.images(batch)?;
    let rows = case.rows(batch)?;
    let mut step = Step {
        case,
        batch,
        prefix: format!("{batch}.train"),
        produced: Vec::new(),
        total: Tensor::zeros([1], &case.device),
    };
    let rows = step.detect(&images, rows)?;
    let read = step.read(&images, &rows)?;
    step.text(&read)?;
    let boxes = step.points(&images, &rows, &read)?;
    step.masks(&images, boxes, &read)?;
    step.finish(maps)
}

impl Step<'_> {
    fn add<const D: usize>(&mut self, name: &str, values: Tensor<D>, tolerance: Tolerance) {
        let name = format!("{}.{name}", self.prefix);
        self.produced.push(Produced::float(name, values, tolerance));
    }

    /// Adds a loss to the sum: weighted, and times the share of images that it is for.
    fn lose(&mut self, name: &str, loss: Tensor<1>, weight: f64, share: f64) {
        self.add(name, loss.clone(), Tolerance::LOSS);
        let scaled = loss * (weight * share);
        self.add(&format!("{name}_scaled"), scaled.clone(), Tolerance::LOSS);
        self.total = self.total.clone() + scaled;
    }

    /// The mean of flags of the batch's images; 1 where there are none.
    fn share(&self, name: &str) -> Result<f64> {
        let flags = self.case.optional::<1>(self.batch, name)?;
        Ok(flags.map_or(1.0, |flags| f64::from(flags.mean().into_scalar::<f32>())))
    }

    /// Learns boxes, and makes rows of them: of the rows of the file, those that boxes stand for.
    fn detect(&mut self, images: &Images, rows: Rows) -> Result<Rows> {
        let Some(decoder) = self.case.model.box_decoder() else { return Ok(rows) };
        let Some(boxes) = rows.boxes.clone() else { return Ok(rows) };
        let annotated = boxes_by_image(boxes);
        let settings = self.case.settings.decoder(self.case.vectors)?;
        settings.require_no_draw(self.case.vectors, annotated.first().map_or(0, Vec::len))?;
        let learnt = flags(&self.case.optional(self.batch, "proposal_loss_valid_mask")?);
        let mut objects = annotated.clone();
        for (image, boxes) in objects.iter_mut().enumerate() {
            if learnt.as_ref().is_some_and(|learnt| !learnt[image]) {
                boxes.fill(BoundingBox::new(0.0, 0.0, 0.0, 0.0));
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let losses = settings.losses();
        let map = images.features.fused.clone();
        let found = decoder.forward_train(map, &objects, &losses.focal, &mut rng);
        let loss = found.losses.total(&losses);
        let prefix = format!("{}.", self.prefix);
        self.produced.extend(training_outputs(&prefix, &found, &self.case.device));
        let share = self.share("proposal_loss_valid_mask")?;
        self.lose("det_loss", loss, self.case.settings.det_loss_weight, share);
        let rows = self.matched(rows, &found, &annotated)?;
        if let Some(boxes) = rows.boxes.clone() {
            self.add("gt_boxes", boxes, Tolerance::PIXELS);
        }
        let named = |name: &str| format!("{}.{name}", self.prefix);
        let classes =
            rows.classes.clone().map(|one| Produced::integers(named("gt_classes"), one.int()));
        let text = rows.text.clone().map(|one| Produced::integers(named("gt_text_tokens"), one));
        let context = rows.context.clone();
        let context = context.map(|one| Produced::integers(named("context_tokens"), one));
        self.produced.extend([classes, text, context].into_iter().flatten());
        Ok(rows)
    }

    /// The rows that the first boxes stand for. Images that are not for this keep their own rows.
    fn matched(
        &self,
        rows: Rows,
        found: &Training,
        annotated: &[Vec<BoundingBox>],
    ) -> Result<Rows> {
        let case = self.case;
        let decoder = case.needed(case.model.box_decoder(), "box decoder")?;
        let classes = case.needed(rows.classes.clone(), "`gt_classes`")?;
        let described = flags(&case.optional(self.batch, "objcap_loss_valid_mask")?);
        let given = rows.prompts.clone().map(boxes_by_image);
        let [batch, num_annotated] = classes.dims();
        let values = numbers(classes);
        let (mut prompts, mut indices, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for image in 0..batch {
            let count = case.settings.num_text_proposals;
            let of_boxes = decoder.caption_rows(&found.samples[image], &annotated[image], count);
            let keeps = described.as_ref().is_some_and(|described| !described[image]);
            let class = |row: usize| values.get(image * num_annotated + row).copied();
            let mut boxes = Vec::new();
            for (row, of_box) in of_boxes.iter().enumerate() {
                let own = given.as_ref().and_then(|given| given[image].get(row)).filter(|_| keeps);
                boxes.push(own.copied().unwrap_or(of_box.bounding_box));
                let index = if keeps { row } else { of_box.annotated };
                let teaches = keeps || of_box.matched;
                wanted.push(class(index).filter(|_| teaches).unwrap_or(0.0));
                indices.push(index.min(num_annotated.saturating_sub(1)) as i64);
            }
            prompts.push(boxes);
        }
        let count = prompts.first().map_or(0, Vec::len);
        let by_row = |values: Vec<i64>| TensorData::new(values, [batch, count]);
        let indices = Tensor::<2, Int>::from_data(by_row(indices), &case.device);
        let wanted = Tensor::from_data(TensorData::new(wanted, [batch, count]), &case.device);
        let at = |tokens: Tensor<3, Int>| {
            let [_, _, length] = tokens.dims();
            tokens.gather(1, indices.clone().unsqueeze_dim::<3>(2).expand([batch, count, length]))
        };
        let boxes = rows.boxes.map(|boxes| {
            boxes.gather(1, indices.clone().unsqueeze_dim::<3>(2).expand([batch, count, 4]))
        });
        Ok(Rows {
            prompts: Some(tensor_of(&prompts, &case.device)),
            context: rows.context.map(at),
            text: rows.text.map(at),
            classes: Some(wanted),
            boxes,
            points: rows.points,
        })
    }

    fn read(&mut self, images: &Images, rows: &Rows) -> Result<Read> {
        let case = self.case;
        let prompts = case.needed(rows.prompts.clone(), "`prompt_boxes`")?;
        let text = case.needed(rows.text.clone(), "`gt_text_tokens`")?;
        let visual =
            case.model.visual_tokens(&images.features, prompts.clone(), PromptScope::Image);
        self.produced.extend(case.prompt_outputs(&self.prefix, &prompts, &visual));
        let features = case.model.read_text(visual.clone(), rows.context.clone(), text.clone());
        let [batch, count, _] = text.dims();
        let row_valid = match &rows.classes {
            Some(classes) => classes.clone().greater_elem(0.0).float(),
            None => Tensor::ones([batch, count], &case.device),
        };
        Ok(Read { visual, text, features, row_valid })
    }

    fn text(&mut self, read: &Read) -> Result<()> {
        let settings = self.case.settings;
        let loss = text_loss(
            self.case.model.logits(read.features.clone()),
            read.text.clone(),
            read.row_valid.clone(),
            &settings.vocabulary(),
            settings.label_smooth,
        );
        let caption = self.case.optional::<1>(self.batch, "cap_loss_valid_mask")?;
        let object = self.case.optional::<1>(self.batch, "objcap_loss_valid_mask")?;
        let share = match (caption, object) {
            (Some(caption), Some(object)) => Some((caption + object).clamp_max(1.0)),
            (caption, object) => caption.or(object),
        };
        let share = share.map_or(1.0, |share| f64::from(share.mean().into_scalar::<f32>()));
        self.lose("text_loss", loss, settings.text_loss_weight, share);
        Ok(())
    }

    /// Learns points; the box that those of each row make.
    fn points(&mut self, images: &Images, rows: &Rows, read: &Read) -> Result<Option<Tensor<3>>> {
        let (case, settings) = (self.case, self.case.settings);
        let Some(points) = case.model.points(read.features.clone()) else { return Ok(None) };
        let predicted = to_absolute(points, image_sizes(images.padding_mask.clone()));
        let rules = &case.rules;
        let mut selected = rules.in_others(read.text.clone());
        if let Some(points) = &rows.points {
            let [batch, count, _] = selected.dims();
            let traced = is_traced(&points.clone().narrow(1, 0, count)).reshape([batch, 1, 1]);
            let own = rules.in_traced(read.text.clone());
            selected = own * traced.clone() + selected * (traced.neg() + 1.0);
        }
        let target = case.target_points(rows, settings.max_caption_length);
        let target = case.needed(target, "`gt_point_coords` or `gt_boxes`")?;
        let mask = selected.clone() * read.row_valid.clone().unsqueeze_dim::<3>(2);
        let distance = settings.point_distance(case.vectors)?;
        let loss = point_loss(predicted.clone(), target.clone(), mask, distance);
        let share = self.share("point_loss_valid_mask")?;
        self.lose("point_loss", loss, settings.point_loss_weight, share);
        let selected = selected.greater_elem(0.0);
        let name = format!("{}.point_valid_mask", self.prefix);
        self.produced.push(Produced::truths(name, selected.clone()));
        self.add("gt_point_coords", target, Tolerance::PIXELS);
        self.add("point_coords", predicted.clone(), Tolerance::PIXELS);
        if let Some(scores) = case.model.point_scores(read.features.clone()) {
            self.add("point_logits", scores, Tolerance::FEATURES);
        }
        Ok(Some(box_of_points(predicted.detach(), selected, settings.offset_points_per_side())))
    }

    /// Learns the masks of the boxes that points make.
    fn masks(&mut self, images: &Images, boxes: Option<Tensor<3>>, read: &Read) -> Result<()> {
        let Some(masks) = self.case.optional::<5>(self.batch, "gt_masks")? else { return Ok(()) };
        let Some(boxes) = boxes else { return Ok(()) };
        let (visual, text) = (read.visual.clone(), read.features.clone());
        let found = self.case.model.masks(&images.features, boxes.clone(), visual, text);
        let Some(found) = found else { return Ok(()) };
        self.add("detection_boxes", boxes, Tolerance::PIXELS);
        self.add("detection_masks", found.logits.clone(), Tolerance::FEATURES);
        self.add("iou_predictions", found.ious.clone(), Tolerance::FEATURES);
        let targets = MaskTargets {
            masks: masks.squeeze_dim(4),
            row_valid: read.row_valid.clone(),
            padding_mask: images.padding_mask.clone(),
        };
        let config = MaskLossConfig::default();
        let losses = mask_loss(found, &targets, &config);
        let total = losses.total(&config);
        self.add("mask_focal_loss", losses.focal * config.focal_weight, Tolerance::LOSS);
        self.add("mask_dice_loss", losses.dice * config.dice_weight, Tolerance::LOSS);
        self.add("mask_iou_pred_loss", losses.iou * config.iou_weight, Tolerance::LOSS);
        let share = self.share("mask_loss_valid_mask")?;
        self.lose("mask_loss", total, self.case.settings.mask_loss_weight, share);
        Ok(())
    }

    fn finish(mut self, maps: &[CompiledMap]) -> Result<Vec<Produced>> {
        let total = self.total.clone();
        self.add("total_loss", total.clone(), Tolerance::LOSS);
        let case = self.case;
        let names = &case.settings.grad_norm_param_order;
        let norms = gradient_norms(case.vectors, &case.model, total.backward(), names, maps)?;
        let norms = Tensor::<1>::from_data(norms.as_slice(), &case.device);
        self.add("grad_norms", norms, Tolerance::GRADIENT_NORM);
        Ok(self.produced)
    }
}
