//! Locations out.

pub mod masks;
pub mod points;
