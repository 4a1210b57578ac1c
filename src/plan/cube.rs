//! A request made whole: bands, types and tiling, from the item index and one COG header per band.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::try_join_all;
use regex::Regex;

use super::bands::{self, Band, Meaning};
use super::level::Levels;
use super::naming::{self, Sample};
use crate::area::Area;
use crate::cog::Level;
use crate::cog::opened::{Opened, open_cached};
use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::grid::Tiling;
use crate::interrupt;
use crate::items::{Asset, FirstItem, Memo, Named, Selection, default_bands};
use crate::request::Request;
use crate::store::location::shown_text;
use crate::store::{Location, Object, Session};
use crate::warp::pixel_size;

/// What a call will read.
pub struct Cube {
    pub request: Request,
    pub area: Area,
    pub tiling: Tiling,
    pub bands: Vec<Band>,
    pub session: Session,
    pub levels: Levels,
    /// Source pixels under one output pixel, at most, in the sampled COGs.
    pub source_pixels: f64,
    /// By asset, the bytes that the sampled COG stores under one output pixel.
    pub stored: HashMap<String, f64>,
    /// The sampled COGs are local files, which are read without delay.
    pub is_local: bool,
    /// All sampled COGs lie on grids parallel to that of the output, in its CRS.
    pub is_parallel: bool,
}

/// Sides of output tiles that the planner chooses from.
const CHUNK_SIZES: [u64; 4] = [256, 512, 1024, 2048];
/// The planner takes a smaller one only where memory forces it to.
const USUAL_CHUNK_SIZE: u64 = 512;
/// So many tiles should fit into their quarter of the memory budget, so that computing and emitting overlap.
const TILES_IN_FLIGHT: u64 = 4;

impl Cube {
    /// Finds the first matching item and opens one COG per band.
    ///
    /// # Errors
    /// No item matches; a band that no item has; a sampled COG that cannot be read; types that do not go together.
    pub fn bind(mut request: Request) -> Result<Cube> {
        let area = Area::of(&request.grid, &request.crs, request.grid.rect())?;
        let session = Session::new(request.store.clone());
        let levels = Levels::new(request.grid, request.crs.clone());
        request.selection.source = request.selection.source.reachable(&session, request.threads)?;
        request.selection.named = request.bands.as_ref().map(|names| naming::keys_in(names));
        request.selection.memo = Memo::of(&request.selection);
        let selection = request.selection.clone();
        let first = interrupt::apart(move || selection.first())?.ok_or_else(|| nothing_matches(&request, &area))?;
        let wanted = match &request.bands {
            Some(names) => names.clone(),
            None => default_bands(&first),
        };
        if wanted.is_empty() {
            return Err(Error::Items(format!(
                "item '{}' has no asset with an href that may be a TIFF; name the bands to read: bands := [...]",
                first.id
            )));
        }
        let archive = Names { selection: &request.selection, first: &first };
        let named = wanted.iter().map(|name| {
            let (asset, sample) = naming::meaning(name, &archive)?;
            Ok((name.clone(), asset, sample))
        });
        let named: Vec<_> = named.collect::<Result<_>>()?;
        let assets = representatives(&request, &first, named.iter().map(|(_, asset, _)| asset.as_str()))?;
        let opened = open_all(&request, &session, &assets)?;
        let sampled = named
            .into_iter()
            .map(|(name, asset, sample)| {
                let (opened, (item, stac)) = (&opened[&asset], &assets[&asset]);
                let called = match sample {
                    Sample::Named(_) => archive.bands(&asset, item)?,
                    Sample::Only | Sample::Number(_) => Vec::new(),
                };
                let sample = naming::number(&asset, sample, &called, &opened.cog.descriptions)?;
                let nodata = stac.nodata.of(sample.unwrap_or(0));
                Ok(bands::Sampled { name, asset, sample, cog: &opened.cog, nodata })
            })
            .collect::<Result<_>>()?;
        let bands = bands::resolve(&request, sampled)?;
        let source_pixels = source_pixels(&levels, opened.values())?;
        let size = match request.chunk_size {
            Some(size) => size,
            None => choose_chunk_size(&request, &bands, &levels, opened.values())?,
        };
        let tiling = Tiling { width: request.grid.width, height: request.grid.height, size };
        let is_local = assets.values().all(|(_, asset)| matches!(location(&request, asset), Ok(Location::File(_))));
        let (stored, is_parallel) = (stored(&levels, &opened)?, is_parallel(&request.crs, &levels, opened.values())?);
        Ok(Cube { request, area, tiling, bands, session, levels, source_pixels, stored, is_local, is_parallel })
    }

