//! Many runs of one experiment beside each other: which of its parts matter, by how much, and whether
//! more than another seed would.
//!
//! A [`Sweep`] is a TOML file; [`plan::plan`] turns it into [`plan::Trial`]s, a variant with a seed each;
//! [`launch::launch`] trains those that are not done, as processes of their own; [`summary::Summary`]
//! puts their numbers beside each other.

pub mod launch;
pub mod plan;
pub mod summary;
pub mod sweep;

pub use sweep::Sweep;
