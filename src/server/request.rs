//! A request's body → an image and a question, whichever of the two forms it has:
//! `multipart/form-data` with the fields `image` and `request`, or JSON with the keys of these names.

use std::ops::RangeInclusive;

use axum::RequestExt;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_stream::StreamExt;

use super::Limits;
use super::error::ApiError;
use crate::data::sample::Task;
use crate::geometry::{BoundingBox, Point};
use crate::tasks::Place;
use crate::tasks::detect::DetectionLimits;

/// Points that a place may have: each becomes a token of the prompt.
const MAX_POINTS: usize = 64;
/// Points of a trace, before it is told by fewer.
const MAX_TRACE_POINTS: usize = 4096;
/// Longest expression, in bytes; the run cuts it to far fewer tokens.
const MAX_TEXT_BYTES: usize = 2000;
/// What a score can be.
const SCORES: RangeInclusive<f32> = 0.0..=1.0;

const FORMS: &str = "Send multipart/form-data with a file `image` and a field `request` of JSON, or \
                     application/json with `image` in Base64 and an object `request`.";

/// What is asked of an image.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    Narrate,
    Describe(Place),
    Locate { text: String, mask: bool },
    Detect(DetectionLimits),
}

impl Question {
    /// Reads the question that `task` is asked by.
    fn from_json(task: Task, request: Value) -> Result<Self, ApiError> {
        match task {
            Task::Narrate => typed::<NarrateRequest>(request).map(|_| Self::Narrate),
            Task::Describe => typed::<DescribeRequest>(request)?.place().map(Self::Describe),
            Task::Locate => typed::<LocateRequest>(request)?.question(),
            Task::Detect => typed::<DetectRequest>(request)?.limits().map(Self::Detect),
        }
    }

    pub(super) fn task(&self) -> Task {
        match self {
            Self::Narrate => Task::Narrate,
            Self::Describe(_) => Task::Describe,
            Self::Locate { .. } => Task::Locate,
            Self::Detect(_) => Task::Detect,
        }
    }
}

/// An image in its file format, and what is asked of it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) image: Bytes,
    pub(super) question: Question,
}

/// Reads a whole request, within `limits`.
pub(super) async fn read(task: Task, request: Request, limits: &Limits) -> Result<Asked, ApiError> {
    let form = Form::of(request.headers())?;
    let reading = with_body(request, limits.upload_bytes);
    let request = tokio::time::timeout(limits.transfer, reading).await.map_err(|_| {
        let message = "the body did not arrive in time (--transfer-timeout)";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow_upload", message, "Send it faster.")
    })??;
    let (image, request) = match form {
        Form::Multipart => multipart(request).await?,
        Form::Json => json(request).await?,
    };
    let question = Question::from_json(task, request)?;
    Ok(Asked { image, question })
}

/// The form that a request says it has.
enum Form {
    Multipart,
    Json,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = said.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match essence.as_str() {
            "multipart/form-data" => Ok(Self::Multipart),
            "application/json" => Ok(Self::Json),
            _ => Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_type",
                format!("a request cannot have the type {essence:?}"),
                FORMS,
            )),
        }
    }
}

