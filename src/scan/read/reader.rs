//! What one item gives one output tile: headers opened, source windows found, bytes fetched.

use std::sync::Arc;

use futures::TryFutureExt;
use futures::future::join_all;
use tokio::sync::oneshot;

use super::batch::{Member, Order};
use super::mappings::{Mappings, Source};
use super::requests::InFlight;
use super::window::{self, Keep};
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::{Asset, Item};
use crate::plan::Unit;
use crate::runtime::tell;
use crate::scan::shared::faults;
use crate::scan::shared::memory::{Memory, Reservation, shrink};
use crate::scan::shared::neighbours::Row;
use crate::scan::shared::part::{Content, Part, Stored, counted_window};
use crate::scan::shared::raster::Raster;
use crate::scan::shared::state::Shared;
use crate::scan::shared::window::Fetched;
use crate::store::Object;
use crate::warp::Mapping;

/// What one item gives one unit: a part for each asset that can add a pixel.
pub struct Delivery {
    pub parts: Vec<Part>,
    /// Held until the parts are fed.
    _memory: Reservation,
}

/// A delivery, or the position of the asset that could not be read, and why.
pub type ReadItem = Result<Delivery, (usize, Error)>;

/// How a read of an item speaks with its unit.
pub struct Slots {
    /// For the news that the headers are open.
    pub opened: oneshot::Sender<()>,
    /// Nothing is read before this is granted.
    pub memory: oneshot::Receiver<Reservation>,
    /// Beside the reads of the same item for neighbouring units, if there are some.
    pub member: Option<Member>,
}

/// The output tile that a read is for.
#[derive(Clone, Copy)]
pub struct Target {
    pub rect: Rect,
    pub row: Row,
}

impl Target {
    pub fn of(unit: &Unit) -> Target {
        Target { rect: unit.rect, row: (unit.time_index, unit.chunk_row) }
    }
}

/// Decodes the samples of a window and brings them to the output grid; the reservation is for the decoding.
pub type DecodeOnGrid = fn(&Opened, &Stored, &[u16], Option<Reservation>) -> Result<Raster>;

/// Reads items for the units of a scan.
pub struct Reader {
    pub shared: Arc<Shared>,
    pub in_flight: Arc<InFlight>,
    /// For the reads of units at work, and for those of units to come. Two, since the first must never wait for the second.
    pub memory: Memory,
    pub memory_ahead: Memory,
    mappings: Mappings,
    /// A window that is read in parts is decoded part by part: all of it would be too much to hold.
    decode_on_grid: DecodeOnGrid,
}

/// A part that is to be fetched.
struct Planned {
    object: Arc<Object>,
    level: usize,
    mappings: Vec<Arc<Mapping>>,
    row: Row,
    part: Part,
}

impl Planned {
    /// What is to be fetched at once; a window in parts is not.
    fn orders(&self) -> Vec<Order> {
        let Content::Stored(stored) = &self.part.content else { return Vec::new() };
        let (object, cog) = (&self.object, self.part.opened.id);
        stored.plan.ranges().map(|range| Order { object: object.clone(), cog, range }).collect()
    }

    /// What the part will take; `None` where only its pixels tell.
    fn memory(&self) -> Option<u64> {
        matches!(self.part.content, Content::Stored(_)).then(|| self.part.memory())
    }
}

impl Reader {
    pub fn new(shared: Arc<Shared>, decode_on_grid: DecodeOnGrid) -> Reader {
        let (budget, is_local) = (shared.cube.request.memory_budget, shared.cube.is_local);
        Reader {
            shared,
            in_flight: Arc::default(),
            memory: Memory::new(budget / 8),
            // What comes without delay need not be there long before.
            memory_ahead: Memory::new(if is_local { budget / 16 } else { budget / 4 }),
            mappings: Mappings::new(budget),
            decode_on_grid,
        }
    }

    /// Bytes that reading an item for a unit is likely to take: its share of the tile, by their bounding boxes.
    pub fn cost(&self, item: &Item, unit: &Unit) -> u64 {
        /// Tiles are read whole, and some files compress less than the sampled ones.
        const MARGIN: f64 = 1.25;
        /// More than any budget, and little enough to be summed: one pixel of a coarse grid may be the whole world.
        const MOST: f64 = 1e15;
        let Shared { cube, assets, bands, .. } = &*self.shared;
        let pixels = unit.rect.pixels() as f64 * (item.place.share_of(&unit.area) + 0.02).min(1.0);
        let stored: f64 = assets.iter().filter_map(|asset| cube.stored.get(asset)).sum();
        let places = if cube.is_parallel { 0.0 } else { size_of::<u32>() as f64 };
        let window = (pixels * cube.source_pixels).min(self.mappings.window_pixels as f64);
        let window: u64 = bands.iter().map(|b| window as u64 * cube.bands[*b].source_dtype.size() as u64).sum();
        (pixels * (stored * MARGIN + places)).min(MOST) as u64 + counted_window(window)
    }