    /// The object that an asset names.
    pub fn object(&self, asset: &Asset) -> Result<Object> {
        object(&self.request, &self.session, asset)
    }

    /// Opens the COG of an asset.
    ///
    /// # Errors
    /// As [`open_cached`], with the item, the asset and the href in front.
    pub async fn open(&self, item: &str, key: &str, asset: &Asset) -> Result<(Object, Arc<Opened>)> {
        let context = || asset_context(&self.request, item, key, asset);
        let object = self.object(asset).map_err(|e| e.within(context()))?;
        let opened = open_cached(&object, asset.crs.as_ref()).await.map_err(|e| e.within(context()))?;
        opened.pin(&object);
        Ok((object, opened))
    }

    /// The distinct assets of `bands`, in order.
    pub fn assets(&self, bands: impl Iterator<Item = usize>) -> Vec<String> {
        let mut assets: Vec<String> = Vec::new();
        for band in bands {
            if !assets.contains(&self.bands[band].asset) {
                assets.push(self.bands[band].asset.clone());
            }
        }
        assets
    }
}

/// `item 'S2B_...' asset 'red' (https://...)`; never a signature.
pub fn asset_context(request: &Request, item: &str, key: &str, asset: &Asset) -> String {
    match asset_location(request, asset) {
        location if location.is_empty() => format!("item '{item}' asset '{key}'"),
        location => format!("item '{item}' asset '{key}' ({location})"),
    }
}

/// Where an asset is read from, as it may be shown.
pub fn asset_location(request: &Request, asset: &Asset) -> String {
    match location(request, asset) {
        Ok(location) => location.to_string(),
        Err(_) => shown_text(&asset.href),
    }
}

fn location(request: &Request, asset: &Asset) -> Result<Location> {
    located(request.href_replace.as_ref(), asset)
}

/// Where an asset is, after `href_replace`.
///
/// # Errors
/// An href that names nothing we can open; an asset that the item does not describe as it must.
pub fn located(replace: Option<&(Regex, String)>, asset: &Asset) -> Result<Location> {
    if let Some(fault) = &asset.fault {
        return Err(Error::Items(fault.to_string()));
    }
    match replace {
        Some((pattern, replacement)) => {
            Location::resolve(&pattern.replace_all(&asset.href, replacement), asset.base.as_deref())
        }
        None => Location::resolve(&asset.href, asset.base.as_deref()),
    }
}

fn object(request: &Request, session: &Session, asset: &Asset) -> Result<Object> {
    session.object(location(request, asset)?, asset.store.as_deref())
}

fn nothing_matches(request: &Request, area: &Area) -> Error {
    let boxes: Vec<String> =
        area.boxes().iter().map(|[w, s, e, n]| format!("[{w:.6}, {s:.6}, {e:.6}, {n:.6}]")).collect();
    let datetime = request.selection.datetime.as_ref().map(|i| format!(", datetime {i}")).unwrap_or_default();
    let ids = match request.selection.ids.as_deref() {
        None => String::new(),
        Some(ids) if ids.len() > 10 => format!(", {} ids", ids.len()),
        Some(ids) => format!(", ids {ids:?}"),
    };
    let filter = request.selection.filter.as_ref().map(|f| format!(", filter {f}")).unwrap_or_default();
    Error::Items(format!("no item matches: bbox {} in EPSG:4326{datetime}{ids}{filter}", boxes.join(" and ")))
}

/// The names in an archive.
struct Names<'a> {
    selection: &'a Selection,
    first: &'a FirstItem,
}

impl Names<'_> {
    /// What the bands of an asset are called, by the item that stands for it.
    fn bands(&self, asset: &str, item: &str) -> Result<Vec<Named>> {
        let of = |first: &FirstItem| first.assets.iter().find(|a| a.key == asset).map(|a| a.bands.clone());
        if self.first.id == item {
            return Ok(of(self.first).unwrap_or_default());
        }
        let one = Selection { ids: Some(vec![item.to_owned()]), memo: Memo::default(), ..self.selection.clone() };
        Ok(one.first()?.as_ref().and_then(of).unwrap_or_default())
    }
}

