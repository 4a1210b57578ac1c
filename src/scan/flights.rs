//! Requests under way. Neighbouring output tiles need the same source tiles at the same time; the second joins the first's
//! request.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

use crate::error::Result;
use crate::store::ByteSource;

/// A request that any number of readers wait for. It goes on as long as one of them is there, and keeps its bytes as long.
pub type Flight = Shared<Request>;
type Request = BoxFuture<'static, Result<Bytes>>;

/// Where a stored tile is: the id of the opened COG, and its first byte in the file.
pub type Place = (u64, u64);

/// The requests of one scan that others may join: for each tile the request that brings it, and the first byte of that.
#[derive(Default)]
pub struct Flights {
    tiles: Mutex<HashMap<Place, (WeakShared<Request>, u64)>>,
}

/// Entries whose request is forgotten are removed when there are so many in all.
const SWEEP: usize = 4096;

impl Flights {
    /// The request that brings a tile, if one is under way or its bytes are still held, and its first byte.
    pub fn join(&self, place: &Place) -> Option<(Flight, u64)> {
        let tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        let (flight, start) = tiles.get(place)?;
        Some((flight.upgrade()?, *start))
    }

    /// A request for `range`, which is sent when somebody waits for it, and which brings the tiles at `places` to others, too.
    pub fn start<S: ByteSource + ?Sized + 'static>(
        &self,
        object: &Arc<S>,
        range: Range<u64>,
        places: impl Iterator<Item = Place>,
    ) -> Flight {
        let (object, start) = (object.clone(), range.start);
        let flight = async move { object.read(range).await }.boxed().shared();
        let mut tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        if tiles.len() >= SWEEP {
            tiles.retain(|_, (flight, _)| flight.upgrade().is_some());
        }
        if let Some(weak) = flight.downgrade() {
            tiles.extend(places.map(|place| (place, (weak.clone(), start))));
        }
        flight
    }
}
