//! What is asked about images: prompts, texts, and where they are.

use burn::tensor::{Int, Tensor};

use super::super::boxes::numbers;
use super::super::compare::{Produced, Tolerance};
use super::Case;
use crate::error::Result;
use crate::model::language::Vocabulary;
use crate::model::loss::token_rule::TokenRule;
use crate::model::places::{border_grid, box_points, grid_tensor};

/// Inputs of a batch that are read; any other is refused.
const KNOWN: &[&str] = &[
    "images",
    "padding_mask",
    "prompt_boxes",
    "context_tokens",
    "gt_text_tokens",
    "gt_point_coords",
    "gt_classes",
    "gt_boxes",
    "gt_masks",
    "cap_loss_valid_mask",
    "objcap_loss_valid_mask",
    "proposal_loss_valid_mask",
    "point_loss_valid_mask",
    "mask_loss_valid_mask",
];

/// `N` rows for each of `B` images; what a batch does not have is `None`.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    /// `[B, N, 4]`, xyxy in pixels of the canvas.
    pub(super) prompts: Option<Tensor<3>>,
    /// `[B, N, C]`
    pub(super) context: Option<Tensor<3, Int>>,
    /// `[B, N, L]`
    pub(super) text: Option<Tensor<3, Int>>,
    /// `[B, N]`: 0 for rows that teach nothing.
    pub(super) classes: Option<Tensor<2>>,
    /// `[B, N, 4]`, xyxy in pixels of the canvas.
    pub(super) boxes: Option<Tensor<3>>,
    /// Where each token is, in pixels of the canvas: `[B, N, L, P, 2]`.
    pub(super) points: Option<Tensor<5>>,
}

/// Which tokens have a place.
#[derive(Debug)]
pub(super) struct TokenRules {
    pub(super) traced: TokenRule,
    pub(super) other: TokenRule,
    pub(super) vocabulary: Vocabulary,
}

impl TokenRules {
    /// Those of texts `[B, N, L]` without a trace, 1 or 0.
    pub(super) fn in_others(&self, text: Tensor<3, Int>) -> Tensor<3> {
        self.other.select(text, &self.vocabulary).float()
    }

    /// Those of texts with a trace, 1 or 0.
    pub(super) fn in_traced(&self, text: Tensor<3, Int>) -> Tensor<3> {
        self.traced.select(text, &self.vocabulary).float()
    }
}

impl Case<'_> {
    /// The rows of a batch.
    pub(super) fn rows(&self, batch: &str) -> Result<Rows> {
        let prefix = format!("{batch}.");
        for name in self.vectors.input_names(&prefix) {
            self.require_known(&name[prefix.len()..])?;
        }
        Ok(Rows {
            prompts: self.optional(batch, "prompt_boxes")?,
            context: self.optional_integers(batch, "context_tokens")?,
            text: self.optional_integers(batch, "gt_text_tokens")?,
            classes: self.optional(batch, "gt_classes")?,
            boxes: self.optional(batch, "gt_boxes")?,
            points: self.optional(batch, "gt_point_coords")?,
        })
    }

    /// An error where a batch has an input of which nothing is built.
    fn require_known(&self, kind: &str) -> Result<()> {
        if KNOWN.contains(&kind) {
            return Ok(());
        }
        let problem = format!("a batch has `{kind}`, of which nothing is built");
        Err(self.vectors.problem(problem, "Is it a file of another version?"))
    }

    /// An input of a batch, where it has it.
    pub(super) fn optional<const D: usize>(
        &self,
        batch: &str,
        name: &str,
    ) -> Result<Option<Tensor<D>>> {
        let name = format!("{batch}.{name}");
        let has = self.vectors.has_input(&name);
        has.then(|| self.vectors.input(&name, &self.device)).transpose()
    }

    fn optional_integers(&self, batch: &str, name: &str) -> Result<Option<Tensor<3, Int>>> {
        let name = format!("{batch}.{name}");
        let has = self.vectors.has_input(&name);
        has.then(|| self.vectors.integers(&name, &self.device)).transpose()
    }

    /// What a batch must have.
    pub(super) fn needed<T>(&self, found: Option<T>, what: &str) -> Result<T> {
        found.ok_or_else(|| {
            self.vectors.problem(format!("a batch has no {what}"), "Is it a whole file?")
        })
    }

    /// The points of prompts, whether they are boxes, and what the language model sees of them.
    pub(super) fn prompt_outputs(
        &self,
        prefix: &str,
        prompts: &Tensor<3>,
        visual: &Tensor<4>,
    ) -> Vec<Produced> {
        let name = |name: &str| format!("{prefix}.{name}");
        let settings = self.settings;
        let points = box_points(
            prompts.clone(),
            settings.box_points_per_side,
            settings.box_point_with_offset,
        );
        let is_box = prompts.clone().max_dim(2).greater_elem(0.0).unsqueeze_dim::<4>(3);
        vec![
            Produced::float(name("prompt_boxes"), prompts.clone(), Tolerance::PIXELS),
            Produced::float(name("prompt_point_coords"), points, Tolerance::PIXELS),
            Produced::truths(name("box_valid_mask"), is_box),
            Produced::float(name("visual_features"), visual.clone(), Tolerance::FEATURES),
        ]
    }

    /// Where each of `length` tokens is: that of the file for images that have a place above 0; for
    /// others, the points of the annotated box of the row.
    pub(super) fn target_points(&self, rows: &Rows, length: usize) -> Option<Tensor<5>> {
        let Some(boxes) = &rows.boxes else { return rows.points.clone() };
        let [batch, count, _] = boxes.dims();
        let settings = self.settings;
        let grid =
            border_grid(settings.gt_box_points_per_side, 1, settings.gt_box_point_with_offset);
        let num_points = grid.len();
        let grid = grid_tensor(&grid, &boxes.device()).reshape([1, 1, num_points, 2]);
        let corner = boxes.clone().narrow(2, 0, 2);
        let size = boxes.clone().narrow(2, 2, 2) - corner.clone();
        let points: Tensor<4> = corner.unsqueeze_dim(2) + grid * size.unsqueeze_dim(2);
        let points = points.unsqueeze_dim::<5>(2).expand([batch, count, length, num_points, 2]);
        let Some(given) = &rows.points else { return Some(points) };
        let given = given.clone().narrow(1, 0, count);
        let traced = is_traced(&given).reshape([batch, 1, 1, 1, 1]);
        Some(given * traced.clone() + points * (traced.neg() + 1.0))
    }
}

/// 1 for images of which a place is above 0, else 0: `[B]`.
pub(super) fn is_traced(points: &Tensor<5>) -> Tensor<1> {
    let [batch, ..] = points.dims();
    let points: Tensor<2> = points.clone().reshape([batch as i32, -1]);
    points.max_dim(1).greater_elem(0.0).float().squeeze_dim(1)
}

/// The flags of a batch's images.
pub(super) fn flags(flags: &Option<Tensor<1>>) -> Option<Vec<bool>> {
    flags.as_ref().map(|flags| numbers(flags.clone()).into_iter().map(|flag| flag > 0.0).collect())
}
