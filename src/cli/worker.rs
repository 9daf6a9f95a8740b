//! `pixelllm worker`.

use std::process::ExitCode;

use clap::Args;

use crate::error::Result;

/// Lend devices of this machine to training on another (needs the feature `remote`)
///
/// Training names them: `--set 'training.devices=["cuda:0", "ws://HOST:PORT"]'`. The environment variable
/// PIXELLLM_DEVICE_TOKEN, the same on both sides, keeps others out; traffic is not encrypted.
#[derive(Debug, Args)]
pub(super) struct Worker {
    /// A device to lend, `cpu`, `wgpu` or `cuda:1`; several of a kind may be given, and count as
    /// `ws://HOST:PORT#0`, `#1` …
    #[arg(long = "device", value_name = "DEVICE", default_value = "cpu")]
    devices: Vec<String>,
    /// Address or name to listen at. One that other machines reach needs a token
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen at; 0 takes one that is free
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

impl Worker {
    #[cfg(feature = "remote")]
    pub(super) fn run(self) -> Result<ExitCode> {
        use super::output::say;
        use crate::backend::{self, Lender};

        let devices = self.devices.iter().map(|name| backend::device(name));
        let lender = Lender::bind(devices.collect::<Result<_>>()?, &self.host, self.port)?;
        say(format_args!("ws://{} (Ctrl-C ends)", lender.address()?));
        lender.run()?;
        Ok(ExitCode::SUCCESS)
    }

    /// This build has no such server.
    #[cfg(not(feature = "remote"))]
    pub(super) fn run(self) -> Result<ExitCode> {
        Err(crate::error::Error::Device {
            problem: "this build lends no devices".into(),
            help: "Build it with the feature: `cargo run --release --features remote -- worker`."
                .into(),
        })
    }
}
