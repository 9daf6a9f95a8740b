//! What benches share that are compared with Python: commands from standard input, a line each, which are
//! answered with a line each. The other side is `benches/python/peer.py`.

use std::io::{BufRead, Write};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// Answers each command with what `answer` makes of its words; `memory` with the largest resident memory
/// so far, in bytes.
pub(crate) fn serve(
    mut answer: impl FnMut(&[&str]) -> Result<String, Failure>,
) -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answered = match words.as_slice() {
            ["memory"] => peak_memory()?.to_string(),
            words => answer(words)?,
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answered}")?;
        out.flush()?;
    }
    Ok(())
}

/// The error about a command that `answer` does not know, or not yet.
pub(crate) fn unknown(words: &[&str]) -> Failure {
    format!("cannot do `{}`", words.join(" ")).into()
}

/// The high-water mark of the resident memory, in bytes, from the kernel.
fn peak_memory() -> Result<usize, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: usize = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kib * 1024)
}
