//! SQL values -> Request: typed and validated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::api::{BindInfo, Type};
use super::by_band;
use super::named::{boolean, given, integer, text, texts};
use super::settings::{MOST_READS, Settings};
use super::value::{Data, Value};
use crate::area::Area;
use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::extent;
use crate::grid::Grid;
use crate::items::{Memo, OwnedValue, Selection, Source};
use crate::mosaic::Method;
use crate::pixels::DataType;
use crate::plan::Cube;
use crate::request::{OnError, Request};
use crate::store;
use crate::time::{Interval, Period};
use crate::warp::Kernel;

const LARGEST_CHUNK: i64 = 16_384;

/// items, bbox, crs, resolution, period.
pub fn positional() -> Vec<Type> {
    vec![Type::ANY, Type::ANY, Type::VARCHAR, Type::DOUBLE, Type::VARCHAR]
}

/// The named arguments of every reader.
pub fn named() -> Vec<(&'static str, Type)> {
    vec![
        ("bands", Type::ANY),
        ("datetime", Type::VARCHAR),
        ("filter", Type::VARCHAR),
        ("ids", Type::ANY),
        ("sortby", Type::ANY),
        ("mosaic", Type::ANY),
        ("resampling", Type::ANY),
        ("overviews", Type::BOOLEAN),
        ("mask_band", Type::VARCHAR),
        ("mask_values", Type::ANY),
        ("mask_keep", Type::ANY),
        ("mask_bits", Type::ANY),
        ("mask_above", Type::DOUBLE),
        ("mask_below", Type::DOUBLE),
        ("mask_grow", Type::DOUBLE),
        ("dtype", Type::VARCHAR),
        ("nodata", Type::ANY),
        ("scale", Type::BOOLEAN),
        ("errors", Type::VARCHAR),
        ("chunk_size", Type::BIGINT),
        ("max_concurrent_reads", Type::BIGINT),
        ("store_options", Type::map(Type::VARCHAR, Type::VARCHAR)),
        ("href_replace", Type::list(Type::VARCHAR)),
        ("asset_href", Type::VARCHAR),
        ("allow_local", Type::BOOLEAN),
        ("items_base", Type::VARCHAR),
        ("allow_empty", Type::BOOLEAN),
        ("hive_partitioning", Type::BOOLEAN),
    ]
}

/// What `lazycogs_store` is asked about.
pub struct Archive {
    pub selection: Selection,
    pub store: store::Options,
    pub href_replace: Option<(Regex, String)>,
    pub items_base: Option<String>,
    pub asset: Option<String>,
}

/// The named arguments of `lazycogs_store`.
pub fn of_archive() -> Vec<(&'static str, Type)> {
    let kept = ["store_options", "href_replace", "asset_href", "allow_local", "items_base", "hive_partitioning"];
    let mut arguments: Vec<_> = named().into_iter().filter(|(name, _)| kept.contains(name)).collect();
    arguments.push(("asset", Type::VARCHAR));
    arguments
}

/// Reads the arguments of `lazycogs_store`.
///
/// # Errors
/// As [`request`].
pub fn archive(bind: &BindInfo) -> Result<Archive> {
    let settings = Settings::read(bind)?;
    let selection = Selection {
        source: items(bind.argument(0))?,
        area: Area::EARTH,
        datetime: None,
        filter: None,
        ids: None,
        sortby: Vec::new(),
        period: Period::parse(None)?,
        hive: boolean(bind, "hive_partitioning")?,
        asset_href: text(bind, "asset_href")?,
        named: None,
        passes_over: false,
        threads: settings.threads,
        memo: Memo::default(),
    };
    let (store, href_replace) = (store_options(bind, &settings)?, href_replace(bind)?);
    Ok(Archive { selection, store, href_replace, items_base: items_base(bind)?, asset: text(bind, "asset")? })
}

