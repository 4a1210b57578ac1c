//! Requests in flight. Neighbouring output tiles need the same source tiles at the same time; the second joins the first's
//! request.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::runtime::Handle;

use crate::buffers;
use crate::error::Result;
use crate::mutex::lock;
use crate::pixels::Pixels;
use crate::scan::shared::task::Owned;
use crate::store::{ByteSource, in_turn, turn};

/// A request that any number of readers wait for. It goes on as long as one of them is there.
pub type Request = Shared<Sent>;
type Sent = BoxFuture<'static, Result<Answer>>;

/// Where a stored tile is: the id of the opened COG, and its first byte in the file.
pub type Place = (u64, u64);

/// The tiles that a request brought, by their first bytes. Each has bytes of its own: who keeps one does not keep the others.
pub type Answer = Arc<HashMap<u64, Arc<Bytes>>>;

/// A tile that somebody else asked for.
pub enum Joined {
    /// Its bytes are still held.
    Here(Arc<Bytes>),
    Coming(Request),
}

/// The requests of one scan that others may join, and the tiles whose bytes somebody holds.
#[derive(Default)]
pub struct InFlight(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    tiles: HashMap<Place, Entry>,
    /// Entries whose tiles are forgotten are removed when there are so many in all.
    sweep_at: usize,
}

enum Entry {
    Coming(WeakShared<Sent>),
    Here(Weak<Bytes>),
}

impl Entry {
    fn join(&self) -> Option<Joined> {
        match self {
            Entry::Coming(request) => request.upgrade().map(Joined::Coming),
            Entry::Here(bytes) => bytes.upgrade().map(Joined::Here),
        }
    }
}

const LEAST_SWEEP: usize = 4096;

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    lock(state)
}

impl InFlight {
    /// A tile that is under way, or whose bytes are still held.
    pub fn join(&self, place: &Place) -> Option<Joined> {
        locked(&self.0).tiles.get(place)?.join()
    }

    /// A request for `range`, which is sent when somebody waits for it, and which brings `tiles` of the COG. Those that are
    /// `open` to others may be joined.
    pub fn start<S: ByteSource + ?Sized + 'static>(
        &self,
        object: &Arc<S>,
        cog: u64,
        range: Range<u64>,
        tiles: Vec<Range<u64>>,
        open: impl Fn(u64) -> bool,
    ) -> Request {
        let places: Vec<Place> = tiles.iter().map(|tile| (cog, tile.start)).filter(|(_, start)| open(*start)).collect();
        let (object, state, joinable) = (object.clone(), self.0.clone(), places.clone());
        let request = async move {
            let first = range.start;
            let answer = Arc::new(split(send(object, range).await?, first, &tiles));
            let mut state = locked(&state);
            for place in joinable {
                if let Some(bytes) = answer.get(&place.1) {
                    state.tiles.insert(place, Entry::Here(Arc::downgrade(bytes)));
                }
            }
            Ok(answer)
        };
        let request = request.boxed().shared();
        let mut state = locked(&self.0);
        if state.tiles.len() >= state.sweep_at.max(LEAST_SWEEP) {
            state.tiles.retain(|_, entry| entry.join().is_some());
            state.sweep_at = state.tiles.len() * 2;
        }
        if let Some(weak) = request.downgrade() {
            state.tiles.extend(places.into_iter().map(|place| (place, Entry::Coming(weak.clone()))));
        }
        request
    }
}

/// Sends a request. From then on it goes on by itself: where who waited for it is gone, and others only keep it, it would
/// hold its permit for ever.
async fn send<S: ByteSource + ?Sized + 'static>(object: Arc<S>, range: Range<u64>) -> Result<Bytes> {
    let read = async move { object.read(range).await };
    match Handle::try_current() {
        Ok(runtime) => Owned::spawn_on(&runtime, in_turn(turn(), read)).join().await?,
        // Tests and fuzz targets wait for what they read on their own thread.
        Err(_) => read.await,
    }
}

/// The tiles of a request that begins at byte `first`, as far as it brought them. One by itself is not copied.
fn split(bytes: Bytes, first: u64, tiles: &[Range<u64>]) -> HashMap<u64, Arc<Bytes>> {
    let part = |tile: &Range<u64>| {
        let from = ((tile.start - first) as usize).min(bytes.len());
        let to = ((tile.end - first) as usize).min(bytes.len());
        if tiles.len() == 1 {
            return bytes.slice(from..to);
        }
        let mut own: Vec<u8> = buffers::take(to - from);
        own.copy_from_slice(&bytes[from..to]);
        buffers::lent(Pixels::UInt8(own))
    };
    tiles.iter().map(|tile| (tile.start, Arc::new(part(tile)))).collect()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    /// Has one permit, and takes a while with it.
    #[derive(Debug)]
    struct Narrow(tokio::sync::Semaphore);

    #[async_trait::async_trait]
    impl ByteSource for Narrow {
        async fn read(&self, range: Range<u64>) -> Result<Bytes> {
            let _permit = self.0.acquire().await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            Ok(Bytes::from(vec![0; (range.end - range.start) as usize]))
        }
    }

    #[test]
    fn a_request_that_is_kept_but_not_waited_for_gives_its_permit_back() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let (in_flight, object) = (InFlight::default(), Arc::new(Narrow(tokio::sync::Semaphore::new(1))));
        let start = |range: Range<u64>| in_flight.start(&object, 1, range.clone(), vec![range], |_| true);
        let (kept, wanted) = (start(0..10), start(10..20));
        runtime.block_on(async {
            assert!(kept.clone().now_or_never().is_none(), "looked at once, and given up");
            let answer = tokio::time::timeout(std::time::Duration::from_secs(5), wanted).await;
            assert!(answer.is_ok_and(|answer| answer.is_ok()), "the permit came back");
        });
        drop(kept);
    }

    #[test]
    fn who_keeps_a_tile_does_not_keep_the_request() {
        let whole = Bytes::from(vec![7; 3 << 20]);
        let in_flight = InFlight::default();
        let tiles = vec![0..1 << 20, 1 << 20..3 << 20];
        let request = in_flight.start(&Arc::new(whole.clone()), 1, 0..3 << 20, tiles, |_| true);
        let answer = block_on(request.clone()).unwrap();
        let kept = answer[&0].clone();
        drop((request, answer));
        assert_eq!(kept.len(), 1 << 20);
        assert!(!whole.as_ptr_range().contains(&kept.as_ptr()), "its bytes are its own");
        assert!(matches!(in_flight.join(&(1, 0)), Some(Joined::Here(bytes)) if Arc::ptr_eq(&bytes, &kept)));
        assert!(in_flight.join(&(1, 1 << 20)).is_none(), "nobody holds the other");
        drop(kept);
        assert!(in_flight.join(&(1, 0)).is_none());
    }
}
