//! Sweeps: many runs of one experiment, beside each other.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;

use common::{EXPERIMENT, Workshop};

/// Two variants of the smallest experiment, of which the second starts from the first.
fn sweep(workshop: &Workshop, more: &str) {
    let text = format!(
        "name = \"start\"\n\
         experiment = '{EXPERIMENT}'\n\
         seeds = [4, 5]\n\
         metrics = [\"test.locate.mean_iou\", \"test.narrate.trace_error\"]\n\
         set.evaluation.gallery_images = 1\n\
         [[variants]]\n\
         name = \"from scratch\"\n\
         [[variants]]\n\
         name = \"from the other\"\n\
         set.weights = [{{ file = \"{{run:from scratch}}/weights.safetensors\" }}]\n\
         {more}"
    );
    fs::write(workshop.path("sweep.toml"), text).unwrap();
}

#[test]
fn a_sweep_trains_every_variant_with_every_seed_once_and_reports_them_beside_each_other() {
    let workshop = Workshop::new();
    sweep(&workshop, "");
    let plan = workshop.pixelllm(&["ablate", "sweep.toml", "--dry-run"]).success();
    assert_eq!(plan.stdout.matches(": to train").count(), 4, "{}", plan.stdout);
    assert!(!workshop.path("runs").exists());

    let answer = workshop.pixelllm(&["ablate", "sweep.toml", "--parallel", "2"]).success();
    for text in ["from scratch", "from the other", "locate.mean_iou ↑", "trace_error ↓", " ± "]
    {
        assert!(answer.stdout.contains(text), "{text}: {}", answer.stdout);
    }
    let csv = workshop.read("runs/sweeps/start/report.csv");
    assert!(csv.contains("test.locate.mean_iou,from scratch,4,"), "{csv}");
    assert!(csv.contains("test.narrate.trace_error,from the other,5,"), "{csv}");
    assert!(csv.contains("minutes,from scratch,5,"), "{csv}");

    // The seed of a run is that of its weights: the second variant goes on from its own seed.
    let first = workshop.read("runs/sweeps/start/from-the-other/seed-5/experiment.toml");
    assert!(first.contains("from-scratch/seed-5/weights.safetensors"), "{first}");

    // Everything is done: nothing is trained, and the numbers are the same.
    let before = workshop.files("runs/sweeps/start/from-scratch");
    workshop.pixelllm(&["ablate", "sweep.toml"]).success();
    assert!(before == workshop.files("runs/sweeps/start/from-scratch"));
    assert_eq!(csv, workshop.read("runs/sweeps/start/report.csv"));
}

#[test]
fn a_variant_that_fails_is_reported_and_the_rest_is_done() {
    let workshop = Workshop::new();
    sweep(
        &workshop,
        "[[variants]]\nname = \"broken\"\nset.weights = [{ file = \"no.safetensors\" }]\n\
         [[variants]]\nname = \"after it\"\n\
         set.weights = [{ file = \"{run:broken}/weights.safetensors\" }]\n",
    );
    let answer = workshop.pixelllm(&["ablate", "sweep.toml"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let said = answer.stdout;
    for text in [
        "missing: broken, seed 4: ended with exit code",
        "broken/seed-4.log",
        "missing: after it, seed 5: starts from “broken, seed 5”",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(workshop.read("runs/sweeps/start/broken/seed-4.log").contains("no.safetensors"));
    assert!(workshop.path("runs/sweeps/start/from-the-other/seed-5/evaluation.json").exists());
}

#[cfg(unix)]
#[test]
fn a_sweep_that_is_stopped_goes_on_from_its_checkpoints() {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    let workshop = Workshop::new();
    sweep(&workshop, "");
    let text = workshop.read("sweep.toml").replace(
        "set.evaluation.gallery_images = 1",
        "set.evaluation.gallery_images = 1\nset.training.max_steps = 400",
    );
    fs::write(workshop.path("sweep.toml"), text).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_pixelllm"))
        .current_dir(workshop.path(""))
        .args(["ablate", "sweep.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = "runs/sweeps/start/from-scratch/seed-4";
    while workshop.steps_done(run) < 5 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stop = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(stop.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("every run saves a checkpoint"));
    let done = workshop.steps_done(run);
    assert!(done < 400, "it was too fast to be stopped");
    assert!(!workshop.path(run).join("evaluation.json").exists());
    assert!(workshop.path(run).join("checkpoint").read_dir().unwrap().count() > 0);

    // What it has done already is not done again: the log says where it goes on.
    let text = workshop.read("sweep.toml").replace("seeds = [4, 5]", "seeds = [4]");
    fs::write(workshop.path("sweep.toml"), text).unwrap();
    workshop.pixelllm(&["ablate", "sweep.toml"]).success();
    assert_eq!(workshop.steps_done(run), 400);
    assert!(workshop.path(run).join("evaluation.json").exists());
}

#[test]
fn a_mistake_in_any_variant_is_found_before_anything_is_trained() {
    let workshop = Workshop::new();
    sweep(&workshop, "[[variants]]\nname = \"wrong\"\nset.optimizer.learning_rat = 1e-3\n");
    workshop
        .pixelllm(&["ablate", "sweep.toml"])
        .failure(2, &["optimizer.learning_rat", "Did you mean `learning_rate`?"]);
    assert!(!workshop.path("runs").exists());
    workshop.pixelllm(&["ablate", "none.toml"]).failure(1, &["cannot read none.toml"]);
    fs::write(workshop.path("sweep.toml"), "name = start\n").unwrap();
    workshop.pixelllm(&["ablate", "sweep.toml"]).failure(2, &["sweep.toml:1: ", "ablations.md"]);
}
