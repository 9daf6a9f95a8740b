//! Floor 4: burn-train's learner, fed by an experiment.

pub mod record;
