//! What one item gives one output tile: headers opened, source windows found, bytes fetched.

use std::sync::Arc;

use futures::TryFutureExt;
use futures::future::join_all;
use tokio::sync::oneshot;

use super::batch::{Member, Order};
use super::mappings::{Mappings, Source};
use super::requests::InFlight;
use super::screens::{MakeScreens, MaskFile, OfLevel, Screens};
use super::window;
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::grid::Rect;
use crate::items::{Asset, Item};
use crate::plan::{Cube, Mask, Unit};
use crate::runtime::tell;
use crate::scan::shared::faults;
use crate::scan::shared::memory::{Memory, Reservation, shrink};
use crate::scan::shared::neighbours::Row;
use crate::scan::shared::part::{Content, OnGrid, Part, Stored, counted_window};
use crate::scan::shared::raster::Raster;
use crate::scan::shared::screen::{Shown, Window};
use crate::scan::shared::state::Shared;
use crate::store::Object;
use crate::warp::{self, Kernel, Mapping};

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
    /// Beside the reads of the same item for neighbouring units, if there are some; those of its mask come before those of its bands.
    pub member: Option<Member>,
    pub mask_member: Option<Member>,
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

/// Decodes the samples of a window of an asset and brings them to the output grid; the reservation is for the decoding.
pub type DecodeOnGrid = fn(&Cube, &Asset, OnGrid, Option<Reservation>) -> Result<Raster>;

/// What is done with decoded pixels while an item is read, on the compute threads; reading itself knows nothing of it.
#[derive(Clone, Copy)]
pub struct Compute {
    /// A window that is read in parts is decoded part by part: all of it would be too much to hold.
    pub on_grid: DecodeOnGrid,
    /// A mask is looked at before the tiles that it may hide are fetched.
    pub screens: MakeScreens,
}

/// Reads items for the units of a scan.
pub struct Reader {
    pub shared: Arc<Shared>,
    pub in_flight: Arc<InFlight>,
    /// For the reads of units at work, and for those of units to come. Two, since the first must never wait for the second.
    pub memory: Memory,
    pub memory_ahead: Memory,
    mappings: Mappings,
    screens: Arc<Screens>,
    on_grid: DecodeOnGrid,
}

/// A part that is to be fetched.
struct Planned {
    object: Arc<Object>,
    asset: Asset,
    level: usize,
    geometry: warp::Source,
    mappings: Vec<Arc<Mapping>>,
    row: Row,
    /// What hides pixels of a window in parts; one in one piece was looked up already.
    mask: Option<MaskFile>,
    part: Part,
}

/// An asset of an item with its header open, and its position.
type File<'a> = (usize, &'a Asset, Arc<Object>, Arc<Opened>);

/// What one asset gives for one kernel, before its mask is known.
struct Sourced<'a> {
    index: usize,
    kernel: Kernel,
    asset: &'a Asset,
    object: Arc<Object>,
    opened: Arc<Opened>,
    source: Source,
}

