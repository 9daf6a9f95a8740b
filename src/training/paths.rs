//! Paths of parameters in the model, as experiments write them: a path names what is under it.

use std::collections::BTreeSet;

use burn::module::Module;

use crate::error::{Error, Result};
use crate::experiment::did_you_mean;
pub use crate::experiment::path_pattern::is_under;
use crate::weights::load::parameter_shapes;

/// Checks that every one of `paths` names a parameter of `model`; each with the key that says it.
///
/// # Errors
/// [`Error::Experiment`] for the first that does not.
pub fn check<'a, M: Module>(
    model: &M,
    paths: impl IntoIterator<Item = (String, &'a String)>,
) -> Result<()> {
    let parameters: Vec<String> = parameter_shapes(model).into_keys().collect();
    let is_known = |path: &str| parameters.iter().any(|parameter| is_under(parameter, path));
    let Some((key, found)) = paths.into_iter().find(|(_, path)| !is_known(path)) else {
        return Ok(());
    };
    let mut modules: BTreeSet<&str> = BTreeSet::new();
    for parameter in &parameters {
        let ends = parameter.match_indices('.').map(|(end, _)| &parameter[..end]);
        modules.extend(ends.chain([parameter.as_str()]));
    }
    let guess = did_you_mean(found, modules.iter().copied(), '"');
    let outermost: Vec<_> = modules.iter().filter(|module| !module.contains('.')).collect();
    let outermost = outermost.iter().map(|module| format!("\"{module}\"")).collect::<Vec<_>>();
    Err(Error::Experiment {
        origin: "training".into(),
        key,
        problem: format!("no parameter of the model is under {found:?}"),
        help: format!("{guess}The model has {}, and what is in them.", outermost.join(", ")),
    })
}
