//! Locations out.

pub mod boxes;
pub mod masks;
pub mod points;
