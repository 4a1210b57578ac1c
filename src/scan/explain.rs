//! What a scan would read, told without reading a pixel.

use std::sync::Arc;

use futures::stream::{self, StreamExt};

use super::read::screens;
use super::read::window::{self, Keep};
use super::shared::cache::TileCache;
use super::shared::screen;
use super::watch::failures::{Failure, Failures};
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::items::{Asset, Item};
use crate::mosaic::Order;
use crate::plan::{Band, Cube, Mask, Unit, asset_context, asset_location, of_places};
use crate::request::OnError;
use crate::warp::{Mapping, pixel_size};

/// One read of one band of one item for one unit; without an item where a unit has none that carries the band.
#[derive(Debug, Clone)]
pub struct Row {
    pub time: i64,
    pub time_index: u64,
    pub chunk_row: u64,
    pub chunk_col: u64,
    pub chunk_width: u64,
    pub chunk_height: u64,
    pub band: String,
    /// It is read to hide pixels of the bands.
    pub masks: bool,
    pub item_id: Option<String>,
    pub href: Option<String>,
    /// Position in the mosaic's order, from 0.
    pub read_order: Option<u64>,
    /// Why its pixels may lie beside their place: of this file where its header is opened, else of the sampled one of its asset.
    pub warning: Option<String>,
    pub header: Option<Header>,
}

/// What only the header of the COG can tell.
#[derive(Debug, Clone)]
pub struct Header {
    /// 0 = full resolution, 1 = the finest overview.
    pub overview_level: u64,
    /// Side of a pixel of that level, in units of the source's CRS.
    pub overview_resolution: f64,
    /// `None` where the raster does not meet the tile after all.
    pub window: Option<Window>,
    /// See [`Row::warning`].
    pub warning: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Window {
    pub col: u64,
    pub row: u64,
    pub width: u64,
    pub height: u64,
    pub tiles: u64,
    /// Of a cold read.
    pub requests: u64,
    pub bytes: u64,
    /// Tiles that need no read now, and what the others take.
    pub cached: u64,
    pub requests_now: u64,
    pub bytes_now: u64,
}

/// Headers opened at once.
const AHEAD: usize = 32;

/// The rows of one unit: by band, then by item.
///
/// # Errors
/// With `headers`: a header that cannot be read, unless the call ignores errors: then it is one of `failures`.
pub fn rows(cube: &Cube, assets: &[String], mut unit: Unit, headers: bool, failures: &Failures) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if headers {
        let members = unit.members.clone();
        loop {
            let unknown = members.unknown(&unit.items, |_| true);
            if unknown.is_empty() {
                break;
            }
            members.learn(&interrupt::wait(members.open(cube, assets, &unknown))?);
        }
        let more = members.undeclared(&unit.items, &unit.area);
        unit = unit.with(more);
    }
    let unit = &unit;
    let closed = if headers { cube.closed(unit.chunk_row, unit.chunk_col)? } else { None };
    for band in &cube.bands {
        let asset = assets.iter().position(|a| *a == band.asset);
        let holders: Vec<&Arc<Item>> = unit
            .items
            .iter()
            .filter(|item| asset.is_some_and(|a| matches!(item.assets.get(a), Some(Some(_)))))
            .collect();
        if holders.is_empty() {
            rows.push(empty(unit, &band.name));
            continue;
        }
        let opened = if headers {
            open(cube, (unit, closed.as_deref()), (band, asset), &holders, failures)?
        } else {
            vec![None; holders.len()]
        };
        let order = |i: usize| read_order(cube, i, holders.len());
        for (i, (item, header)) in holders.iter().zip(opened).enumerate() {
            let Some(Some(Some(found))) = asset.map(|a| item.assets.get(a).map(Option::as_ref)) else { continue };
            rows.push(Row {
                item_id: Some(item.id.to_string()),
                href: Some(asset_location(&cube.request, found)).filter(|href| !href.is_empty()),
                read_order: Some(order(i) as u64),
                warning: match &header {
                    Some(header) => header.warning.clone(),
                    None => cube.warnings.get(&band.asset).cloned(),
                },
                header,
                ..empty(unit, &band.name)
            });
        }
    }
    if let Some(mask) = &cube.mask {
        rows.extend(mask_rows(cube, mask, assets, unit, headers, failures)?);
    }
    Ok(rows)
}

/// `last` reads from the end.
fn read_order(cube: &Cube, position: usize, items: usize) -> usize {
    let order = Order::of(cube.bands.iter().map(|band| band.method));
    if order.reverses { items - 1 - position } else { position }
}

/// The reads of the mask: one for each item that has one of the bands.
fn mask_rows(
    cube: &Cube,
    mask: &Mask,
    assets: &[String],
    unit: &Unit,
    headers: bool,
    failures: &Failures,
) -> Result<Vec<Row>> {
    let has_band = |item: &&Arc<Item>| cube.bands.iter().any(|band| asset_of(item, assets, &band.asset).is_some());
    let items: Vec<&Arc<Item>> = unit.items.iter().filter(has_band).collect();
    let mut rows = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let found = asset_of(item, assets, &mask.asset).cloned().unwrap_or_default();
        let header = if headers { mask_header(cube, mask, unit, (item, assets), failures)? } else { None };
        rows.push(Row {
            masks: true,
            item_id: Some(item.id.to_string()),
            href: Some(asset_location(&cube.request, &found)).filter(|href| !href.is_empty()),
            read_order: Some(read_order(cube, i, items.len()) as u64),
            header,
            ..empty(unit, &mask.name)
        });
    }
    Ok(rows)
}

