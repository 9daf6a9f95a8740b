//! Floor 4: burn-train's learner, fed by an experiment.

pub mod checkpoint;
pub mod checkpoint_state;
pub mod console;
pub mod dashboard_log;
pub mod detection;
pub mod dry_run;
pub mod durable;
pub mod export;
pub mod failure;
pub mod features;
pub mod fingerprint;
pub mod frozen;
pub mod frozen_record;
#[cfg(test)]
mod gradient_tests;
pub mod gradients;
pub mod learning_rates;
pub mod mask_losses;
pub mod memory;
pub mod metrics;
pub mod optimizer;
pub mod parameters;
pub mod paths;
pub mod peft;
pub mod profile;
pub mod record;
pub mod renderer;
pub mod resume;
pub mod run;
pub mod run_directory;
pub mod run_lock;
pub mod scalars;
pub mod sources;
pub mod step;
pub mod strategy;
pub mod table_log;
pub mod tensorboard;
mod terminal;
#[cfg(test)]
mod testing;
pub mod throughput;
pub mod training_model;
pub mod weights;