/// The same request, with its whole body in memory.
async fn with_body(request: Request, most: usize) -> Result<Request, ApiError> {
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is longer than {most} bytes (--max-upload-mib)"),
            "Send a smaller image: the model looks at it on a small canvas anyway.",
        )
    };
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let (parts, body) = request.into_parts();
    let (mut stream, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::bad_request(format!("the body breaks off: {error}"), "Send all of it.")
        })?;
        if bytes.len() + chunk.len() > most {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

async fn multipart(request: Request) -> Result<(Bytes, Value), ApiError> {
    let broken = |problem: String| ApiError::bad_request(problem, FORMS);
    // Its length was looked at already.
    let mut fields =
        Multipart::from_request(unlimited(request), &()).await.map_err(|rejection| {
            broken(format!("the form cannot be read: {}", rejection.body_text()))
        })?;
    let (mut image, mut question) = (None, None);
    let cannot_read = |error: axum::extract::multipart::MultipartError| {
        broken(format!("the form breaks off or is malformed: {}", error.body_text()))
    };
    while let Some(field) = fields.next_field().await.map_err(cannot_read)? {
        let name = field.name().unwrap_or("").to_string();
        let place = match name.as_str() {
            "image" => &mut image,
            "request" => &mut question,
            other => return Err(broken(format!("the form has an unknown field {other:?}"))),
        };
        if place.replace(field.bytes().await.map_err(cannot_read)?).is_some() {
            return Err(broken(format!("the form has the field {name:?} twice")));
        }
    }
    let image = image.ok_or_else(|| broken("the form has no field \"image\"".into()))?;
    let question = match question {
        Some(bytes) => parse(&bytes)?,
        None => Value::Object(serde_json::Map::new()),
    };
    Ok((image, question))
}

/// The request without axum's own limit on bodies.
fn unlimited(mut request: Request) -> Request {
    let limit = axum::extract::DefaultBodyLimit::disable();
    limit.apply(&mut request);
    request
}

/// A request as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonForm {
    image: String,
    #[serde(default)]
    request: Option<Value>,
}

async fn json(request: Request) -> Result<(Bytes, Value), ApiError> {
    let bytes: Bytes = unlimited(request).extract().await.map_err(
        |error: axum::extract::rejection::BytesRejection| {
            ApiError::bad_request(error.body_text(), FORMS)
        },
    )?;
    let form: JsonForm = typed(parse(&bytes)?)?;
    // As pages have images: `data:image/png;base64,…`.
    let base64 = match form.image.strip_prefix("data:") {
        Some(uri) => uri.split_once(";base64,").map_or(uri, |(_, data)| data),
        None => &form.image,
    };
    let image = STANDARD.decode(base64.trim()).map_err(|error| {
        ApiError::bad_request(
            format!("`image` is not Base64: {error}"),
            "Encode the bytes of the file with the standard alphabet.",
        )
    })?;
    Ok((image.into(), form.request.unwrap_or_else(|| Value::Object(serde_json::Map::new()))))
}

fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        ApiError::bad_request(format!("the request is not JSON: {error}"), "Send one JSON object.")
    })
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.inner());
        let message = match path.as_str() {
            "." => problem.to_string(),
            _ => format!("`{path}`: {problem}"),
        };
        ApiError::invalid(message, "See the page \"The web server\" of the book.")
    })
}

/// Nothing to say but the image.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NarrateRequest {}

/// A place, normalised to the image: one of `box`, `points` (and `not`), `trace`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribeRequest {
    #[serde(rename = "box")]
    region: Option<BoundingBox>,
    points: Option<Vec<Point>>,
    not: Option<Vec<Point>>,
    trace: Option<Vec<Point>>,
}

impl DescribeRequest {
    fn place(self) -> Result<Place, ApiError> {
        let help = "Give one of `box`, `points` (with `not`, if you like) and `trace`.";
        let most = |kind: &str, count: usize, most: usize| match count > most {
            true => {
                let message = format!("`{kind}` has {count} points");
                Err(ApiError::invalid(message, format!("Give at most {most}.")))
            }
            false => Ok(()),
        };
        match self {
            Self { region: Some(region), points: None, not: None, trace: None } => {
                Ok(Place::Box(region))
            }
            Self { region: None, points: Some(positive), not, trace: None } => {
                let negative = not.unwrap_or_default();
                most("points", positive.len() + negative.len(), MAX_POINTS)?;
                Ok(Place::Points { positive, negative })
            }
            Self { region: None, points: None, not: None, trace: Some(line) } => {
                most("trace", line.len(), MAX_TRACE_POINTS)?;
                Ok(Place::Trace(line))
            }
            _ => Err(ApiError::invalid("the place is missing or said in several ways", help)),
        }
    }
}

/// What to look for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LocateRequest {
    text: String,
    #[serde(default)]
    mask: bool,
}

