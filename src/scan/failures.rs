//! Items that could not be read.

use std::sync::{LazyLock, Mutex, PoisonError};

use crate::error::Error;
use crate::items::{Asset, Item};
use crate::plan::asset_location;
use crate::request::Request;

/// One failed read.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub item: String,
    pub asset: String,
    /// Without a signature.
    pub href: String,
    pub message: String,
    /// How often the failed request was sent.
    pub attempts: u64,
}

impl Failure {
    /// Of an item that belongs to no step or place.
    pub fn of_item(item: &Item) -> Failure {
        let message = item.fault.as_deref().unwrap_or_default().to_owned();
        Failure { item: item.id.to_string(), asset: String::new(), href: String::new(), message, attempts: 1 }
    }

    pub fn new(request: &Request, item: &Item, asset_key: &str, asset: &Asset, error: &Error) -> Failure {
        Failure {
            item: item.id.to_string(),
            asset: asset_key.to_owned(),
            href: asset_location(request, asset),
            message: error.to_string(),
            attempts: error.attempts(),
        }
    }
}

/// The failures of the query that failed last, or ran last: one list per process.
static LAST: LazyLock<Mutex<Vec<Failure>>> = LazyLock::new(Mutex::default);

/// The failures of one query.
#[derive(Debug, Default)]
pub struct Failures;

impl Failures {
    /// Forgets those of the query before.
    pub fn start() -> Failures {
        last().clear();
        Failures
    }

    /// Notes a failure, once.
    pub fn record(&self, failure: Failure) {
        let mut failures = last();
        if !failures.contains(&failure) {
            failures.push(failure);
        }
    }
}

fn last() -> std::sync::MutexGuard<'static, Vec<Failure>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The failures of the last query.
pub fn last_failures() -> Vec<Failure> {
    last().clone()
}
