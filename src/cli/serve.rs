//! `pixelllm serve`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use super::decoding::DecodingArguments;
use super::describe::unlearnt;
use super::loaded_run::{LoadedRun, RunArguments};
use super::output::say;
use super::signals::{on_interrupt, stop_or_exit};
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::server::{About, DescribeNotes, Ending, Limits, Server, ServerConfig};
use crate::tasks::Place;

/// Answer over HTTP, with a page to try a run on
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    run: RunArguments,
    /// Address or name to listen at. With any but one of this machine's own, everybody who reaches the
    /// machine can use the model: there is no password
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen at; 0 takes one that is free
    #[arg(long, default_value_t = 7860)]
    port: u16,
    /// A name that requests may call the server by, beside those of this machine (for a proxy); may be
    /// given several times
    #[arg(long = "allow-host", value_name = "NAME")]
    allowed_hosts: Vec<String>,
    /// A folder of PNG and JPEG images to offer on the page [default: a few of the shapes world]
    #[arg(long, value_name = "DIR")]
    examples: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArguments,
    #[command(flatten)]
    decoding: DecodingArguments,
}

/// What the server takes on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArguments {
    /// Longest request, in MiB; an image in JSON takes a third more than its file
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_upload_mib: u32,
    /// Most pixels of an image; up to 8 bytes each are taken for one image at a time
    #[arg(long, value_name = "N", default_value_t = 32_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    max_pixels: u64,
    /// Requests that wait while another is answered; more get a 503
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    queue: u16,
    /// Connections at the same time; more get a 503
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Images whose encoding is kept in memory for the next question about them
    #[arg(long, value_name = "N", default_value_t = 8)]
    keep_images: u16,
    /// Seconds for the head of a request, for its body, and for a client to go on taking its answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    transfer_timeout: Duration,
    /// Seconds from a request to its answer, waiting included
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    answer_timeout: Duration,
    /// Seconds that running requests have after Ctrl-C
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    shutdown_timeout: Duration,
}

impl LimitArguments {
    fn limits(&self) -> Limits {
        Limits {
            upload_bytes: self.max_upload_mib as usize * (1 << 20),
            pixels: self.max_pixels,
            queue: self.queue.into(),
            connections: self.connections.into(),
            kept_images: self.keep_images.into(),
            transfer: self.transfer_timeout,
            answer: self.answer_timeout,
            shutdown: self.shutdown_timeout,
        }
    }
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?.decoding(&self.decoding)?;
        let about = about(&loaded, self.decoding.over(&loaded.experiment.decoding)?);
        let config = ServerConfig {
            host: self.host,
            port: self.port,
            allowed_hosts: self.allowed_hosts,
            examples: self.examples,
            limits: self.limits.limits(),
        };
        let server = Server::bind(loaded.predictor, about, config)?;
        let address = server.address();
        if !address.ip().is_loopback() {
            eprintln!("note: everybody who reaches this machine can use the model");
        }
        let (stopper, stopping) = (server.stopper(), AtomicBool::new(false));
        on_interrupt(move || {
            stop_or_exit(&stopping, "Ending; what is being answered is finished. Again: at once.");
            stopper.stop();
        })?;
        say(format_args!("http://{address}/ (Ctrl-C ends)"));
        if server.run()? == Ending::CutOff {
            eprintln!("note: what took longer than --shutdown-timeout was cut off");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn about(loaded: &LoadedRun, decoding: crate::model::language::decoding::Decoding) -> About {
    let note = |place: Place| unlearnt(&loaded.experiment, Some(&place));
    About {
        name: loaded.experiment.name.clone(),
        device: loaded.experiment.device.clone(),
        parameters: loaded.num_parameters,
        decoding,
        describe: DescribeNotes {
            boxes: note(Place::Box(BoundingBox::UNIT)),
            points: note(Place::Points { positive: Vec::new(), negative: Vec::new() }),
            trace: note(Place::Trace(Vec::new())),
        },
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let problem = "a number of seconds above 0, at most 86400";
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(problem.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_fractions() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "x", "0", "-1", "nan", "inf", "1e9"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
