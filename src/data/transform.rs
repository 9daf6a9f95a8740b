//! Placeholder.
use crate::error::{Error, Result};
use std::path::Path;
/// Canvas.
pub struct Canvas {
    /// RGB.
    pub pixels: Vec<u8>,
    /// w
    pub width: u32,
    /// h
    pub height: u32,
}
/// Placeholder.
pub fn load_canvas(path: &Path, _canvas_px: usize) -> Result<Canvas> {
    Err(Error::format(path, "no reader yet", ""))
}