/// Reads all arguments of a call.
///
/// # Errors
/// The first argument that is wrong, by name, with what would be right.
pub fn request(bind: &BindInfo) -> Result<Request> {
    let bbox = bbox(&bind.argument(1))?;
    let grid = Grid::new(bbox, resolution(bind)?)?;
    check_pixels(&grid, bbox, Settings::read(bind)?.max_pixels)?;
    request_at(bind, Place { bbox, grid })
}

/// The output grid of a call, and its box as the user wrote it.
pub struct Place {
    pub bbox: [f64; 4],
    pub grid: Grid,
}

/// The argument `crs`.
///
/// # Errors
/// NULL, and what is no CRS.
pub fn crs(bind: &BindInfo) -> Result<Crs> {
    Crs::new(&required_text(&bind.argument(2), "crs", "'EPSG:32615'")?)
}

/// The argument `resolution`.
///
/// # Errors
/// NULL.
pub fn resolution(bind: &BindInfo) -> Result<f64> {
    bind.argument(3).number().ok_or_else(|| Error::Argument("resolution is NULL; give a number".into()))
}

/// The named argument `bbox`.
///
/// # Errors
/// What is no box.
pub fn named_bbox(bind: &BindInfo) -> Result<Option<[f64; 4]>> {
    given(bind, "bbox").map(|value| bbox(&value)).transpose()
}

/// The argument `bbox`, where it is not NULL.
///
/// # Errors
/// What is no box.
pub fn bbox_or_null(bind: &BindInfo) -> Result<Option<[f64; 4]>> {
    Some(bind.argument(1)).filter(|value| !value.is_null()).map(|value| bbox(&value)).transpose()
}

/// How the stores of a call are reached, and the threads it may use.
///
/// # Errors
/// As for `store_options`.
pub fn store(bind: &BindInfo) -> Result<(store::Options, usize)> {
    let settings = Settings::read(bind)?;
    Ok((store_options(bind, &settings)?, settings.threads))
}

/// A table that a call brings along: a path or URL, a list of them, or rows by value.
///
/// # Errors
/// Anything else.
pub fn table(value: Value, name: &str) -> Result<Source> {
    let wrong = || {
        Error::Argument(format!(
            "{name} must be a path or URL, a list of them, or rows: \
             SET VARIABLE {name} = (SELECT list(t) FROM my_{name} t), then getvariable('{name}')"
        ))
    };
    if let Some(path) = value.text() {
        return Ok(Source::Paths(vec![path]));
    }
    let list = value.list().ok_or_else(wrong)?;
    match list.first() {
        None => Err(Error::Argument(format!("{name} is an empty list"))),
        _ if list.iter().any(Value::is_null) => Err(Error::Argument(format!("{name} holds a NULL; leave it out"))),
        // SAFETY: ownership of the value moves to the OwnedValue, which destroys it.
        Some(first) if first.fields().is_some() => Ok(Source::Rows(unsafe { OwnedValue::from_raw(value.into_raw()) })),
        Some(_) => list.iter().map(|path| path.text().ok_or_else(wrong)).collect::<Result<_>>().map(Source::Paths),
    }
}

