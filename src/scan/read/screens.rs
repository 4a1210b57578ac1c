//! The mask of an item, read for windows of its bands: before their tiles are asked for, since what it hides needs none.

use std::sync::Arc;

use moka::sync::Cache;

use super::batch::{Member, Order};
use super::requests::InFlight;
use super::window;
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::grid::{Affine, Rect};
use crate::items::Asset;
use crate::plan::{Cube, Geometry, Mask};
use crate::scan::shared::look::{Look, Lookup};
use crate::scan::shared::neighbours::Row;
use crate::scan::shared::screen::{Screen, Window};
use crate::scan::shared::state::Shared;
use crate::store::Object;
use crate::warp::{self, Mapping};

/// Decodes a mask, and says of each window what it shows; `None` where that is nothing.
pub type MakeScreens = fn(&Mask, &Look) -> Result<Vec<Option<Arc<Screen>>>>;

/// The mask of one item, its header open.
#[derive(Clone)]
pub struct MaskFile {
    pub object: Arc<Object>,
    pub opened: Arc<Opened>,
    pub asset: Asset,
}

/// A window of a level.
pub type OfLevel = (warp::Source, Window);

/// Makes the screens of a scan.
pub struct Screens {
    shared: Arc<Shared>,
    in_flight: Arc<InFlight>,
    lookups: Lookups,
    make: MakeScreens,
}

impl Screens {
    /// `budget` is that of the query.
    pub fn new(shared: Arc<Shared>, in_flight: Arc<InFlight>, budget: u64, make: MakeScreens) -> Screens {
        Screens { shared, in_flight, lookups: Lookups::new(budget), make }
    }

    /// Pixels of the mask that are read for windows of the item.
    ///
    /// # Errors
    /// No transformation between the two CRSs.
    pub fn pixels(&self, mask: &MaskFile, windows: &[OfLevel]) -> Result<u64> {
        let level = of_mask(&self.shared.cube, &mask.opened)?;
        Ok(self.lookups.find(&level, windows)?.0.map_or(0, |window| window.window_pixels()))
    }

    /// What the mask shows of windows of the item; `None` where that is nothing.
    ///
    /// # Errors
    /// A mask that cannot be read, or that is none.
    pub async fn of(
        self: &Arc<Self>,
        file: &MaskFile,
        windows: Vec<OfLevel>,
        row: Row,
        mut member: Option<Member>,
    ) -> Result<Vec<Option<Arc<Screen>>>> {
        let none = vec![None; windows.len()];
        let (screens, of) = (self.clone(), file.clone());
        let look = self.shared.on_pool(move || screens.look(&of, &windows, row)).await?;
        let Some(mut look) = look else { return Ok(none) };
        if let Some(member) = &mut member {
            let order = |range| Order { object: file.object.clone(), cog: file.opened.id, range };
            member.order(look.stored.plan.ranges().map(order).collect()).await;
        }
        look.stored.bytes = window::fetch(&file.object, file.opened.id, &look.stored.plan, &self.in_flight).await?;
        let decoding = self.shared.decoding.reserve_some(look.stored.plan.decoding(&file.opened)).await?;
        let (shared, make) = (self.shared.clone(), self.make);
        let made = self.shared.on_pool(move || {
            let _decoding = decoding;
            shared.cube.mask.as_ref().map(|mask| make(mask, &look)).transpose()
        });
        Ok(made.await?.unwrap_or(none))
    }

    /// What is to be read of the mask; `None` where all windows lie outside of it.
    fn look(&self, file: &MaskFile, windows: &[OfLevel], row: Row) -> Result<Option<Look>> {
        let Shared { cube, .. } = &*self.shared;
        let Some(mask) = &cube.mask else { return Ok(None) };
        let level = of_mask(cube, &file.opened)?;
        let sample = mask.sample_of(&file.opened.cog)?;
        cube.check_tiles(file.opened.level(level.0))?;
        let (Some(mapping), lookups) = self.lookups.find(&level, windows)? else { return Ok(None) };
        let samples: Vec<u16> = [sample].into_iter().chain(file.opened.cog.alpha_for(sample)).collect();
        let nodata = cube.nodata_of_mask(sample, &file.opened, &file.asset);
        let opened = file.opened.clone();
        let stored = window::stored(&self.shared, &opened, level.0, &samples, &Arc::new(mapping), (row, None));
        Ok(Some(Look { opened, stored, sample, samples, nodata, lookups }))
    }
}

