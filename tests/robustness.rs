//! What goes wrong while training: damaged checkpoints, numbers that are not finite, full disks, data that
//! cannot be read, processes that are killed. The run ends clearly, and nothing is lost.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use common::{Answer, EXPERIMENT, UNMEASURED, Workshop, set};

/// One world for all tests; each has a run directory of its own.
static WORKSHOP: LazyLock<Workshop> = LazyLock::new(Workshop::shared);

/// Ten steps between two checkpoints, all of which are kept.
const LONG: [&str; 3] =
    ["training.max_steps=40", "training.checkpoint_every_steps=10", "checkpoints.keep_last=9"];

fn long() -> Vec<&'static str> {
    [set(&LONG), UNMEASURED.to_vec()].concat()
}

/// The same when nothing happens to it.
static UNINTERRUPTED: LazyLock<Vec<Value>> = LazyLock::new(|| {
    WORKSHOP.train("uninterrupted", &long()).success();
    WORKSHOP.steps("uninterrupted")
});

/// The numbers of `run`'s weights by their names.
fn weights(run: &str) -> (Value, Vec<u8>) {
    let bytes = fs::read(WORKSHOP.path(run).join("weights.safetensors")).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, numbers) = rest.split_at(u64::from_le_bytes(*length) as usize);
    (serde_json::from_slice(header).unwrap(), numbers.to_vec())
}

/// A copy of the uninterrupted run as it was after its checkpoints.
fn copied(run: &str) {
    LazyLock::force(&UNINTERRUPTED);
    common::copy(&WORKSHOP.path("uninterrupted"), &WORKSHOP.path(run));
}

