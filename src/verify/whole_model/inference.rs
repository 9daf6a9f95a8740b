//! Inference (`spec/inference.md` §1): boxes, texts, the box of a text's points, masks. Texts and the
//! points of their tokens come from the code of the tasks: [`super::written`].

use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use super::super::box_decoder::detection_outputs;
use super::super::boxes::{numbers, tensor_of};
use super::super::compare::{Produced, Tolerance};
use super::super::decoding::if_filled;
use super::rows::Rows;
use super::written::Written;
use super::{Case, Images};
use crate::error::Result;
use crate::model::heads::boxes::nms::Detection;
use crate::model::heads::boxes::rescoring::{Captioned, rescore};
use crate::model::language::beam::BeamConfig;
use crate::model::language::decoding::{Decoding, pad_behind_end};
use crate::model::pixel_llm::locate::box_of_points;
use crate::model::places::{image_sizes, to_absolute};
use crate::model::prompt::adapter::PromptScope;

/// Where texts come from.
#[derive(Debug, PartialEq, Eq)]
enum Texts {
    /// The file.
    Given,
    Greedy,
    Beams,
}

/// One run over a batch, by the name of its outputs: `infer_[{batch}_]{texts}[_rescored]`.
#[derive(Debug)]
pub(super) struct Run {
    name: String,
    batch: String,
    texts: Texts,
    rescored: bool,
}

/// What is known of the rows at a time.
struct Found {
    /// `[B, N, 4]`, what texts are about.
    prompts: Tensor<3>,
    /// `[B, N, Q, D]`
    visual: Tensor<4>,
    /// Boxes of the box decoder, `N` per image.
    detections: Option<Vec<Vec<Detection>>>,
    /// `[B, N, L]`
    text: Tensor<3, Int>,
    /// What was written, while it belongs to the rows.
    written: Option<Written>,
}

impl Run {
    /// The run of this name; `None` where it is none.
    pub(super) fn of(name: &str, case: &Case<'_>) -> Option<Self> {
        let rest = name.strip_prefix("infer_")?;
        let (rest, rescored) = match rest.strip_suffix("_rescored") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (batch, texts) = match rest.rsplit_once('_') {
            Some((batch, texts)) => (batch.to_string(), texts),
            // Files of one batch do not say which.
            None => {
                let mut names = case.vectors.input_names("");
                let batch = names.find_map(|name| name.strip_suffix(".images"));
                (batch?.to_string(), rest)
            }
        };
        let texts = match texts {
            "gttext" => Texts::Given,
            "greedy" => Texts::Greedy,
            "beam" => Texts::Beams,
            _ => return None,
        };
        Some(Self { name: name.to_string(), batch, texts, rescored })
    }

