//! Sizes of the model from which it cannot be built.

use super::{at_least, at_least_one, below_one, positive, problem};
use crate::model::ConfigProblem;
use crate::model::pixel_llm::PixelLlmConfig;
use crate::model::vision::VisionConfig;

/// What cannot be built, with keys relative to `[model]`: what each module says of itself, and what
/// the modules take for granted.
pub(super) fn validate(config: &PixelLlmConfig) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    if config.canvas_px == 0 {
        problems.push(problem("canvas_px", "a canvas of 0 pixels shows nothing", "at least 1"));
        return problems;
    }
    problems.extend(config.validate());
    problems.extend(ConfigProblem::under("vision", vision(&config.vision)));
    let adapter = &config.adapter;
    let counts = [
        ("adapter.depth", adapter.depth),
        ("adapter.width", adapter.width),
        ("adapter.mlp_width", adapter.mlp_width),
        ("adapter.output_width", adapter.output_width),
    ];
    let points = config.points.as_ref().map(|points| ("points.hidden_width", points.hidden_width));
    problems.extend(at_least_one(counts.into_iter().chain(points)));
    problems
}

fn vision(config: &VisionConfig) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    if let Some(eva) = &config.eva {
        let checks = [
            at_least("eva.width", eva.width, 1),
            at_least("eva.depth", eva.depth, 1),
            positive("eva.mlp_ratio", eva.mlp_ratio),
            below_one("eva.drop_path", eva.drop_path),
            grid("eva.pretrain_image_px", eva.pretrain_image_px, eva.patch_px),
        ];
        problems.extend(checks.into_iter().flatten());
    }
    if let Some(sam) = &config.sam {
        let checks = [
            at_least("sam.width", sam.width, 1),
            at_least("sam.depth", sam.depth, 1),
            at_least("sam.output_channels", sam.output_channels, 1),
            positive("sam.mlp_ratio", sam.mlp_ratio),
            below_one("sam.drop_path", sam.drop_path),
            grid("sam.pretrain_image_px", sam.pretrain_image_px, sam.patch_px),
        ];
        problems.extend(checks.into_iter().flatten());
    }
    problems
}

/// A problem unless the table of positions has at least one cell.
fn grid(key: &str, image_px: usize, patch_px: usize) -> Option<ConfigProblem> {
    (image_px < patch_px).then(|| {
        let found = format!("{image_px} pixels are less than a patch of {patch_px}");
        problem(key, found, format!("at least {patch_px}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_says_of_itself_has_its_full_key() {
        let mut config = PixelLlmConfig::default();
        config.vision.eva.iter_mut().for_each(|eva| eva.num_heads = 7);
        config.adapter.num_queries = 0;
        let keys: Vec<_> = validate(&config).into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["vision.eva.num_heads", "adapter.num_queries"]);
    }

    #[test]
    fn grids_have_a_cell() {
        let mut config = PixelLlmConfig { canvas_px: 15, ..Default::default() };
        config.vision.eva.iter_mut().for_each(|eva| eva.pretrain_image_px = 13);
        let keys: Vec<_> = validate(&config).into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["vision.sam.patch_px", "vision.eva.pretrain_image_px"]);
        let nothing = PixelLlmConfig { canvas_px: 0, ..Default::default() };
        assert_eq!(validate(&nothing).len(), 1);
    }
}