/// As [`request`], for a grid that is known.
///
/// # Errors
/// As [`request`].
pub fn request_at(bind: &BindInfo, Place { bbox, grid }: Place) -> Result<Request> {
    let settings = Settings::read(bind)?;
    let (source, crs) = (items(bind.argument(0))?, crs(bind)?);
    extent::check(&grid, &crs, bbox)?;
    let period = match bind.argument(4).read() {
        Data::Null => Period::parse(None)?,
        Data::Text(text) => Period::parse(Some(&text))?,
        other => return Err(Error::Argument(format!("period is {other}; give text such as 'P1D', or NULL"))),
    };
    let area = Area::of(&grid, &crs, grid.rect())?;
    let selection = Selection {
        source,
        area,
        datetime: text(bind, "datetime")?.map(|t| Interval::parse(&t)).transpose()?,
        filter: text(bind, "filter")?,
        ids: texts(bind, "ids")?,
        // None are asked for, and so the order is that of the file.
        sortby: texts(bind, "sortby")?.unwrap_or_default(),
        period,
        hive: boolean(bind, "hive_partitioning")?,
        asset_href: text(bind, "asset_href")?,
        named: None,
        passes_over: on_error(bind)? == OnError::Ignore,
        threads: settings.threads,
        memo: Memo::default(),
    };
    Ok(Request {
        bbox,
        grid,
        crs,
        selection,
        bands: bands(bind)?,
        mosaic: by_band::choice(bind, "mosaic", Method::First, Method::from_name)?,
        resampling: by_band::choice(bind, "resampling", Kernel::Nearest, Kernel::from_name)?,
        overviews: boolean(bind, "overviews")?.unwrap_or(true),
        mask: by_band::mask(bind)?,
        dtype: text(bind, "dtype")?.map(|name| DataType::from_name(&name)).transpose()?,
        nodata: nodata(bind)?,
        scale: boolean(bind, "scale")?.unwrap_or(false),
        errors: on_error(bind)?,
        allow_empty: boolean(bind, "allow_empty")?.unwrap_or(false),
        blobs: false,
        chunk_size: integer(bind, "chunk_size", 16, LARGEST_CHUNK)?.map(|n| n as u64),
        store: store_options(bind, &settings)?,
        href_replace: href_replace(bind)?,
        items_base: items_base(bind)?,
        threads: settings.threads,
        memory_budget: settings.memory_budget,
        cache_size: settings.cache_size,
        progress: settings.progress,
        caller: bind.caller(),
    })
}

/// The cube of a function whose bands are columns behind `columns` of its own.
///
/// # Errors
/// As [`request`] and [`Cube::bind`]; a band that cannot be a column.
pub fn cube(bind: &BindInfo, function: &str, columns: &[(&str, Type)], blobs: bool) -> Result<Cube> {
    let request = Request { blobs, ..request(bind)? };
    check_columns(function, columns, request.bands.iter().flatten())?;
    let cube = Cube::bind(request)?;
    check_columns(function, columns, cube.bands.iter().map(|band| &band.name))?;
    Ok(cube)
}

/// # Errors
/// A band that has the name of another column, as DuckDB compares names.
fn check_columns<'a>(function: &str, columns: &[(&str, Type)], bands: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut before: Vec<&str> = Vec::new();
    for band in bands {
        let remedy = format!("name it with the number of its band, bands := ['{band}:1'], or leave it out");
        if columns.iter().any(|(name, _)| name.eq_ignore_ascii_case(band)) {
            let own: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
            let own = own.join(", ");
            return Err(Error::Argument(format!(
                "band '{band}' has the name of a column that {function} has itself ({own}); {remedy}"
            )));
        }
        if let Some(other) = before.iter().find(|other| other.eq_ignore_ascii_case(band)) {
            return Err(Error::Argument(format!(
                "bands '{other}' and '{band}' would be columns of one name, since these do not differ by case; of '{band}', \
                 {remedy}"
            )));
        }
        before.push(band);
    }
    Ok(())
}

fn required_text(value: &Value, name: &str, example: &str) -> Result<String> {
    value.text().ok_or_else(|| Error::Argument(format!("{name} is NULL; give text such as {example}")))
}

fn items(value: Value) -> Result<Source> {
    if let Some(path) = value.text() {
        return paths(vec![path]);
    }
    let wrong = || {
        Error::Argument(
            "items must be a path, a glob or URL, a list of them, or item rows: \
             SET VARIABLE items = (SELECT list(i) FROM my_items i), then getvariable('items')"
                .into(),
        )
    };
    let list = value.list().ok_or_else(wrong)?;
    let Some(first) = list.first() else {
        return Err(Error::Argument("items is an empty list".into()));
    };
    if first.fields().is_some() {
        // SAFETY: ownership of the value moves to the OwnedValue, which destroys it.
        return Ok(Source::Rows(unsafe { OwnedValue::from_raw(value.into_raw()) }));
    }
    paths(list.iter().map(|v| v.text().ok_or_else(wrong)).collect::<Result<_>>()?)
}

