use std::fs;

use super::builder::BLOCK_BYTES;
use super::*;
use crate::data::formats::Reason;
use crate::data::formats::testing::Folder;

/// A narrative of about `padding` bytes.
fn line(image: usize, padding: usize) -> String {
    format!(
        r#"{{"image_id":"{image}","caption":"a red circle","timed_caption":[{{"utterance":"a red circle","start_time":0.0,"end_time":1.0}}],"traces":[[{{"x":0.25,"y":0.5,"t":0.0}},{{"x":0.5,"y":0.5,"t":1.0}}]],"voice_recording":"{}"}}"#,
        "x".repeat(padding)
    )
}

fn open(text: &str) -> (Folder, Result<Indexed>) {
    let folder = Folder::new(&["000000000001.jpg", "000000000002.png"]);
    fs::write(folder.annotations(), text).unwrap();
    let (annotations, images) = (folder.annotations(), folder.images());
    let index = NarrativeIndex::open(Task::Narrate, &Request::new(&annotations, &images));
    (folder, index)
}

#[test]
fn lines_are_found_wherever_blocks_end() {
    // Lines that end shortly before, at and after the end of the first block, and one over three.
    let block = BLOCK_BYTES as usize;
    let base = line(1, 0).len();
    for extra in [0, 1, 2, 3] {
        for rest in [10, 3 * block] {
            let first = line(1, block - base - 2 + extra);
            assert_eq!(first.len(), block - 2 + extra);
            let text = [first, line(2, rest), "{".into(), line(2, 0)].join("\n");
            let (folder, index) = open(&text);
            let Indexed { index, skipped, .. } = index.unwrap();
            // The last two narratives are the same but for the field that is not read.
            assert_eq!((index.num_rows(0), index.num_rows(1)), (1, 1), "{extra} {rest}");
            let example = |reason| skipped.examples(reason)[0].line;
            assert_eq!(example(Reason::BrokenJson), Some(3), "{extra} {rest}: {skipped}");
            assert_eq!(example(Reason::Duplicate), Some(4), "{extra} {rest}: {skipped}");
            let sample = index.sample(1).unwrap();
            assert_eq!((sample.image_id.as_str(), sample.rows.len()), ("2", 1));
            assert_eq!(sample.image, folder.images().join("000000000002.png").into());
        }
    }
}

#[test]
fn a_file_that_changes_while_it_is_in_use_is_said_so() {
    let (folder, index) = open(&line(1, 0));
    let Indexed { index, .. } = index.unwrap();
    assert!(index.row(0, 0).is_ok());
    assert!(index.row(0, 1).is_err() && index.row(1, 0).is_err());
    fs::write(folder.annotations(), line(2, 0)).unwrap();
    let error = index.row(0, 0).unwrap_err().to_string();
    assert!(error.contains("has changed while it was in use"), "{error}");
    fs::write(folder.annotations(), "").unwrap();
    assert!(matches!(index.row(0, 0), Err(Error::Io { .. })));
}
