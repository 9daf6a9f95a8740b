//! The page, whose files are part of the program.

use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

/// A text with its type.
type File = ([(HeaderName, &'static str); 1], &'static str);

pub(super) async fn html() -> File {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("page/index.html"))
}

pub(super) async fn css() -> File {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("page/page.css"))
}

/// What the page does.
pub(super) async fn script() -> File {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page/page.js"))
}

/// How answers are drawn, on the page and as a file.
pub(super) async fn picture() -> File {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page/picture.js"))
}
