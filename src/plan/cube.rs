//! A request made whole: bands, types and tiling, from the item index and one COG header per band.

use std::collections::HashMap;
use std::sync::Arc;

use super::assets::{asset_context, location, object};
use super::bands::{self, Band, Meaning};
use super::caution;
use super::empty::{anywhere, nothing_matches};
use super::level::Levels;
use super::mask::Mask;
use super::naming::{self, Sample};
use super::outlines::{lies_where, outline_of};
use super::sample::{Archive, Unread};
use super::target::Target;
use super::zoned::{ZoneSet, Zoned};
use crate::area::Area;
use crate::cog::headers::Headers;
use crate::cog::opened::Opened;
use crate::cog::{Level, Nodata};
use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::grid::Tiling;
use crate::interrupt;
use crate::items::{Asset, FirstItem, Memo, Named, Selection, default_bands};
use crate::request::{MaskBand, OnError, Request};
use crate::store::{Location, Object, Session};
use crate::warp::pixel_size;

/// What a call will read.
pub struct Cube {
    pub request: Request,
    pub area: Area,
    pub target: Target,
    pub bands: Vec<Band>,
    /// What hides pixels of the bands.
    pub mask: Option<Mask>,
    /// A corner of the pixels of the first band's sample, where pixels of the output are as large, or whole multiples, or whole parts.
    pub native: Option<(f64, f64)>,
    /// The only pixels that are wanted; `None` for all.
    pub zoned: Option<Arc<Zoned>>,
    pub session: Session,
    pub headers: Headers,
    pub levels: Levels,
    /// Source pixels under one output pixel, at most, in the sampled COGs.
    pub source_pixels: f64,
    /// By asset, the bytes that the sampled COG stores under one output pixel.
    pub stored: HashMap<String, f64>,
    /// The sampled COGs are local files, which are read without delay.
    pub is_local: bool,
    /// By asset, what is to be known of the places of the sampled COG's pixels.
    pub warnings: HashMap<String, String>,
    /// All sampled COGs lie on grids parallel to that of the output, in its CRS.
    pub is_parallel: bool,
    /// The sampled COGs lie where their item says. Else what items declare chooses them for the query, and no more: each is looked
    /// for in every tile. Items that differ from the sampled ones are found by their headers, see [`super::members::Members`].
    pub declares_truly: bool,
    /// What was to be sampled and cannot be read, where the call ignores errors.
    pub unread: Vec<Unread>,
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
    /// No item matches, unless the call allows that; a band that no item has; a sampled COG that cannot be read; types that
    /// do not go together.
    pub fn bind(request: Request) -> Result<Cube> {
        Cube::bind_over(request, None)
    }

