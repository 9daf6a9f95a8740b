//! Images that the page offers to begin with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Path as UrlPath, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::api::State;
use super::error::ApiError;
use super::upload;
use crate::error::{Error, Result};

/// Most images that are offered.
const MOST: usize = 12;

/// Those that come with the program: the shapes world, which is what the small models know.
const INCLUDED: [&[u8]; 4] = [
    include_bytes!("../../data/samples/shapes/images/test/000200000001.png"),
    include_bytes!("../../data/samples/shapes/images/held_out/000300000001.png"),
    include_bytes!("../../data/samples/shapes/images/train/000000000002.png"),
    include_bytes!("../../data/samples/shapes/images/train/000000000004.png"),
];

/// Images to begin with.
#[derive(Debug)]
pub(super) enum Examples {
    Included,
    Files(Vec<PathBuf>),
}

impl Examples {
    /// The first PNG and JPEG files of `folder` by name, or those that are included.
    pub(super) fn open(folder: Option<&Path>) -> Result<Self> {
        let Some(folder) = folder else { return Ok(Self::Included) };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
            let path = entry.map_err(Error::io("read", folder))?.path();
            let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
            if ending.is_some_and(|ending| ["png", "jpg", "jpeg"].iter().any(|one| ending == *one))
            {
                files.push(path);
            }
        }
        files.sort();
        files.truncate(MOST);
        Ok(Self::Files(files))
    }

    /// Where each is, on the server.
    pub(super) fn places(&self) -> Vec<String> {
        let count = match self {
            Self::Included => INCLUDED.len(),
            Self::Files(files) => files.len(),
        };
        (0..count).map(|number| format!("/examples/{number}")).collect()
    }

    fn read(&self, number: usize) -> Option<Vec<u8>> {
        match self {
            Self::Included => INCLUDED.get(number).map(|bytes| bytes.to_vec()),
            // Gone since the server started.
            Self::Files(files) => fs::read(files.get(number)?).ok(),
        }
    }
}

pub(super) async fn example(
    Shared(state): Shared<Arc<State>>,
    UrlPath(number): UrlPath<String>,
) -> Result<Response, ApiError> {
    let bytes = number.parse().ok().and_then(|number| state.examples.read(number));
    let found = bytes.filter(|bytes| upload::inspect(bytes, state.limits.pixels).is_ok());
    let bytes = found.ok_or_else(|| {
        let help = "GET /api/model lists those that there are.";
        ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such example", help)
    })?;
    let kind = if bytes.starts_with(&[0xFF, 0xD8]) { "image/jpeg" } else { "image/png" };
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}