    fn named(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// Whether the file has the output `name` of this run.
    fn has(&self, case: &Case<'_>, name: &str) -> bool {
        let name = self.named(name);
        case.vectors.output_names().any(|one| one == name)
    }

    /// Every output.
    pub(super) fn outputs(&self, case: &Case<'_>) -> Result<Vec<Produced>> {
        let images = case.images(&self.batch)?;
        let rows = case.rows(&self.batch)?;
        let (mut found, context) = self.write(case, &images, &rows)?;
        let mut produced = case.prompt_outputs(&self.name, &found.prompts, &found.visual);
        if self.rescored {
            self.rescore(case, &mut found);
            produced.retain(|one| one.name != self.named("visual_features"));
            let visual = found.visual.clone();
            produced.push(Produced::float(
                self.named("visual_features"),
                visual,
                Tolerance::FEATURES,
            ));
        }
        if let Some(written) = &found.written {
            produced.extend(self.written(case, written));
        }
        if let Some(detections) = &found.detections {
            produced.extend(detection_outputs(&self.name, detections, &case.device));
        }
        produced.extend(self.places(case, &images, &mut found, context));
        produced.push(Produced::integers(self.named("text_tokens"), found.text));
        Ok(produced)
    }

    /// Boxes, where the model is to find them (which the file says by having them as outputs), and texts
    /// about them or the prompts of the file.
    fn write(
        &self,
        case: &Case<'_>,
        images: &Images,
        rows: &Rows,
    ) -> Result<(Found, Option<Tensor<3, Int>>)> {
        let detects = self.has(case, "num_detections") || self.has(case, "detection_scores");
        let detections = case.model.detect(&images.features).filter(|_| detects);
        let prompts = match &detections {
            Some(detections) => boxes_of(detections, case),
            None => case.needed(rows.prompts.clone(), "`prompt_boxes`")?,
        };
        let [_, count, _] = prompts.dims();
        let context = rows.context.clone().map(|context| context.narrow(1, 0, count));
        let visual =
            case.model.visual_tokens(&images.features, prompts.clone(), PromptScope::Image);
        let written = self
            .decoding(case)
            .map(|decoding| Written::by_task(case, images, &prompts, context.as_ref(), decoding));
        let written = written.transpose()?;
        let text = match &written {
            Some(written) => written.best().0,
            None => case.needed(rows.text.clone(), "`gt_text_tokens`")?,
        };
        Ok((Found { prompts, visual, detections, text, written }, context))
    }

    /// How texts are found; the number of beams is that of the file's outputs.
    fn decoding(&self, case: &Case<'_>) -> Option<Decoding> {
        match self.texts {
            Texts::Given => None,
            Texts::Greedy => Some(Decoding::Greedy),
            Texts::Beams => {
                let scores = case.vectors.output(&self.named("beam_log_probs"));
                let beams = scores.ok().and_then(|scores| scores.shape().last().copied());
                let config = BeamConfig::default();
                Some(Decoding::Beams(BeamConfig { beams: beams.unwrap_or(config.beams), ..config }))
            }
        }
    }

    /// What was written; slots that were never filled may hold anything.
    fn written(&self, case: &Case<'_>, written: &Written) -> Vec<Produced> {
        let [tokens, scores] = ["beam_text_tokens", "beam_log_probs"].map(|name| self.named(name));
        let mut values = written.tokens.clone().into_data().convert_dtype(DType::F64);
        let expected = (case.vectors.output(&tokens), case.vectors.output(&scores));
        if let (Ok(expected), Ok(scores)) = expected
            && expected.shape() == values.shape()
        {
            values = if_filled(values, &expected, &scores);
        }
        let (_, best) = written.best();
        vec![
            Produced { name: tokens, values, tolerance: Tolerance::Exact },
            Produced::float(scores, written.scores.clone(), Tolerance::FEATURES),
            Produced::float(self.named("log_probs"), best, Tolerance::FEATURES),
        ]
    }

    /// Ranks boxes with what was written about them. With several texts per box, rows are then texts.
    fn rescore(&self, case: &Case<'_>, found: &mut Found) {
        let (Some(detections), Some(written)) = (found.detections.as_mut(), &found.written) else {
            return;
        };
        let [batch, rows, beams, length] = written.tokens.dims();
        let scores = numbers(written.scores.clone());
        let scores: Vec<Vec<f32>> = scores.chunks_exact(beams).map(<[f32]>::to_vec).collect();
        let ranked: Vec<Vec<Captioned>> = detections
            .iter()
            .zip(scores.chunks(rows))
            .map(|(found, captions)| {
                let boxes: Vec<f32> = found.iter().map(|one| one.score).collect();
                rescore(&boxes, captions, case.settings.num_detections)
            })
            .collect();
        for (detections, ranked) in detections.iter_mut().zip(&ranked) {
            let of =
                |one: &Captioned| Detection { score: one.score, ..detections[one.bounding_box] };
            *detections = ranked.iter().map(of).collect();
        }
        if beams == 1 {
            return;
        }
        let count = ranked.first().map_or(0, Vec::len);
        let indices = |of: fn(&Captioned, usize) -> usize| {
            let indices = ranked.iter().flatten().map(|one| of(one, beams) as i64);
            let indices = TensorData::new(indices.collect::<Vec<_>>(), [batch, count]);
            Tensor::<2, Int>::from_data(indices, &case.device)
        };
        let texts = indices(|one, beams| one.bounding_box * beams + one.caption);
        let texts = texts.unsqueeze_dim::<3>(2).expand([batch, count, length]);
        found.text = written.tokens.clone().reshape([batch, rows * beams, length]).gather(1, texts);
        let [_, _, num_visual, width] = found.visual.dims();
        let boxes = indices(|one, _| one.bounding_box).reshape([batch, count, 1, 1]);
        let boxes = boxes.expand([batch, count, num_visual, width]);
        found.visual = found.visual.clone().gather(1, boxes);
        found.written = None;
    }

    /// Where the tokens are, the box around those that count, and the mask of a box.
    fn places(
        &self,
        case: &Case<'_>,
        images: &Images,
        found: &mut Found,
        context: Option<Tensor<3, Int>>,
    ) -> Vec<Produced> {
        let settings = case.settings;
        let mut produced = Vec::new();
        if !settings.reads_back() {
            return produced;
        }
        let vocabulary = settings.vocabulary();
        found.text = pad_behind_end(found.text.clone(), &vocabulary);
        let features = case.model.read_text(found.visual.clone(), context, found.text.clone());
        let mut boxes = found.detections.as_ref().map(|found| boxes_of(found, case));
        if let Some(points) = case.model.points(features.clone()) {
            let points = match &found.written {
                // Of what was written, as the tasks place it on the way.
                Some(written) => written.placed(points, &found.text, &settings.vocabulary()),
                None => points,
            };
            let points = to_absolute(points, image_sizes(images.padding_mask.clone()));
            let selected = self.selected(case, &found.text);
            if settings.use_points_as_det {
                let per_side = settings.offset_points_per_side();
                let around = box_of_points(points.clone(), selected.clone(), per_side);
                let name =
                    if boxes.is_some() { "point_detection_boxes" } else { "detection_boxes" };
                produced.push(Produced::float(self.named(name), around.clone(), Tolerance::PIXELS));
                boxes = boxes.or(Some(around));
            }
            produced.push(Produced::float(self.named("point_coords"), points, Tolerance::PIXELS));
            produced.push(Produced::truths(self.named("point_valid_mask"), selected));
        }
        if let Some(scores) = case.model.point_scores(features.clone()) {
            let name = self.named("point_logits");
            produced.push(Produced::float(name, scores, Tolerance::FEATURES));
        }
        let masks = boxes.and_then(|boxes| {
            case.model.masks(&images.features, boxes, found.visual.clone(), features)
        });
        if let Some(masks) = masks {
            let (logits, ious) = masks.best();
            let near = Tolerance::FEATURES;
            produced.push(Produced::float(self.named("detection_masks"), logits, near));
            produced.push(Produced::float(self.named("iou_predictions"), ious, near));
        }
        produced
    }

    /// The tokens whose points make the box of a text.
    fn selected(&self, case: &Case<'_>, text: &Tensor<3, Int>) -> Tensor<3, Bool> {
        case.rules.in_others(text.clone()).greater_elem(0.0)
    }
}

/// The boxes that were found, `[B, N, 4]`.
fn boxes_of(found: &[Vec<Detection>], case: &Case<'_>) -> Tensor<3> {
    let of_image =
        |found: &Vec<Detection>| found.iter().map(|one| one.bounding_box).collect::<Vec<_>>();
    tensor_of(&found.iter().map(of_image).collect::<Vec<_>>(), &case.device)
}