/// The asset of an item with a key, which is one of those that it was asked for.
fn asset_of<'i>(item: &'i Item, assets: &[String], key: &str) -> Option<&'i Asset> {
    item.assets.get(assets.iter().position(|asset| asset == key)?)?.as_ref()
}

/// The window of a mask that the windows of all bands need; `None` where a file cannot be read and the call ignores that.
fn mask_header(
    cube: &Cube,
    mask: &Mask,
    unit: &Unit,
    (item, assets): (&Item, &[String]),
    failures: &Failures,
) -> Result<Option<Header>> {
    let lacking = Asset::default();
    let (found, shown) = match asset_of(item, assets, &mask.asset) {
        Some(found) => (Some(found), found),
        None => (None, &lacking),
    };
    let failed = |error: Error| match cube.request.errors {
        OnError::Ignore if error != Error::Cancelled => {
            failures.record(Failure::new(&cube.request, &item.id, &mask.asset, shown, &error));
            Ok(None)
        }
        _ => Err(error),
    };
    let within = |e: Error| e.within_once(asset_context(&cube.request, &item.id, &mask.asset, shown));
    let Some(asset) = found else { return failed(within(mask.lacking())) };
    let mut windows = Vec::new();
    for band in &cube.bands {
        let Some(own) = asset_of(item, assets, &band.asset) else { continue };
        // What is wrong with a band is told by its own row.
        let Ok((_, opened)) = interrupt::wait(cube.open(&item.id, &band.asset, own))? else { continue };
        let (_, source) = cube.levels.choose(&opened)?;
        let mapping = Mapping::new(&cube.request.grid, cube.crs(), unit.rect, &source, band.kernel)?;
        windows.extend(mapping.map(|mapping| (source, screen::Window::of(&mapping))));
    }
    let opened = match interrupt::wait(cube.open(&item.id, &mask.asset, asset))? {
        Ok((_, opened)) => opened,
        Err(error) => return failed(error),
    };
    let sample = match mask.sample_of(&opened.cog) {
        Ok(sample) => sample,
        Err(error) => return failed(within(error)),
    };
    let (level, mapping) = screens::window_of(cube, &opened, &windows).map_err(within)?;
    // Its window is one of its own pixels, not of the output's, of which some may be closed.
    header(cube, (unit, None), &opened, (level, mapping), sample).map(Some).map_err(within)
}

fn empty(unit: &Unit, band: &str) -> Row {
    Row {
        time: unit.time,
        time_index: unit.time_index,
        chunk_row: unit.chunk_row,
        chunk_col: unit.chunk_col,
        chunk_width: unit.rect.width,
        chunk_height: unit.rect.height,
        band: band.to_owned(),
        masks: false,
        item_id: None,
        href: None,
        read_order: None,
        warning: None,
        header: None,
    }
}

fn open(
    cube: &Cube,
    (unit, closed): (&Unit, Option<&[u8]>),
    (band, asset): (&Band, Option<usize>),
    items: &[&Arc<Item>],
    failures: &Failures,
) -> Result<Vec<Option<Header>>> {
    let opening = items.iter().map(|item| async move {
        let Some(Some(Some(found))) = asset.map(|a| item.assets.get(a).map(Option::as_ref)) else { return Ok(None) };
        let (_, opened) = match cube.open(&item.id, &band.asset, found).await {
            Ok(opened) => opened,
            Err(error) if cube.request.errors == OnError::Ignore && error != Error::Cancelled => {
                failures.record(Failure::new(&cube.request, &item.id, &band.asset, found, &error));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let within = |e: Error| e.within(asset_context(&cube.request, &item.id, &band.asset, found));
        let (level, source) = cube.levels.choose(&opened).map_err(within)?;
        let mapping = Mapping::new(&cube.request.grid, cube.crs(), unit.rect, &source, band.kernel).map_err(within)?;
        header(cube, (unit, closed), &opened, (level, mapping), band.sample).map(Some).map_err(within)
    });
    let opened: Vec<Result<Option<Header>>> = interrupt::wait(stream::iter(opening).buffered(AHEAD).collect())?;
    opened.into_iter().collect()
}

/// What the header of an opened COG tells of a read. Pixels of the unit that are `closed` are not wanted.
fn header(
    cube: &Cube,
    (unit, closed): (&Unit, Option<&[u8]>),
    opened: &Opened,
    (level, mapping): (usize, Option<Mapping>),
    sample: u16,
) -> Result<Header> {
    let samples: Vec<u16> = [sample].into_iter().chain(opened.cog.alpha_for(sample)).collect();
    let image = opened.level(level);
    let cache = TileCache::shared(cube.request.cache_size);
    let window = mapping.map(|mapping| {
        let tile = (image.tile_width, image.tile_height);
        let open = closed.map(|closed| mapping.open_tiles(unit.rect, tile, closed));
        let open = open.as_deref();
        let plan = |cache| window::plan(Keep::for_later(cache), opened, level, &samples, &mapping, open);
        let (reads, now) = (plan(TileCache::none()), plan(&cache));
        let ((requests, bytes), (requests_now, bytes_now)) = (reads.cost(), now.cost());
        Window {
            col: u64::from(mapping.col),
            row: u64::from(mapping.row),
            width: u64::from(mapping.width),
            height: u64::from(mapping.height),
            tiles: reads.open_tiles(open) as u64,
            requests,
            bytes,
            cached: now.cached() as u64,
            requests_now,
            bytes_now,
        }
    });
    let overview_resolution = pixel_size(&opened.level_transform(level));
    let warning = of_places(&cube.request.grid, cube.crs(), unit.rect, &opened.crs)?;
    Ok(Header { overview_level: level as u64, overview_resolution, window, warning })
}
