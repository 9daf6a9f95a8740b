//! What the tests of the command line share: a folder, the binary in it, and what a run left there.
// Each test file uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub(crate) mod browser;
pub(crate) mod safetensors;
pub(crate) mod served;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_pixelllm");

/// The smallest experiment; its paths are relative to a [`Workshop`].
pub(crate) const EXPERIMENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/smallest.toml");

/// Nothing is measured after the last step.
pub(crate) const UNMEASURED: [&str; 2] = ["--set", "data.splits.evaluation=[]"];

/// `--set` before each of `overrides`.
pub(crate) fn set<'a>(overrides: &[&'a str]) -> Vec<&'a str> {
    overrides.iter().flat_map(|text| ["--set", text]).collect()
}

/// A `tokenizer.json` as T5's: special tokens, the mark of a space, then `pieces`.
pub(crate) fn t5_tokenizer(pieces: impl Iterator<Item = String>) -> String {
    let special = ["<pad>", "</s>", "<unk>", "▁"].map(String::from);
    let pieces = special.into_iter().chain(pieces);
    let vocabulary: Vec<_> = pieces.map(|piece| json!([piece, -1.0])).collect();
    let metaspace = json!({ "type": "Metaspace", "replacement": "▁" });
    json!({
        "version": "1.0", "added_tokens": [], "normalizer": { "type": "Lowercase" },
        "pre_tokenizer": metaspace, "post_processor": null, "decoder": metaspace,
        "model": { "type": "Unigram", "unk_id": 2, "vocab": vocabulary },
    })
    .to_string()
}

/// What takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(180);

