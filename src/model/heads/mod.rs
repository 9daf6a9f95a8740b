//! Locations out.

pub mod points;
