//! Texts as they are written: server-sent events `start`, `word` (as often as there are words), and
//! `done` or `error`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::response::Sse;
use axum::response::sse::Event;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};

use super::api::State;
use super::error::ApiError;
use super::worker::{Reply, Told};
use crate::data::sample::Task;

/// The events of an answer. Where the client goes away it is dropped, which ends the writing.
type Events = Sse<std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>>;

pub(super) async fn narrate(
    Shared(state): Shared<Arc<State>>,
    request: Request,
) -> Result<Events, ApiError> {
    state.stream(Task::Narrate, request).await
}

pub(super) async fn describe(
    Shared(state): Shared<Arc<State>>,
    request: Request,
) -> Result<Events, ApiError> {
    state.stream(Task::Describe, request).await
}

impl State {
    async fn stream(&self, task: Task, request: Request) -> Result<Events, ApiError> {
        let (reply, mut told) = mpsc::unbounded_channel();
        self.ask(task, request, Reply::Words(reply)).await?;
        // What goes wrong before the first word has a status of its own.
        let first = tokio::time::timeout(self.limits.answer, told.recv()).await;
        let first = match first.map_err(|_| ApiError::timeout())? {
            Some(Told::Failed(error)) => return Err(error),
            Some(first) => first,
            None => return Err(ApiError::internal()),
        };
        let all = tokio_stream::once(first).chain(UnboundedReceiverStream::new(told));
        Ok(Sse::new(Box::pin(all.map(|told| Ok(event(told))))))
    }
}

fn event(told: Told) -> Event {
    let (name, data) = match told {
        Told::Start { task, image } => ("start", written(&json!({"task": task, "image": image}))),
        Told::Word(word) => ("word", written(&word)),
        Told::Done(answer) => ("done", written(&answer)),
        Told::Failed(error) => ("error", Ok(error.json())),
    };
    match data {
        Ok(data) => Event::default().event(name).data(data),
        Err(error) => Event::default().event("error").data(error.json()),
    }
}

fn written(value: &impl Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|error| {
        tracing::error!("{error}");
        ApiError::internal()
    })
}
