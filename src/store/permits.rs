//! The right to have a request in flight, given first to whoever the consumer waits for.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::mutex::lock;
use crate::runtime::tell;

tokio::task_local! {
    /// The place of the unit that this task reads for, in the order of the plan.
    static TURN: u64;
}

/// Runs `work`, whose requests come after those of earlier turns and before those of later ones. What is read outside of
/// any turn comes first.
pub async fn in_turn<T>(turn: u64, work: impl Future<Output = T>) -> T {
    TURN.scope(turn, work).await
}

/// The turn of the calling task.
pub fn turn() -> u64 {
    TURN.try_with(|turn| *turn).unwrap_or(0)
}

/// A number of permits; unlike a semaphore's, they do not go to whoever asked first.
#[derive(Debug)]
pub struct Permits(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    asked: u64,
    /// By turn, then by the order in which they asked.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Permit>>,
}

/// One permit, given back when this is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Permits>);

impl Permits {
    pub fn new(count: usize) -> Arc<Permits> {
        Arc::new(Permits(Mutex::new(State { free: count, asked: 0, waiting: BTreeMap::new() })))
    }

    /// Waits for a permit, in the turn of the calling task. `None` only where the waiter was forgotten, which none is.
    pub async fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let coming = {
            let mut state = lock(&self.0);
            if state.free > 0 {
                state.free -= 1;
                return Some(Permit(self.clone()));
            }
            let (give, coming) = oneshot::channel();
            let place = (turn(), state.asked);
            state.asked += 1;
            state.waiting.insert(place, give);
            coming
        };
        coming.await.ok()
    }

    /// Who gets the next permit; nobody, and it is free again, if nobody waits.
    fn next(&self) -> Option<oneshot::Sender<Permit>> {
        let mut state = lock(&self.0);
        while let Some((_, waiter)) = state.waiting.pop_first() {
            // One that was dropped while it waited is passed over.
            if !waiter.is_closed() {
                return Some(waiter);
            }
        }
        state.free += 1;
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(waiter) = self.0.next() {
            // A waiter that is gone by now drops the permit, which then goes to the next.
            tell(waiter, Permit(self.0.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn an_earlier_turn_goes_first_and_the_dropped_are_passed_over() {
        let permits = Permits::new(1);
        let held = block_on(permits.acquire());
        let [mut late, mut gone, mut early] = [7, 2, 3].map(|turn| Box::pin(in_turn(turn, permits.acquire())));
        for waiting in [&mut late, &mut gone, &mut early] {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop((held, gone));
        assert!(late.as_mut().now_or_never().is_none());
        let first = early.as_mut().now_or_never();
        assert!(first.is_some());
        drop(first);
        assert!(late.as_mut().now_or_never().is_some());
        assert!(permits.acquire().now_or_never().is_some(), "the last permit is free again");
    }

    #[test]
    fn a_permit_on_its_way_to_nobody_comes_back() {
        let permits = Permits::new(1);
        let held = block_on(permits.acquire());
        let mut waiting = Box::pin(permits.acquire());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        drop(waiting);
        assert!(permits.acquire().now_or_never().is_some());
    }
}
