//! From a file into a module, with a report of everything that did not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{ModuleSnapshot, burn_pack};
use burn::tensor::{DType, Int, Tensor};

use super::array::Array;
use super::file::TensorFile;
use super::name_map::{Finish, Places, Target};
use super::rows::Rows;
use crate::error::{Error, Result};
use crate::model::vision::Resampling;

/// What a load did, and what it could not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// The file.
    pub path: PathBuf,
    /// Number of tensors of the file that went into the module.
    pub used: usize,
    /// How many of them are in half precision there.
    pub half: usize,
    /// Parameters of the module that have their values from the file.
    pub loaded: Vec<String>,
    /// Parameters of the module that the file should have had.
    pub missing: Vec<String>,
    /// Tensors of the file that the module has no place for.
    pub unused: Vec<String>,
    /// Tensors that were found but do not fit.
    pub mismatched: Vec<Mismatch>,
    /// Position tables that were brought to the model's grid.
    pub resized: Vec<Resize>,
}

/// A tensor that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Its name in the file.
    pub name: String,
    /// Its shape in the file.
    pub found: Vec<usize>,
    /// The parameter it belongs to.
    pub parameter: String,
    /// The parameter's shape.
    pub expected: Vec<usize>,
    /// Why it does not fit, where shapes alone do not tell.
    pub problem: Option<String>,
}

/// A table that was resized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resize {
    /// The parameter.
    pub parameter: String,
    /// Its shape in the file, laid out as here.
    pub from: Vec<usize>,
    /// Its shape in the model.
    pub to: Vec<usize>,
}

impl LoadReport {
    /// Whether every tensor had a place as it was and every parameter found its tensor.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty()
            && self.unused.is_empty()
            && self.mismatched.is_empty()
            && self.resized.is_empty()
    }

    /// The report, or an error that says all of it where it is not exact.
    ///
    /// # Errors
    /// [`Error::Format`] where anything was left out, left over or changed.
    pub fn strict(self) -> Result<Self> {
        if self.is_exact() {
            return Ok(self);
        }
        let help = "Leave out `strict` to accept this, or correct the sizes of the model.";
        Err(Error::format(
            self.path.clone(),
            format!("does not fit the model exactly\n{self}"),
            help,
        ))
    }
}

/// Most names in a list of a report; the rest are counted.
const MOST_NAMES: usize = 20;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors used", self.used)?;
        if self.half > 0 {
            write!(f, ", {} of them in half precision", self.half)?;
        }
        list(f, "parameters not in the file, left as they start", &self.missing)?;
        list(f, "tensors of the file not used", &self.unused)?;
        let mismatched: Vec<String> = self.mismatched.iter().map(Mismatch::to_string).collect();
        list(f, "tensors that do not fit, not used", &mismatched)?;
        let resized: Vec<String> = self.resized.iter().map(Resize::to_string).collect();
        list(f, "position tables resized", &resized)
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    write!(f, "\n{} {title}:", lines.len())?;
    for line in lines.iter().take(MOST_NAMES) {
        write!(f, "\n  {line}")?;
    }
    match lines.len().saturating_sub(MOST_NAMES) {
        0 => Ok(()),
        more => write!(f, "\n  … and {more} more"),
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, found, parameter, expected, problem } = self;
        write!(f, "{name} {found:?} → {parameter} {expected:?}")?;
        problem.as_ref().map_or(Ok(()), |problem| write!(f, ": {problem}"))
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} → {:?}", self.parameter, self.from, self.to)
    }
}

/// Shapes of the parameters of a module by path. Nothing is initialised for it.
pub fn parameter_shapes<M: Module>(module: &M) -> BTreeMap<String, Vec<usize>> {
    #[derive(Default)]
    struct Shapes {
        path: Vec<String>,
        shapes: BTreeMap<String, Vec<usize>>,
    }
    impl ModuleVisitor for Shapes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.shapes.insert(self.path.join("."), param.lazy_shape().to_vec());
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            self.shapes.insert(self.path.join("."), param.lazy_shape().to_vec());
        }
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_string());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
    }
    let mut shapes = Shapes::default();
    module.visit(&mut shapes);
    shapes.shapes
}

/// Loads what `targets` knows of `file` into `module`, tensor by tensor: beside the module itself,
/// memory holds one tensor at a time. Parameters that begin with none of `scope` are none of the file's
/// business, so that a file of one encoder leaves the rest of a model alone. `resampling` says by which
/// convention the table of a parameter is resized.
///
/// # Errors
/// [`Error::Format`] where the file's data cannot be read.
pub fn load<M: Module>(
    module: &mut M,
    file: &TensorFile,
    targets: impl Fn(&str) -> Vec<Target>,
    scope: &[&str],
    resampling: impl Fn(&str) -> Resampling,
) -> Result<LoadReport> {
    let mut loading = Loading::of(file.path.clone(), parameter_shapes(module));
    for (name, tensor) in &file.tensors {
        loading.add(name, tensor, targets(name), &resampling);
    }
    let (tensors, report) = loading.finish(scope);
    let applied = module.apply(tensors, None, None, false);
    if let Some(error) = applied.errors.first() {
        let help = "Download the file again.";
        return Err(Error::format(&file.path, error.to_string(), help));
    }
    Ok(report)
}

/// What was found for a module so far.
struct Loading {
    /// Shapes of the module's parameters.
    shapes: BTreeMap<String, Vec<usize>>,
    /// What goes into the module.
    tensors: Vec<burn_pack::Tensor>,
    /// The parameters that the file has, whether or not they fit.
    found: BTreeSet<String>,
    /// Parameters that come row by row.
    rows: BTreeMap<String, Rows>,
    report: LoadReport,
}

