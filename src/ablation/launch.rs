//! Trains the trials of a sweep, each in a process of its own: what one does to the machine ends with it,
//! and a kernel that crashes takes one run along.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::plan::{Plan, Progress, Trial};
use crate::error::{Error, Result};
use crate::training::run_directory::{read_json, write_json};

/// How often the processes are looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// Enough of the end of `metrics.jsonl` to hold a whole line.
const TAIL_BYTES: u64 = 4096;

/// What a trial took, in its run directory as `cost.json`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds of all processes that trained and evaluated it.
    pub seconds: f64,
    /// Most memory that any of them held; `None` where the system does not say.
    pub peak_bytes: Option<u64>,
}

impl Cost {
    /// Where a run directory has it.
    pub fn file(run: &Path) -> PathBuf {
        run.join("cost.json")
    }
}

/// How trials are trained.
#[derive(Debug)]
pub struct LaunchOptions<'a> {
    /// The program: `pixelllm` itself.
    pub program: PathBuf,
    /// Trials at the same time.
    pub parallel: usize,
    /// Set to stop: running trials save a checkpoint and end, no other begins.
    pub stop: &'a AtomicBool,
}

/// What is seen of trials while they are trained.
pub trait Watcher {
    /// Trial `index` begins, or goes on.
    fn begins(&mut self, index: usize, name: &str, max_steps: usize);
    /// It has done `step` steps.
    fn advances(&mut self, index: usize, step: usize);
    /// It has ended; `problem` says how where it failed.
    fn ends(&mut self, index: usize, problem: Option<&str>);
}

/// How a launch ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Stopped before every trial was done.
    pub stopped: bool,
    /// Trial → what went wrong.
    pub failed: BTreeMap<usize, String>,
}

/// A trial that is being trained.
struct Running {
    index: usize,
    child: Child,
    began: Instant,
    log: PathBuf,
    peak_bytes: Option<u64>,
}

/// Trains every trial of `plan` that is not finished. A trial that fails is reported, what starts from it
/// is left out, and the rest goes on.
///
/// # Errors
/// [`Error::Io`] where a folder cannot be written or the program cannot be started, [`Error::Run`] where a
/// trial's folder holds the run of another experiment. Nothing is left running then.
pub fn launch(
    plan: &Plan,
    options: &LaunchOptions<'_>,
    watcher: &mut dyn Watcher,
) -> Result<Outcome> {
    let mut states: Vec<_> = plan.trials.iter().map(Trial::progress).collect::<Result<_>>()?;
    let mut running: Vec<Running> = Vec::new();
    let mut outcome = Outcome::default();
    let ended = loop {
        let stop = options.stop.load(Ordering::Relaxed);
        if !stop && let Err(error) = begin(plan, options, &states, &mut running, &outcome, watcher)
        {
            break Err(error);
        }
        if stop && !outcome.stopped {
            outcome.stopped = true;
            running.iter().for_each(|trial| terminate(&trial.child));
        }
        if running.is_empty() {
            break Ok(());
        }
        std::thread::sleep(INTERVAL);
        if let Err(error) = look(plan, &mut running, &mut states, &mut outcome, watcher) {
            break Err(error);
        }
    };
    for mut trial in running {
        terminate(&trial.child);
        // The error that ends the launch is the one to report.
        let _ = trial.child.wait();
    }
    ended?;
    leave_out(plan, &states, &mut outcome);
    Ok(outcome)
}

/// Starts what is ready while there is room.
fn begin(
    plan: &Plan,
    options: &LaunchOptions<'_>,
    states: &[Progress],
    running: &mut Vec<Running>,
    outcome: &Outcome,
    watcher: &mut dyn Watcher,
) -> Result<()> {
    for (index, trial) in plan.trials.iter().enumerate() {
        if running.len() >= options.parallel.max(1) {
            return Ok(());
        }
        let is_done = states[index] == Progress::Finished || outcome.failed.contains_key(&index);
        let is_running = running.iter().any(|other| other.index == index);
        let is_ready = trial.needs.iter().all(|needed| states[*needed] == Progress::Finished);
        if is_done || is_running || !is_ready {
            continue;
        }
        running.push(start(index, trial, states[index], &options.program)?);
        watcher.begins(index, &plan.name(trial), trial.experiment.training.max_steps);
    }
    Ok(())
}

fn start(index: usize, trial: &Trial, progress: Progress, program: &Path) -> Result<Running> {
    let folder = trial.directory.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    // Beside the run directory, which the run makes itself.
    let log = trial.directory.with_extension("log");
    let output = File::options().create(true).append(true).open(&log);
    let output = output.map_err(Error::io("write", &log))?;
    let errors = output.try_clone().map_err(Error::io("write", &log))?;
    let mut command = Command::new(program);
    command
        .args(trial.arguments(progress == Progress::Begun))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    // A terminal sends Ctrl-C to a whole group; a second signal would end a run without a checkpoint.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().map_err(Error::io("start", program))?;
    Ok(Running { index, child, began: Instant::now(), log, peak_bytes: None })
}