    /// Everything that one item has to give, fetched. `settled` is for each band what no item can change any more.
    pub async fn read_item(
        self: Arc<Self>,
        item: Arc<Item>,
        target: Target,
        settled: Arc<Vec<Option<Vec<u8>>>>,
        mut slots: Slots,
    ) -> ReadItem {
        let Shared { cube, assets, .. } = &*self.shared;
        let assets = assets.iter().enumerate().filter_map(|(i, key)| Some((i, key, item.assets.get(i)?.as_ref()?)));
        let opening = assets.map(|(i, key, asset)| {
            let open = cube.open(&item.id, key, asset);
            async move { (i, asset, open.await) }
        });
        let opened = join_all(opening).await;
        faults::point("read");
        // Nobody listens where the unit is at work already.
        tell(slots.opened, ());
        let mut memory = slots.memory.await.map_err(|_| (0, Error::Cancelled))?;
        let plans = opened.into_iter().map(|(i, asset, opened)| {
            let (reader, settled) = (&self, &settled);
            async move { reader.plan_asset((i, asset), opened?, target, settled).await }.map_err(move |e| (i, e))
        });
        let plans: Vec<_> =
            join_all(plans).await.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if let Some(bytes) = plans.iter().map(Planned::memory).sum() {
            shrink(&mut memory, bytes);
        }
        if let Some(member) = &mut slots.member {
            member.order(plans.iter().flat_map(Planned::orders).collect()).await;
        }
        let parts = plans.into_iter().map(|plan| {
            let asset = plan.part.asset;
            self.fetch(plan).map_err(move |e| (asset, e))
        });
        let parts: Vec<_> = join_all(parts).await.into_iter().collect::<Result<_, _>>()?;
        shrink(&mut memory, parts.iter().map(Part::memory).sum());
        Ok(Delivery { parts, _memory: memory })
    }

    /// What is to be read of one COG; `None` if it cannot add a pixel.
    async fn plan_asset(
        self: &Arc<Self>,
        (index, asset): (usize, &Asset),
        (object, opened): (Arc<Object>, Arc<Opened>),
        target: Target,
        settled: &Arc<Vec<Option<Vec<u8>>>>,
    ) -> Result<Option<Planned>> {
        let (shared, rect) = (&self.shared, target.rect);
        // What takes microseconds does not wait for a compute thread, which decodes.
        let source = if settled.iter().all(Option::is_none) && self.mappings.has(&shared.cube, rect, &opened)? {
            self.mappings.source(shared, (index, asset), &opened, rect, settled)?
        } else {
            let (reader, asset, opened, settled) = (self.clone(), asset.clone(), opened.clone(), settled.clone());
            let find = move || reader.mappings.source(&reader.shared, (index, &asset), &opened, rect, &settled);
            shared.on_pool(find).await?
        };
        let Some(Source { level, mappings, open, samples }) = source else { return Ok(None) };
        let content = match &mappings[..] {
            [mapping] => {
                Content::Stored(Box::new(self.stored(&opened, level, &samples, mapping, (target.row, open.as_deref()))))
            }
            _ => Content::Decoded(Vec::new()),
        };
        let part = Part { asset: index, samples, opened, content };
        Ok(Some(Planned { object, level, mappings, row: target.row, part }))
    }

    /// A window whose tiles are to be fetched.
    fn stored(
        &self,
        opened: &Opened,
        level: usize,
        samples: &[u16],
        mapping: &Arc<Mapping>,
        (row, open): (Row, Option<&[bool]>),
    ) -> Stored {
        let Shared { cache, neighbours, decoding, .. } = &*self.shared;
        let keep = Keep { cache, neighbours: neighbours.as_ref(), row, room: decoding.total() };
        let plan = window::plan(keep, opened, level, samples, mapping, open);
        Stored { mapping: mapping.clone(), plan, bytes: Fetched::default() }
    }

    /// Fetches what is planned. A window in parts is decoded part by part.
    async fn fetch(&self, planned: Planned) -> Result<Part> {
        let Planned { object, level, mappings, row, mut part } = planned;
        let (opened, in_flight) = (&part.opened, &self.in_flight);
        match &mut part.content {
            Content::Stored(stored) => {
                stored.bytes = window::fetch(&object, opened.id, &stored.plan, in_flight).await?
            }
            Content::Decoded(placed) => {
                for mapping in mappings {
                    let mut stored = self.stored(opened, level, &part.samples, &mapping, (row, None));
                    stored.bytes = window::fetch(&object, opened.id, &stored.plan, in_flight).await?;
                    let decoding = self.shared.decoding.reserve_some(stored.plan.decoding(opened)).await?;
                    let (opened, samples, decode) = (opened.clone(), part.samples.clone(), self.decode_on_grid);
                    let place = self.shared.on_pool(move || {
                        let raster = decode(&opened, &stored, &samples, decoding)?;
                        Ok((Arc::new(Mapping::identity(stored.mapping.rect)), raster))
                    });
                    placed.push(place.await?);
                }
            }
        }
        Ok(part)
    }
}
