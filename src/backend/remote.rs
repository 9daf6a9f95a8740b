//! Devices of other machines, through Burn's remote backend: operations go there, and only what is read
//! comes back.
//!
//! A device is `ws://host:port`, or `ws://host:port#1` for the second that is lent there. Traffic is not
//! encrypted: it is for machines of one network that is trusted.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use burn::remote::{ConnectError, RemoteHost};
use burn::server::{RemoteServer, ServeError, TokenAuthorizer, WebSocketTransport};
use burn::tensor::Device;

use super::{DEVICE_TOKEN, error};
use crate::error::{Error, Result};

/// What was connected, by name: Burn knows a device by a number.
static CONNECTED: Mutex<Vec<(String, Device)>> = Mutex::new(Vec::new());

/// Connects the device at the address `name`.
///
/// # Errors
/// [`Error::Device`] where nobody answers there, the token is another, or there is no such device.
pub(super) fn connect(name: &str) -> Result<Device> {
    let (host, index) = parse(name)?;
    let mut remote = RemoteHost::websocket(host);
    if let Some(token) = token() {
        remote = remote.with_credential(token);
    }
    let device = Device::remote_options(&remote).device_index(index).init();
    let device = device.map_err(|problem| not_connected(name, &problem))?;
    let mut connected = CONNECTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !connected.iter().any(|(_, known)| *known == device) {
        connected.push((name.to_string(), device.clone()));
    }
    Ok(device)
}

/// The name under which `device` was connected.
pub(super) fn name(device: &Device) -> Option<String> {
    let connected = CONNECTED.lock().unwrap_or_else(PoisonError::into_inner);
    connected.iter().find(|(_, known)| known == device).map(|(name, _)| name.clone())
}

/// Splits `ws://host:port[#index]`.
fn parse(name: &str) -> Result<(&str, usize)> {
    let Some((host, digits)) = name.split_once('#') else { return Ok((name, 0)) };
    let index = digits.parse().map_err(|_| {
        error(
            format!("device `{name}`: `{digits}` is not the number of a device"),
            format!(
                "Write `{host}` for the first device that is lent there, `{host}#1` for the second."
            ),
        )
    })?;
    Ok((host, index))
}

fn token() -> Option<String> {
    std::env::var(DEVICE_TOKEN).ok().filter(|token| !token.is_empty())
}

fn not_connected(name: &str, problem: &ConnectError) -> Error {
    let help = match problem {
        ConnectError::Unauthorized => {
            format!("Set {DEVICE_TOKEN} here to what it is where the device is lent.")
        }
        ConnectError::NoSuchDevice { .. } => {
            "Devices of one lender are counted from 0: `ws://host:port#0`.".into()
        }
        ConnectError::IncompatibleProtocol { .. } => {
            "Use the same version of pixelllm on both machines.".into()
        }
        _ => "Start `pixelllm worker` there, and check host and port.".into(),
    };
    error(format!("device `{name}`: {problem}"), help)
}

/// Lends devices of this machine to others.
pub struct Lender {
    listener: TcpListener,
    server: RemoteServer,
}

impl Lender {
    /// Listens at `host` and `port` (0 takes a free one) for those who know the token of
    /// [`DEVICE_TOKEN`]. Without one, everybody who reaches the address is let in, and only addresses of
    /// this machine itself are allowed.
    ///
    /// # Errors
    /// [`Error::Device`] where the address cannot be had, or is open to others without a token.
    pub fn bind(devices: Vec<Device>, host: &str, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((host, port)).map_err(|problem| {
            error(
                format!("cannot listen at {host}:{port}: {problem}"),
                "Choose another --host or --port; --port 0 takes one that is free.",
            )
        })?;
        let server = RemoteServer::new(devices);
        let server = match token() {
            Some(token) => {
                server.with_authorizer(TokenAuthorizer::new(token).map_err(|problem| {
                    error(format!("{DEVICE_TOKEN}: {problem}"), "Set it to a secret of your own.")
                })?)
            }
            None if is_loopback(&listener) => server,
            None => {
                return Err(error(
                    format!("{host} is open to other machines, and {DEVICE_TOKEN} is not set"),
                    format!("Set {DEVICE_TOKEN} to the same secret here and where training runs."),
                ));
            }
        };
        Ok(Self { listener, server })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// [`Error::Device`] where the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        let unknown = |problem| error(format!("no address: {problem}"), "Choose another --host.");
        self.listener.local_addr().map_err(unknown)
    }

    /// Lends until Ctrl-C or SIGTERM.
    ///
    /// # Errors
    /// [`Error::Device`] where Burn's server does not start or ends by itself.
    pub fn run(self) -> Result<()> {
        let transport = WebSocketTransport::from_listener(self.listener);
        self.server.serve(transport).map_err(|problem| {
            let help = match problem {
                ServeError::MixedBackends => {
                    "Lend devices of one kind, and start another worker for the others."
                }
                _ => "See what it says above.",
            };
            error(format!("cannot lend devices: {problem}"), help)
        })
    }
}

fn is_loopback(listener: &TcpListener) -> bool {
    listener.local_addr().is_ok_and(|address| address.ip().is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_further_device_of_a_lender_is_named_after_a_hash() {
        assert_eq!(parse("ws://gpu2:3000").unwrap(), ("ws://gpu2:3000", 0));
        assert_eq!(parse("ws://gpu2:3000#3").unwrap(), ("ws://gpu2:3000", 3));
        let problem = parse("ws://gpu2:3000#b").unwrap_err().to_string();
        assert!(problem.contains("`b` is not the number of a device"), "{problem}");
    }

    #[test]
    fn where_nobody_lends_is_an_error_that_says_what_to_start() {
        // A port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let problem = connect(&format!("ws://{free}")).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert!(problem.to_string().contains("cannot be reached"), "{problem}");
    }
}
