//! What a client is told when it cannot be answered: `{"error": {"code", "message", "help"}}`.

use std::fmt::Display;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::Error;

/// An answer that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    /// For programs; one of those in `docs/src/server.md`.
    pub(super) code: &'static str,
    /// What is wrong.
    pub(super) message: String,
    /// What to do about it.
    pub(super) help: String,
    /// After how many seconds it may be worth to ask again.
    retry_after: Option<u32>,
}

/// As it is written.
#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
    help: &'a str,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Display,
        help: impl Display,
    ) -> Self {
        let (message, help) = (message.to_string(), help.to_string());
        Self { status, code, message, help, retry_after: None }
    }

    /// A request that is not one: `400`.
    pub(super) fn bad_request(message: impl Display, help: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message, help)
    }

    /// A request that can be read and not be answered: `422`.
    pub(super) fn invalid(message: impl Display, help: impl Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", message, help)
    }

    /// Too many are asking: `503`.
    pub(super) fn busy(message: impl Display) -> Self {
        let help = "Ask again in a moment.";
        let busy = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message, help);
        Self { retry_after: Some(1), ..busy }
    }

    /// There was no time left: `504`.
    pub(super) fn timeout() -> Self {
        let message = "the answer took longer than the server allows (--answer-timeout)";
        let help = "Ask again when the server has less to do, or ask for less.";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message, help)
    }

    /// Our own mistake: `500`.
    pub(super) fn internal() -> Self {
        let message = "the answer failed; the server's own output says how";
        let help = "Report this with the image and the request.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message, help)
    }

    /// As JSON.
    pub(super) fn json(&self) -> String {
        let Self { code, message, help, .. } = self;
        let envelope = Envelope { error: Body { code, message, help } };
        // Strings can always be written.
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}

impl From<Error> for ApiError {
    /// What the task code says. Nothing of a request reaches it as a file, so it has no other ways to
    /// fail that are a client's fault.
    fn from(error: Error) -> Self {
        match error {
            Error::Usage { problem, help } => Self::invalid(problem, help),
            other => {
                tracing::error!("{other}");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (self.status, headers, self.json()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
