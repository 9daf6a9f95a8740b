//! Two million narratives. Takes minutes and 6 GB of disk, so it runs only when it is asked for:
//!
//!     cargo test --release --test large_files -- --ignored --nocapture
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use pixelllm::data::formats::{self, Format, Request};
use pixelllm::data::sample::Task;

const NARRATIVES: usize = 2_000_000;
const IMAGES: usize = 200_000;
/// Places where the mouse was recorded, per narrative.
const TRACE_POINTS: usize = 40;
const GIB: u64 = 1 << 30;

/// Narratives of six utterances, ten about each image, each with words of its own.
fn write_narratives(path: &Path) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    for narrative in 0..NARRATIVES {
        let image = narrative % IMAGES;
        let utterances: Vec<String> = (0..6)
            .map(|k| {
                format!(
                    "in this part we can see object {} of {narrative},",
                    narrative * 7 % 997 + k
                )
            })
            .collect();
        write!(
            file,
            r#"{{"dataset_id":"mscoco_train2017","image_id":"{image}","annotator_id":{},"caption":"{}","timed_caption":["#,
            narrative % 100,
            utterances.join(" ")
        )
        .unwrap();
        for (k, utterance) in utterances.iter().enumerate() {
            let comma = if k > 0 { "," } else { "" };
            let end = k + 1;
            write!(
                file,
                r#"{comma}{{"utterance":"{utterance}","start_time":{k}.0,"end_time":{end}.0}}"#
            )
            .unwrap();
        }
        write!(file, r#"],"traces":[["#).unwrap();
        for point in 0..TRACE_POINTS {
            let comma = if point > 0 { "," } else { "" };
            let share = point as f64 / TRACE_POINTS as f64;
            let (x, y, t) = (0.1 + 0.8 * share, 0.9 - 0.7 * share, 6.0 * share);
            write!(file, r#"{comma}{{"x":{x:.6},"y":{y:.6},"t":{t:.4}}}"#).unwrap();
        }
        writeln!(file, r#"]],"voice_recording":"coco_val/{narrative}.ogg"}}"#).unwrap();
    }
    file.flush().unwrap();
}

/// A line of `/proc/self/status`, in bytes.
fn memory(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Seconds of processor time so far, of all threads; the kernel counts hundredths.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |at: usize| fields.split_whitespace().nth(at).unwrap().parse::<f64>().unwrap();
    // Fields 14 and 15, user and system, counted from 1; the first two are before the bracket.
    (ticks(11) + ticks(12)) / 100.0
}

#[test]
#[ignore = "takes minutes and 6 GB of disk"]
fn two_million_narratives_open_in_half_a_minute_and_two_gibibytes_and_an_epoch_takes_no_more() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (annotations, images) =
        (folder.path().join("narratives.jsonl"), folder.path().join("images"));
    fs::create_dir(&images).unwrap();
    for image in 0..IMAGES {
        File::create(images.join(format!("{image:012}.jpg"))).unwrap();
    }
    write_narratives(&annotations);
    let size = fs::metadata(&annotations).unwrap().len();
    let (before, processor) = (memory("VmHWM"), processor_seconds());

    let begun = Instant::now();
    let request = Request::new(&annotations, &images);
    let opened = formats::open(Format::LocalizedNarratives, Task::Narrate, &request).unwrap();
    let taken = begun.elapsed();
    let (held, peak) = (memory("VmRSS"), memory("VmHWM"));
    println!(
        "{NARRATIVES} narratives, {:.2} GB: {:.1} s ({:.1} s of processor time; {:.0} MB/s), {} MB at most, {} MB held (before: {} MB)",
        size as f64 / 1e9,
        taken.as_secs_f64(),
        processor_seconds() - processor,
        size as f64 / 1e6 / taken.as_secs_f64(),
        peak >> 20,
        held >> 20,
        before >> 20,
    );
    assert!(opened.skipped.is_empty(), "{}", opened.skipped);
    let samples = opened.samples;
    assert_eq!((samples.len(), samples.num_rows(0)), (IMAGES, NARRATIVES / IMAGES));
    assert!(peak < 2 * GIB, "{peak}");

    // The same time at the beginning and at the end of the file: a seek, not a search.
    let read = |from: usize| {
        let begun = Instant::now();
        for at in 0..2_000 {
            let row = samples.row(from + at % 100, at % 10).unwrap();
            assert_eq!(row.locations.len(), 6);
        }
        begun.elapsed() / 2_000
    };
    let (first, last) = (read(0), read(IMAGES - 100));
    println!("a narrative: {first:?} at the beginning, {last:?} at the end");
    assert!(last < first * 4 && first < last * 4, "{first:?} {last:?}");

    let begun = Instant::now();
    let mut count = 0;
    for sample in 0..samples.len() {
        // Far apart, as in a shuffled epoch.
        let sample = sample * 7_919 % IMAGES;
        for row in 0..samples.num_rows(sample) {
            count += usize::from(!samples.row(sample, row).unwrap().text.is_empty());
        }
    }
    let after = memory("VmRSS");
    println!("an epoch of {count}: {:?}, {} MB held", begun.elapsed(), after >> 20);
    assert_eq!(count, NARRATIVES);
    assert!(after < held + (64 << 20), "{held} {after}");
    // Last, as the clock also counts what other programs do.
    assert!(taken < Duration::from_secs(30), "{taken:?}");
}
