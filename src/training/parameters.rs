//! How many parameters each module has, and what memory training needs.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Parameters of one module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterCount {
    /// Dotted path of the module.
    pub module: String,
    /// All parameters.
    pub total: usize,
    /// Those that are trained.
    pub trainable: usize,
}

/// Counts the parameters of `module` under each of its children, in their order; children of
/// `vision` are counted one by one.
pub fn count_parameters<M: Module>(module: &M) -> Vec<ParameterCount> {
    let mut counter = Counter::default();
    module.visit(&mut counter);
    counter.counts
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
struct Counter {
    path: Vec<String>,
    counts: Vec<ParameterCount>,
}

impl Counter {
    /// The module that a parameter is listed under.
    fn module(&self) -> String {
        let depth = if self.path.first().is_some_and(|first| first == "vision") { 2 } else { 1 };
        self.path[..depth.min(self.path.len())].join(".")
    }
}

impl ModuleVisitor for Counter {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let module = self.module();
        let total = param.lazy_shape().num_elements();
        let trainable = if param.is_require_grad() { total } else { 0 };
        match self.counts.last_mut() {
            Some(count) if count.module == module => {
                count.total += total;
                count.trainable += trainable;
            }
            _ => self.counts.push(ParameterCount { module, total, trainable }),
        }
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}
