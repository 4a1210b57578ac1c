//! Whether the query at work is still wanted.
//!
//! The thread that DuckDB has called us on carries a sign of it, and looks at the sign wherever it waits. Threads of our own
//! carry none: they end when that thread gives up what they work for.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::runtime;

/// Time between two looks.
pub const PACE: Duration = Duration::from_millis(50);

/// Tells of an interrupt.
pub trait Sign {
    fn interrupted(&self) -> bool;
}

thread_local! {
    static SIGN: RefCell<Option<Arc<dyn Sign>>> = const { RefCell::new(None) };
}

/// Runs `body` on a thread that carries `sign` meanwhile.
pub fn watched<R>(sign: Arc<dyn Sign>, body: impl FnOnce() -> R) -> R {
    /// Puts back what was there before, also after a panic.
    struct Before(Option<Arc<dyn Sign>>);
    impl Drop for Before {
        fn drop(&mut self) {
            SIGN.set(self.0.take());
        }
    }
    let _before = Before(SIGN.replace(Some(sign)));
    body()
}

/// # Errors
/// `Cancelled` where this thread's query was interrupted.
pub fn check() -> Result<()> {
    let sign = SIGN.with_borrow(Clone::clone);
    if sign.is_some_and(|sign| sign.interrupted()) { Err(Error::Cancelled) } else { Ok(()) }
}

/// Waits for `work` on this thread.
///
/// # Errors
/// `Cancelled` where this thread's query is interrupted before; the work is dropped then.
pub fn wait<T>(work: impl Future<Output = T>) -> Result<T> {
    let io = runtime::io()?;
    let mut work = pin!(work);
    loop {
        match io.block_on(async { tokio::time::timeout(PACE, work.as_mut()).await }) {
            Ok(done) => return Ok(done),
            Err(_) => check()?,
        }
    }
}

/// Runs `work`, which blocks, on a thread of its own, and waits for it. After an interrupt it goes on there until its end, and
/// nobody waits.
///
/// # Errors
/// As [`wait`], and those of the work.
pub fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    wait(runtime::on_thread("lazycogs-index", work)?)?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    /// Interrupted at the n-th look.
    struct After(AtomicUsize);

    impl Sign for After {
        fn interrupted(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) <= 1
        }
    }

    #[test]
    fn a_wait_ends_with_the_sign() {
        let started = Instant::now();
        let waited = watched(Arc::new(After(AtomicUsize::new(3))), || wait(std::future::pending::<()>()));
        assert_eq!(waited, Err(Error::Cancelled));
        assert!(started.elapsed() >= 3 * PACE);
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn what_is_done_is_given_whatever_the_sign() {
        assert_eq!(watched(Arc::new(After(AtomicUsize::new(1))), || wait(async { 7 })), Ok(7));
        assert_eq!(apart(|| Ok(7)), Ok(7));
        assert!(apart(|| -> Result<()> { panic!("told") }).is_err_and(|e| e.to_string().contains("told")));
    }
}