    /// As [`Cube::bind`], of the pixels that zones cover.
    ///
    /// # Errors
    /// A zone that cannot be brought to the grid, or is none, where errors are not ignored.
    pub fn bind_over(mut request: Request, zones: Option<&ZoneSet>) -> Result<Cube> {
        let area = Area::of(&request.grid, &request.crs, request.grid.rect())?;
        let session = Session::new(request.store.clone());
        let levels = Levels::new(request.grid, request.crs.clone(), request.overviews);
        request.selection.source = request.selection.source.reachable(&session, request.threads)?;
        let mask = request.mask.as_ref().map(|mask| mask.band.clone());
        request.selection.named = request.bands.as_ref().map(|names| naming::keys_in(names.iter().chain(&mask)));
        request.selection.memo = Memo::of(&request.selection);
        let (first, sampled) = first_item(&request, &area)?;
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
        request.mosaic.check("mosaic", &wanted)?;
        request.resampling.check("resampling", &wanted)?;
        let names = Names { selection: &sampled, first: &first };
        let meaning = |name: &String| {
            let (asset, sample) = naming::meaning(name, &names)?;
            Ok((name.clone(), asset, sample))
        };
        let named: Vec<_> = wanted.iter().map(meaning).collect::<Result<_>>()?;
        let mut assets = representatives(&request, &sampled, &first, named.iter().map(|(_, asset, _)| asset.as_str()))?;
        let of_mask = |e: Error| e.within("mask_band");
        let masking = mask.as_ref().map(meaning).transpose().map_err(of_mask)?;
        let of_masking = masking.iter().map(|(_, asset, _)| asset.as_str());
        assets.extend(representatives(&request, &sampled, &first, of_masking).map_err(of_mask)?);
        let number = |asset: &str, sample: &Sample, item: &str, opened: &Opened| {
            let called = match sample {
                Sample::Named(_) => names.bands(asset, item)?,
                Sample::Only | Sample::Number(_) => Vec::new(),
            };
            naming::number(asset, sample.clone(), &called, &opened.cog.descriptions)
        };
        let fits = |item: &str, key: &str, opened: &Opened| {
            levels.choose(opened)?;
            let mut bands = named.iter().chain(&masking).filter(|(_, asset, _)| asset == key);
            bands.try_for_each(|(name, _, sample)| {
                bands::choose_sample(name, key, number(key, sample, item, opened)?, &opened.cog).map(drop)
            })
        };
        let headers = Headers::default();
        let archive = Archive { request: &request, selection: &sampled, session: &session, headers: &headers };
        let (opened, unread) = archive.open(&mut assets, fits)?;
        let number_of = |asset: &String, sample: &Sample| number(asset, sample, &assets[asset].0, &opened[asset]);
        let mask = masking.iter().zip(&request.mask).map(|((name, asset, sample), MaskBand { rule, .. })| {
            let number = number_of(asset, sample)?;
            Mask::new(name, asset, number, rule.clone(), &opened[asset].cog)
        });
        let mask = mask.collect::<Result<Vec<_>>>()?.pop();
        let sampled = named
            .iter()
            .map(|(name, asset, sample)| {
                let (opened, (_, stac)) = (&opened[asset], &assets[asset]);
                let sample = number_of(asset, sample)?;
                let nodata = stac.nodata.of(sample.unwrap_or(0));
                Ok(bands::Sampled { name: name.clone(), asset: asset.clone(), sample, cog: &opened.cog, nodata })
            })
            .collect::<Result<_>>()?;
        let bands = bands::resolve(&request, sampled)?;
        let of_bands = || opened.iter().filter(|(key, _)| bands.iter().any(|b| b.asset == **key)).map(|(_, cog)| cog);
        let source_pixels = source_pixels(&levels, of_bands())?;
        let size = match request.chunk_size {
            Some(size) => size,
            None => choose_chunk_size(&request, &bands, &levels, of_bands())?,
        };
        let tiling = Tiling { width: request.grid.width, height: request.grid.height, size };
        let place = (&request.grid, &request.crs);
        let (memory, ignored) = (request.memory_budget / 8, request.errors == OnError::Ignore);
        let zoned = zones.map(|zones| Zoned::new(zones, place, tiling, memory, ignored)).transpose()?.map(Arc::new);
        let target = zoned.as_ref().map_or_else(|| Target::grid(tiling), |zoned| zoned.target(tiling));
        let declares_truly = target.len() == 1 || declares_truly(&first, &assets, &opened)?;
        let is_local = assets.values().all(|(_, asset)| matches!(location(&request, asset), Ok(Location::File(_))));
        let (stored, is_parallel) = (stored(&levels, &opened, size)?, is_parallel(&request.crs, &levels, of_bands())?);
        let warnings = warnings(&request, &opened)?;
        let native = bands.first().and_then(|band| native(&request, &opened[&band.asset]));
        Ok(Cube {
            request,
            area,
            target,
            bands,
            mask,
            native,
            zoned,
            session,
            headers,
            levels,
            source_pixels,
            stored,
            is_local,
            warnings,
            is_parallel,
            declares_truly,
            unread,
        })
    }

    /// The object that an asset names.
    pub fn object(&self, asset: &Asset) -> Result<Object> {
        object(&self.request, &self.session, asset)
    }

    /// Opens the COG of an asset.
    ///
    /// # Errors
    /// As [`Headers::open`], with the item, the asset and the href in front.
    pub async fn open(&self, item: &str, key: &str, asset: &Asset) -> Result<(Arc<Object>, Arc<Opened>)> {
        let context = || asset_context(&self.request, item, key, asset);
        let object = Arc::new(self.object(asset).map_err(|e| e.within(context()))?);
        let opened = self.headers.open(&object, asset.crs.as_ref()).await.map_err(|e| e.within(context()))?;
        opened.pin(&object);
        Ok((object, opened))
    }

    /// The distinct assets of all bands and of the mask: they tell where an item is.
    pub fn all_assets(&self) -> Vec<String> {
        self.assets(0..self.bands.len())
    }

    /// The distinct assets of `bands`, in order, and that of the mask.
    pub fn assets(&self, bands: impl Iterator<Item = usize>) -> Vec<String> {
        let mut assets: Vec<String> = Vec::new();
        for asset in bands.map(|band| &self.bands[band].asset).chain(self.mask.iter().map(|mask| &mask.asset)) {
            if !assets.contains(asset) {
                assets.push(asset.clone());
            }
        }
        assets
    }
}