/// A level of a mask, and how far around a pixel it looks.
type LevelOfMask = (usize, warp::Source, Reach);

fn of_mask(cube: &Cube, opened: &Opened) -> Result<LevelOfMask> {
    let (level, source) = cube.levels.choose(opened)?;
    let grow = cube.mask.as_ref().map_or(0.0, |mask| mask.rule.grow);
    let reach = Reach::of(&source.transform, grow);
    Ok((level, source, reach))
}

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reach {
    cols: u32,
    rows: u32,
}

impl Reach {
    /// Of a circle with that radius, in units of the transform.
    fn of(transform: &Affine, radius: f64) -> Reach {
        let Some(inverse) = transform.inverse().filter(|_| radius > 0.0) else { return Reach { cols: 0, rows: 0 } };
        let pixels = |a: f64, b: f64| (a.hypot(b) * radius).ceil().min(f64::from(u32::MAX)) as u32;
        Reach { cols: pixels(inverse.a, inverse.b), rows: pixels(inverse.d, inverse.e) }
    }
}

/// The window of a mask that windows of an item need, or none.
///
/// # Errors
/// No transformation between the two CRSs.
pub fn window_of(cube: &Cube, opened: &Opened, windows: &[OfLevel]) -> Result<(usize, Option<Mapping>)> {
    let level = of_mask(cube, opened)?;
    Ok((level.0, Lookups::new(0).find(&level, windows)?.0))
}

/// Which pixel of a mask each pixel of a window takes, kept for other items of the same geometry.
struct Lookups {
    known: Cache<(Window, Geometry, Geometry), Option<Arc<Mapping>>>,
}

impl Lookups {
    fn new(budget: u64) -> Lookups {
        let weigh = |_: &_, mapping: &Option<Arc<Mapping>>| {
            u32::try_from(256 + mapping.as_ref().map_or(0, |mapping| mapping.memory())).unwrap_or(u32::MAX)
        };
        Lookups { known: Cache::builder().max_capacity(budget / 16).weigher(weigh).build() }
    }

    /// The window of the mask that holds everything, with what is near enough to hide it; and what each window finds there.
    fn find(&self, (_, mask, reach): &LevelOfMask, windows: &[OfLevel]) -> Result<(Option<Mapping>, Vec<Lookup>)> {
        let mut lookups = Vec::with_capacity(windows.len());
        let mut bounds: Option<[u32; 4]> = None;
        for (level, window) in windows {
            let mapping = self.mapping(level, *window, mask)?;
            if let Some(found) = &mapping {
                let [c0, r0, c1, r1] =
                    bounds.unwrap_or([found.col, found.row, found.col + found.width, found.row + found.height]);
                bounds = Some([
                    c0.min(found.col),
                    r0.min(found.row),
                    c1.max(found.col + found.width),
                    r1.max(found.row + found.height),
                ]);
            }
            lookups.push(Lookup { window: *window, mapping });
        }
        let whole = bounds.map(|[c0, r0, c1, r1]| {
            let (col, row) = (c0.saturating_sub(reach.cols), r0.saturating_sub(reach.rows));
            let right = c1.saturating_add(reach.cols).min(mask.width);
            let bottom = r1.saturating_add(reach.rows).min(mask.height);
            let (width, height) = (u64::from(right - col), u64::from(bottom - row));
            Mapping::of_window(mask, Rect { col: u64::from(col), row: u64::from(row), width, height })
        });
        Ok((whole, lookups))
    }

    fn mapping(&self, level: &warp::Source, window: Window, mask: &warp::Source) -> Result<Option<Arc<Mapping>>> {
        let Window { col, row, width, height } = window;
        let [col, row, width, height] = [col, row, width, height].map(u64::from);
        let make = || Ok(Mapping::between(level, Rect { col, row, width, height }, mask)?.map(Arc::new));
        let key = (window, Geometry::of(level), Geometry::of(mask));
        self.known.try_get_with(key, make).map_err(|e: Arc<Error>| (*e).clone())
    }
}
