//! Files of tensors, as they are on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// A safetensors file: name → type, shape, bytes.
pub(crate) type Tensors = BTreeMap<String, (String, Vec<usize>, Vec<u8>)>;

/// Reads one.
pub(crate) fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__");
    tensors
        .map(|(name, about)| {
            let shape = serde_json::from_value(about["shape"].clone()).unwrap();
            let [start, end]: [usize; 2] =
                serde_json::from_value(about["data_offsets"].clone()).unwrap();
            let data = bytes[8 + length + start..8 + length + end].to_vec();
            (name, (about["dtype"].as_str().unwrap().to_string(), shape, data))
        })
        .collect()
}

/// The same in bfloat16, which is the upper half of float32.
pub(crate) fn bfloat16(tensors: Tensors) -> Tensors {
    let halve = |(name, (_, shape, data)): (String, (String, Vec<usize>, Vec<u8>))| {
        let halves = data.chunks(4).flat_map(|number| [number[2], number[3]]).collect();
        (name, ("BF16".to_string(), shape, halves))
    };
    tensors.into_iter().map(halve).collect()
}

/// Writes one.
pub(crate) fn write(path: &Path, tensors: &Tensors) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (dtype, shape, bytes)) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(
            name.clone(),
            json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }),
        );
        data.extend(bytes);
    }
    let header = serde_json::to_vec(&header).unwrap();
    fs::write(path, [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()).unwrap();
}
