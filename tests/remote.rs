//! Training over the devices of several processes: workers on this machine's loopback lend theirs.
#![cfg(feature = "remote")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use common::{EXPERIMENT, UNMEASURED, Workshop, set};

/// Without random numbers, which every device draws for itself.
const FIXED: [&str; 3] =
    ["model.language.dropout=0", "training.validation_batches=1", "optimizer.learning_rate=1e-4"];
const TOKEN: &str = "PIXELLLM_DEVICE_TOKEN";

/// A process that lends the CPU; it ends with the test.
struct Worker {
    child: Child,
    name: String,
}

impl Worker {
    fn start(workshop: &Workshop, token: Option<&str>) -> Self {
        let mut command = workshop.command();
        command.args(["worker", "--port", "0"]).envs(token.map(|token| (TOKEN, token)));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let name = line.split_whitespace().next().unwrap_or_else(|| panic!("{line:?}")).to_string();
        assert!(name.starts_with("ws://127.0.0.1:"), "{name}");
        Self { child, name }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn trained(workshop: &Workshop, run: &str, devices: &[&str]) -> Vec<Value> {
    let devices = format!("training.devices={devices:?}");
    let overrides = [&FIXED[..], &[&devices]].concat();
    workshop.train(run, &[set(&overrides), UNMEASURED.to_vec()].concat()).success();
    workshop.steps_of_any_device(run)
}

#[test]
fn processes_that_share_batches_train_as_one_process_does() {
    let workshop = Workshop::new();
    let workers = [Worker::start(&workshop, None), Worker::start(&workshop, None)];
    let alone = trained(&workshop, "alone", &["cpu", "cpu", "cpu"]);
    let names: Vec<&str> = workers.iter().map(|worker| worker.name.as_str()).collect();
    let shared = trained(&workshop, "shared", &["cpu", names[0], names[1]]);
    assert_eq!((alone.len(), shared.len()), (6, 6));
    for (one, other) in alone.iter().zip(&shared) {
        assert_eq!((&one["step"], &one["task"]), (&other["step"], &other["task"]));
        for key in ["loss", "text_loss", "point_loss", "gradient_norm"] {
            let (Some(a), Some(b)) = (one[key].as_f64(), other[key].as_f64()) else {
                assert_eq!(one[key], other[key], "{key}");
                continue;
            };
            // The same kernels on the same parts of the batch; their means are added in another order.
            assert!((a - b).abs() / a.abs() < 1e-5, "{key} of step {}: {a} and {b}", one["step"]);
        }
    }
}

#[test]
fn a_whole_run_may_be_on_another_machine_s_device() {
    let workshop = Workshop::new();
    let worker = Worker::start(&workshop, None);
    let device = format!("device={}", worker.name);
    workshop.train("remote", &[&set(&[&device])[..], &UNMEASURED].concat()).success();
    assert_eq!(workshop.records("remote", "step").len(), 6);
}

#[test]
fn a_token_keeps_others_out_and_an_open_address_needs_one() {
    let workshop = Workshop::new();
    let worker = Worker::start(&workshop, Some("secret"));
    let devices = format!("training.devices=[\"cpu\",\"{}\"]", worker.name);
    let arguments = [&["train", EXPERIMENT, "--out", "run"][..], &set(&[&devices])].concat();
    let refused = workshop.pixelllm_with(&[(TOKEN, "guess")], &arguments);
    refused.failure(2, &[&worker.name, "rejected the credential", TOKEN]);
    let let_in =
        workshop.pixelllm_with(&[(TOKEN, "secret")], &[&arguments[..], &UNMEASURED].concat());
    let_in.success();
    let open = workshop.pixelllm(&["worker", "--host", "0.0.0.0", "--port", "0"]);
    open.failure(2, &["open to other machines", TOKEN]);
}

#[test]
fn a_lender_that_is_not_there_or_goes_away_is_a_clear_end() {
    let workshop = Workshop::new();
    let worker = Worker::start(&workshop, None);
    let name = worker.name.clone();
    let devices = format!("training.devices=[\"cpu\",\"{name}\"]");
    let steps = set(&["training.max_steps=200", "training.checkpoint_every_steps=3"]);
    let long = [&set(&[&devices])[..], &steps, &UNMEASURED].concat();
    let child = workshop.begin("run", &long, 4);
    drop(worker);
    // Burn panics where a read fails; what is left of it is an error.
    let end = child.wait_with_output().unwrap();
    let said = String::from_utf8(end.stderr).unwrap();
    assert_eq!(end.status.code(), Some(1), "{said}");
    assert!(said.contains("training broke off") && said.contains("--resume"), "{said}");
    // The last checkpoint is whole, and another device goes on from it.
    workshop.train("run", &[&steps[..], &UNMEASURED, &["--resume"]].concat()).success();
    workshop.train("none", &set(&[&devices])).failure(2, &[&name, "pixelllm worker"]);
}