impl Trial {
    /// What trains it: the arguments of `pixelllm`.
    pub fn arguments(&self, resume: bool) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut arguments = vec!["train".to_string(), text(&self.file)];
        for setting in &self.overrides {
            arguments.extend(["--set".into(), setting.clone()]);
        }
        arguments.extend(["--out".into(), text(&self.directory)]);
        arguments.extend(["--dashboard".into(), "plain".into()]);
        if resume {
            arguments.push("--resume".into());
        }
        arguments
    }
}

/// Sees who has ended and how far the others are.
fn look(
    plan: &Plan,
    running: &mut Vec<Running>,
    states: &mut [Progress],
    outcome: &mut Outcome,
    watcher: &mut dyn Watcher,
) -> Result<()> {
    let mut still = Vec::new();
    let mut problem = Ok(());
    for mut trial in running.drain(..) {
        trial.peak_bytes = trial.peak_bytes.max(peak_bytes(trial.child.id()));
        let directory = &plan.trials[trial.index].directory;
        match trial.child.try_wait() {
            Ok(None) => {
                if let Some(step) = last_step(&directory.join("metrics.jsonl")) {
                    watcher.advances(trial.index, step);
                }
                still.push(trial);
            }
            Ok(Some(status)) => {
                let index = trial.index;
                let written = add_cost(directory, &trial);
                problem = problem.and(written);
                states[index] = plan.trials[index].progress().unwrap_or(Progress::Begun);
                let failure = failure(status, &trial.log, states[index], outcome.stopped);
                watcher.ends(index, failure.as_deref());
                outcome.failed.extend(failure.map(|failure| (index, failure)));
            }
            Err(error) => problem = problem.and(Err(Error::io("wait for", directory)(error))),
        }
    }
    *running = still;
    problem
}

/// What went wrong with a process that has ended, if anything did.
fn failure(status: ExitStatus, log: &Path, progress: Progress, stopped: bool) -> Option<String> {
    if progress == Progress::Finished || stopped {
        return None;
    }
    let how = match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => "was killed".into(),
    };
    Some(format!("{how}: see {}", log.display()))
}

/// Adds to what earlier processes of the trial took.
fn add_cost(directory: &Path, trial: &Running) -> Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    let file = Cost::file(directory);
    let before: Cost = if file.is_file() { read_json(&file)? } else { Cost::default() };
    let cost = Cost {
        seconds: before.seconds + trial.began.elapsed().as_secs_f64(),
        peak_bytes: before.peak_bytes.max(trial.peak_bytes),
    };
    write_json(&file, &cost)
}

/// Names what was never begun because something before it failed.
fn leave_out(plan: &Plan, states: &[Progress], outcome: &mut Outcome) {
    if outcome.stopped {
        return;
    }
    for (index, trial) in plan.trials.iter().enumerate() {
        let lacking = trial.needs.iter().find(|needed| states[**needed] != Progress::Finished);
        if let (Some(needed), false) = (lacking, outcome.failed.contains_key(&index)) {
            let name = plan.name(&plan.trials[*needed]);
            outcome.failed.insert(index, format!("starts from “{name}”, which is not finished"));
        }
    }
}

/// Asks a process to end as Ctrl-C does: with a checkpoint.
#[cfg(unix)]
fn terminate(child: &Child) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    if let Ok(id) = i32::try_from(child.id()) {
        // One that has ended already needs no signal.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
}

/// Elsewhere the console sends Ctrl-C to every process of its group, trials included.
#[cfg(not(unix))]
fn terminate(_child: &Child) {}

/// The step of the last whole line.
fn last_step(metrics: &Path) -> Option<usize> {
    let mut file = File::open(metrics).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let whole = &tail[..tail.iter().rposition(|byte| *byte == b'\n')?];
    let line = whole.rsplit(|byte| *byte == b'\n').next()?;
    let record: serde_json::Value = serde_json::from_slice(line).ok()?;
    usize::try_from(record["step"].as_u64()?).ok()
}

/// The most memory that a process has held so far, where the system says it.
#[cfg(target_os = "linux")]
fn peak_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(not(target_os = "linux"))]
fn peak_bytes(_process: u32) -> Option<u64> {
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_says_the_step() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("metrics.jsonl");
        assert_eq!(last_step(&file), None);
        fs::write(&file, "{\"step\": 1}\n{\"step\": 2}\n{\"ste").unwrap();
        assert_eq!(last_step(&file), Some(2));
        fs::write(&file, "{\"step\"").unwrap();
        assert_eq!(last_step(&file), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_held_some_memory() {
        assert!(peak_bytes(std::process::id()).unwrap() > 1 << 20);
    }
}
