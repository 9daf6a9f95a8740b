//! Locations out.

pub mod boxes;
pub mod points;
