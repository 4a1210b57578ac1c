//! Where bytes come from: hrefs, object stores, requests.
//!
//! Every request and every byte is counted here and nowhere else; explain, the statistics and the tests read that one
//! counter.

pub mod access;
pub mod address;
mod cloud;
mod cloud_url;
pub mod config;
mod connector;
pub mod counters;
mod exchange;
mod file;
pub mod hints;
mod http;
pub mod location;
mod meaning;
mod object;
mod permits;
mod service;
pub mod session;
pub mod shown;
mod version;

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
pub use access::{Access, Allowed};
pub use address::{Address, Service};
pub use cloud_url::CloudUrl;
pub use config::Config;
pub use exchange::{Answer, Keys, Question};
pub use file::{FileVersion, file_version};
pub use hints::Hints;
pub use http::{Failure, backoff};
pub use location::Location;
pub use meaning::is_name;
pub use object::Object;
pub use permits::{in_turn, turn};
pub use session::{Options, Route, Session};
pub use version::Version;

/// One object, open for ranged reads.
#[async_trait]
pub trait ByteSource: Debug + Send + Sync {
    /// The bytes of `range`. A range that runs past the end of the object gives what there is before it; one that starts
    /// at or after the end gives no bytes.
    async fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

/// A file system of somebody else's, read from any thread.
pub trait Files: Debug + Send + Sync {
    /// The bytes of `range` of the file at a path or URL, as far as it goes; blocks until they are there.
    ///
    /// # Errors
    /// What the file system says, which may name the path as it was given; `Cancelled` after the query.
    fn read(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>>;

    /// Tells the database whose file system it is from every other one of the process: the same path may be another file.
    fn database(&self) -> u64;
}

/// An object that is already in memory.
#[async_trait]
impl ByteSource for Bytes {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let end = range.end.min(self.len() as u64) as usize;
        let start = (range.start as usize).min(end);
        Ok(self.slice(start..end))
    }
}

/// Ranges closer than this are fetched as one: less than a round trip costs at any bandwidth worth having. It spans
/// the few bytes that COG writers leave between tiles, not a tile.
const MERGE_GAP: u64 = 4 * 1024;
/// One request carries at most this much, so that a large window is fetched by several at once.
const MERGE_LIMIT: u64 = 8 * 1024 * 1024;

/// Groups `ranges` into requests: for each request its byte range and the indices of the ranges it holds.
pub fn merge_ranges(ranges: &[Range<u64>]) -> Vec<(Range<u64>, Vec<usize>)> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|i| ranges[*i].start);
    let mut requests: Vec<(Range<u64>, Vec<usize>)> = Vec::new();
    for i in order {
        let range = &ranges[i];
        match requests.last_mut() {
            Some((request, members))
                if range.start <= request.end.saturating_add(MERGE_GAP)
                    && range.end.max(request.end) - request.start <= MERGE_LIMIT =>
            {
                request.end = request.end.max(range.end);
                members.push(i);
            }
            _ => requests.push((range.clone(), vec![i])),
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn merged_requests_hold_every_range_once(
            starts in proptest::collection::vec((0u64..50_000_000, 1u64..300_000), 1..60),
        ) {
            let ranges: Vec<_> = starts.iter().map(|(s, l)| *s..s + l).collect();
            let merged = merge_ranges(&ranges);
            let mut seen = vec![0; ranges.len()];
            for (request, members) in &merged {
                prop_assert!(request.end - request.start <= MERGE_LIMIT);
                for m in members {
                    seen[*m] += 1;
                    prop_assert!(request.start <= ranges[*m].start && ranges[*m].end <= request.end);
                }
            }
            prop_assert!(seen.iter().all(|n| *n == 1));
        }
    }

    #[test]
    fn neighbours_share_a_request() {
        assert_eq!(merge_ranges(&[108..200, 0..100]), vec![(0..200, vec![1, 0])]);
        assert_eq!(merge_ranges(&[0..100, 100_000..100_100]).len(), 2);
    }
}
