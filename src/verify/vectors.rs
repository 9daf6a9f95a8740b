//! Files of golden vectors: `param/…`, `in/…` and `out/…` tensors; `component` and `config` in the
//! metadata. A folder holds a public checkpoint `model.*` and the vectors in `io.safetensors`.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::{bridge, burn_pack};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::model::vision::Resampling;
use crate::weights::file::TensorFile;
use crate::weights::layout::{Component, Layout};
use crate::weights::load;
use crate::weights::name_map::{CompiledMap, NameMap};

/// The vectors of a folder.
const FOLDER_VECTORS: &str = "io.safetensors";
/// What the names of parameters begin with.
const PARAMETERS: &str = "param/";
/// End of the names of files that hold parameters for others.
const PARAMETERS_SUFFIX: &str = ".params.safetensors";

/// Golden vectors of one component.
#[derive(Debug)]
pub struct Vectors {
    /// The file or folder.
    pub path: PathBuf,
    /// Name of the component.
    pub component: String,
    /// Its settings.
    pub config: serde_json::Value,
    values: TensorFile,
    parameters: Option<TensorFile>,
}

/// The last part of a path.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Adds what holds golden vectors at or under `path`: a file, a folder of a checkpoint, or what lies in
/// a plain folder (and, one level deeper, folders of checkpoints).
pub(super) fn collect(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        found.push(path.to_path_buf());
        return Ok(());
    }
    if path.join(FOLDER_VECTORS).is_file() {
        found.push(path.to_path_buf());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
    let entries: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries.map_err(Error::io("read", path))?;
    entries.sort();
    found.extend(entries.into_iter().filter(|entry| {
        let name = name(entry);
        entry.is_dir() || name.ends_with(".safetensors") && !name.ends_with(PARAMETERS_SUFFIX)
    }));
    Ok(())
}

