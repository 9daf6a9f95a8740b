use super::super::testing::assert_skipped;
use super::super::{Format, read_leniently};
use super::framing::frame;
use super::*;

/// A field of bytes: number, length, bytes.
fn message(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut field = vec![number << 3 | 2];
    while length > 0x7F {
        field.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    [field, bytes.to_vec()].concat()
}

fn texts(texts: &[&str]) -> Vec<u8> {
    message(1, &texts.iter().flat_map(|text| message(1, text.as_bytes())).collect::<Vec<_>>())
}

fn floats(values: &[f32]) -> Vec<u8> {
    let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    message(2, &message(1, &packed))
}

fn integers(values: &[u8]) -> Vec<u8> {
    message(3, &message(1, values))
}

fn features(features: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entry = |(key, feature): &(&str, Vec<u8>)| {
        message(1, &[message(1, key.as_bytes()), message(2, feature)].concat())
    };
    features.iter().flat_map(entry).collect()
}

fn example(all: &[(&str, Vec<u8>)]) -> Vec<u8> {
    message(1, &features(all))
}

fn sequence(context: &[(&str, Vec<u8>)], lists: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let lists: Vec<_> = lists.iter().map(|(key, list)| (*key, message(1, list))).collect();
    [message(1, &features(context)), message(2, &features(&lists))].concat()
}

fn narrative() -> Vec<u8> {
    sequence(
        &[
            ("image/encoded", texts(&["PNG"])),
            ("image/id", texts(&["7"])),
            ("caption/string", texts(&["a red circle and a square"])),
        ],
        &[
            ("caption/center", floats(&[0.5, 0.5, 0.0, 0.5])),
            ("caption/bbox", floats(&[0.25, 0.5, 1.5, 0.75, 0.0, 0.0, 0.5, 0.5])),
            ("caption/utterance", texts(&["a red circle", "and a square"])),
        ],
    )
}

fn expressions(counts: &[u8]) -> Vec<u8> {
    example(&[
        ("image", texts(&["JPEG"])),
        ("image/id", integers(&[9])),
        ("objects/bbox", floats(&[0.0, 0.25, 0.5, 0.75, 0.0, 0.0, 1.0, 1.0])),
        ("objects/refexp/sent/ragged_row_lengths_0", integers(counts)),
        ("objects/refexp/sent/ragged_flat_values", texts(&["a dog", "the dog", "all"])),
    ])
}

fn regions(bounds: &[f32]) -> Vec<u8> {
    example(&[
        ("image", texts(&["JPEG"])),
        ("img_id", integers(&[3])),
        ("regions/bbox", floats(bounds)),
        ("regions/phrase", texts(&["a dog"])),
    ])
}

fn load(task: Task, records: &[Vec<u8>]) -> Result<(Loaded, Vec<u8>)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes = records.concat();
    std::fs::write(file.path(), &bytes).unwrap();
    let request = Request::new(file.path(), Path::new("nowhere"));
    Ok((read_leniently(Format::Tfrecord, task, &request)?, bytes))
}

fn image(loaded: &Loaded, bytes: &[u8], sample: usize) -> Vec<u8> {
    let FilePart { offset, length } = loaded.samples[sample].image.part.unwrap();
    bytes[offset as usize..(offset + length) as usize].to_vec()
}

#[test]
fn narratives_have_the_boxes_of_their_utterances_and_their_image_is_found() {
    let (loaded, bytes) = load(Task::Narrate, &[frame(&narrative())]).unwrap();
    assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
    assert_eq!(loaded.samples[0].image_id, "7");
    // The second utterance was said left of the image.
    let row = &loaded.samples[0].rows[0];
    let bounds = BoundingBox::new(0.25, 0.5, 1.0, 0.75);
    assert_eq!(row.locations, [LocatedSpan::new(Some(0..12), bounds)]);
    assert_eq!(image(&loaded, &bytes, 0), b"PNG");
}