/// The first matching item, and the selection that it and all samples are taken from: that of the call, or the whole archive
/// where nothing matches and the call allows that.
fn first_item(request: &Request, area: &Area) -> Result<(FirstItem, Selection)> {
    let first_of = |selection: Selection| interrupt::apart(move || selection.first());
    if let Some(first) = first_of(request.selection.clone())? {
        return Ok((first, request.selection.clone()));
    }
    if !request.allow_empty {
        return Err(nothing_matches(request, area));
    }
    let all = anywhere(&request.selection);
    let first = first_of(all.clone())?;
    Ok((first.ok_or_else(|| Error::Items("there is no item, of which the columns could be taken".into()))?, all))
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
        Ok(interrupt::apart(move || one.first())?.as_ref().and_then(of).unwrap_or_default())
    }
}

impl naming::Archive for Names<'_> {
    fn first(&self) -> &FirstItem {
        self.first
    }

    fn keys(&self) -> Result<Vec<String>> {
        let selection = self.selection.clone();
        interrupt::apart(move || selection.asset_keys())
    }

    fn whole(&self) -> Result<FirstItem> {
        let whole = Selection { named: None, memo: Memo::default(), ..self.selection.clone() };
        Ok(interrupt::apart(move || whole.first())?.unwrap_or_else(|| self.first.clone()))
    }
}

