//! Tasks that end when nobody waits for them any more.

use std::future::Future;

use tokio::task::JoinHandle;

use crate::error::{Error, Result};

pub struct Owned<T>(JoinHandle<T>);

impl<T: Send + 'static> Owned<T> {
    /// Starts a task on the current runtime.
    pub fn spawn(task: impl Future<Output = T> + Send + 'static) -> Owned<T> {
        Owned(tokio::spawn(task))
    }

    /// Its result; to be asked for once.
    ///
    /// # Errors
    /// `Cancelled` where the task was stopped.
    pub async fn join(&mut self) -> Result<T> {
        (&mut self.0).await.map_err(|_| Error::Cancelled)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
