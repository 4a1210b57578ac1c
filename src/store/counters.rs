//! What the process has read since the extension was loaded.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($name:ident: $meaning:literal,)*) => {
        /// One number each, since load.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $meaning] pub $name: AtomicU64,)*
        }

        impl Counters {
            /// Name, meaning and value of every counter.
            pub fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $meaning, self.$name.load(Relaxed)),)*]
            }
        }

        /// The process's counters.
        pub static COUNTERS: Counters = Counters { $($name: AtomicU64::new(0),)* };
    };
}

counters! {
    requests: "requests sent to stores and reads of local files, retries included",
    bytes: "bytes received",
    retries: "requests that were tried again",
    failures: "requests that failed for good",
    header_hits: "COG headers taken from the cache",
    header_misses: "COG headers read",
    tile_hits: "decoded tiles taken from the cache",
    tile_misses: "tiles that the cache did not have, those that no file stores included",
    tiles_decoded: "tiles decoded",
    bytes_decoded: "bytes of pixels decoded",
    mappings: "mappings of the output grid to a source of another CRS, or a rotated one, computed",
    pixels_mapped: "output pixels of those mappings",
    pixels_sampled: "pixels brought to the output grid and fed to the mosaic, all items and bands together",
    pixels: "pixels of output finished, all bands together",
}

/// What one query has read so far.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    bytes: AtomicU64,
}

tokio::task_local! {
    /// The query that this task reads for. Clients of object stores are shared by queries, and count in the midst of them.
    static QUERY: Arc<Traffic>;
}

impl Traffic {
    /// Runs `read`, whose requests and bytes are those of this query.
    pub async fn of<T>(self: &Arc<Traffic>, read: impl Future<Output = T>) -> T {
        QUERY.scope(self.clone(), read).await
    }

    /// As [`Traffic::of`], for a read that blocks.
    pub fn of_blocking<T>(self: &Arc<Traffic>, read: impl FnOnce() -> T) -> T {
        QUERY.sync_scope(self.clone(), read)
    }

    /// Requests sent and bytes received.
    pub fn totals(&self) -> (u64, u64) {
        (self.requests.load(Relaxed), self.bytes.load(Relaxed))
    }
}

/// Counts a request, for the process and for the query that it is sent for.
pub fn count_request() {
    add(&COUNTERS.requests, 1);
    of_query(|query| add(&query.requests, 1));
}

/// Counts bytes received, likewise.
pub fn count_bytes(n: u64) {
    add(&COUNTERS.bytes, n);
    of_query(|query| add(&query.bytes, n));
}

fn of_query(count: impl FnOnce(&Arc<Traffic>)) {
    #[expect(
        clippy::let_underscore_must_use,
        reason = "what is read for no query, such as credentials in the background, counts for the process alone"
    )]
    let _ = QUERY.try_with(count);
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
