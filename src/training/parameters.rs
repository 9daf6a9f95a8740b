//! How many parameters each module has, and what memory training needs.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::paths::is_under;

/// Parameters of one part of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterCount {
    /// Dotted path of the part; that of adapters ends with [`ADAPTERS`].
    pub module: String,
    /// All parameters.
    pub total: usize,
    /// Those that are trained.
    pub trainable: usize,
}

/// What the row of the low-rank adapters in a part is called, after the part.
pub const ADAPTERS: &str = "(adapters)";

/// How many steps of a path name a part: children of these are parts of their own.
const DEPTHS: [(&str, usize); 4] = [("vision", 2), ("boxes", 2), ("masks", 2), ("language.T5", 3)];

impl ParameterCount {
    /// Those that stay as they start.
    pub fn frozen(&self) -> usize {
        self.total - self.trainable
    }
}

/// A parameter of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Names of the modules that it is in, and its own.
    pub(super) path: Vec<String>,
    pub(super) num_axes: usize,
    /// How many numbers it has.
    pub(super) count: usize,
    pub(super) is_trained: bool,
}

impl Parameter {
    /// Its dotted path.
    pub(super) fn path(&self) -> String {
        self.path.join(".")
    }

    /// The part that it is listed under.
    pub(super) fn part(&self) -> String {
        let path = self.path();
        let depth = DEPTHS.iter().find(|(part, _)| is_under(&path, part));
        let depth = depth.map_or(1, |(_, depth)| *depth);
        let part = self.path[..depth.min(self.path.len())].join(".");
        match self.path.iter().any(|name| name == "lora") {
            true => format!("{part} {ADAPTERS}"),
            false => part,
        }
    }
}

/// The parameters of `module`, in their order. Shapes are read and values are not, so that a parameter
/// that was not needed yet is not made either.
pub(super) fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut lister = Lister::default();
    module.visit(&mut lister);
    lister.found
}

/// Counts the parameters of each part of `module`, in their order, without making them.
pub fn count_parameters<M: Module>(module: &M) -> Vec<ParameterCount> {
    let mut counts: Vec<ParameterCount> = Vec::new();
    for parameter in parameters(module) {
        let (module, total) = (parameter.part(), parameter.count);
        let trainable = if parameter.is_trained { total } else { 0 };
        // Adapters lie between the layers that they adapt.
        match counts.iter_mut().find(|count| count.module == module) {
            Some(count) => {
                count.total += total;
                count.trainable += trainable;
            }
            None => counts.push(ParameterCount { module, total, trainable }),
        }
    }
    counts
}

/// Sum of counts.
pub fn total(counts: &[ParameterCount]) -> ParameterCount {
    ParameterCount {
        module: "total".into(),
        total: counts.iter().map(|count| count.total).sum(),
        trainable: counts.iter().map(|count| count.trainable).sum(),
    }
}

#[derive(Default)]
struct Lister {
    path: Vec<String>,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Lister {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(Parameter {
            path: self.path.clone(),
            num_axes: D,
            count: param.lazy_shape().num_elements(),
            is_trained: is_trained(param),
        });
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

/// Whether `param` is trained. To ask its value would make it, so a single number in its place is
/// asked that is told what the value would be told.
pub(super) fn is_trained<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    let stand_in = Tensor::zeros([1; D], &param.lazy_device());
    param.clone().transform_for_load(stand_in, param.id).is_require_grad()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::language::Vocabulary;
    use crate::model::pixel_llm::{PixelLlm, PixelLlmConfig};
    use crate::training::frozen;

    /// The paper's model with every part, its language model as TOML.
    fn paper(language: &str, num_words: usize, frozen: &[&str]) -> PixelLlm {
        let text = format!(
            "language = {language}\nboxes = {{}}\nmasks = {{ decoder = {{}}, adapter = {{}} }}"
        );
        let config: PixelLlmConfig = toml::from_str(&text).unwrap();
        let vocabulary = Vocabulary { size: num_words, pad: 0, begin: 0, end: 1 };
        let model = config.init(vocabulary, &Device::flex().autodiff());
        let frozen: Vec<String> = frozen.iter().map(|path| path.to_string()).collect();
        frozen::freeze(model, &frozen).unwrap()
    }

    /// Largest resident memory of this process so far, in bytes.
    #[cfg(target_os = "linux")]
    fn peak_bytes() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
    }

    #[track_caller]
    fn assert_counts(model: &PixelLlm, expected: &[(&str, usize, usize)]) {
        let counts = count_parameters(model);
        let found: Vec<_> = counts
            .iter()
            .map(|count| (count.module.as_str(), count.total, count.trainable))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_t5_xl_model_has_the_counts_of_the_paper_and_is_counted_without_being_made() {
        #[cfg(target_os = "linux")]
        let before = peak_bytes();
        let frozen = ["vision.sam", "location", "masks.decoder"];
        let model = paper("{ kind = \"t5\", num_words = 32128 }", 32_100, &frozen);
        // By hand from spec/model.md; rounded, the table of its §0. Its 44.0 million of the adapter have
        // 525 312 of a head that the reference computes and never reads (Quirk 5).
        assert_counts(
            &model,
            &[
                ("vision.eva", 303_268_800, 303_268_800),
                ("vision.sam", 637_026_048, 0),
                ("location", 1_792, 0),
                ("adapter", 43_505_408, 43_505_408),
                ("language.T5.visual_projection", 2_103_296, 2_103_296),
                ("language.T5.t5", 2_849_757_184, 0),
                ("language.T5.t5 (adapters)", 18_874_368, 18_874_368),
                ("points", 1_582_600, 1_582_600),
                ("boxes.pyramid", 5_672_832, 5_672_832),
                ("boxes.head", 2_373_898, 2_373_898),
                ("boxes.roi_head", 13_901_830, 13_901_830),
                ("masks.decoder", 4_058_340, 0),
                ("masks.adapter", 4_349_568, 4_349_568),
            ],
        );
        #[cfg(target_os = "linux")]
        assert!(peak_bytes() - before < 1 << 30, "{}", peak_bytes() - before);
    }

    #[test]
    fn the_git_style_model_has_the_counts_of_the_paper() {
        let counts = count_parameters(&paper("{ kind = \"git\" }", 30_522, &["vision.sam"]));
        let of = |part: &str| {
            let count = counts.iter().find(|count| count.module == part).unwrap();
            [count.total, count.trainable]
        };
        assert_eq!(of("language"), [91_016_250; 2]);
        assert_eq!(of("points"), [924_680; 2]);
        assert_eq!(of("masks.adapter"), [3_755_136; 2]);
        // The frequencies of the coordinate encoding are never trained.
        assert_eq!(of("location"), [1_792, 1_792 - 256]);
    }

    #[test]
    fn a_parameter_that_was_made_and_one_that_was_not_are_told_apart_from_frozen_ones() {
        let device = Device::flex().autodiff();
        let linear = || burn::nn::LinearConfig::new(3, 2).init(&device);
        let (lazy, made) = (linear(), linear());
        assert_eq!(made.forward(Tensor::<2>::ones([1, 3], &device)).dims(), [1, 2]);
        for linear in [lazy, made] {
            let count = |module: &burn::nn::Linear| {
                let counts = count_parameters(module);
                let all = total(&counts);
                [all.total, all.trainable, all.frozen()]
            };
            let was_made = linear.weight.is_initialized();
            assert_eq!(count(&linear), [8, 8, 0]);
            assert_eq!(linear.weight.is_initialized(), was_made);
            assert_eq!(count(&linear.no_grad()), [8, 0, 8]);
        }
    }
}
