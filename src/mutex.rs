//! A mutex taken though a thread died with it in hand: what died is told elsewhere, and what a mutex of ours guards is whole
//! between any two statements.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