impl LocateRequest {
    fn question(self) -> Result<Question, ApiError> {
        if self.text.len() > MAX_TEXT_BYTES {
            let message = format!("`text` has {} bytes", self.text.len());
            return Err(ApiError::invalid(message, format!("Give at most {MAX_TEXT_BYTES}.")));
        }
        Ok(Question::Locate { text: self.text, mask: self.mask })
    }
}

/// What to leave out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DetectRequest {
    limit: Option<usize>,
    min_score: Option<f32>,
}

impl DetectRequest {
    fn limits(self) -> Result<DetectionLimits, ApiError> {
        let all = DetectionLimits::default();
        let min_score = self.min_score.unwrap_or(all.min_score);
        if !SCORES.contains(&min_score) {
            return Err(ApiError::invalid("`min_score` is out of range", "Give one from 0 to 1."));
        }
        Ok(DetectionLimits { count: self.limit.unwrap_or(all.count), min_score })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(request: Value) -> Result<Place, ApiError> {
        match Question::from_json(Task::Describe, request)? {
            Question::Describe(place) => Ok(place),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_place_is_a_box_points_or_a_trace_as_objects_or_lists() {
        let region = Place::Box(BoundingBox::new(0.1, 0.2, 0.5, 0.75));
        let object = json!({"x0": 0.1, "y0": 0.2, "x1": 0.5, "y1": 0.75});
        assert_eq!(described(json!({ "box": object })).unwrap(), region);
        assert_eq!(described(json!({"box": [0.1, 0.2, 0.5, 0.75]})).unwrap(), region);
        let point = |x, y| Point { x, y };
        let points = json!({"points": [[0.5, 0.25]], "not": [{"x": 0.0, "y": 1.0}]});
        let (positive, negative) = (vec![point(0.5, 0.25)], vec![point(0.0, 1.0)]);
        assert_eq!(described(points).unwrap(), Place::Points { positive, negative });
        let trace = json!({"trace": [[0.5, 0.25], [0.75, 1.0]]});
        let line = vec![point(0.5, 0.25), point(0.75, 1.0)];
        assert_eq!(described(trace).unwrap(), Place::Trace(line));
    }

    #[test]
    fn a_place_that_is_none_or_several_is_refused() {
        for wrong in [
            json!({}),
            json!({"not": [[0.5, 0.5]]}),
            json!({"box": [0, 0, 1, 1], "trace": [[0, 0]]}),
            json!({"points": vec![[0.5, 0.5]; MAX_POINTS + 1]}),
            json!({"trace": vec![[0.5, 0.5]; MAX_TRACE_POINTS + 1]}),
            json!({"box": [0, 0, 1]}),
            json!({"box": [0, 0, 1, "x"]}),
            json!({"boxes": []}),
            json!([]),
        ] {
            let error = described(wrong.clone()).unwrap_err();
            assert_eq!((error.status.as_u16(), error.code), (422, "invalid_request"), "{wrong}");
        }
        let error = described(json!({"points": [[0, "x"]]})).unwrap_err();
        assert!(error.message.starts_with("`points[0][1]`"), "{}", error.message);
    }

    #[test]
    fn other_tasks_take_what_they_need_and_nothing_else() {
        let ask = Question::from_json;
        assert_eq!(ask(Task::Narrate, json!({})), Ok(Question::Narrate));
        assert!(ask(Task::Narrate, json!({"box": [0, 0, 1, 1]})).is_err());
        let text = || "the red star".to_string();
        let located = Question::Locate { text: text(), mask: true };
        assert_eq!(ask(Task::Locate, json!({"text": text(), "mask": true})), Ok(located));
        assert!(ask(Task::Locate, json!({})).is_err());
        assert!(ask(Task::Locate, json!({"text": "a".repeat(MAX_TEXT_BYTES + 1)})).is_err());
        let limits = DetectionLimits { count: 3, min_score: 0.5 };
        let detected = ask(Task::Detect, json!({"limit": 3, "min_score": 0.5}));
        assert_eq!(detected, Ok(Question::Detect(limits)));
        assert!(ask(Task::Detect, json!({"min_score": 1.5})).is_err());
        assert!(ask(Task::Detect, json!({"limit": -1})).is_err());
    }
}
