//! Floor 3: the TOML schema of an experiment.

pub mod schema;

pub use schema::Experiment;