/// Changes one bit in the middle of a file.
fn flip_a_bit(name: &str) {
    let path = WORKSHOP.path(name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// It goes on as if nothing had happened, to the same bits.
fn resumes(run: &str) -> Answer {
    let answer = WORKSHOP.train(run, &[long(), vec!["--resume"]].concat()).success();
    assert_eq!(WORKSHOP.steps(run), *UNINTERRUPTED);
    assert!(weights(run) == weights("uninterrupted"), "other weights");
    answer
}

#[test]
fn a_damaged_checkpoint_is_said_and_the_one_before_is_used() {
    copied("damaged");
    flip_a_bit("damaged/checkpoint/optimizer-4.bpk");
    let cut = WORKSHOP.path("damaged/checkpoint/model-3.bpk");
    let half = fs::read(&cut).unwrap();
    fs::write(&cut, &half[..half.len() / 2]).unwrap();
    resumes("damaged").says(&[
        "checkpoint 4 (step 40) is damaged: optimizer-4.bpk has changed since it was written",
        "checkpoint 3 (step 30) is damaged: model-3.bpk has",
    ]);
}

#[test]
fn damaged_weights_are_refused_and_those_of_a_checkpoint_can_be_had() {
    copied("rotten");
    flip_a_bit("rotten/weights.safetensors");
    let image = first_image();
    let narrate = |more: &[&str]| {
        WORKSHOP.pixelllm(&[&["narrate", "rotten", "--image", image.as_str()], more].concat())
    };
    narrate(&[]).failure(1, &["weights.safetensors has changed", "--checkpoint", "--resume"]);
    let last = narrate(&["--checkpoint", "last"]).success();
    let same = WORKSHOP.pixelllm(&["narrate", "uninterrupted", "--image", &image]).success();
    assert_eq!(last.stdout, same.stdout);
    narrate(&["--checkpoint", "20"]).success().says(&["after 20 steps"]);
    narrate(&["--checkpoint", "best"]).success();
    narrate(&["--checkpoint", "25"]).failure(1, &["no checkpoint after 25", "10, 20, 30, 40"]);
    narrate(&["--checkpoint", "lst"]).failure(2, &["best, last or a step"]);
}

fn first_image() -> String {
    let folder = WORKSHOP.path("world/images/test");
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    format!("world/images/test/{}", names[0])
}

#[test]
fn the_best_by_the_loss_of_a_task_stays_beside_the_last() {
    let rule = [
        "checkpoints.keep_last=1",
        "checkpoints.keep_best=1",
        "checkpoints.best_by=point_loss",
        "checkpoints.best_task=locate",
    ];
    WORKSHOP.train("best", &[long(), set(&rule)].concat()).success();
    let checks = WORKSHOP.records("best", "validation");
    let of_locate = checks.iter().filter(|check| check["task"] == "locate");
    let loss = |check: &&Value| check["point_loss"].as_f64().unwrap();
    let best = of_locate.min_by(|one, other| loss(one).total_cmp(&loss(other))).unwrap();
    let mut kept: Vec<u64> = WORKSHOP
        .files("best/checkpoint")
        .iter()
        .filter(|(name, _)| name.starts_with("state-"))
        .map(|(_, bytes)| serde_json::from_slice::<Value>(bytes).unwrap()["step"].as_u64().unwrap())
        .collect();
    kept.sort_unstable();
    let mut expected = vec![best["step"].as_u64().unwrap(), 40];
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(kept, expected);
    let unknown = [long(), set(&["checkpoints.best_task=detect"])].concat();
    WORKSHOP.train("worst", &unknown).failure(2, &["checkpoints.best_task", "no source has"]);
}

/// Texts join after step 24, with a loss that no `f32` can hold.
const INFINITE: [&str; 4] = [
    "losses.text.weight=1e39",
    "data.sources.0.first_step=24",
    "data.sources.1.first_step=24",
    "training.validation_batches=0",
];

#[test]
fn a_loss_that_is_not_finite_keeps_its_batch_and_the_last_good_checkpoint() {
    let answer = WORKSHOP.train("infinite", &[long(), set(&INFINITE)].concat());
    answer.failure(1, &["loss inf", "before it changed the weights", "runs replay infinite"]);
    let steps = WORKSHOP.steps_done("infinite");
    assert!((24..40).contains(&steps), "{steps}");
    let failed = format!("infinite/failures/step-{}", steps + 1);
    let failure: Value =
        serde_json::from_str(&WORKSHOP.read(&format!("{failed}/failure.json"))).unwrap();
    assert_eq!(
        (failure["split"].as_str(), &failure["losses"]["loss"]),
        (Some("train"), &Value::Null)
    );
    let samples = failure["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 4);
    for sample in samples {
        assert!(WORKSHOP.path(sample["image"].as_str().unwrap()).is_file(), "{sample}");
    }
    // Again: the same text loss to the last digit, with the same dropout.
    let text = failure["losses"]["text_loss"].as_f64().unwrap();
    let replayed = WORKSHOP.pixelllm(&["runs", "replay", "infinite"]).success();
    for part in
        [format!("text_loss {text} (before: {text})"), "loss inf (before: not finite)".into()]
    {
        assert!(replayed.stdout.contains(&part), "{part}: {}", replayed.stdout);
    }
    assert!(replayed.stdout.contains("Weights that are not finite: none"), "{}", replayed.stdout);
    assert!(replayed.stdout.contains("Gradients that are not finite: model."));
    let other = WORKSHOP.pixelllm(&["runs", "replay", "infinite", "--step", "7"]);
    other.failure(1, &["has kept no such step", &(steps + 1).to_string()]);
    let state: Value =
        serde_json::from_str(&WORKSHOP.read("infinite/checkpoint/state-2.json")).unwrap();
    assert_eq!(state["step"], 20);
    assert!(!WORKSHOP.path("infinite/checkpoint/state-3.json").exists());
}

#[test]
fn weights_that_are_not_finite_never_become_a_checkpoint() {
    // One step: its loss is finite, and the decay after it is not.
    let decay = ["optimizer.weight_decay=1e39", "training.max_steps=3"];
    let one_by_one = ["training.checkpoint_every_steps=1", "training.validation_batches=0"];
    let arguments = [set(&decay), set(&one_by_one), UNMEASURED.to_vec()].concat();
    let answer = WORKSHOP.train("decayed", &arguments);
    answer.failure(1, &["the weights are not finite after step 1", "the first of them model."]);
    assert!(WORKSHOP.files("decayed/checkpoint").is_empty());
    assert!(!WORKSHOP.path("decayed/weights.safetensors").exists());
    let replayed = WORKSHOP.pixelllm(&["runs", "replay", "decayed"]).success();
    assert!(replayed.stdout.contains("Weights that are not finite: model."), "{}", replayed.stdout);
}

#[test]
fn a_batch_that_cannot_be_made_ends_the_run_with_what_was_learnt() {
    let workshop = Workshop::with_world_of({
        LazyLock::force(&UNINTERRUPTED);
        &WORKSHOP
    });
    // Found when it is read, not before.
    let broken = workshop.path("world/images/train/000000000010.png");
    let whole = fs::read(&broken).unwrap();
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let answer = workshop.train("run", &[long(), set(&["training.prefetch_batches=0"])].concat());
    answer.failure(1, &["000000000010.png", "go on with --resume"]);
    let steps = workshop.steps_done("run");
    if steps > 0 {
        let states = workshop.files("run/checkpoint");
        let last =
            states.iter().filter(|(name, _)| name.starts_with("state-")).map(|(_, bytes)| {
                serde_json::from_slice::<Value>(bytes).unwrap()["step"].as_u64().unwrap() as usize
            });
        assert_eq!(last.max(), Some(steps), "what was learnt is kept");
    }
    fs::write(&broken, whole).unwrap();
    workshop.train("run", &[long(), vec!["--resume"]].concat()).success();
    assert_eq!(workshop.steps("run"), *UNINTERRUPTED);
}

/// Trains under a limit on the size of files, which is to a process what a full disk is.
#[cfg(unix)]
fn train_with_full_disk(run: &str, kibibytes: usize, more: &[&str]) -> Answer {
    let arguments = [&["train", EXPERIMENT, "--out", run][..], &long(), more].concat();
    let quoted: Vec<_> = arguments.iter().map(|text| format!("'{text}'")).collect();
    let binary = env!("CARGO_BIN_EXE_pixelllm");
    // Blocks of 512 bytes; without the signal, writing fails as it does on a full disk.
    let script =
        format!("trap '' XFSZ; ulimit -f {}; exec '{binary}' {}", kibibytes * 2, quoted.join(" "));
    WORKSHOP.script(&script)
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_run_and_leaves_the_last_checkpoint() {
    LazyLock::force(&UNINTERRUPTED);
    // Up to its second checkpoint, then no room for the next.
    let twenty = ["training.max_steps=40", "checkpoints.keep_last=1"];
    let mut child = WORKSHOP.begin("full", &[long(), set(&twenty)].concat(), 12);
    WORKSHOP.wait_for("full/checkpoint/state-1.json");
    child.kill().unwrap();
    child.wait().unwrap();
    let size = fs::metadata(WORKSHOP.path("full/checkpoint/optimizer-1.bpk")).unwrap().len();
    let before =
        WORKSHOP.files("full/checkpoint").into_keys().filter(|name| name.contains("state"));
    let before: Vec<_> = before.collect();
    let answer = train_with_full_disk("full", size as usize / 1024 / 2, &["--resume"]);
    answer.failure(1, &["training stopped", "Free some space, and go on with --resume"]);
    let after = WORKSHOP.files("full/checkpoint");
    assert!(before.iter().all(|name| after.contains_key(name)), "{before:?} {:?}", after.keys());
    assert!(after.keys().all(|name| !name.contains("partial")), "{:?}", after.keys());
    resumes("full");
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_from_the_start_is_said_before_anything_is_trained() {
    LazyLock::force(&UNINTERRUPTED);
    train_with_full_disk("none", 1, &[]).failure(1, &["cannot write none"]);
    assert_eq!(WORKSHOP.steps_done("none"), 0);
}

#[test]
fn a_run_is_trained_by_one_process_at_a_time() {
    let slow = [long(), set(&["training.max_steps=4000"])].concat();
    let mut child = WORKSHOP.begin("locked", &slow, 2);
    let second = WORKSHOP.train("locked", &[slow.clone(), vec!["--resume"]].concat());
    second.failure(1, &["run locked: is being trained by another process"]);
    let list = WORKSHOP.pixelllm(&["runs", "list", "locked", "--json"]).success();
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list[0]["state"], "running");
    child.kill().unwrap();
    child.wait().unwrap();
    let list = WORKSHOP.pixelllm(&["runs", "list", "locked", "--json"]).success();
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list[0]["state"], "stopped");
}

/// Kills to survive.
const KILLS: usize = 50;

/// A process is killed at a random moment and resumed, fifty times; a run that gets to its end is compared
/// with one that nothing happened to, and the next begins.
#[test]
#[ignore = "takes minutes: fifty processes are started and killed"]
fn fifty_kills_at_random_moments_change_nothing() {
    LazyLock::force(&UNINTERRUPTED);
    let logged = [long(), set(&["logging.csv=true", "logging.tensorboard=true"])].concat();
    let begun = Instant::now();
    WORKSHOP.train("timed", &logged).success();
    let whole = begun.elapsed();
    let mut random = u64::from(std::process::id());
    println!("seed {random}, a whole run takes {whole:?}");
    let (mut kills, mut finished, mut number) = (0, 0, 0);
    let mut resumed_from = Vec::new();
    while kills < KILLS {
        let run = format!("killed-{number}");
        let is_there = WORKSHOP.path(&run).join("experiment.toml").exists();
        // What the killed process left: a whole checkpoint wherever there was one before.
        let states = WORKSHOP.path(&run).join("checkpoint");
        let latest = pixelllm::training::checkpoint_state::latest(&states).unwrap();
        resumed_from.push(latest.as_ref().map_or(0, |state| state.step));
        let more = if is_there { vec!["--resume"] } else { vec![] };
        let mut child = WORKSHOP.spawn(&run, &[logged.clone(), more].concat());
        // Knuth's MMIX generator.
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (random >> 40) as f64 / (1_u64 << 24) as f64;
        let moment = Instant::now() + whole.mul_f64(share * 0.9);
        while Instant::now() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        match child.try_wait().unwrap() {
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                let after = pixelllm::training::checkpoint_state::latest(&states).unwrap();
                let step = after.map_or(0, |state| state.step);
                assert!(
                    Some(&step) >= resumed_from.last(),
                    "a checkpoint was lost: {resumed_from:?}"
                );
            }
            Some(status) => {
                assert!(status.success(), "{:?}", Answer::of(child));
                check_finished(&run);
                (finished, number) = (finished + 1, number + 1);
            }
        }
    }
    WORKSHOP.train(&format!("killed-{number}"), &resume_if_begun(&logged, number)).success();
    check_finished(&format!("killed-{number}"));
    println!("{kills} kills, {} runs finished, resumed from {resumed_from:?}", finished + 1);
}

fn resume_if_begun<'a>(arguments: &[&'a str], number: usize) -> Vec<&'a str> {
    let is_there = WORKSHOP.path(&format!("killed-{number}/experiment.toml")).exists();
    let more: &[&str] = if is_there { &["--resume"] } else { &[] };
    [arguments, more].concat()
}

/// Records, weights and the table are those of a run that nothing happened to.
fn check_finished(run: &str) {
    assert_eq!(WORKSHOP.steps(run), *UNINTERRUPTED, "{run}");
    assert_eq!(
        WORKSHOP.records(run, "validation"),
        WORKSHOP.records("uninterrupted", "validation")
    );
    assert!(weights(run) == weights("uninterrupted"), "{run} has other weights");
    let table = WORKSHOP.read(&format!("{run}/metrics.csv"));
    let steps = table.lines().filter(|line| line.starts_with("step,")).count();
    assert_eq!(steps, UNINTERRUPTED.len(), "{run}");
}