/// Files of items; an image is none.
fn paths(paths: Vec<String>) -> Result<Source> {
    const IMAGES: [&str; 8] = [".tif", ".tiff", ".gtiff", ".jp2", ".vrt", ".img", ".nc", ".zarr"];
    let is_image = |path: &&String| {
        let name = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/').to_ascii_lowercase();
        IMAGES.iter().any(|ending| name.ends_with(ending))
    };
    let Some(image) = paths.iter().find(is_image) else { return Ok(Source::Paths(paths)) };
    let image = store::shown::place(image);
    Err(Error::Argument(format!(
        "items '{image}' is an image; lazycogs reads STAC items, which say where and when an image was taken and name it as an \
         asset. rio stac, stactools and pystac make items of images. One by hand: SET VARIABLE items = [{{id: 'a', datetime: \
         TIMESTAMP '2024-05-03', bbox: {{xmin: -180, ymin: -90, xmax: 180, ymax: 90}}, assets: {{data: {{href: '{image}'}}}}}}], \
         then getvariable('items')"
    )))
}

/// The file that `items_base` lets items come from: the folder itself, or one that a name of an index stands for.
fn items_base(bind: &BindInfo) -> Result<Option<String>> {
    const INDEXES: [&str; 6] = [".json", ".geojson", ".ndjson", ".jsonl", ".parquet", ".geoparquet"];
    let Some(base) = text(bind, "items_base")? else { return Ok(None) };
    let base = base.trim();
    if base.is_empty() {
        return Err(Error::Argument(
            "items_base is empty; give the folder or URL that relative hrefs belong to".into(),
        ));
    }
    // A query is the signature of another object.
    let base = if base.contains("://") { base.split(['?', '#']).next().unwrap_or_default() } else { base };
    let is_index = INDEXES.iter().any(|ending| base.to_ascii_lowercase().ends_with(ending));
    Ok(Some(if is_index { base.to_owned() } else { format!("{}/items", base.trim_end_matches('/')) }))
}

/// # Errors
/// More pixels a step and band than the setting allows: a box in another order may be valid, and enormous.
fn check_pixels(grid: &Grid, bbox: [f64; 4], most: u64) -> Result<()> {
    let Grid { width, height, resolution, .. } = *grid;
    let pixels = width * height;
    if most == 0 || pixels <= most {
        return Ok(());
    }
    let [a, b, c, d] = bbox;
    let reordered = Grid::new([a, c, b, d], resolution).ok().filter(|other| other.width * other.height < pixels);
    let order = match reordered {
        Some(other) => {
            format!("; did you mean {}, which is {} x {}?", extent::shown([a, c, b, d]), other.width, other.height)
        }
        None => String::new(),
    };
    Err(Error::Argument(format!(
        "bbox {} at resolution {resolution} gives {width} x {height} = {pixels} pixels a step and band, more than \
         lazycogs_max_pixels, {most}; take a coarser resolution or a smaller bbox, which is [xmin, ymin, xmax, ymax]{order}; or \
         SET lazycogs_max_pixels = {pixels} (0: no limit)",
        extent::shown(bbox)
    )))
}

fn bbox(value: &Value) -> Result<[f64; 4]> {
    edges(value, "bbox must be four numbers, [xmin, ymin, xmax, ymax] in crs units, or a STRUCT with these names")
}

