//! Files of tensors: names, shapes, types, and data that is read only when it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::store::{ModuleStore, PytorchStore, SafetensorsStore, burn_pack};
use serde::Deserialize;

use crate::error::{Error, Result};

/// Longest header that a safetensors file may have, in bytes: the format's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// First bytes of a ZIP archive, which PyTorch's files are since version 1.6.
const ZIP: [u8; 2] = *b"PK";
/// First byte of a pickle of protocol 2 and later, which PyTorch's files were before.
const PICKLE: u8 = 0x80;
/// End of the name of the file that lists the shards of a checkpoint.
const INDEX_SUFFIX: &str = ".index.json";

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One safetensors file.
    Safetensors,
    /// Several safetensors files and an index of them.
    ShardedSafetensors,
    /// A file of `torch.save`.
    Torch,
}

impl Format {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::ShardedSafetensors => "safetensors in shards",
            Self::Torch => "PyTorch",
        }
    }
}

/// The tensors of a checkpoint, from one file or several.
#[derive(Debug)]
pub struct TensorFile {
    /// What was opened.
    pub path: PathBuf,
    /// What kind of file it is.
    pub format: Format,
    /// Text that the file carries beside its tensors.
    pub metadata: BTreeMap<String, String>,
    /// The tensors by name.
    pub tensors: BTreeMap<String, burn_pack::Tensor>,
}

impl TensorFile {
    /// Opens a safetensors file, the index of a sharded one (`*.index.json`), a folder that holds
    /// either, or a file of `torch.save`. Pickles are read for the tensors they describe; what else
    /// they would have Python call is refused, never run.
    ///
    /// # Errors
    /// [`Error::Io`] where something cannot be read, [`Error::Format`] where it is not what it says.
    pub fn open(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { file_in(path)? } else { path.to_path_buf() };
        if path.to_string_lossy().ends_with(INDEX_SUFFIX) {
            return Self::open_shards(path);
        }
        let start = first_bytes(&path)?;
        // The length of a safetensors header may begin like a pickle; what follows it is JSON.
        let is_safetensors = start.get(8) == Some(&b'{');
        if !is_safetensors && (start.starts_with(&ZIP) || start.first() == Some(&PICKLE)) {
            let mut store = PytorchStore::from_file(&path).map_indices_contiguous(false);
            let tensors = store.get_all_tensors().map_err(|error| not_torch(&path, &error))?;
            let (format, tensors) = (Format::Torch, tensors.clone());
            return Ok(Self { path, format, metadata: BTreeMap::new(), tensors });
        }
        let (metadata, tensors) = open_safetensors(&path)?;
        Ok(Self { path, format: Format::Safetensors, metadata, tensors })
    }

    fn open_shards(path: PathBuf) -> Result<Self> {
        let index = read_index(&path)?;
        let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, shard) in &index.weight_map {
            shards.entry(shard.as_str()).or_default().push(name);
        }
        let mut tensors = BTreeMap::new();
        for (shard, names) in shards {
            let shard = beside(&path, shard)?;
            let (_, mut found) = open_safetensors(&shard)?;
            for name in names {
                let tensor = found.remove(name).ok_or_else(|| {
                    let problem = format!("has no tensor `{name}`, which the index says is here");
                    Error::format(&shard, problem, "Download the shard and the index again.")
                })?;
                tensors.insert(name.to_string(), tensor);
            }
        }
        let format = Format::ShardedSafetensors;
        Ok(Self { path, format, metadata: BTreeMap::new(), tensors })
    }

    /// The files that [`TensorFile::open`] reads for `path`: itself, or an index and its shards.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where a folder or an index cannot be read.
    pub fn parts(path: &Path) -> Result<Vec<PathBuf>> {
        let path = if path.is_dir() { file_in(path)? } else { path.to_path_buf() };
        if !path.to_string_lossy().ends_with(INDEX_SUFFIX) {
            return Ok(vec![path]);
        }
        let index = read_index(&path)?;
        let shards: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
        let shards: Vec<_> =
            shards.into_iter().map(|shard| beside(&path, shard)).collect::<Result<_>>()?;
        Ok([vec![path], shards].concat())
    }

    /// Bytes of all tensors.
    pub fn byte_len(&self) -> usize {
        self.tensors.values().map(burn_pack::Tensor::byte_len).sum()
    }
}

/// What an index of shards says.
#[derive(Debug, Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn read_index(path: &Path) -> Result<Index> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|error| {
        let help = "It should hold a `weight_map` from names of tensors to files beside it.";
        Error::format_at(path, error.line(), error.to_string(), help)
    })
}

/// The file that a folder is opened for.
fn file_in(folder: &Path) -> Result<PathBuf> {
    let names = names_in(folder)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    chosen(&names).map(|name| folder.join(name)).ok_or_else(|| {
        let problem = "the folder has no `model.safetensors` and no `*.safetensors.index.json`";
        Error::format(folder, problem, "Name the file itself.")
    })
}

/// Names of the files in `folder`, in their order.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let is_file = |entry: &fs::DirEntry| entry.path().is_file();
    let entries = entries.filter_map(std::result::Result::ok).filter(is_file);
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The one of the files of a folder that holds its weights, or the index of them.
pub(super) fn chosen<'a>(files: &[&'a str]) -> Option<&'a str> {
    let is_weights = |name: &&str| {
        name.ends_with(&format!(".safetensors{INDEX_SUFFIX}"))
            || name.ends_with("model.safetensors")
    };
    let candidates = files.iter().copied().filter(|name| !name.contains('/')).filter(is_weights);
    // What has the plain name comes first, and an index before a single file.
    candidates.min_by_key(|name| {
        (!name.starts_with("model."), name.ends_with("model.safetensors"), *name)
    })
}

