//! Keys that have another name than in older experiments: the resolved experiment of a run is read for
//! years.

use super::document::{Node, Value};

/// Old names with the new ones; both are a table and a key in it.
const RENAMED: [(&str, &str); 1] = [("training.keep_checkpoints", "checkpoints.keep_last")];

/// The present name of a dotted key.
pub(super) fn present(key: &str) -> &str {
    RENAMED.iter().find(|(old, _)| *old == key).map_or(key, |(_, new)| new)
}

/// Gives old keys of one file their present names; where both are there, the present one counts.
pub(super) fn apply(document: &mut Node) {
    for (old, new) in RENAMED {
        let Some(value) = take(document, old) else { continue };
        let (Some((table, key)), Value::Table(tables)) = (new.split_once('.'), &mut document.value)
        else {
            continue;
        };
        let origin = value.origin.clone();
        let table = tables.entry(table.into()).or_insert_with(|| Node::table(origin));
        if let Value::Table(keys) = &mut table.value {
            keys.entry(key.into()).or_insert(value);
        }
    }
}

fn take(document: &mut Node, key: &str) -> Option<Node> {
    let (table, key) = key.split_once('.')?;
    let Value::Table(tables) = &mut document.value else { return None };
    match &mut tables.get_mut(table)?.value {
        Value::Table(keys) => keys.remove(key),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn an_old_key_is_read_by_its_present_name_with_its_place() {
        let parse = |text: &str| {
            let mut document = Node::parse(Path::new("a.toml"), text).unwrap();
            apply(&mut document);
            document
        };
        let document = parse("[training]\nmax_steps = 3\nkeep_checkpoints = 7\n");
        assert!(!document.contains("training.keep_checkpoints"));
        assert!(document.contains("training.max_steps"));
        assert_eq!(document.origin_of("checkpoints.keep_last"), "a.toml:3");
        let both = parse("[training]\nkeep_checkpoints = 7\n[checkpoints]\nkeep_last = 1\n");
        assert_eq!(both.origin_of("checkpoints.keep_last"), "a.toml:4");
        assert_eq!(present("training.keep_checkpoints"), "checkpoints.keep_last");
        assert_eq!(present("training.max_steps"), "training.max_steps");
    }
}
