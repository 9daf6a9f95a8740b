//! Writing tensors that belong to no module as safetensors.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, json};

use super::array::Array;
use crate::error::{Error, Result};

/// The bytes of a file of `tensors`: the length of the header, the header (names, shapes, places), and
/// the numbers.
///
/// # Errors
/// [`Error::Format`] where the header cannot be written.
pub fn to_bytes(path: &Path, tensors: &BTreeMap<String, Array>) -> Result<Vec<u8>> {
    let mut header = Map::new();
    // As PyTorch's users write it; some readers refuse files without.
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut data = Vec::new();
    for (name, tensor) in tensors {
        let start = data.len();
        data.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes()));
        let about =
            json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [start, data.len()] });
        header.insert(name.clone(), about);
    }
    let mut header = serde_json::to_vec(&header)
        .map_err(|error| Error::format(path, error.to_string(), "Report this as a bug."))?;
    // The numbers begin at a multiple of 8.
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    Ok([&length[..], &header, &data].concat())
}
