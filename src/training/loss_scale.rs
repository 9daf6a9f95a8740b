//! Scaling of the loss for gradients in 16 bits (Micikevicius et al., *Mixed precision training*, ICLR
//! 2018, §3.2).
//!
//! `float16` has nothing between 0 and 6·10⁻⁸, where many gradients are. So the loss is multiplied by a
//! power of two before the backward pass and gradients are divided by it. Where that makes some of them
//! infinite, the scale is halved and the same batch is computed again: no step is left out.

use std::sync::{Arc, Mutex, PoisonError};

/// What one begins with, as is usual.
const FIRST: f64 = 65_536.0;
/// No gradient gains from more.
const LARGEST: f64 = 16_777_216.0;
/// Steps without an overflow after which twice as much is tried, as is usual.
const STEPS_TO_DOUBLE: usize = 2_000;

/// What the loss is multiplied by; clones share it. A resumed run begins with the first value again.
#[derive(Debug, Clone, Default)]
pub(super) struct LossScale {
    /// `None` for a scale that is always 1.
    state: Option<Arc<Mutex<State>>>,
}

#[derive(Debug)]
struct State {
    scale: f64,
    steps: usize,
}

impl LossScale {
    /// One that follows what gradients bear.
    pub(super) fn dynamic() -> Self {
        Self { state: Some(Arc::new(Mutex::new(State { scale: FIRST, steps: 0 }))) }
    }

    /// What `attempt` makes of the first scale with which nothing overflows; it says whether something
    /// did. At a scale of 1 there is nothing left to try.
    pub(super) fn find<T>(&self, attempt: impl Fn(f64) -> (T, bool)) -> T {
        let Some(state) = &self.state else { return attempt(1.0).0 };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (result, overflows) = attempt(state.scale);
            if !overflows {
                state.count_step();
                return result;
            }
            if state.scale <= 1.0 {
                return result;
            }
            state.scale /= 2.0;
            state.steps = 0;
            tracing::info!("gradients overflow in 16 bits: the loss scale is {}", state.scale);
        }
    }
}

impl State {
    fn count_step(&mut self) {
        self.steps += 1;
        if self.steps == STEPS_TO_DOUBLE {
            self.scale = (self.scale * 2.0).min(LARGEST);
            self.steps = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_halved_until_nothing_overflows_and_stays_there() {
        let scale = LossScale::dynamic();
        let below = |limit: f64| scale.find(|scale| (scale, scale > limit));
        assert_eq!(below(1e9), 65_536.0);
        assert_eq!(below(1_000.0), 512.0);
        assert_eq!(below(1e9), 512.0);
        // Nothing helps: the attempt with 1 is what comes back.
        assert_eq!(below(0.0), 1.0);
        assert_eq!(LossScale::default().find(|scale| (scale, true)), 1.0);
    }

    #[test]
    fn the_scale_is_doubled_after_many_steps_and_clones_share_it() {
        let scale = LossScale::dynamic();
        let clone = scale.clone();
        for _ in 0..STEPS_TO_DOUBLE {
            assert_eq!(clone.find(|scale| (scale, false)), FIRST);
        }
        assert_eq!(scale.find(|scale| (scale, false)), 2.0 * FIRST);
        for _ in 0..20 * STEPS_TO_DOUBLE {
            scale.find(|scale| (scale, false));
        }
        assert_eq!(scale.find(|scale| (scale, false)), LARGEST);
    }
}
