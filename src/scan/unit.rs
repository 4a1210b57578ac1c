//! One unit becomes one output tile: what its items bring is fed to the mosaic of each band, in their order.

use std::sync::Arc;

use rayon::prelude::*;

use super::compose::feed::feed;
use super::compose::layer::Layer;
use super::read::reader::{Delivery, Reader};
use super::read::unit::UnitReads;
use super::shared::faults;
use super::shared::finished::Finished;
use super::shared::state::Shared;
use super::watch::failures::{Failure, Failures};
use crate::buffers;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::{Asset, Item};
use crate::pixels::Pixels;
use crate::plan::{Unit, asset_context};
use crate::request::OnError;

/// A finished output tile.
#[derive(Debug)]
pub struct Tile {
    pub unit: Unit,
    /// The pixels of each band that was asked for.
    pub layers: Vec<Finished>,
}

impl Tile {
    /// Bytes of its pixels.
    pub fn memory(&self) -> usize {
        let bytes = |layer: &Finished| match layer {
            Finished::Pixels(pixels, valid) => pixels.as_bytes().len() + valid.len(),
            Finished::Untouched { .. } => 0,
        };
        self.layers.iter().map(bytes).sum()
    }
}

impl Drop for Tile {
    fn drop(&mut self) {
        for layer in self.layers.drain(..) {
            if let Finished::Pixels(pixels, valid) = layer {
                buffers::give(pixels);
                buffers::give(Pixels::UInt8(valid));
            }
        }
    }
}

/// Makes the output tiles of a scan.
pub struct Maker {
    pub shared: Arc<Shared>,
    pub reader: Arc<Reader>,
    pub failures: Failures,
}

impl Maker {
    /// Makes the tile of a unit.
    ///
    /// # Errors
    /// The failure of the first item, in the order of the mosaic, that is needed and cannot be read.
    pub async fn tile(self: Arc<Self>, mut reads: UnitReads) -> Result<Tile> {
        faults::point("unit");
        loop {
            let layers = self.mosaic(&mut reads).await?;
            let is_done = layers.iter().all(Layer::is_done);
            let lacked = self.lacked(&reads, is_done).await?;
            if lacked.is_empty() {
                return Ok(Tile { layers: self.finish(layers).await?, unit: reads.unit });
            }
            reads = reads.again(&self.shared, lacked)?;
        }
    }

    /// Feeds the items of a unit to the mosaic of each band.
    async fn mosaic(&self, reads: &mut UnitReads) -> Result<Vec<Layer>> {
        let (cube, pixels) = (&self.shared.cube, reads.unit.rect.pixels());
        let reversed = self.shared.order.reverses;
        let layer = |band: &usize| Layer::new(&cube.bands[*band], reversed, pixels, reads.closed().cloned());
        let mut layers: Vec<Layer> = self.shared.bands.iter().map(layer).collect();
        loop {
            layers = self.feed_all(reads, layers).await?;
            if !reads.has_more() || layers.iter().all(Layer::is_done) {
                return Ok(layers);
            }
            reads.ask_for_more(Layer::all_settled(&layers));
        }
    }

    /// The items that declare to lie elsewhere and have files in the tile all the same. Where the mosaic is `done`, only those that
    /// come before the last item that it took: no later one counts.
    async fn lacked(&self, reads: &UnitReads, done: bool) -> Result<Vec<Arc<Item>>> {
        let (cube, unit, (own, fed)) = (&self.shared.cube, &reads.unit, reads.items());
        let last = own[..fed].last().filter(|_| done).map(|item| item.order);
        let reverses = self.shared.order.reverses;
        let counts = move |order| last.is_none_or(|last| if reverses { order > last } else { order < last });
        loop {
            let unknown = unit.members.unknown(own, counts);
            if unknown.is_empty() {
                break;
            }
            let (members, seen) = (unit.members.clone(), unit.members.open(cube, &self.shared.assets, &unknown).await);
            let learn = move || {
                members.learn(&seen);
                Ok(())
            };
            self.shared.on_pool(learn).await?;
        }
        let mut lacked = unit.members.undeclared(own, &unit.area);
        lacked.retain(|item| counts(item.order));
        Ok(lacked)
    }

    /// Feeds all items that are asked for.
    async fn feed_all(&self, reads: &mut UnitReads, mut layers: Vec<Layer>) -> Result<Vec<Layer>> {
        while let Some((item, read)) = reads.next(&self.reader).await? {
            let failure = match read {
                Ok(delivery) => {
                    let (fed, failure) = self.feed(reads.unit.rect, &item, delivery, layers).await?;
                    layers = fed;
                    failure
                }
                Err(failure) => Some(failure),
            };
            match failure {
                Some((_, Error::Cancelled)) => return Err(Error::Cancelled),
                Some((asset, error)) => self.note(&item, asset, error).await?,
                None => {}
            }
            if layers.iter().all(Layer::is_done) {
                break;
            }
        }
        Ok(layers)
    }

    /// Gives the layers back, and what went wrong with which asset.
    async fn feed(
        &self,
        rect: Rect,
        item: &Arc<Item>,
        delivery: Delivery,
        mut layers: Vec<Layer>,
    ) -> Result<(Vec<Layer>, Option<(usize, Error)>)> {
        if delivery.parts.is_empty() {
            return Ok((layers, None));
        }
        let decoding = delivery.parts.iter().map(|part| part.content.decoding(&part.opened)).sum();
        let decoding = self.shared.decoding.reserve_some(decoding).await?;
        let (shared, item) = (self.shared.clone(), item.clone());
        let feed = move || {
            let _decoding = decoding;
            faults::point("compute");
            let bands: Vec<_> = shared.with_assets().collect();
            let failure = feed(&shared.cube, rect, &item, delivery.parts, &bands, &mut layers).err();
            Ok((layers, failure))
        };
        self.shared.on_pool(feed).await
    }

    /// Takes note of a failure; an error where the call does not ignore it.
    async fn note(&self, item: &Item, asset: usize, error: Error) -> Result<()> {
        let cube = &self.shared.cube;
        let key = &self.shared.assets[asset];
        // A mask that the item lacks has no href.
        let lacking = Asset::default();
        let found = item.assets.get(asset).and_then(Option::as_ref).unwrap_or(&lacking);
        if matches!(error, Error::Changed(_) | Error::Corrupt(_)) {
            // Without ETags a replaced object looks like a broken one: the next query must see the header that is there now.
            cube.headers.forget(&cube.object(found)?, found.crs.as_ref()).await;
        }
        let error = error.within_once(asset_context(&cube.request, &item.id, key, found));
        self.failures.record(Failure::new(&cube.request, &item.id, key, found, &error));
        if cube.request.errors == OnError::Raise { Err(error) } else { Ok(()) }
    }

    async fn finish(&self, layers: Vec<Layer>) -> Result<Vec<Finished>> {
        let shared = self.shared.clone();
        let finish = move |(i, layer): (usize, Layer)| layer.finish(shared.cube.bands[shared.bands[i]].dtype);
        if self.shared.order.stops_early || layers.iter().all(Layer::is_untouched) {
            // Values are there as they are, or one cast away, or there are none.
            return Ok(layers.into_iter().enumerate().map(finish).collect());
        }
        self.shared.on_pool(move || Ok(layers.into_par_iter().enumerate().map(finish).collect())).await
    }
}
