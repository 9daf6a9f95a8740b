//! What can be asked for, and what is said of the model.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::http::{Method, StatusCode, Uri};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::error::ApiError;
use super::examples::Examples;
use super::request::{self, Asked};
use super::worker::{Answer, Queue, Reply};
use super::{About, Limits, ServerConfig, upload};
use crate::data::sample::Task;
use crate::model::language::decoding::Decoding;
use crate::tasks::predictor::Predictor;

/// What every request may look at.
#[derive(Debug)]
pub(super) struct State {
    pub(super) model: Model,
    pub(super) examples: Examples,
    pub(super) limits: Limits,
    pub(super) worker: Queue,
}

/// What the model can do, and what the server takes on.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    #[serde(flatten)]
    about: About,
    version: &'static str,
    tasks: Vec<Task>,
    /// Whether expressions can be located with masks.
    masks: bool,
    /// Side of the canvas that images are put on, in pixels.
    canvas_px: usize,
    limits: ModelLimits,
}

#[derive(Debug, Serialize)]
struct ModelLimits {
    upload_bytes: usize,
    pixels: u64,
    queue: usize,
    answer_seconds: f64,
}

impl Model {
    pub(super) fn new(predictor: &Predictor, about: About, config: &ServerConfig) -> Self {
        let Limits { upload_bytes, pixels, queue, answer, .. } = config.limits;
        let answer_seconds = answer.as_secs_f64();
        Self {
            about,
            version: env!("CARGO_PKG_VERSION"),
            tasks: predictor.tasks().collect(),
            masks: predictor.makes_masks(),
            canvas_px: predictor.canvas_px(),
            limits: ModelLimits { upload_bytes, pixels, queue, answer_seconds },
        }
    }

    /// How texts are found where they are not streamed.
    pub(super) fn decoding(&self) -> Decoding {
        self.about.decoding.clone()
    }
}

impl State {
    /// Reads a question and puts it in the queue.
    pub(super) async fn ask(
        &self,
        task: Task,
        request: Request,
        reply: Reply,
    ) -> Result<(), ApiError> {
        if !self.model.tasks.contains(&task) {
            let known: Vec<_> = self.model.tasks.iter().map(|task| task.name()).collect();
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "not_taught",
                format!("the model was not taught to {}", task.name()),
                format!("It was taught to {}.", known.join(" and ")),
            ));
        }
        let asked: Asked = request::read(task, request, &self.limits).await?;
        upload::inspect(&asked.image, self.limits.pixels)?;
        self.worker.ask(asked, reply)
    }

    async fn answer(&self, task: Task, request: Request) -> Result<Json<Answer>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.ask(task, request, Reply::Whole(reply)).await?;
        // Where time is up the receiver is dropped, and the worker passes the question over.
        match tokio::time::timeout(self.limits.answer, answer).await {
            Ok(Ok(answer)) => answer.map(Json),
            Ok(Err(_)) => Err(ApiError::internal()),
            Err(_) => Err(ApiError::timeout()),
        }
    }
}

pub(super) async fn narrate(
    Shared(state): Shared<Arc<State>>,
    request: Request,
) -> Result<Json<Answer>, ApiError> {
    state.answer(Task::Narrate, request).await
}

pub(super) async fn describe(
    Shared(state): Shared<Arc<State>>,
    request: Request,
) -> Result<Json<Answer>, ApiError> {
    state.answer(Task::Describe, request).await
}

pub(super) async fn locate(
    Shared(state): Shared<Arc<State>>,
    request: Request,
) -> Result<Json<Answer>, ApiError> {
    state.answer(Task::Locate, request).await
}

pub(super) async fn detect(
    Shared(state): Shared<Arc<State>>,
    request: Request,
) -> Result<Json<Answer>, ApiError> {
    state.answer(Task::Detect, request).await
}

pub(super) async fn model(Shared(state): Shared<Arc<State>>) -> Result<Json<Value>, ApiError> {
    let mut model = serde_json::to_value(&state.model).map_err(|error| {
        tracing::error!("{error}");
        ApiError::internal()
    })?;
    if let Some(model) = model.as_object_mut() {
        model.insert("examples".into(), json!(state.examples.places()));
    }
    Ok(Json(model))
}

pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

pub(super) async fn no_such_place(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("there is nothing at {}", uri.path()),
        "The page is at /; what else there is says the page \"The web server\" of the book.",
    )
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        format!("{} does not take {method}", uri.path()),
        "Questions about images are POST, all else is GET; the header Allow says which.",
    )
}