/// A shard: a plain file name in the folder of its index.
fn beside(index: &Path, shard: &str) -> Result<PathBuf> {
    if shard.is_empty() || shard.contains(['/', '\\']) || shard == ".." {
        let problem = format!("the shard `{shard}` is not the name of a file beside the index");
        return Err(Error::format(index, problem, "Download the index again."));
    }
    Ok(index.with_file_name(shard))
}

fn first_bytes(path: &Path) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(Error::io("read", path))?;
    file.take(9).read_to_end(&mut start).map_err(Error::io("read", path))?;
    if start.len() < 9 {
        let problem = format!("has {} bytes: no format of weights is that short", start.len());
        return Err(Error::format(path, problem, "Download the file again."));
    }
    Ok(start)
}

type Contents = (BTreeMap<String, String>, BTreeMap<String, burn_pack::Tensor>);

fn open_safetensors(path: &Path) -> Result<Contents> {
    let metadata = safetensors_metadata(path)?;
    let mut store = SafetensorsStore::from_file(path);
    let tensors = store.get_all_tensors().map_err(|error| not_safetensors(path, error))?;
    Ok((metadata, tensors.clone()))
}

/// The `__metadata__` of the header, whose length comes first as 8 bytes.
fn safetensors_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(Error::io("read", path))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length > size.saturating_sub(8) {
        let found = format!("its header says it has {length} bytes, the file has {size}");
        return Err(not_safetensors(path, found));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(Error::io("read", path))?;
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__", default)]
        metadata: BTreeMap<String, String>,
    }
    let header: Header =
        serde_json::from_slice(&header).map_err(|error| not_safetensors(path, error))?;
    Ok(header.metadata)
}

fn not_safetensors(path: &Path, problem: impl std::fmt::Display) -> Error {
    let help = "Expected a safetensors file or one of `torch.save`. Where a download was cut off or a \
                Git LFS pointer was saved in its place, download it again.";
    Error::format(path, format!("not a safetensors file: {problem}"), help)
}

fn not_torch(path: &Path, problem: impl std::fmt::Display) -> Error {
    let help = "Only plain tensors are read from a pickle, and nothing in it is run. Load the file \
                where you trust it, and save its state dict as safetensors.";
    Error::format(path, format!("cannot read it as a file of torch.save: {problem}"), help)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A safetensors file with one tensor of two `float32` values.
    fn safetensors(header: &str, values: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(values);
        bytes
    }

    fn write(path: &Path, bytes: &[u8]) {
        File::create(path).unwrap().write_all(bytes).unwrap();
    }

    const HEADER: &str =
        r#"{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;

    #[test]
    fn a_file_gives_its_text_and_its_tensors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write(&path, &safetensors(HEADER, &[0; 8]));
        for path in [path.as_path(), folder.path()] {
            let file = TensorFile::open(path).unwrap();
            assert_eq!(file.metadata["a"], "b");
            assert_eq!(file.tensors["x"].shape.to_vec(), [2]);
            assert_eq!(file.byte_len(), 8);
        }
    }

    #[test]
    fn a_header_whose_length_begins_like_a_pickle_is_still_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let padded = format!("{HEADER:<640}");
        assert_eq!(padded.len().to_le_bytes()[..2], [PICKLE, 2]);
        write(&path, &safetensors(&padded, &[0; 8]));
        assert_eq!(TensorFile::open(&path).unwrap().format, Format::Safetensors);
    }

    #[test]
    fn shards_are_read_through_their_index() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("model-1.safetensors"), &safetensors(HEADER, &[0; 8]));
        let index = folder.path().join("model.safetensors.index.json");
        write(&index, br#"{"weight_map":{"x":"model-1.safetensors"}}"#);
        assert_eq!(TensorFile::open(folder.path()).unwrap().tensors.len(), 1);

        write(&index, br#"{"weight_map":{"y":"model-1.safetensors"}}"#);
        let error = TensorFile::open(&index).unwrap_err().to_string();
        assert!(error.contains("no tensor `y`"), "{error}");
        write(&index, br#"{"weight_map":{"x":"../secret"}}"#);
        let error = TensorFile::open(&index).unwrap_err().to_string();
        assert!(error.contains("../secret"), "{error}");
    }

    #[test]
    fn a_hostile_header_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let whole = safetensors(HEADER, &[0; 8]);
        let mut endless = whole.clone();
        endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let longer = HEADER.replace("[0,8]", "[0,800]").replace("[2]", "[200]");
        let overlapping = HEADER.replace("[0,8]", "[0,4]");
        let cases: [(&str, Vec<u8>); 6] = [
            ("an endless header", endless),
            ("a tensor beyond the end", safetensors(&longer, &[0; 8])),
            ("a tensor of another size than its shape", safetensors(&overlapping, &[0; 8])),
            ("a file cut off in its data", whole[..whole.len() - 3].to_vec()),
            ("a file cut off in its header", whole[..40].to_vec()),
            ("a file cut off in its length", whole[..5].to_vec()),
        ];
        for (case, bytes) in cases {
            write(&path, &bytes);
            let error = TensorFile::open(&path).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{case}: {error:?}");
        }
    }

    #[test]
    fn a_pickle_that_calls_something_is_refused_and_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let witness = folder.path().join("witness");
        // Protocol 2: os.system("touch …") as `__reduce__` writes it.
        let mut pickle = b"\x80\x02cposix\nsystem\n(X".to_vec();
        let command = format!("touch {}", witness.display());
        pickle.extend((command.len() as u32).to_le_bytes());
        pickle.extend(command.as_bytes());
        pickle.extend(b"tR.");
        let path = folder.path().join("model.pth");
        write(&path, &pickle);
        let error = TensorFile::open(&path).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        assert!(!witness.exists());
    }
}
