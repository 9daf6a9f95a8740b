//! Connections: a known number at a time, each with one request, each of which must move.
//!
//! A client that sends nothing, or takes nothing, is given up after [`Limits::transfer`]. One too many is
//! told so and let go. At the end what a client still sends is read and thrown away for a moment:
//! closing before would make the system drop an answer that the client has not read yet.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};

use super::Limits;
use super::error::ApiError;

/// How long a client that was answered may go on sending.
const LINGER: Duration = Duration::from_secs(2);
/// How long one too many is listened to.
const REFUSAL: Duration = Duration::from_millis(500);
/// How long to wait where the system has no connection to give (no files left, say).
const PAUSE: Duration = Duration::from_millis(100);

/// Whether the head of a connection's request was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<AtomicBool>);

impl Heard {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Connected<IncomingStream<'_, GuardedListener>> for Heard {
    fn connect_info(stream: IncomingStream<'_, GuardedListener>) -> Self {
        stream.io().heard.clone()
    }
}

/// Listens, and keeps count.
#[derive(Debug)]
pub(super) struct GuardedListener {
    socket: TcpListener,
    places: Arc<Semaphore>,
    transfer: Duration,
}

impl GuardedListener {
    pub(super) fn new(socket: std::net::TcpListener, limits: Limits) -> io::Result<Self> {
        let places = Arc::new(Semaphore::new(limits.connections.max(1)));
        Ok(Self { socket: TcpListener::from_std(socket)?, places, transfer: limits.transfer })
    }
}

impl Listener for GuardedListener {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (GuardedStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((tcp, address)) => match Arc::clone(&self.places).try_acquire_owned() {
                    Ok(place) => return (GuardedStream::new(tcp, place, self.transfer), address),
                    Err(_) => drop(tokio::spawn(timeout(REFUSAL, refuse(tcp)))),
                },
                Err(error) => {
                    tracing::debug!("no connection: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Tells one too many so.
async fn refuse(tcp: TcpStream) -> io::Result<()> {
    let body = ApiError::busy("too many connections are open (--connections)").json();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\
         Content-Length: {}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut rest = answer.as_bytes();
    while !rest.is_empty() {
        tcp.writable().await?;
        match tcp.try_write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            Err(error) => return Err(error),
        }
    }
    let mut scratch = [0; 4096];
    loop {
        tcp.readable().await?;
        match tcp.try_read(&mut scratch) {
            Ok(0) => return Ok(()),
            Ok(_) => (),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            Err(error) => return Err(error),
        }
    }
}

/// A connection that must move.
#[derive(Debug)]
pub(super) struct GuardedStream {
    tcp: TcpStream,
    heard: Heard,
    transfer: Duration,
    /// Until the head of the request must be there.
    head: Pin<Box<Sleep>>,
    /// Until something must be taken, while nothing is.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Until it is closed, once it was answered.
    linger: Option<Pin<Box<Sleep>>>,
    /// Its place among the connections.
    _place: OwnedSemaphorePermit,
}

impl GuardedStream {
    fn new(tcp: TcpStream, place: OwnedSemaphorePermit, transfer: Duration) -> Self {
        // Words of a stream are small, and are wanted at once.
        let _ = tcp.set_nodelay(true);
        let head = Box::pin(sleep(transfer));
        let (heard, stalled, linger) = (Heard::default(), None, None);
        Self { tcp, heard, transfer, head, stalled, linger, _place: place }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A head in drops is as slow as none at all; bodies have a time of their own (`request.rs`).
        if !self.heard.is_set() && self.head.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let transfer = self.transfer;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(transfer)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(context))?;
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut scratch = [0; 4096];
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.tcp).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => (),
                // The client has closed, or is gone.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
