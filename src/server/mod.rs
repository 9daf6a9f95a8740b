//! Floor 5: the four tasks over HTTP, and a page to try them on (`docs/src/server.md`).
//!
//! A request is read and checked on an async thread, and waits in a bounded queue for the one thread
//! that computes. Each connection carries one request, so that a client that is slow, or gone, holds one
//! of a known number of places and nothing else.

mod api;
mod error;
mod examples;
mod guard;
mod kept_images;
mod listener;
mod page;
mod request;
mod stream;
mod upload;
mod worker;

use std::future::IntoFuture;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use serde::Serialize;
use tokio::runtime;
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::tasks::predictor::Predictor;
use examples::Examples;
use listener::{GuardedListener, Heard};
use worker::Worker;

/// Threads that read requests and write answers. They wait far more than they compute.
const ASYNC_THREADS: usize = 2;

/// What a server takes on, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest body of a request, in bytes.
    pub upload_bytes: usize,
    /// Most pixels of an image.
    pub pixels: u64,
    /// Requests that wait while another is computed.
    pub queue: usize,
    /// Connections at the same time.
    pub connections: usize,
    /// Images that are remembered as the encoders saw them, so that the next question about one is
    /// answered sooner.
    pub kept_images: usize,
    /// For the head of a request, for its body, and for each piece of an answer to be taken.
    pub transfer: Duration,
    /// From a request that was read to its answer.
    pub answer: Duration,
    /// From the request to stop until what still runs is cut off.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 16 << 20,
            pixels: 32_000_000,
            queue: 16,
            connections: 64,
            kept_images: 8,
            transfer: Duration::from_secs(30),
            answer: Duration::from_secs(120),
            shutdown: Duration::from_secs(10),
        }
    }
}

/// Where and how to serve.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Name or address to listen at.
    pub host: String,
    /// Port to listen at; 0 for any that is free.
    pub port: u16,
    /// Names other than those of this machine that requests may call it by. Without effect where `host`
    /// is not of this machine alone: then any name will do.
    pub allowed_hosts: Vec<String>,
    /// A folder of images to offer on the page; `None` for a few that come with the program.
    pub examples: Option<PathBuf>,
    /// What it takes on.
    pub limits: Limits,
}

/// What a server says of its model.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// Name of the experiment.
    pub name: String,
    /// Where it computes.
    pub device: String,
    /// Number of parameters.
    pub parameters: usize,
    /// How texts are found where they are not streamed.
    pub decoding: crate::model::language::decoding::Decoding,
    /// What to know of descriptions of each kind of place.
    pub describe: DescribeNotes,
}

/// What to know of descriptions of each kind of place; nothing where the model was taught them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DescribeNotes {
    /// Of boxes.
    #[serde(rename = "box")]
    pub boxes: Option<String>,
    /// Of points.
    pub points: Option<String>,
    /// Of traces.
    pub trace: Option<String>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    runtime: runtime::Runtime,
    listener: GuardedListener,
    address: SocketAddr,
    app: Router,
    worker: Worker,
    shutdown: Duration,
    stop: watch::Sender<bool>,
}

/// Ends a [`Server`], from any thread.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Takes no more connections, and ends when those that are open are answered.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All that was asked was answered.
    Answered,
    /// What took longer than [`Limits::shutdown`] was cut off.
    CutOff,
}

impl Server {
    /// Begins to listen; requests are answered from [`Self::run`] on.
    ///
    /// # Errors
    /// [`Error::Usage`] where it cannot listen there, [`Error::Io`] where the examples cannot be read.
    pub fn bind(predictor: Predictor, about: About, config: ServerConfig) -> Result<Self> {
        let examples = Examples::open(config.examples.as_deref())?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(ASYNC_THREADS)
            .thread_name("server")
            .enable_all()
            .build()
            .map_err(|error| Error::Compute {
                problem: format!("the threads of the server could not be started: {error}"),
                help: "Look at the limits of the system on threads and open files.".into(),
            })?;
        let socket = listen(&config.host, config.port)?;
        let address = socket.local_addr().map_err(|error| cannot_listen(&config, &error))?;
        let listener = {
            let _inside = runtime.enter();
            GuardedListener::new(socket, config.limits)
                .map_err(|error| cannot_listen(&config, &error))?
        };
        let (model, limits) = (api::Model::new(&predictor, about, &config), config.limits);
        let worker = Worker::start(predictor, model.decoding(), limits)?;
        let state = Arc::new(api::State { model, examples, limits, worker: worker.queue() });
        let hosts = guard::Hosts::new(address.ip(), &config.allowed_hosts);
        let app = guard::guarded(routes(state), hosts);
        let (stop, _) = watch::channel(false);
        Ok(Self { runtime, listener, address, app, worker, shutdown: limits.shutdown, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Answers requests until [`Stopper::stop`].
    ///
    /// # Errors
    /// [`Error::Compute`] where the system takes the socket away.
    pub fn run(self) -> Result<Ending> {
        let Self { runtime, listener, app, worker, shutdown, stop, .. } = self;
        let app = app.into_make_service_with_connect_info::<Heard>();
        let until = |mut stopped: watch::Receiver<bool>| async move {
            // Fails where nothing is left that could stop it.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let serving = axum::serve(listener, app)
            .with_graceful_shutdown(until(stop.subscribe()))
            .into_future();
        let cut = until(stop.subscribe());
        let ending = runtime.block_on(async {
            tokio::select! {
                served = serving => served.map(|()| Ending::Answered),
                () = async { cut.await; tokio::time::sleep(shutdown).await } => Ok(Ending::CutOff),
            }
        });
        runtime.shutdown_background();
        if matches!(ending, Ok(Ending::Answered)) {
            worker.finish();
        }
        ending.map_err(|error| Error::Compute {
            problem: format!("the server cannot go on: {error}"),
            help: "Start it again.".into(),
        })
    }
}

fn routes(state: Arc<api::State>) -> Router {
    Router::new()
        .route("/", get(page::html))
        .route("/page.css", get(page::css))
        .route("/page.js", get(page::script))
        .route("/picture.js", get(page::picture))
        .route("/examples/{number}", get(examples::example))
        .route("/healthz", get(api::health))
        .route("/api/model", get(api::model))
        .route("/api/narrate", post(api::narrate))
        .route("/api/describe", post(api::describe))
        .route("/api/locate", post(api::locate))
        .route("/api/detect", post(api::detect))
        .route("/api/narrate/stream", post(stream::narrate))
        .route("/api/describe/stream", post(stream::describe))
        .fallback(api::no_such_place)
        .method_not_allowed_fallback(api::wrong_method)
        .with_state(state)
}

/// The first address of `host` that can be listened at.
fn listen(host: &str, port: u16) -> Result<std::net::TcpListener> {
    let help = "Choose another --host or --port; port 0 takes one that is free.";
    let usage = |error: std::io::Error| Error::Usage {
        problem: format!("cannot listen at {host}:{port}: {error}"),
        help: help.into(),
    };
    // Brackets are how addresses are written in places like this one.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = (bare, port).to_socket_addrs().map_err(usage)?.collect();
    let socket = std::net::TcpListener::bind(addresses.as_slice()).map_err(usage)?;
    socket.set_nonblocking(true).map_err(usage)?;
    Ok(socket)
}

fn cannot_listen(config: &ServerConfig, error: &std::io::Error) -> Error {
    Error::Usage {
        problem: format!("cannot listen at {}:{}: {error}", config.host, config.port),
        help: "Choose another --host or --port.".into(),
    }
}