impl Loading {
    fn of(path: PathBuf, shapes: BTreeMap<String, Vec<usize>>) -> Self {
        let report = LoadReport {
            path,
            used: 0,
            half: 0,
            loaded: Vec::new(),
            missing: Vec::new(),
            unused: Vec::new(),
            mismatched: Vec::new(),
            resized: Vec::new(),
        };
        let (tensors, found, rows) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        Self { shapes, tensors, found, rows, report }
    }

    /// Adds a tensor of the file to every parameter that it belongs to.
    fn add(
        &mut self,
        name: &str,
        tensor: &burn_pack::Tensor,
        targets: Vec<Target>,
        resampling: impl Fn(&str) -> Resampling,
    ) {
        let mut has_place = false;
        let mut was_used = false;
        for target in targets {
            let Some(expected) = self.shapes.get(&target.path).cloned() else { continue };
            has_place = true;
            match self.place(tensor, &target, &expected, resampling(&target.path)) {
                Ok(()) => was_used = true,
                Err(mismatch) => self.report.mismatched.push(mismatch),
            }
        }
        let is_half = matches!(tensor.dtype, DType::F16 | DType::BF16);
        self.report.used += usize::from(was_used);
        self.report.half += usize::from(was_used && is_half);
        if !has_place {
            self.report.unused.push(name.to_string());
        }
    }

    /// Adds a tensor to the parameter `target`, whose shape is `expected`.
    fn place(
        &mut self,
        tensor: &burn_pack::Tensor,
        target: &Target,
        expected: &[usize],
        resampling: Resampling,
    ) -> Result<(), Mismatch> {
        let unfit = |problem: String| Mismatch {
            problem: Some(problem),
            ..mismatch(tensor, target, expected)
        };
        if let Some(row) = target.row {
            let rows = self.rows.entry(target.path.clone()).or_default();
            return rows.add(row, tensor, target, expected).map_err(unfit);
        }
        if !self.found.insert(target.path.clone()) {
            return Err(unfit("the file has this parameter twice".into()));
        }
        let (tensor, resize) = placed(tensor, target, expected, resampling)?;
        self.tensors.push(tensor);
        self.report.resized.extend(resize);
        Ok(())
    }

    /// What goes into the module, and the report; parameters under `scope` should have been found.
    fn finish(mut self, scope: &[&str]) -> (Vec<burn_pack::Tensor>, LoadReport) {
        for (path, rows) in self.rows {
            let whole = self.shapes.get(&path).and_then(|expected| rows.join(&path, expected));
            if let Some(whole) = whole {
                self.found.insert(path);
                self.tensors.push(whole);
            }
        }
        let in_scope = |path: &&String| scope.iter().any(|prefix| path.starts_with(prefix));
        let missing =
            self.shapes.keys().filter(in_scope).filter(|path| !self.found.contains(*path));
        self.report.missing = missing.cloned().collect();
        self.report.loaded = self.tensors.iter().map(|tensor| tensor.name.clone()).collect();
        (self.tensors, self.report)
    }
}

fn mismatch(tensor: &burn_pack::Tensor, target: &Target, expected: &[usize]) -> Mismatch {
    Mismatch {
        name: tensor.name.clone(),
        found: tensor.shape.to_vec(),
        parameter: target.path.clone(),
        expected: expected.to_vec(),
        problem: None,
    }
}

/// The tensor as the parameter wants it, and the resize that this took.
fn placed(
    tensor: &burn_pack::Tensor,
    target: &Target,
    expected: &[usize],
    resampling: Resampling,
) -> Result<(burn_pack::Tensor, Option<Resize>), Mismatch> {
    let unfit =
        |problem: Option<String>| Mismatch { problem, ..mismatch(tensor, target, expected) };
    if !tensor.dtype.is_float() {
        return Err(unfit(Some(format!("{:?} is not a type of real numbers", tensor.dtype))));
    }
    let shape = target.shape(&tensor.shape).map_err(|problem| unfit(Some(problem)))?;
    if shape == expected {
        return Ok((target.tensor(tensor, expected.to_vec(), None), None));
    }
    let finish = target.places.and_then(|places| resize(places, &shape, expected, resampling));
    let finish = finish.ok_or_else(|| unfit(None))?;
    let resize = Resize { parameter: target.path.clone(), from: shape, to: expected.to_vec() };
    Ok((target.tensor(tensor, expected.to_vec(), Some(finish)), Some(resize)))
}

/// What brings a table of places to another number of them; `None` where more than that differs.
fn resize(places: Places, from: &[usize], to: &[usize], resampling: Resampling) -> Option<Finish> {
    match (places, from, to) {
        (Places::ClassAndCells, &[1, count, width], &[1, wanted, same]) if width == same => {
            let square = |count: usize| {
                let side = count.checked_sub(1)?.isqrt();
                (side > 0 && side * side + 1 == count).then_some(side)
            };
            square(count)?;
            let side = square(wanted)?;
            Some(Arc::new(move |table: Array| table.resize_class_and_cells(side, resampling)))
        }
        (Places::Grid, &[1, channels, _, _], &[1, same, height, width]) if channels == same => {
            Some(Arc::new(move |table: Array| table.resize_grid([height, width], resampling)))
        }
        (Places::Distances, &[_, width], &[length, same]) if width == same => {
            Some(Arc::new(move |table: Array| table.resize_distances(length, resampling)))
        }
        (Places::Positions, &[count, width], &[length, same])
            if width == same && length < count =>
        {
            Some(Arc::new(move |table: Array| table.first(length)))
        }
        _ => None,
    }
}