impl naming::Archive for Names<'_> {
    fn first(&self) -> &FirstItem {
        self.first
    }

    fn keys(&self) -> Result<Vec<String>> {
        self.selection.asset_keys()
    }

    fn whole(&self) -> Result<FirstItem> {
        let whole = Selection { named: None, memo: Memo::default(), ..self.selection.clone() };
        Ok(whole.first()?.unwrap_or_else(|| self.first.clone()))
    }
}

/// One asset for each key: that of the first item, else of the first item that has it.
fn representatives<'a>(
    request: &Request,
    first: &FirstItem,
    keys: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, (String, Asset)>> {
    let mut found = HashMap::new();
    for key in keys {
        if found.contains_key(key) {
            continue;
        }
        if let Some(asset) = first.assets.iter().find(|a| a.key == key) {
            if asset.asset.href.is_empty() && asset.asset.fault.is_none() {
                return Err(Error::Items(format!("item '{}' asset '{key}' has no href", first.id)));
            }
            found.insert(key.to_owned(), (first.id.to_string(), asset.asset.clone()));
            continue;
        }
        let known = request.selection.asset_keys()?;
        let unknown = || Error::Argument(format!("no item has band '{key}'; there are: {}", known.join(", ")));
        if !known.iter().any(|k| k == key) {
            return Err(unknown());
        }
        let keys = [key.to_owned()];
        let mut items = request.selection.stream(&keys)?;
        let holder = items.find_map(|item| match item {
            Ok(item) => item.assets.first().cloned().flatten().map(|a| Ok((item.id.to_string(), a))),
            Err(e) => Some(Err(e)),
        });
        let without =
            || Error::Items(format!("item '{}' asset '{key}' has no href, nor has that of any other item", first.id));
        found.insert(key.to_owned(), holder.ok_or_else(without)??);
    }
    Ok(found)
}

fn open_all(
    request: &Request,
    session: &Session,
    assets: &HashMap<String, (String, Asset)>,
) -> Result<HashMap<String, Arc<Opened>>> {
    let opening = assets.iter().map(|(key, (item, asset))| async move {
        let context = || asset_context(request, item, key, asset);
        let object = object(request, session, asset).map_err(|e| e.within(context()))?;
        let opened = open_cached(&object, asset.crs.as_ref()).await.map_err(|e| e.within(context()))?;
        Ok::<_, Error>((key.clone(), opened))
    });
    let opened = interrupt::wait(try_join_all(opening))??;
    Ok(opened.into_iter().collect())
}

/// The level of a COG that is read, and how many of its pixels lie under one output pixel.
fn pixels_under<'a>(levels: &Levels, opened: &'a Opened) -> Result<(&'a Level, f64)> {
    let (level, _) = levels.choose(opened)?;
    let side = levels.target(opened)?.map_or(1.0, |t| t / pixel_size(&opened.level_transform(level)));
    Ok((opened.level(level), side * side))
}

fn source_pixels<'a>(levels: &Levels, opened: impl Iterator<Item = &'a Arc<Opened>>) -> Result<f64> {
    let mut most: f64 = 1.0;
    for opened in opened {
        most = most.max(pixels_under(levels, opened)?.1);
    }
    Ok(most)
}

fn stored(levels: &Levels, opened: &HashMap<String, Arc<Opened>>) -> Result<HashMap<String, f64>> {
    let of_one = |(asset, opened): (&String, &Arc<Opened>)| {
        let (image, pixels) = pixels_under(levels, opened)?;
        let per_pixel = image.stored_bytes() as f64 / (f64::from(image.width) * f64::from(image.height));
        Ok((asset.clone(), per_pixel * pixels))
    };
    opened.iter().map(of_one).collect()
}

fn is_parallel<'a>(crs: &Crs, levels: &Levels, mut opened: impl Iterator<Item = &'a Arc<Opened>>) -> Result<bool> {
    opened.try_fold(true, |all, opened| {
        let (_, source) = levels.choose(opened)?;
        Ok(all && source.is_parallel_to(crs))
    })
}

