//! Where training starts, stops and saves.

/// Where the loop starts, stops and saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Steps done before.
    pub first_step: usize,
    /// Steps in all.
    pub max_steps: usize,
    /// Steps between two checkpoints.
    pub checkpoint_every_steps: usize,
}

impl Span {
    /// The step of the checkpoint after `step`.
    pub(super) fn next_checkpoint(&self, step: usize) -> usize {
        let every = self.checkpoint_every_steps;
        ((step / every + 1) * every).min(self.max_steps)
    }

    /// Checkpoints that are still to come, after the first `step` steps.
    pub fn num_checkpoints(&self) -> usize {
        let every = self.checkpoint_every_steps;
        self.max_steps.div_ceil(every) - self.first_step / every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_fall_on_multiples_and_on_the_last_step() {
        let span = Span { first_step: 0, max_steps: 25, checkpoint_every_steps: 10 };
        assert_eq!([0, 9, 10, 20].map(|step| span.next_checkpoint(step)), [10, 10, 20, 25]);
        assert_eq!(span.num_checkpoints(), 3);
        // Stopped at step 13: one to finish the span, one at the end.
        assert_eq!(Span { first_step: 13, ..span }.num_checkpoints(), 2);
    }
}
