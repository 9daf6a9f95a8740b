//! Floor 4: burn-train's learner, fed by an experiment.

pub mod checkpoint;
pub mod computation;
pub mod console;
pub mod detection;
pub mod dry_run;
pub mod features;
pub mod fingerprint;
pub mod frozen;
pub mod frozen_record;
mod gradient_step;
#[cfg(test)]
mod gradient_tests;
pub mod gradients;
pub mod learning_rates;
mod loss_scale;
pub mod mask_losses;
pub mod memory;
pub mod metrics;
pub mod optimizer;
pub mod parameters;
pub mod paths;
pub mod peft;
pub mod record;
pub mod renderer;
pub mod resume;
pub mod run;
pub mod run_directory;
mod shares;
pub mod sources;
pub mod step;
pub mod strategy;
mod terminal;
#[cfg(test)]
mod testing;
pub mod training_model;
pub mod updates;
pub mod weights;