/// Side of an output tile: no smaller than a source tile, which would be decoded for many output tiles otherwise, as long as
/// several fit into their share of the memory budget. Small ones take less memory, and more of them is in the processor's caches.
fn choose_chunk_size<'a>(
    request: &Request,
    bands: &[Band],
    levels: &Levels,
    opened: impl Iterator<Item = &'a Arc<Opened>>,
) -> Result<u64> {
    let mut side: f64 = USUAL_CHUNK_SIZE as f64;
    for opened in opened {
        let (level, source) = levels.choose(opened)?;
        let size = pixel_size(&opened.level_transform(level));
        let tile = f64::from(source.tile.0.max(source.tile.1)) * size;
        side = side.max(levels.target(opened)?.map_or(0.0, |target| tile / target));
    }
    let per_pixel: usize = bands.iter().map(|b| bytes_per_pixel(request, b)).sum();
    let fits = |size: &u64| size * size * TILES_IN_FLIGHT * per_pixel as u64 <= request.memory_budget / 4;
    let fitting: Vec<u64> = CHUNK_SIZES.into_iter().filter(fits).collect();
    let wanted = fitting.iter().find(|size| **size as f64 >= side * 0.98);
    Ok(*wanted.or(fitting.last()).unwrap_or(&CHUNK_SIZES[0]))
}

/// Bytes that one output pixel of a band takes while its tile is worked on and waits to be emitted.
pub fn bytes_per_pixel(request: &Request, band: &Band) -> usize {
    /// Items that a statistic over the stack is likely to see; it only sets the size of tiles.
    const LIKELY_ITEMS: usize = 12;
    let work = request.mosaic.work_dtype(band.source_dtype, band.dtype);
    let state = request.mosaic.state_size(work, LIKELY_ITEMS);
    if request.mosaic.work_is_output(work, band.dtype) { state } else { state + band.dtype.size() + 1 }
}

impl Cube {
    /// Checks that a source's values fit what was resolved at bind.
    ///
    /// # Errors
    /// A type that is wider, or another nodata, than the sampled item's, unless the call fixes it.
    pub fn check_source(&self, band: &Band, opened: &Opened, asset: &Asset) -> Result<()> {
        let dtype = opened.cog.dtype;
        if self.request.dtype.is_none() && !dtype.fits_in(band.source_dtype) {
            return Err(Error::Argument(format!(
                "its type {dtype} does not fit into {}, which the first item has; pass dtype := '{}'",
                band.source_dtype,
                dtype.promote(band.source_dtype).map_or("float64".into(), |d| d.to_string())
            )));
        }
        if self.request.nodata.is_some() || self.request.scale {
            return Ok(());
        }
        let stac = asset.nodata.of(band.sample);
        let declared = bands::declared_nodata(&self.request, &opened.cog, band.sample, stac);
        let same = match (declared, band.nodata) {
            (Some(a), Some(b)) => a.to_f64() == b.to_f64() || (a.to_f64().is_nan() && b.to_f64().is_nan()),
            // A source without nodata has no invalid values, and validity is kept beside the values.
            _ => true,
        };
        if same {
            return Ok(());
        }
        let show = |n: Option<crate::cog::Nodata>| n.map_or("none".into(), |n| n.to_f64().to_string());
        Err(Error::Argument(format!(
            "its nodata {} is not {}, which the first item has; pass nodata := the value to write \
             (each source keeps its own only if they agree)",
            show(declared),
            show(band.nodata)
        )))
    }

    /// What the stored values of one source of a band mean.
    pub fn meaning(&self, band: &Band, opened: &Opened, asset: &Asset) -> Meaning {
        let stac = asset.nodata.of(band.sample);
        let nodata = bands::declared_nodata(&self.request, &opened.cog, band.sample, stac);
        let own = || opened.cog.scale_offset.get(usize::from(band.sample)).copied().flatten();
        let declared = || asset.scale_offset_of(band.sample).or_else(own);
        Meaning { nodata, scale: self.request.scale.then(declared).flatten() }
    }

    /// The CRS of the output.
    pub fn crs(&self) -> &Crs {
        &self.request.crs
    }
}
