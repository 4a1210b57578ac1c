//! Items that could not be read, by connection: one list for each, that of its last query. Both the lists that are kept and what
//! one of them holds are bounded.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use crate::error::Error;
use crate::items::{Asset, Item};
use crate::mutex::lock;
use crate::plan::{Cube, Unread, asset_location};
use crate::request::{Caller, Request};
use crate::store::shown;

/// One failed read.
#[derive(Debug, PartialEq, Eq, Hash)]
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

    pub fn new(request: &Request, item: &str, asset_key: &str, asset: &Asset, error: &Error) -> Failure {
        Failure {
            item: item.to_owned(),
            asset: asset_key.to_owned(),
            href: asset_location(request, asset),
            message: shown::message(&error.to_string()),
            attempts: error.attempts(),
        }
    }
}

/// Connections whose lists are kept; of more, those whose queries began first are forgotten.
const CONNECTIONS: usize = 32;
/// Bytes of a list; what comes after them is only counted.
const LIST_BYTES: usize = 2 << 20;

/// The failures of one query.
#[derive(Debug, Default)]
struct List {
    rows: Vec<Arc<Failure>>,
    known: HashSet<Arc<Failure>>,
    bytes: usize,
    /// Failures beyond [`LIST_BYTES`].
    others: u64,
    /// Scans of the query that are not over.
    scans: usize,
}

/// By connection, in the order in which their queries began.
static LISTS: Mutex<VecDeque<(Caller, Arc<Mutex<List>>)>> = Mutex::new(VecDeque::new());

impl List {
    fn record(&mut self, failure: Failure) {
        let failure = Arc::new(failure);
        if self.known.contains(&failure) {
            return;
        }
        let texts = [&failure.item, &failure.asset, &failure.href, &failure.message];
        let bytes = size_of::<Failure>() + texts.iter().map(|text| text.len()).sum::<usize>();
        if self.bytes + bytes > LIST_BYTES {
            self.others += 1;
            return;
        }
        self.bytes += bytes;
        self.known.insert(failure.clone());
        self.rows.push(failure);
    }
}

/// Where the reads of a scan note what failed. It may outlive the scan: it never leads to the list of a later query.
#[derive(Debug, Clone)]
pub struct Failures(Arc<Mutex<List>>);

/// A scan of a query that is not over.
pub struct Recording(Failures);

impl Recording {
    /// A connection runs one query at a time: while a scan of it is not over, another one belongs to the same query; else its
    /// list begins anew.
    pub fn start(caller: Caller) -> Recording {
        let mut lists = lock(&LISTS);
        if let Some((_, list)) = lists.iter().find(|(of, _)| *of == caller) {
            let mut found = lock(list);
            if found.scans > 0 {
                found.scans += 1;
                return Recording(Failures(list.clone()));
            }
        }
        lists.retain(|(of, _)| *of != caller);
        if lists.len() >= CONNECTIONS {
            lists.pop_front();
        }
        let list = Arc::new(Mutex::new(List { scans: 1, ..List::default() }));
        lists.push_back((caller, list.clone()));
        Recording(Failures(list))
    }

    /// As [`Recording::start`], for the query of a cube, with what bind could not read.
    pub fn of(cube: &Cube) -> Recording {
        let recording = Recording::start(cube.request.caller);
        for Unread { item, key, asset, error } in &cube.unread {
            recording.0.record(Failure::new(&cube.request, item, key, asset, error));
        }
        for (_, id, error) in cube.zoned.iter().flat_map(|zoned| &zoned.refused) {
            let (item, message) = (format!("zone {id}"), shown::message(&error.to_string()));
            let of_zone = Failure { item, asset: String::new(), href: String::new(), message, attempts: 1 };
            recording.0.record(of_zone);
        }
        recording
    }

    pub fn failures(&self) -> &Failures {
        &self.0
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        lock(&self.0.0).scans -= 1;
    }
}

impl Failures {
    /// Notes a failure, once.
    pub fn record(&self, failure: Failure) {
        lock(&self.0).record(failure);
    }
}

/// The failures of the last query of a connection, and how many more there were.
pub fn failures_of(caller: &Caller) -> (Vec<Arc<Failure>>, u64) {
    let found = lock(&LISTS).iter().find(|(of, _)| of == caller).map(|(_, list)| list.clone());
    found.map_or_else(Default::default, |list| {
        let list = lock(&list);
        (list.rows.clone(), list.others)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(item: &str, length: usize) -> Failure {
        let (asset, href, message) = (String::new(), String::new(), "x".repeat(length));
        Failure { item: item.to_owned(), asset, href, message, attempts: 1 }
    }

    fn caller(database: u64, connection: u64) -> Caller {
        Caller { database: 1_000_000 + database, connection }
    }

    fn listed(caller: &Caller) -> Vec<String> {
        failures_of(caller).0.iter().map(|failure| failure.item.clone()).collect()
    }

    #[test]
    fn the_scans_of_a_query_share_a_list() {
        let one = caller(1, 1);
        let (first, second) = (Recording::start(one), Recording::start(one));
        first.failures().record(failure("a", 1));
        second.failures().record(failure("b", 1));
        second.failures().record(failure("a", 1));
        assert_eq!(listed(&one), ["a", "b"]);
        let late = first.failures().clone();
        drop((first, second));
        assert_eq!(listed(&one), ["a", "b"]);
        let _next = Recording::start(one);
        late.record(failure("late", 1));
        assert!(listed(&one).is_empty());
    }

    #[test]
    fn lists_are_bounded() {
        let one = caller(2, 1);
        let scan = Recording::start(one);
        for item in 0..10 {
            scan.failures().record(failure(&item.to_string(), LIST_BYTES / 8));
        }
        let (rows, others) = failures_of(&one);
        assert!(rows.len() < 8 && rows.len() as u64 + others == 10);
        for connection in 0..2 * CONNECTIONS as u64 {
            drop(Recording::start(caller(3, connection)));
        }
        assert!(lock(&LISTS).len() <= CONNECTIONS && listed(&one).is_empty());
    }
}
