//! What stands before every request and behind every answer: who the server is called, from which page
//! it is asked, and what a browser may do with what it says.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::set_header::SetResponseHeaderLayer;

use super::error::ApiError;
use super::listener::Heard;

/// The page loads its own files and pictures from memory, asks this server, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    // One request to a connection: see `listener.rs`.
    (header::CONNECTION, "close"),
];

/// The names that a request may call the server by.
#[derive(Debug)]
pub(super) enum Hosts {
    /// Whatever: it can be reached from elsewhere, by names that it does not know.
    Any,
    /// Those of this machine, and these.
    Local(Vec<String>),
}

impl Hosts {
    /// Where the server listens at `address`. On this machine alone, a name that is not its own means
    /// that some page has had its name pointed here, to read what only this machine may (DNS rebinding).
    pub(super) fn new(address: IpAddr, allowed: &[String]) -> Self {
        match address.is_loopback() {
            true => Self::Local(allowed.iter().map(|name| name.to_ascii_lowercase()).collect()),
            false => Self::Any,
        }
    }

    fn allow(&self, host: &str) -> bool {
        let Self::Local(allowed) = self else { return true };
        let name = without_port(host).to_ascii_lowercase();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let is_here = bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        is_here || name == "localhost" || allowed.contains(&name)
    }
}

/// `host` of `host:port`; the colons of an address in brackets are none before a port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

/// `app` behind the guard.
pub(super) fn guarded(app: Router, hosts: Hosts) -> Router {
    let app = app.layer(middleware::from_fn_with_state(Arc::new(hosts), check));
    HEADERS.into_iter().fold(app, |app, (name, value)| {
        let value = HeaderValue::from_static(value);
        app.layer(SetResponseHeaderLayer::overriding(name, value))
    })
}

async fn check(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(heard)) = request.extensions().get::<ConnectInfo<Heard>>() {
        heard.set();
    }
    match checked(&hosts, request.headers(), request.uri()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn checked(hosts: &Hosts, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let said = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = said.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return Err(ApiError::bad_request("there is no header Host", "Send it, as HTTP/1.1 asks."));
    };
    let forbidden =
        |code, message, help: &str| ApiError::new(StatusCode::FORBIDDEN, code, message, help);
    if !hosts.allow(host) {
        let help = "Call the server localhost or 127.0.0.1, or start it with --allow-host NAME.";
        return Err(forbidden("wrong_host", format!("the server is not called {host:?}"), help));
    }
    // Browsers say of which page a request is. Other programs do not.
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("");
    match origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)) {
        true => Ok(()),
        false => {
            let message = format!("a page of {origin:?} may not ask here");
            Err(forbidden("wrong_origin", message, "Ask from the server's own page."))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn code(hosts: &Hosts, host: Option<&str>, origin: Option<&str>) -> &'static str {
        let mut headers = HeaderMap::new();
        host.map(|host| headers.insert(header::HOST, host.parse().unwrap()));
        origin.map(|origin| headers.insert(header::ORIGIN, origin.parse().unwrap()));
        checked(hosts, &headers, &Uri::from_static("/")).map_or_else(|error| error.code, |()| "ok")
    }

    #[test]
    fn on_this_machine_alone_only_its_own_names_will_do() {
        let hosts = Hosts::new("127.0.0.1".parse().unwrap(), &["Lab.example".to_string()]);
        for host in [
            "localhost",
            "LOCALHOST:7860",
            "127.0.0.1:7860",
            "127.9.0.1",
            "[::1]:80",
            "lab.example",
        ] {
            assert_eq!(code(&hosts, Some(host), None), "ok", "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example:7860", "10.0.0.1", "[::2]", "127.0.0.1.nip.io"]
        {
            assert_eq!(code(&hosts, Some(host), None), "wrong_host", "{host}");
        }
        assert_eq!(code(&hosts, None, None), "bad_request");
    }

    #[test]
    fn elsewhere_any_name_will_do_but_no_other_page() {
        let hosts = Hosts::new("0.0.0.0".parse().unwrap(), &[]);
        let host = Some("models.example:7860");
        assert_eq!(code(&hosts, host, None), "ok");
        assert_eq!(code(&hosts, host, Some("http://models.example:7860")), "ok");
        for origin in ["http://models.example", "http://evil.example", "null"] {
            assert_eq!(code(&hosts, host, Some(origin)), "wrong_origin", "{origin}");
        }
    }
}
