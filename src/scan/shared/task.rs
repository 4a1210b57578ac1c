//! Tasks that end when nobody waits for them any more.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::Result;
use crate::runtime::died;

pub struct Owned<T>(JoinHandle<T>);

impl<T: Send + 'static> Owned<T> {
    /// Starts a task on the current runtime.
    pub fn spawn(task: impl Future<Output = T> + Send + 'static) -> Owned<T> {
        Owned(tokio::spawn(task))
    }

    /// Starts a task on a runtime.
    pub fn spawn_on(runtime: &Handle, task: impl Future<Output = T> + Send + 'static) -> Owned<T> {
        Owned(runtime.spawn(task))
    }

    /// Its result; to be asked for once.
    ///
    /// # Errors
    /// What its panic said; `Cancelled` where the task was stopped.
    pub async fn join(&mut self) -> Result<T> {
        (&mut self.0).await.map_err(died)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