/// A folder in which commands are run.
pub(crate) struct Workshop(TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One that lives as long as the test process. Nothing removes it then, so it is made in cargo's
    /// folder for tests, and those of an hour ago are removed.
    pub(crate) fn shared() -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let old = SystemTime::now() - Duration::from_secs(3600);
        for entry in fs::read_dir(place).unwrap().flatten() {
            if entry.metadata().and_then(|data| data.modified()).is_ok_and(|time| time < old) {
                // Another test process may be doing the same.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Self(tempfile::tempdir_in(place).unwrap())
    }

    /// Like `other`'s: a copy of its world.
    pub(crate) fn with_world_of(other: &Self) -> Self {
        let workshop = Self::new();
        copy(&other.path("world"), &workshop.path("world"));
        workshop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs `pixelllm` to its end.
    pub(crate) fn pixelllm(&self, arguments: &[&str]) -> Answer {
        self.run(BINARY, arguments, &[])
    }

    /// Runs `pixelllm` to its end with more `variables` in its environment.
    pub(crate) fn pixelllm_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Answer {
        self.run(BINARY, arguments, variables)
    }

    /// Runs `pixelllm` with arguments as a user would type them.
    pub(crate) fn shell(&self, arguments: &str) -> Answer {
        self.run("sh", &["-c", &format!("'{BINARY}' {arguments}")], &[])
    }

    /// Runs a script of the shell.
    #[allow(dead_code, reason = "not every test has scripts")]
    pub(crate) fn script(&self, script: &str) -> Answer {
        self.run("sh", &["-c", script], &[])
    }

    fn run(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
        let mut command = assert_cmd::Command::new(program);
        for key in NOT_IN_ENVIRONMENT {
            command.env_remove(key);
        }
        command.current_dir(self.0.path()).envs(ENVIRONMENT);
        command.envs(variables.iter().copied()).args(arguments).timeout(TIMEOUT);
        let output = command.output().unwrap();
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
        .checked(arguments)
    }

    /// Trains the smallest experiment into `run`.
    pub(crate) fn train(&self, run: &str, arguments: &[&str]) -> Answer {
        self.pixelllm(&[&["train", EXPERIMENT, "--out", run], arguments].concat())
    }

    /// Begins to train, and waits until `step` steps are done.
    pub(crate) fn begin(&self, run: &str, arguments: &[&str], step: usize) -> Child {
        let mut child = self.spawn(run, arguments);
        let begun = Instant::now();
        while self.steps_done(run) < step {
            assert!(child.try_wait().unwrap().is_none(), "ended before step {step}");
            assert!(begun.elapsed() < TIMEOUT, "step {step} is not reached");
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }

    /// Begins to train.
    pub(crate) fn spawn(&self, run: &str, arguments: &[&str]) -> Child {
        self.command()
            .args(["train", EXPERIMENT, "--out", run])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// `pixelllm`, to be begun in the folder.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        for key in NOT_IN_ENVIRONMENT {
            command.env_remove(key);
        }
        command.current_dir(self.0.path()).envs(ENVIRONMENT).stdin(Stdio::null());
        command
    }

    /// Waits until there is a file `name`.
    pub(crate) fn wait_for(&self, name: &str) {
        let begun = Instant::now();
        while !self.path(name).exists() {
            assert!(begun.elapsed() < TIMEOUT, "there is no {name}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Steps that `run` has written down so far.
    pub(crate) fn steps_done(&self, run: &str) -> usize {
        let text = fs::read_to_string(self.path(run).join("metrics.jsonl")).unwrap_or_default();
        text.lines().filter(|line| line.contains("\"kind\":\"step\"")).count()
    }

    /// The lines of `metrics.jsonl` of one kind.
    pub(crate) fn records(&self, run: &str, kind: &str) -> Vec<Value> {
        let text = self.read(&format!("{run}/metrics.jsonl"));
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|record| record["kind"] == kind).collect()
    }

    /// What steps on the CPU measured, without what depends on the clock.
    pub(crate) fn steps(&self, run: &str) -> Vec<Value> {
        let steps = self.records(run, "step");
        assert!(steps.iter().all(|step| step.get(MEMORY).is_some()), "{MEMORY}");
        self.steps_of_any_device(run)
    }

    /// The same, where the memory of a device may not be known.
    pub(crate) fn steps_of_any_device(&self, run: &str) -> Vec<Value> {
        let mut steps = self.records(run, "step");
        for step in &mut steps {
            let keys = step.as_object_mut().unwrap();
            keys.remove(MEMORY);
            for key in OF_THE_CLOCK {
                assert!(keys.remove(key).is_some(), "{key}");
            }
        }
        steps
    }

    /// Every file under `name`, with its bytes, by its path in it.
    pub(crate) fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        fn visit(folder: &Path, root: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    visit(&path, root, found);
                } else {
                    let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        let (root, mut found) = (self.path(name), BTreeMap::new());
        visit(&root, &root, &mut found);
        found
    }
}

/// What a step measures of memory.
pub(crate) const MEMORY: &str = "memory_bytes";

/// What a step measures of time.
const OF_THE_CLOCK: [&str; 6] = [
    "samples_per_second",
    "data_wait_share",
    "time",
    "seconds",
    "tokens_per_second",
    "flops_per_second",
];

/// So that messages are the same on every machine, GPU or not.
const ENVIRONMENT: [(&str, &str); 3] =
    [("LC_ALL", "C.UTF-8"), ("TERM", "xterm"), ("CUDA_VISIBLE_DEVICES", "")];

const NOT_IN_ENVIRONMENT: [&str; 9] = [
    "RUST_LOG",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "NO_GRAPHICS",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
];

/// What a command said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// Of a child that was begun with [`Workshop::begin`].
    pub(crate) fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
        .checked(&["train"])
    }

    /// Whatever happens: no panic, and no colours where there is no terminal.
    fn checked(self, arguments: &[&str]) -> Self {
        assert!(!self.stderr.contains("panicked"), "{arguments:?}: {}", self.stderr);
        let colours = [&self.stdout, &self.stderr].iter().any(|text| text.contains('\u{1b}'));
        assert!(!colours, "{arguments:?}: {self:?}");
        self
    }

    /// It went well.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// It failed with `code` and said all of `parts`: what, where, and what to do.
    #[track_caller]
    pub(crate) fn failure(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self.says(parts)
    }

    /// Standard error has all of `parts`.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        let said = self.said();
        for part in parts {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
        }
        self
    }

    /// Standard error without the frame and the line breaks that are drawn around messages.
    pub(crate) fn said(&self) -> String {
        let bare = self.stderr.replace(['×', '│', '╰', '─', '▶', '⚠'], " ");
        bare.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