impl Sourced<'_> {
    /// Its window, where it is read in one piece.
    fn window(&self) -> Option<OfLevel> {
        let [mapping] = &self.source.mappings[..] else { return None };
        Some((self.source.geometry.clone(), Window::of(mapping)))
    }
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
    pub fn new(shared: Arc<Shared>, compute: Compute) -> Reader {
        let (budget, is_local) = (shared.cube.request.memory_budget, shared.cube.is_local);
        let in_flight: Arc<InFlight> = Arc::default();
        let screens = Screens::new(shared.clone(), in_flight.clone(), budget, compute.screens);
        Reader {
            shared,
            in_flight,
            memory: Memory::new(budget / 8),
            // What comes without delay need not be there long before.
            memory_ahead: Memory::new(if is_local { budget / 16 } else { budget / 4 }),
            mappings: Mappings::new(budget),
            screens: Arc::new(screens),
            on_grid: compute.on_grid,
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
        let Shared { cube, assets, mask, .. } = &*self.shared;
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
        let mut files = Vec::with_capacity(opened.len());
        for (i, asset, opened) in opened {
            let (object, opened) = opened.map_err(|e| (i, e))?;
            files.push((i, asset, object, opened));
        }
        let sources = self.sources(&files, target, &settled).await?;
        let mask_member = slots.mask_member.take();
        let plans = match mask {
            Some(at) if !sources.is_empty() => {
                let file = mask_file(cube, &files, *at).map_err(|e| (*at, e))?;
                self.masked(&file, sources, target.row, mask_member).await.map_err(|e| (*at, e))?
            }
            _ => {
                // The others wait for it, and what follows waits for the others.
                drop(mask_member);
                sources.into_iter().map(|source| self.planned(source, target.row, None, None)).collect()
            }
        };
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

    /// What can add a pixel of the files of an item, for each kernel.
    async fn sources<'a>(
        self: &Arc<Self>,
        files: &[File<'a>],
        target: Target,
        settled: &Arc<Vec<Option<Vec<u8>>>>,
    ) -> Result<Vec<Sourced<'a>>, (usize, Error)> {
        let kernels = self.shared.kernels();
        let wanted = files.iter().flat_map(|file| {
            let kernels = kernels.iter().filter(|(asset, _)| *asset == file.0);
            kernels.map(move |(_, kernel)| (file, *kernel))
        });
        let finding = wanted.map(|((index, asset, object, opened), kernel)| async move {
            let source =
                self.source((*index, asset, kernel), opened, target, settled).await.map_err(|e| (*index, e))?;
            let (object, opened) = (object.clone(), opened.clone());
            Ok(source.map(|source| Sourced { index: *index, kernel, asset, object, opened, source }))
        });
        join_all(finding).await.into_iter().filter_map(Result::transpose).collect()
    }

    async fn source(
        self: &Arc<Self>,
        (index, asset, kernel): (usize, &Asset, Kernel),
        opened: &Arc<Opened>,
        target: Target,
        settled: &Arc<Vec<Option<Vec<u8>>>>,
    ) -> Result<Option<Source>> {
        let (shared, rect) = (&self.shared, target.rect);
        // What takes microseconds does not wait for a compute thread, which decodes.
        if settled.iter().all(Option::is_none) && self.mappings.has(&shared.cube, rect, opened, kernel)? {
            return self.mappings.source(shared, (index, asset, kernel), opened, rect, settled);
        }
        let (reader, asset, opened, settled) = (self.clone(), asset.clone(), opened.clone(), settled.clone());
        let find = move || reader.mappings.source(&reader.shared, (index, &asset, kernel), &opened, rect, &settled);
        shared.on_pool(find).await
    }

    /// The sources of an item without what its mask hides.
    async fn masked(
        self: &Arc<Self>,
        mask: &MaskFile,
        mut sources: Vec<Sourced<'_>>,
        row: Row,
        member: Option<Member>,
    ) -> Result<Vec<Planned>> {
        self.cut_under_large_masks(mask, &mut sources)?;
        let windows = sources.iter().filter_map(Sourced::window).collect();
        let mut screens = self.screens.of(mask, windows, row, member).await?.into_iter();
        let mut plans = Vec::with_capacity(sources.len());
        for mut source in sources {
            let [mapping] = &source.source.mappings[..] else {
                plans.push(self.planned(source, row, None, Some(mask.clone())));
                continue;
            };
            let Some(screen) = screens.next().flatten() else { continue };
            let shown = Shown::of(&screen, mapping, source.source.geometry.tile);
            let mut open = shown.tiles.clone();
            if let Some(unsettled) = &source.source.open {
                open.iter_mut().zip(unsettled).for_each(|(open, unsettled)| *open &= unsettled);
            }
            if open.contains(&true) {
                source.source.open = Some(open);
                plans.push(self.planned(source, row, Some(shown), None));
            }
        }
        Ok(plans)
    }

    /// A mask may be finer than its bands: where the window of one is too large, the bands are read in parts.
    fn cut_under_large_masks(&self, mask: &MaskFile, sources: &mut [Sourced]) -> Result<()> {
        let windows: Vec<OfLevel> = sources.iter().filter_map(Sourced::window).collect();
        let (most, pixels) = (self.mappings.window_pixels, self.screens.pixels(mask, &windows)?);
        if pixels <= most {
            return Ok(());
        }
        for source in sources {
            let Source { mappings, geometry, open, .. } = &mut source.source;
            let [mapping] = &mappings[..] else { continue };
            let share = (mapping.window_pixels() as f64 * most as f64 / pixels as f64).max(1.0) as u64;
            *mappings = self.mappings.split(&self.shared.cube, mapping.clone(), geometry, (source.kernel, share))?;
            if mappings.len() > 1 {
                *open = None;
            }
        }
        Ok(())
    }

    fn planned(&self, source: Sourced, row: Row, shown: Option<Shown>, mask: Option<MaskFile>) -> Planned {
        let Sourced { index, kernel, asset, object, opened, source } = source;
        let Source { level, geometry, mappings, open, samples } = source;
        let content = match &mappings[..] {
            [mapping] => {
                let at = (row, open.as_deref());
                let stored = window::stored(&self.shared, &opened, level, &samples, mapping, at);
                Content::Stored(Box::new(Stored { shown, ..stored }))
            }
            _ => Content::Decoded(Vec::new()),
        };
        let part = Part { asset: index, kernel, samples, opened, content };
        Planned { object, asset: asset.clone(), level, geometry, mappings, row, mask, part }
    }

    /// Fetches what is planned. A window in parts is decoded part by part.
    async fn fetch(&self, planned: Planned) -> Result<Part> {
        let Planned { object, asset, level, geometry, mappings, row, mask, mut part } = planned;
        let (opened, in_flight) = (&part.opened, &self.in_flight);
        match &mut part.content {
            Content::Stored(stored) => {
                stored.bytes = window::fetch(&object, opened.id, &stored.plan, in_flight).await?
            }
            Content::Decoded(placed) => {
                for mapping in mappings {
                    let mut shown = None;
                    if let Some(mask) = &mask {
                        let window = vec![(geometry.clone(), Window::of(&mapping))];
                        let screen = self.screens.of(mask, window, row, None).await?.pop().flatten();
                        let Some(screen) = screen else { continue };
                        shown = Some(Shown::of(&screen, &mapping, geometry.tile));
                    }
                    let open = shown.as_ref().map(|shown| shown.tiles.as_slice());
                    let stored = window::stored(&self.shared, opened, level, &part.samples, &mapping, (row, open));
                    let mut stored = Stored { shown, ..stored };
                    stored.bytes = window::fetch(&object, opened.id, &stored.plan, in_flight).await?;
                    let decoding = self.shared.decoding.reserve_some(stored.plan.decoding(opened)).await?;
                    let (shared, asset, on_grid) = (self.shared.clone(), asset.clone(), self.on_grid);
                    let (opened, samples) = (opened.clone(), part.samples.clone());
                    let place = self.shared.on_pool(move || {
                        let job = OnGrid { opened: &opened, stored: &stored, samples: &samples };
                        let raster = on_grid(&shared.cube, &asset, job, decoding)?;
                        Ok((Arc::new(Mapping::identity(stored.mapping.rect)), raster))
                    });
                    placed.push(place.await?);
                }
            }
        }
        Ok(part)
    }
}

/// The mask among the files of an item.
///
/// # Errors
/// An item without that asset.
fn mask_file(cube: &Cube, files: &[File], at: usize) -> Result<MaskFile> {
    let lacking = || cube.mask.as_ref().map_or(Error::Cancelled, Mask::lacking);
    let (_, asset, object, opened) = files.iter().find(|(index, ..)| *index == at).ok_or_else(lacking)?;
    Ok(MaskFile { object: object.clone(), opened: opened.clone(), asset: (*asset).clone() })
}
