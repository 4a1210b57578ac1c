//! Decoded tiles, kept for whoever needs them next.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::buffers;
use crate::mutex::lock;
use crate::pixels::Pixels;

/// Which image of a COG a tile belongs to: the id of the opened COG, level, whether it is the mask's, and index.
pub type TileKey = (u64, u32, bool, usize);

/// A decoded tile, whose buffer is used again when nobody needs it any more.
#[derive(Debug)]
pub struct Decoded(pub Pixels);

impl Decoded {
    pub fn bytes(&self) -> u64 {
        self.0.as_bytes().len() as u64
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        buffers::give(std::mem::replace(&mut self.0, Pixels::UInt8(Vec::new())));
    }
}

/// A cache bounded by the bytes of the pixels in it; the process has one.
#[derive(Debug, Clone)]
pub struct TileCache {
    tiles: Cache<TileKey, Arc<Decoded>>,
    /// Those that a thread is decoding.
    claimed: Arc<Mutex<HashSet<TileKey>>>,
    capacity: u64,
}

/// The right to decode a tile, until it is dropped.
pub struct Claim<'a> {
    cache: &'a TileCache,
    key: TileKey,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.cache.claimed().remove(&self.key);
    }
}

static CACHE: LazyLock<Mutex<Option<TileCache>>> = LazyLock::new(Mutex::default);

/// Bytes of the pixels that the process's cache holds.
pub fn bytes_held() -> u64 {
    let cache = lock(&CACHE);
    cache.as_ref().map_or(0, |cache| {
        cache.tiles.run_pending_tasks();
        cache.tiles.weighted_size()
    })
}

/// What would take a larger share of the cache than this passes it by: it would only drive out what others come back for.
const LARGEST_SHARE: u64 = 16;

impl TileCache {
    /// The process's cache, with room for `capacity` bytes. Another size than before starts an empty one.
    pub fn shared(capacity: u64) -> TileCache {
        let mut cache = lock(&CACHE);
        match &*cache {
            Some(cache) if cache.capacity == capacity => cache.clone(),
            _ => cache.insert(TileCache::new(capacity)).clone(),
        }
    }

    /// One that never has a tile.
    pub fn none() -> &'static TileCache {
        static NONE: LazyLock<TileCache> = LazyLock::new(|| TileCache::new(0));
        &NONE
    }

    fn new(capacity: u64) -> TileCache {
        let weigh = |_: &TileKey, tile: &Arc<Decoded>| u32::try_from(tile.bytes()).unwrap_or(u32::MAX);
        TileCache {
            tiles: Cache::builder()
                .max_capacity(capacity)
                .weigher(weigh)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            claimed: Arc::default(),
            capacity,
        }
    }

    /// Claims a tile; `None` if another thread has it. Nothing waits for a claim: at worst a tile is decoded twice.
    pub fn claim(&self, key: TileKey) -> Option<Claim<'_>> {
        self.claimed().insert(key).then(|| Claim { cache: self, key })
    }

    fn claimed(&self) -> MutexGuard<'_, HashSet<TileKey>> {
        lock(&self.claimed)
    }

    pub fn get(&self, key: &TileKey) -> Option<Arc<Decoded>> {
        self.tiles.get(key)
    }

    pub fn insert(&self, key: TileKey, tile: Arc<Decoded>) {
        if self.capacity > 0 {
            self.tiles.insert(key, tile);
        }
    }

    /// Whether so many bytes may be kept.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        bytes <= self.capacity / LARGEST_SHARE
    }
}