impl Vectors {
    /// Opens a file or folder; `None` where a folder has no tensors in it.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where it cannot be read.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        if path.is_dir() {
            let file = path.join(FOLDER_VECTORS);
            if !file.is_file() {
                return Ok(None);
            }
            let values = TensorFile::open(&file)?;
            let config = config(&values)?;
            let parameters = Some(TensorFile::open(path)?);
            let (path, component) = (path.to_path_buf(), name(path));
            return Ok(Some(Self { path, component, config, values, parameters }));
        }
        let values = TensorFile::open(path)?;
        let component = values.metadata.get("component").cloned().ok_or_else(|| {
            let problem = "its metadata names no `component`";
            Error::format(path, problem, "Give a file of golden vectors.")
        })?;
        let config = config(&values)?;
        let beside = values.metadata.get("params_file").map(|file| path.with_file_name(file));
        let parameters = beside.map(|file| TensorFile::open(&file)).transpose()?;
        let path = path.to_path_buf();
        Ok(Some(Self { path, component, config, values, parameters }))
    }

    /// The settings as `T`.
    ///
    /// # Errors
    /// [`Error::Format`] where one is missing, of another type, or unknown to `T`.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.config.clone()).map_err(|error| {
            let help = "This component is built for the settings that it knows, and for no others.";
            self.problem(format!("its settings cannot be used: {error}"), help)
        })
    }

    /// A problem of this file.
    pub fn problem(&self, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::format(&self.path, problem, help)
    }

    /// An error unless a setting has the only value that is built here.
    ///
    /// # Errors
    /// [`Error::Format`] that names the setting.
    pub fn require<T: PartialEq + std::fmt::Debug>(
        &self,
        setting: &str,
        found: &T,
        built: &T,
    ) -> Result<()> {
        if found == built {
            return Ok(());
        }
        let problem = format!("`{setting}` is {found:?}; only {built:?} is built");
        Err(self.problem(problem, "Nothing in the paper's configurations needs another value."))
    }

    /// Names of the inputs that begin with `prefix`, without `in/`.
    pub fn input_names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.values.tensors.keys().filter_map(|name| name.strip_prefix("in/"));
        names.filter(move |name| name.starts_with(prefix))
    }

    /// Whether there is an input `name`.
    pub fn has_input(&self, name: &str) -> bool {
        self.values.tensors.contains_key(&format!("in/{name}"))
    }

    /// Names of the outputs, without `out/`.
    pub fn output_names(&self) -> impl Iterator<Item = &str> {
        self.values.tensors.keys().filter_map(|name| name.strip_prefix("out/"))
    }

    /// The output `name`; numbers as `float64`, which holds every integer that occurs.
    pub(super) fn output(&self, name: &str) -> Result<TensorData> {
        Ok(self.data(&format!("out/{name}"))?.convert_dtype(DType::F64))
    }

    fn data(&self, name: &str) -> Result<TensorData> {
        let help = "Is it a whole file of golden vectors?";
        let tensor: Option<&burn_pack::Tensor> = self.values.tensors.get(name);
        let tensor = tensor.ok_or_else(|| self.problem(format!("it has no `{name}`"), help))?;
        bridge::to_data(tensor)
            .map_err(|error| self.problem(format!("cannot read `{name}`: {error}"), help))
    }

    fn shaped<const D: usize>(&self, name: &str) -> Result<TensorData> {
        let data = self.data(name)?;
        if data.shape().num_dims() == D {
            return Ok(data);
        }
        let problem = format!("`{name}` has the shape {:?}, not {D} axes", data.shape());
        Err(self.problem(problem, "Is it a whole file of golden vectors?"))
    }

    /// The input `name`, real numbers.
    ///
    /// # Errors
    /// [`Error::Format`] where there is none, or it has another number of axes.
    pub fn input<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>> {
        let data = self.shaped::<D>(&format!("in/{name}"))?.convert_dtype(DType::F32);
        Ok(Tensor::from_data(data, device))
    }

    /// The input `name`, integers.
    ///
    /// # Errors
    /// As [`Self::input`].
    pub fn integers<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D, Int>> {
        let data = self.shaped::<D>(&format!("in/{name}"))?.convert_dtype(DType::I64);
        Ok(Tensor::from_data(data, device))
    }

    /// The shape of the parameter `name`, as it is in the file; `None` where there is none.
    pub fn parameter_shape(&self, name: &str) -> Option<&[usize]> {
        let file = self.parameters.as_ref().unwrap_or(&self.values);
        file.tensors.get(name).map(|tensor| &tensor.shape[..])
    }

    /// Loads the parameters that begin with `prefix` into `module` through `map`: all of them, and
    /// every parameter of the module.
    ///
    /// # Errors
    /// [`Error::Format`] where anything is left over, missing or of another shape.
    pub fn load<M: Module>(&self, module: &mut M, map: &NameMap, prefix: &str) -> Result<()> {
        self.load_parts(module, &[(map, prefix, "")])
    }

    /// Loads all parameters of the file into a whole model through the maps of a layout: see
    /// [`Self::parameter_maps`].
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_whole<M: Module>(&self, module: &mut M, maps: &[CompiledMap]) -> Result<()> {
        let file = self.parameters.as_ref().unwrap_or(&self.values);
        let targets = |name: &str| maps.iter().flat_map(|map| map.targets(name)).collect();
        let mut report = load::load(module, file, targets, &[""], |_| Resampling::Jax)?;
        report.unused.retain(|name| name.starts_with(PARAMETERS));
        report.strict().map(drop)
    }

    /// The maps of a layout for the parameters of a file.
    pub fn parameter_maps(layout: &Layout) -> Vec<CompiledMap> {
        let compile =
            |part: &Component| part.map.compile(&format!("{PARAMETERS}{}", part.theirs), part.ours);
        layout.components.iter().map(compile).collect()
    }

    /// As [`Self::load`], of several maps: each with what its names begin with there and here.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_parts<M: Module>(
        &self,
        module: &mut M,
        parts: &[(&NameMap, &str, &str)],
    ) -> Result<()> {
        let maps: Vec<_> =
            parts.iter().map(|(map, theirs, ours)| map.compile(theirs, ours)).collect();
        let file = self.parameters.as_ref().unwrap_or(&self.values);
        let targets = |name: &str| maps.iter().flat_map(|map| map.targets(name)).collect();
        let mut report = load::load(module, file, targets, &[""], |_| Resampling::Jax)?;
        // Inputs, outputs and the parameters of other modules are not this module's.
        report.unused.retain(|name| parts.iter().any(|(_, prefix, _)| name.starts_with(prefix)));
        report.strict().map(drop)
    }
}

fn config(values: &TensorFile) -> Result<serde_json::Value> {
    let path = &values.path;
    let text = values.metadata.get("config").map_or("{}", String::as_str);
    serde_json::from_str(text).map_err(|error| {
        let help = "Is it a whole file of golden vectors?";
        Error::format(path, format!("the `config` of its metadata is not JSON: {error}"), help)
    })
}
