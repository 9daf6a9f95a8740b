//! Threads for the parts of a batch that are computed at the same time.
//!
//! Burn's CPU backend and our own kernels share every large operation out to the pool of rayon. Where parts
//! keep all cores busy anyway, that is work for nothing: a thread hands its operation to another, waits to be woken,
//! and the other core does the same the other way round. So each part has a pool of its own, whose
//! threads are its share of the cores; with as many parts as cores, nothing is handed over at all. The pools
//! last as long as the model, and with them the memory that their threads have kept.

use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The pools, which are made when they are first needed.
#[derive(Debug, Clone, Default)]
pub(super) struct PartThreads(Arc<OnceLock<Vec<Option<ThreadPool>>>>);

impl PartThreads {
    /// The result of `work` for each of `parts`, in their order. A panic in one goes on in the caller.
    pub(super) fn at_once<Part: Send, Done: Send>(
        &self,
        parts: Vec<Part>,
        work: impl Fn(Part) -> Done + Sync,
    ) -> Vec<Done> {
        let pools = self.0.get_or_init(|| pools(parts.len()));
        let work = &work;
        thread::scope(|scope| {
            let start = |(index, part): (usize, Part)| {
                let pool = pools.get(index).and_then(Option::as_ref);
                scope.spawn(move || match pool {
                    Some(pool) => pool.install(|| work(part)),
                    // More parts than before, or no more threads to be had.
                    None => work(part),
                })
            };
            let threads: Vec<_> = parts.into_iter().enumerate().map(start).collect();
            let ends = threads.into_iter().map(thread::ScopedJoinHandle::join);
            ends.map(|end| end.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }
}

/// A pool for each of `parts`; `None` where the system has no thread for one.
fn pools(parts: usize) -> Vec<Option<ThreadPool>> {
    let share = (rayon::current_num_threads() / parts.max(1)).max(1);
    let pool = |_| ThreadPoolBuilder::new().num_threads(share).build().ok();
    (0..parts).map(pool).collect()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn every_part_has_its_result_and_threads_of_its_own_that_last() {
        let threads = PartThreads::default();
        let parts = rayon::current_num_threads() + 1;
        let ask = |count: usize| {
            threads.at_once((0..count).collect(), |part| (part, thread::current().id()))
        };
        let first = ask(parts);
        assert_eq!(
            first.iter().map(|(part, _)| *part).collect::<Vec<_>>(),
            Vec::from_iter(0..parts)
        );
        // More parts than cores: a thread each.
        let unique: std::collections::HashSet<_> = first.iter().map(|(_, id)| id).collect();
        assert_eq!(unique.len(), parts);
        assert_eq!(ask(parts), first);
        // Fewer use the first ones; of more, the rest have none that lasts.
        assert_eq!(ask(1), first[..1]);
        assert_eq!(ask(parts + 1)[..parts], first);
    }

    #[test]
    fn a_panic_in_a_part_goes_on_in_the_caller() {
        let threads = PartThreads::default();
        let work = |part: usize| assert_ne!(part, 1, "the second part");
        let end = catch_unwind(AssertUnwindSafe(|| threads.at_once(vec![0, 1], work)));
        assert!(end.is_err());
        // They go on working.
        assert_eq!(threads.at_once(vec![2, 3], |part| part * 2), [4, 6]);
    }
}
