//! The process's threads: tokio for I/O and for planning, rayon for decoding, warping and mosaicking. Made on first use, and
//! made anew in a forked child, where the parent's threads do not exist.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinError;

use crate::error::{Error, Result};
use crate::mutex::lock;

/// Requests are cheap to serve: two threads keep hundreds of them moving.
const IO_THREADS: usize = 2;
/// Planners compute little and wait much: two threads plan for any number of scans.
const PLAN_THREADS: usize = 2;
/// How long a thread that read a file waits for the next one, so that an idle process soon has few threads.
const IDLE: Duration = Duration::from_secs(1);
/// Pools of compute threads that are kept while nobody uses them.
const KEPT_POOLS: usize = 2;

/// Reads that hold a thread while they wait. Each kind has threads of its own, so that a slow one holds up none of the other.
#[derive(Debug, Clone, Copy)]
pub enum Blocking {
    /// Local files.
    Files,
    /// Somebody else's file systems, with servers behind them.
    Foreign,
}

impl Blocking {
    const ALL: [Blocking; 2] = [Blocking::Files, Blocking::Foreign];

    /// At once, for all queries of the process. Their sum is below the number of threads that tokio allows itself.
    const fn most(self) -> usize {
        match self {
            Blocking::Files => 32,
            Blocking::Foreign => 256,
        }
    }
}

struct Threads {
    io: Runtime,
    plan: Runtime,
    http: reqwest::Client,
    compute: Pools,
    /// By [`Blocking`].
    blocking: [Arc<Semaphore>; 2],
}

/// One pool per number of threads that a query asked for: those at work, and the last ones asked for.
#[derive(Default)]
struct Pools {
    known: Vec<(usize, Weak<ThreadPool>)>,
    kept: Vec<Arc<ThreadPool>>,
}

/// By process id. An inherited entry is leaked: its threads are gone, and to shut it down would wait for them.
static THREADS: LazyLock<Mutex<Option<(u32, Threads)>>> = LazyLock::new(Mutex::default);

fn with_threads<T>(body: impl FnOnce(&mut Threads) -> Result<T>) -> Result<T> {
    let mut slot = lock(&THREADS);
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
        let runtime = |name: &str, threads: usize| {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads).thread_name(name).thread_keep_alive(IDLE).enable_all();
            builder.build().map_err(|e| Error::Store(format!("cannot start the threads {name}: {e}")))
        };
        let http = http_builder().build().map_err(|e| Error::Store(format!("cannot start an http client: {e}")))?;
        Ok(Threads {
            io: runtime("lazycogs-io", IO_THREADS)?,
            plan: runtime("lazycogs-plan", PLAN_THREADS)?,
            http,
            compute: Pools::default(),
            blocking: Blocking::ALL.map(|kind| Arc::new(Semaphore::new(kind.most()))),
        })
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

/// The runtime of planners, whose computing would hold up requests.
pub fn plan() -> Result<Handle> {
    with_threads(|t| Ok(t.plan.handle().clone()))
}

pub fn http_client() -> Result<reqwest::Client> {
    with_threads(|t| Ok(t.http.clone()))
}

/// A pool of `threads` compute threads. Who works with it keeps it: the process itself keeps few.
pub fn compute(threads: usize) -> Result<Arc<ThreadPool>> {
    with_threads(|t| t.compute.of(threads))
}

impl Pools {
    fn of(&mut self, threads: usize) -> Result<Arc<ThreadPool>> {
        self.known.retain(|(_, pool)| pool.strong_count() > 0);
        let known = self.known.iter().find(|(count, _)| *count == threads).and_then(|(_, pool)| pool.upgrade());
        let pool = match known {
            Some(pool) => pool,
            None => {
                let pool = ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|i| format!("lazycogs-{i}"))
                    .build()
                    .map_err(|e| Error::Store(format!("cannot start {threads} threads: {e}")))?;
                let pool = Arc::new(pool);
                self.known.push((threads, Arc::downgrade(&pool)));
                pool
            }
        };
        self.kept.retain(|kept| !Arc::ptr_eq(kept, &pool));
        self.kept.push(pool.clone());
        if self.kept.len() > KEPT_POOLS {
            self.kept.remove(0);
        }
        Ok(pool)
    }
}

/// Runs a read that blocks, when there is room for one of its kind. One that is given up goes on, and keeps its room.
///
/// # Errors
/// The read panicked.
pub async fn blocking<T: Send + 'static>(kind: Blocking, read: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (io, room) = with_threads(|t| Ok((t.io.handle().clone(), t.blocking[kind as usize].clone())))?;
    let room = room.acquire_owned().await.map_err(|_| Error::Cancelled)?;
    let read = move || {
        let _room = room;
        read()
    };
    io.spawn_blocking(read).await.map_err(died)
}

/// Runs `work`, which may block for long, on a thread of its own.
///
/// # Errors
/// The system gives no thread; and, when it is waited for, what the work says, or its panic.
pub fn on_thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<impl Future<Output = Result<T>> + Send> {
    let (send, receive) = oneshot::channel();
    let run = move || {
        let done = catch_unwind(AssertUnwindSafe(work));
        tell(send, done.unwrap_or_else(|panic| Err(Error::of_panic(panic.as_ref()))));
    };
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|e| Error::Store(format!("cannot start a thread: {e}")))?;
    Ok(async { receive.await.unwrap_or(Err(Error::Cancelled)) })
}

/// Tells somebody who may be gone: what was for a query that is over is for nobody, and is dropped.
pub fn tell<T>(listener: oneshot::Sender<T>, what: T) {
    #[expect(clippy::let_underscore_must_use, reason = "nobody listens any more")]
    let _ = listener.send(what);
}

/// Why a task did not end by itself: its panic, else it was stopped, as only what nobody waits for is.
pub fn died(error: JoinError) -> Error {
    error.try_into_panic().map_or(Error::Cancelled, |panic| Error::of_panic(panic.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pools_are_kept_and_those_at_work_are_found() {
        let mut pools = Pools::default();
        let at_work = pools.of(1).unwrap();
        for threads in [2, 3, 4, 5] {
            pools.of(threads).unwrap();
        }
        assert_eq!(pools.kept.len(), KEPT_POOLS);
        assert!(Arc::ptr_eq(&at_work, &pools.of(1).unwrap()));
        assert!(pools.known.iter().filter(|(_, pool)| pool.strong_count() > 0).count() <= KEPT_POOLS + 1);
    }

    #[test]
    fn reads_of_one_kind_leave_room_for_the_other() {
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let io = io().unwrap();
        for _ in 0..Blocking::Files.most() + 4 {
            let wait = wait.clone();
            io.spawn(blocking(Blocking::Files, move || drop(wait.lock().map(|wait| wait.recv()))));
        }
        assert_eq!(io.block_on(blocking(Blocking::Foreign, || 7)), Ok(7));
        drop(let_go);
        assert_eq!(io.block_on(blocking(Blocking::Files, || 7)), Ok(7), "and then there is room again");
        assert!(
            io.block_on(blocking(Blocking::Files, || -> () { panic!("told") }))
                .is_err_and(|e| e.to_string().contains("told"))
        );
    }
}
