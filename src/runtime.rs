//! The process's threads: tokio for I/O, rayon for decoding, warping and mosaicking. Made on first use, and made anew in
//! a forked child, where the parent's threads do not exist.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};

/// Requests are cheap to serve: two threads keep hundreds of them moving.
const IO_THREADS: usize = 2;
/// How long a thread that read a file waits for the next one, so that an idle process soon has few threads.
const IDLE: Duration = Duration::from_secs(1);

/// Databases and sessions with more numbers of threads than these start threads anew.
const POOLS_KEPT: usize = 2;

struct Threads {
    io: Runtime,
    http: reqwest::Client,
    /// The pools of the numbers of threads that queries asked for last, the latest behind.
    compute: VecDeque<(usize, Arc<ThreadPool>)>,
}

/// By process id. An inherited entry is leaked: its threads are gone, and to shut it down would wait for them.
static THREADS: LazyLock<Mutex<Option<(u32, Threads)>>> = LazyLock::new(Mutex::default);

fn with_threads<T>(body: impl FnOnce(&mut Threads) -> Result<T>) -> Result<T> {
    let mut slot = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if slot.as_ref().is_none_or(|(owner, _)| *owner != pid) {
        std::mem::forget(slot.replace((pid, Threads::start()?)));
    }
    match slot.as_mut() {
        Some((_, threads)) => body(threads),
        None => Err(Error::Cancelled),
    }
}

impl Threads {
    fn start() -> Result<Threads> {
        let io = Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .thread_name("lazycogs-io")
            .thread_keep_alive(IDLE)
            .enable_all()
            .build()
            .map_err(|e| Error::Store(format!("cannot start I/O threads: {e}")))?;
        let http = http_builder().build().map_err(|e| Error::Store(format!("cannot start an http client: {e}")))?;
        Ok(Threads { io, http, compute: VecDeque::new() })
    }
}

/// What every http client has in common. It follows no redirect: whether it may be followed is for the query to say.
pub fn http_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // Of each server; more are opened while a query needs them.
        .pool_max_idle_per_host(64)
        .user_agent(concat!("lazycogs/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
}

/// The I/O runtime.
pub fn io() -> Result<Handle> {
    with_threads(|t| Ok(t.io.handle().clone()))
}

pub fn http_client() -> Result<reqwest::Client> {
    with_threads(|t| Ok(t.http.clone()))
}

/// A pool of `threads` compute threads.
pub fn compute(threads: usize) -> Result<Arc<ThreadPool>> {
    with_threads(|t| {
        let known = t.compute.iter().position(|(count, _)| *count == threads).and_then(|at| t.compute.remove(at));
        let pool = match known {
            Some((_, pool)) => pool,
            None => Arc::new(start_pool(threads)?),
        };
        t.compute.push_back((threads, pool.clone()));
        if t.compute.len() > POOLS_KEPT {
            // Its threads end with the last scan that has it.
            t.compute.pop_front();
        }
        Ok(pool)
    })
}

fn start_pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("lazycogs-{i}"))
        .build()
        .map_err(|e| Error::Store(format!("cannot start {threads} threads: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_kept_while_they_are_few() {
        let first = compute(3).unwrap();
        assert!(Arc::ptr_eq(&first, &compute(3).unwrap()));
        let (pools, second): (Vec<_>, _) = ((4..4 + POOLS_KEPT).map(|n| compute(n).unwrap()).collect(), 4);
        assert!(!Arc::ptr_eq(&first, &compute(3).unwrap()), "the oldest is let go");
        assert_eq!(first.install(|| 1), 1, "and works as long as somebody has it");
        assert!(!Arc::ptr_eq(&pools[0], &compute(second).unwrap()));
    }
}