/// One asset for each key: that of the first item, else of the first item that has it.
fn representatives<'a>(
    request: &Request,
    selection: &Selection,
    first: &FirstItem,
    keys: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, (String, Asset)>> {
    let mut found = HashMap::new();
    for key in keys {
        if found.contains_key(key) {
            continue;
        }
        if let Some(asset) = first.assets.iter().find(|a| a.key == key) {
            if asset.asset.href.is_empty() && asset.asset.fault.is_none() && request.errors == OnError::Raise {
                return Err(Error::Items(format!("item '{}' asset '{key}' has no href", first.id)));
            }
            found.insert(key.to_owned(), (first.id.to_string(), asset.asset.clone()));
            continue;
        }
        let known = selection.asset_keys()?;
        let unknown = || Error::Argument(format!("no item has band '{key}'; there are: {}", known.join(", ")));
        if !known.iter().any(|k| k == key) {
            return Err(unknown());
        }
        let keys = [key.to_owned()];
        let mut items = selection.stream(&keys, &keys)?;
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

/// Whether the assets of the first item lie where it says that they do.
fn declares_truly(
    first: &FirstItem,
    assets: &HashMap<String, (String, Asset)>,
    opened: &HashMap<String, Arc<Opened>>,
) -> Result<bool> {
    let Some(place) = &first.place else { return Ok(true) };
    let of_first = opened.iter().filter(|(key, _)| assets.get(*key).is_some_and(|(item, _)| *item == first.id));
    let mut seen: Vec<&Opened> = Vec::new();
    for (_, opened) in of_first {
        if seen.iter().any(|other| lies_where(other, opened)) {
            continue;
        }
        if !place.encloses(&outline_of(opened)?) {
            return Ok(false);
        }
        seen.push(opened);
    }
    Ok(true)
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

/// `size` is the side of an output tile.
fn stored(levels: &Levels, opened: &HashMap<String, Arc<Opened>>, size: u64) -> Result<HashMap<String, f64>> {
    let of_one = |(asset, opened): (&String, &Arc<Opened>)| {
        let (image, pixels) = pixels_under(levels, opened)?;
        let per_pixel = image.stored_bytes() as f64 / (f64::from(image.width) * f64::from(image.height));
        // A strip is read as wide as the image, however narrow the output tile is.
        let beyond = |tile: u32| (f64::from(tile) / (size as f64 * pixels.sqrt())).max(1.0);
        let whole = if image.striped { beyond(image.tile_width) * beyond(image.tile_height) } else { 1.0 };
        Ok((asset.clone(), per_pixel * pixels * whole))
    };
    opened.iter().map(of_one).collect()
}

fn warnings(request: &Request, opened: &HashMap<String, Arc<Opened>>) -> Result<HashMap<String, String>> {
    let of_one = |(asset, opened): (&String, &Arc<Opened>)| {
        let found = caution::of_places(&request.grid, &request.crs, request.grid.rect(), &opened.crs);
        found.map(|warning| Some((asset.clone(), warning?))).transpose()
    };
    opened.iter().filter_map(of_one).collect()
}

fn native(request: &Request, opened: &Opened) -> Option<(f64, f64)> {
    let (transform, resolution) = (opened.transform, request.grid.resolution);
    let is_whole = |ratio: f64| ratio >= 0.5 && (ratio - ratio.round()).abs() < 1e-6;
    let fits = |side: f64| is_whole(resolution / side.abs()) || is_whole(side.abs() / resolution);
    let parallel = opened.crs.same_as(&request.crs) && transform.is_axis_aligned();
    (parallel && fits(transform.a) && fits(transform.e)).then_some((transform.c, transform.f))
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
        let (width, height) = source.tile;
        // A strip is shared by output tiles side by side whatever their size.
        let tile = f64::from(if opened.level(level).striped { height } else { width.max(height) }) * size;
        side = side.max(levels.target(opened)?.map_or(0.0, |target| tile / target));
    }
    let per_pixel: usize = bands.iter().map(bytes_per_pixel).sum();
    let fits = |size: &u64| size * size * TILES_IN_FLIGHT * per_pixel as u64 <= request.memory_budget / 4;
    let fitting: Vec<u64> = CHUNK_SIZES.into_iter().filter(fits).collect();
    let wanted = fitting.iter().find(|size| **size as f64 >= side * 0.98);
    Ok(*wanted.or(fitting.last()).unwrap_or(&CHUNK_SIZES[0]))
}

/// Bytes that one output pixel of a band takes while its tile is worked on and waits to be emitted.
pub fn bytes_per_pixel(band: &Band) -> usize {
    /// Items that a statistic over the stack is likely to see; it only sets the size of tiles.
    const LIKELY_ITEMS: usize = 12;
    let work = band.work_dtype();
    let state = band.method.state_size(work, LIKELY_ITEMS);
    if band.method.work_is_output(work, band.dtype) { state } else { state + band.dtype.size() + 1 }
}

impl Cube {
    /// Checks that a source's values fit what was resolved at bind.
    ///
    /// # Errors
    /// A file without that band. A type that is wider than the sampled item's, unless the call fixes it. Where missing pixels are marked by a value,
    /// another nodata than the sampled item's, unless the call gives one.
    pub fn check_source(&self, band: &Band, opened: &Opened, asset: &Asset) -> Result<()> {
        // A name without a choice means the only band of a file, of the first item's as of all others.
        let chosen = band.chosen.then_some(band.sample);
        bands::choose_sample(&band.name, &band.asset, chosen, &opened.cog)?;
        let source = bands::Source { dtype: opened.cog.dtype, nodata: self.meaning(band.sample, opened, asset).nodata };
        bands::check_source(&self.request, band, source)
    }

    /// Checks that one tile of a level can be decoded in the memory that the query may take.
    ///
    /// # Errors
    /// A tile, which is mostly a strip with the whole image in it, that is larger.
    pub fn check_tiles(&self, level: &Level) -> Result<()> {
        /// Whatever the budget.
        const ALWAYS: u64 = 64 << 20;
        let most = self.request.memory_budget.max(ALWAYS);
        for image in std::iter::once(level).chain(level.mask.as_deref()) {
            let decoded = (image.tile_len() * image.dtype.size()) as u64;
            if decoded > ALWAYS && image.largest_tile() > most {
                return Err(Error::Unsupported(format!(
                    "a {} of {} x {} pixels must be decoded at once, which takes {} MB, and lazycogs_memory_budget is {} MB; \
                     raise it, or rewrite the file with gdal_translate -of COG",
                    if image.striped { "strip" } else { "tile" },
                    image.tile_width,
                    image.tile_height,
                    image.largest_tile().div_ceil(1_000_000),
                    self.request.memory_budget / 1_000_000
                )));
            }
        }
        Ok(())
    }

    /// What the stored values of a sample of one source mean.
    pub fn meaning(&self, sample: u16, opened: &Opened, asset: &Asset) -> Meaning {
        let stac = asset.nodata.of(sample);
        let nodata = bands::marking_nodata(&self.request, &opened.cog, sample, stac);
        let own = || opened.cog.scale_offset.get(usize::from(sample)).copied().flatten();
        let declared = || asset.scale_offset_of(sample).or_else(own);
        Meaning { nodata, scale: self.request.scale.then(declared).flatten() }
    }

    /// What marks pixels of a mask that have no value: the argument `nodata` is about bands.
    pub fn nodata_of_mask(&self, sample: u16, opened: &Opened, asset: &Asset) -> Option<Nodata> {
        bands::own_nodata(&opened.cog, sample, asset.nodata.of(sample))
    }

    /// For each pixel of an output tile 1 where nobody wants it; `None` where all are wanted.
    ///
    /// # Errors
    /// As for zones at bind.
    pub fn closed(&self, chunk_row: u64, chunk_col: u64) -> Result<Option<Vec<u8>>> {
        let position = self.target.position(chunk_row, chunk_col);
        match (&self.zoned, position) {
            (Some(zoned), Some(position)) => zoned.closed(position),
            _ => Ok(None),
        }
    }

    /// The CRS of the output.
    pub fn crs(&self) -> &Crs {
        &self.request.crs
    }
}
