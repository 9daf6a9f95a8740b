//! Files that are published in parts: `name-00003-of-00008.jsonl`, `name.tfrecord-00003-of-00008`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The file at `path`; where there is none, its shards in order.
///
/// `narratives.jsonl` has the shards `narratives-00000-of-00004.jsonl` to
/// `narratives-00003-of-00004.jsonl`; TensorFlow puts the number behind the extension:
/// `train.tfrecord-00000-of-00064`.
///
/// # Errors
/// [`Error::Format`] where some of the shards are missing, or there are two sets of them. Where there
/// are none at all, the answer is `path` itself, for the error that opening it gives.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let name = |part: Option<&std::ffi::OsStr>| part.map(|s| s.to_string_lossy().into_owned());
    let (Some(file_name), false) = (name(path.file_name()), path.exists()) else {
        return Ok(vec![path.to_path_buf()]);
    };
    let stem = name(path.file_stem()).unwrap_or_default();
    let extension = file_name.strip_prefix(&stem).unwrap_or_default();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut found: Vec<(usize, usize, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(entry_name) = entry.file_name().into_string() else { continue };
        let before = entry_name.strip_suffix(extension).and_then(|name| number(name, &stem));
        if let Some((index, count)) = before.or_else(|| number(&entry_name, &file_name)) {
            found.push((index, count, entry.path()));
        }
    }
    found.sort();
    let Some(&(_, count, _)) = found.first() else { return Ok(vec![path.to_path_buf()]) };
    let is_whole = found.len() == count
        && found.iter().enumerate().all(|(at, (index, of, _))| (*index, *of) == (at, count));
    if !is_whole {
        let names: Vec<_> = found.iter().map(|(index, of, _)| format!("{index} of {of}")).collect();
        return Err(Error::format(
            path,
            format!("there are shards, but not each once: {}", names.join(", ")),
            "Bring the missing shards, or remove those of another set.",
        ));
    }
    Ok(found.into_iter().map(|(_, _, path)| path).collect())
}

/// Index and count of `{stem}-00003-of-00008`.
fn number(name: &str, stem: &str) -> Option<(usize, usize)> {
    let (index, count) = name.strip_prefix(stem)?.strip_prefix('-')?.split_once("-of-")?;
    let digits = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(index) && digits(count)).then_some(())?;
    Some((index.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn shards_are_found_in_order_whichever_way_they_are_numbered() {
        let names = ["a-00001-of-00002.jsonl", "a-00000-of-00002.jsonl", "b-00000-of-00001.jsonl"];
        let found = folder(&names);
        let expected = [names[1], names[0]].map(|name| found.path().join(name));
        assert_eq!(files(&found.path().join("a.jsonl")).unwrap(), expected);
        let names = ["a.tfrecord-00001-of-00002", "a.tfrecord-00000-of-00002"];
        let found = folder(&names);
        let expected = [names[1], names[0]].map(|name| found.path().join(name));
        assert_eq!(files(&found.path().join("a.tfrecord")).unwrap(), expected);
    }

    #[test]
    fn a_whole_file_comes_before_shards_and_nothing_stands_for_itself() {
        let found = folder(&["a.jsonl", "a-00000-of-00002.jsonl"]);
        for name in ["a.jsonl", "c.jsonl"] {
            let path = found.path().join(name);
            assert_eq!(files(&path).unwrap(), [path]);
        }
    }

    #[test]
    fn a_missing_shard_is_an_error_that_names_those_there_are() {
        let found = folder(&["a-00000-of-00003.jsonl", "a-00002-of-00003.jsonl"]);
        let error = files(&found.path().join("a.jsonl")).unwrap_err();
        assert!(error.to_string().contains("not each once: 0 of 3, 2 of 3"), "{error}");
        let found = folder(&["a-00000-of-00001.jsonl", "a-00000-of-00002.jsonl"]);
        assert!(files(&found.path().join("a.jsonl")).is_err());
    }
}