#[test]
fn expressions_are_split_over_their_objects() {
    let records = [frame(&regions(&[0.0, 0.0, 0.5, 1.0])), frame(&expressions(&[2, 1]))];
    for task in [Task::Locate, Task::Describe] {
        let (loaded, bytes) = load(task, &records).unwrap();
        assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
        let found: Vec<_> = loaded.samples[1]
            .rows
            .iter()
            .map(|row| (row.text.as_str(), row.region.unwrap()))
            .collect();
        let first = BoundingBox::new(0.25, 0.0, 0.75, 0.5);
        let expected = [("a dog", first), ("the dog", first), ("all", BoundingBox::UNIT)];
        assert_eq!(found, expected);
        assert_eq!(image(&loaded, &bytes, 1), b"JPEG");
        assert_eq!(loaded.samples[0].rows[0].region.unwrap(), BoundingBox::new(0.0, 0.0, 1.0, 0.5));
    }
}

#[test]
fn conversations_are_questions_and_answers() {
    let record = example(&[
        ("image/encoded", texts(&["PNG"])),
        ("image/id", texts(&["7"])),
        ("conversations/human", texts(&["<image>\nWhat is it?", "And?"])),
        ("conversations/agent", texts(&["A cross.", ""])),
    ]);
    let (loaded, _) = load(Task::Narrate, &[frame(&record)]).unwrap();
    assert_skipped(&loaded.skipped, &[(Reason::NoWords, 1)]);
    let row = &loaded.samples[0].rows[0];
    assert_eq!((row.question.as_deref(), row.text.as_str()), (Some("What is it?"), "A cross."));
}

#[test]
fn each_damaged_record_is_skipped_for_its_reason() {
    let sound = frame(&regions(&[0.0, 0.0, 0.5, 1.0]));
    let mut flipped = frame(&regions(&[0.0, 0.0, 1.0, 1.0]));
    flipped[30] ^= 1;
    let cases = [
        (flipped, Reason::WrongChecksum),
        (frame(&regions(&[0.5, 0.0, 0.0, 1.0])), Reason::EmptyBox),
        (frame(&regions(&[2.0, 0.0, 3.0, 1.0])), Reason::BoxOutside),
        (frame(&regions(&[f32::NAN, 0.0, 1.0, 1.0])), Reason::BrokenBox),
        (frame(&regions(&[0.0, 0.0, 0.5])), Reason::BrokenRecord),
        (frame(&expressions(&[2])), Reason::BrokenRecord),
        (frame(&expressions(&[2, 0])), Reason::BrokenRecord),
        (frame(&expressions(&[2, 2])), Reason::BrokenRecord),
        (frame(&regions(&[0.0, 0.0, 0.5, 1.0])[..20]), Reason::BrokenRecord),
        (frame(b""), Reason::BrokenRecord),
        (frame(&narrative()), Reason::BrokenRecord),
        (sound.clone(), Reason::Duplicate),
        (sound[..40].to_vec(), Reason::BrokenFile),
    ];
    for (record, reason) in cases {
        let (loaded, _) = load(Task::Locate, &[sound.clone(), record]).unwrap();
        assert_skipped(&loaded.skipped, &[(reason, 1)]);
        assert_eq!(loaded.samples.len(), 1);
    }
}

#[test]
fn a_shard_may_be_empty_but_not_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("regions.tfrecord");
    let shards = ["00000-of-00002", "00001-of-00002"].map(|of| format!("{}-{of}", path.display()));
    shards.iter().for_each(|shard| std::fs::write(shard, "").unwrap());
    let request = Request::new(&path, Path::new("nowhere"));
    let read = || read_leniently(Format::Tfrecord, Task::Locate, &request);
    assert!(read().unwrap_err().to_string().contains("the file is empty"));
    let record = frame(&regions(&[0.0, 0.0, 0.5, 1.0]));
    for shard in &shards {
        std::fs::write(shard, &record).unwrap();
        assert_eq!(read().unwrap().samples.len(), 1, "{shard}");
        std::fs::write(shard, "").unwrap();
    }
}

#[test]
fn no_bytes_are_a_panic() {
    // Every record cut anywhere, in a sound frame.
    for record in [narrative(), expressions(&[2, 1]), regions(&[0.0, 0.0, 0.5, 1.0])] {
        for length in 0..record.len() {
            for task in Task::ALL {
                load(task, &[frame(&record[..length])]).unwrap();
            }
        }
    }
}
