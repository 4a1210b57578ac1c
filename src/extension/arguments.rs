//! SQL values -> Request: typed and validated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::api::{BindInfo, Type};
use super::settings::Settings;
use super::value::Value;
use crate::area::Area;
use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::items::{Memo, OwnedValue, Selection, Source};
use crate::mosaic::Method;
use crate::pixels::DataType;
use crate::request::{OnError, Request};
use crate::store;
use crate::time::{Interval, Period};

const LARGEST_CHUNK: i64 = 16_384;

/// items, bbox, crs, resolution, period.
pub fn positional() -> Vec<Type> {
    vec![Type::ANY, Type::ANY, Type::VARCHAR, Type::DOUBLE, Type::VARCHAR]
}

/// The named arguments of every reader.
pub fn named() -> Vec<(&'static str, Type)> {
    let texts = || Type::list(Type::VARCHAR);
    vec![
        ("bands", texts()),
        ("datetime", Type::VARCHAR),
        ("filter", Type::VARCHAR),
        ("ids", texts()),
        ("sortby", texts()),
        ("mosaic", Type::VARCHAR),
        ("resampling", Type::VARCHAR),
        ("dtype", Type::VARCHAR),
        ("nodata", Type::ANY),
        ("scale", Type::BOOLEAN),
        ("errors", Type::VARCHAR),
        ("chunk_size", Type::BIGINT),
        ("max_concurrent_reads", Type::BIGINT),
        ("store_options", Type::map(Type::VARCHAR, Type::VARCHAR)),
        ("href_replace", texts()),
        ("asset_href", Type::VARCHAR),
        ("hive_partitioning", Type::BOOLEAN),
    ]
}

/// What `lazycogs_store` is asked about.
pub struct Archive {
    pub selection: Selection,
    pub store: store::Options,
    pub href_replace: Option<(Regex, String)>,
    pub asset: Option<String>,
}

/// The named arguments of `lazycogs_store`.
pub fn of_archive() -> Vec<(&'static str, Type)> {
    let kept = ["store_options", "href_replace", "asset_href", "hive_partitioning"];
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
        boxes: vec![[-180.0, -90.0, 180.0, 90.0]],
        datetime: None,
        filter: None,
        ids: None,
        sortby: Vec::new(),
        period: Period::parse(None)?,
        hive: given(bind, "hive_partitioning").and_then(|v| v.boolean()),
        asset_href: text(bind, "asset_href")?,
        named: None,
        threads: settings.threads,
        memo: Memo::default(),
    };
    let (store, href_replace) = (store_options(bind, &settings)?, href_replace(bind)?);
    Ok(Archive { selection, store, href_replace, asset: text(bind, "asset")? })
}

/// Reads all arguments of a call.
///
/// # Errors
/// The first argument that is wrong, by name, with what would be right.
pub fn request(bind: &BindInfo) -> Result<Request> {
    let settings = Settings::read(bind)?;
    let source = items(bind.argument(0))?;
    let bbox = bbox(&bind.argument(1))?;
    let crs = Crs::new(&required_text(&bind.argument(2), "crs", "'EPSG:32615'")?)?;
    let resolution = bind.argument(3);
    let resolution = resolution.number().ok_or_else(|| Error::Argument("resolution is NULL; give a number".into()))?;
    let grid = Grid::new(bbox, resolution)?;
    let period = Period::parse(bind.argument(4).text().as_deref())?;
    let area = Area::of(&grid, &crs, grid.rect())?;
    let selection = Selection {
        source,
        boxes: area.boxes(),
        datetime: text(bind, "datetime")?.map(|t| Interval::parse(&t)).transpose()?,
        filter: text(bind, "filter")?,
        ids: texts(bind, "ids")?,
        sortby: texts(bind, "sortby")?.unwrap_or_default(),
        period,
        hive: given(bind, "hive_partitioning").and_then(|v| v.boolean()),
        asset_href: text(bind, "asset_href")?,
        named: None,
        threads: settings.threads,
        memo: Memo::default(),
    };
    only_nearest(bind)?;
    Ok(Request {
        grid,
        crs,
        selection,
        bands: bands(bind)?,
        mosaic: text(bind, "mosaic")?.map_or(Ok(Method::First), |name| Method::from_name(&name))?,
        dtype: text(bind, "dtype")?.map(|name| DataType::from_name(&name)).transpose()?,
        nodata: nodata(bind)?,
        scale: given(bind, "scale").and_then(|v| v.boolean()).unwrap_or(false),
        errors: on_error(bind)?,
        chunk_size: integer(bind, "chunk_size", 16, LARGEST_CHUNK)?.map(|n| n as u64),
        store: store_options(bind, &settings)?,
        href_replace: href_replace(bind)?,
        threads: settings.threads,
        memory_budget: settings.memory_budget,
        cache_size: settings.cache_size,
        progress: settings.progress,
    })
}