/// The four numbers of a box, else an error that says its `form`.
pub fn edges(value: &Value, form: &str) -> Result<[f64; 4]> {
    let wrong = || Error::Argument(form.into());
    if let Some(fields) = value.fields() {
        let field =
            |name: &str| fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).and_then(|(_, v)| v.number());
        let sides = ["xmin", "ymin", "xmax", "ymax"].map(field);
        let [Some(xmin), Some(ymin), Some(xmax), Some(ymax)] = sides else { return Err(wrong()) };
        return Ok([xmin, ymin, xmax, ymax]);
    }
    let list = value.list().ok_or_else(wrong)?;
    let numbers: Vec<f64> = list.iter().map(Value::number).collect::<Option<_>>().ok_or_else(wrong)?;
    numbers
        .try_into()
        .map_err(|numbers: Vec<f64>| Error::Argument(format!("{form}; it has {} value(s)", numbers.len())))
}

fn bands(bind: &BindInfo) -> Result<Option<Vec<String>>> {
    let Some(bands) = texts(bind, "bands")? else { return Ok(None) };
    if bands.is_empty() {
        return Err(Error::Argument("bands is an empty list; leave it out to read all data assets".into()));
    }
    for (i, band) in bands.iter().enumerate() {
        if bands[..i].iter().any(|b| b.eq_ignore_ascii_case(band)) {
            return Err(Error::Argument(format!(
                "band '{band}' is given twice: names of columns do not differ by case; of two assets name one '{band}:1'"
            )));
        }
    }
    Ok(Some(bands))
}

fn nodata(bind: &BindInfo) -> Result<Option<String>> {
    let Some(value) = given(bind, "nodata") else { return Ok(None) };
    match value.read() {
        Data::Number(_, text) => Ok(Some(text)),
        Data::Text(text) if text.trim().parse::<f64>().is_ok() => Ok(Some(text.trim().to_owned())),
        other => Err(Error::Argument(format!("nodata {other} is not a number"))),
    }
}

pub fn on_error(bind: &BindInfo) -> Result<OnError> {
    match text(bind, "errors")?.as_deref() {
        None | Some("raise") => Ok(OnError::Raise),
        Some("ignore") => Ok(OnError::Ignore),
        Some(other) => Err(Error::Argument(format!("unknown errors '{other}'; use raise or ignore"))),
    }
}

pub fn store_options(bind: &BindInfo, settings: &Settings) -> Result<store::Options> {
    let pairs = match given(bind, "store_options") {
        Some(map) => map
            .text_map()
            .ok_or_else(|| Error::Argument("store_options must be a MAP of text to text, without NULL".into()))?,
        None => Vec::new(),
    };
    let pairs = pairs.into_iter().collect::<BTreeMap<_, _>>();
    store::config::check_options(&pairs)?;
    if settings.duckdb_io && !pairs.is_empty() {
        return Err(Error::Argument(
            "store_options do not reach DuckDB's file systems; use CREATE SECRET, or SET lazycogs_io = 'object_store'"
                .into(),
        ));
    }
    let max_concurrent = integer(bind, "max_concurrent_reads", 1, MOST_READS)?.unwrap_or(settings.max_concurrent_reads);
    Ok(store::Options {
        store: pairs,
        max_concurrent: max_concurrent as usize,
        timeout: Duration::from_secs(settings.http_timeout),
        max_retries: settings.max_retries,
        access: settings.access.clone(),
        allow_local: boolean(bind, "allow_local")?.unwrap_or(false),
        files: settings.duckdb_io.then(|| bind.context().clone() as Arc<dyn store::Files>),
    })
}

fn href_replace(bind: &BindInfo) -> Result<Option<(Regex, String)>> {
    let Some(pair) = texts(bind, "href_replace")? else { return Ok(None) };
    let [pattern, replacement] = <[String; 2]>::try_from(pair).map_err(|_| {
        Error::Argument("href_replace must be two texts: a regular expression and its replacement".into())
    })?;
    let pattern = Regex::new(&pattern).map_err(|e| Error::Argument(format!("href_replace: {e}")))?;
    Ok(Some((pattern, replacement)))
}