fn given(bind: &BindInfo, name: &str) -> Option<Value> {
    bind.named(name).filter(|v| !v.is_null())
}

fn text(bind: &BindInfo, name: &str) -> Result<Option<String>> {
    Ok(given(bind, name).and_then(|v| v.cast_text()))
}

fn texts(bind: &BindInfo, name: &str) -> Result<Option<Vec<String>>> {
    let Some(value) = given(bind, name) else { return Ok(None) };
    let wrong = || Error::Argument(format!("{name} must be a list of text without NULL"));
    let list = value.list().ok_or_else(wrong)?;
    list.iter().map(|v| v.text().ok_or_else(wrong)).collect::<Result<_>>().map(Some)
}

fn integer(bind: &BindInfo, name: &str, least: i64, most: i64) -> Result<Option<i64>> {
    let Some(value) = given(bind, name) else { return Ok(None) };
    match value.integer() {
        Some(n) if (least..=most).contains(&n) => Ok(Some(n)),
        _ => Err(Error::Argument(format!(
            "{name} is {}; it must be a whole number from {least} to {most}",
            value.cast_text().unwrap_or_default()
        ))),
    }
}

fn required_text(value: &Value, name: &str, example: &str) -> Result<String> {
    value.text().ok_or_else(|| Error::Argument(format!("{name} is NULL; give text such as {example}")))
}

fn items(value: Value) -> Result<Source> {
    if let Some(path) = value.text() {
        return Ok(Source::Paths(vec![path]));
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
    list.iter().map(|v| v.text().ok_or_else(wrong)).collect::<Result<_>>().map(Source::Paths)
}

fn bbox(value: &Value) -> Result<[f64; 4]> {
    const FORM: &str = "bbox must be four numbers, [xmin, ymin, xmax, ymax] in crs units, \
                        or a STRUCT with these names";
    let wrong = || Error::Argument(FORM.into());
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
        .map_err(|numbers: Vec<f64>| Error::Argument(format!("{FORM}; it has {} value(s)", numbers.len())))
}

fn bands(bind: &BindInfo) -> Result<Option<Vec<String>>> {
    let Some(bands) = texts(bind, "bands")? else { return Ok(None) };
    if bands.is_empty() {
        return Err(Error::Argument("bands is an empty list; leave it out to read all data assets".into()));
    }
    for (i, band) in bands.iter().enumerate() {
        if ["time", "y", "x"].contains(&band.to_lowercase().as_str()) {
            return Err(Error::Argument(format!("a band named '{band}' would hide the column of that name")));
        }
        if bands[..i].iter().any(|b| b.eq_ignore_ascii_case(band)) {
            return Err(Error::Argument(format!("band '{band}' is given twice")));
        }
    }
    Ok(Some(bands))
}

fn only_nearest(bind: &BindInfo) -> Result<()> {
    match text(bind, "resampling")?.as_deref() {
        None | Some("nearest") => Ok(()),
        Some(other) => {
            Err(Error::Argument(format!("resampling '{other}' is not available; this version has 'nearest'")))
        }
    }
}

fn nodata(bind: &BindInfo) -> Result<Option<String>> {
    let Some(value) = given(bind, "nodata") else { return Ok(None) };
    let text = value.cast_text().unwrap_or_default();
    match text.trim().parse::<f64>() {
        Ok(_) => Ok(Some(text.trim().to_owned())),
        Err(_) => Err(Error::Argument(format!("nodata '{text}' is not a number"))),
    }
}

fn on_error(bind: &BindInfo) -> Result<OnError> {
    match text(bind, "errors")?.as_deref() {
        None | Some("raise") => Ok(OnError::Raise),
        Some("ignore") => Ok(OnError::Ignore),
        Some(other) => Err(Error::Argument(format!("unknown errors '{other}'; use raise or ignore"))),
    }
}

fn store_options(bind: &BindInfo, settings: &Settings) -> Result<store::Options> {
    let pairs = match given(bind, "store_options") {
        Some(map) => {
            map.text_map().ok_or_else(|| Error::Argument("store_options must be a MAP of text to text".into()))?
        }
        None => Vec::new(),
    };
    store::config::check_keys(pairs.iter().map(|(key, _)| key))?;
    if settings.duckdb_io && !pairs.is_empty() {
        return Err(Error::Argument(
            "store_options do not reach DuckDB's file systems; use CREATE SECRET, or SET lazycogs_io = 'object_store'"
                .into(),
        ));
    }
    let max_concurrent = integer(bind, "max_concurrent_reads", 1, 4096)?.unwrap_or(settings.max_concurrent_reads);
    Ok(store::Options {
        store: pairs.into_iter().collect::<BTreeMap<_, _>>(),
        max_concurrent: max_concurrent as usize,
        timeout: Duration::from_secs(settings.http_timeout),
        max_retries: settings.max_retries,
        access: settings.access.clone(),
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
