//! What fuzz targets (`fuzz/`) see of this room: the parts that need no DuckDB, from an item as JSON to its SQL and back from
//! a batch to the item. A target passes [`sql_is_closed`] on all SQL: whatever names and texts an item or a filter holds,
//! they must stay inside their quotes.

use std::sync::Arc;

use duckdb::arrow::array::{ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use duckdb::arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema};
use serde_json::Value;

use super::assets::AssetSql;
use super::fields::{Kind, Properties, near_misses};
use super::first::Described;
use super::geometry::Encoding;
use super::item::{FirstItem, Item, default_bands};
use super::layout::Layout;
use super::reader::{AssetColumn, Columns, Reader};
use super::source::Relation;
use super::{facts, filter, locate, pixels};
use crate::area::Area;
use crate::error::{Error, Result};
use crate::time::{Period, parse_instant};

/// The condition that a CQL2 filter becomes, over columns of every kind.
///
/// # Errors
/// What is wrong with the filter.
pub fn filter_sql(text: &str) -> Result<String> {
    use Kind::*;
    let kinds = [Number, Text, Boolean, Time, TimeText, Date, List, Json, Other];
    let flat = kinds.map(|kind| (format!("{kind:?}").to_lowercase(), kind)).to_vec();
    let properties = Properties { flat, ..Properties::default() };
    let resolve = |name: &str| {
        let unknown = || Error::Argument(format!("no field '{name}'{}", near_misses(name, &properties.names())));
        properties.resolve(name).ok_or_else(unknown)
    };
    filter::to_sql(text, &resolve)
}

/// How the columns of a table of items are typed.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// `assets` is a MAP; else a STRUCT, unless `text`.
    pub map: bool,
    /// `assets`, `properties`, `bbox` and `geometry` are JSON text.
    pub text: bool,
    /// Several files, whose columns may differ.
    pub several: bool,
}

/// All SQL that reads a table whose only row is `item`.
///
/// # Errors
/// The table lacks what every item has.
pub fn layout_sql(item: &Value, shape: Shape) -> Result<Vec<String>> {
    let columns: Fields = match item {
        Value::Object(members) => members.iter().filter_map(|(name, value)| column(name, value, shape)).collect(),
        _ => Fields::empty(),
    };
    let layout = Layout::of_schema(&Schema::new(columns), Relation::unread(shape.several))?;
    let (first, last) = layout.extent();
    let mut sql = vec![layout.id.clone(), layout.time(), layout.is_bare_date(), first, last, layout.assets.whole()];
    sql.extend(layout.assets.described(None, &["alternate"], &layout.own).into_iter().flat_map(|(k, v)| [k, v]));
    sql.extend(layout.time_text());
    sql.extend(layout.of_item(&facts::OF_ITEM).into_iter().flatten());
    sql.extend(layout.bbox.iter().flat_map(|bbox| bbox.edges.clone()));
    sql.extend(layout.geometry.iter().map(|geometry| geometry.sql.clone()));
    let named = item.get("assets").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.clone());
    let asset_keys: Vec<String> = layout.assets.keys().unwrap_or_default().into_iter().chain(named).collect();
    for key in &asset_keys {
        match layout.assets.sql(key, &["alternate"], &layout.own) {
            Some(AssetSql::Typed { href, facts }) => sql.extend([href].into_iter().chain(facts)),
            Some(AssetSql::Json(json)) => sql.push(json),
            None => {}
        }
    }
    sql.extend(layout.of_item(&pixels::OF_ITEM).into_iter().flatten());
    sql.extend(pixels::of_assets(&layout.assets, &asset_keys, &layout.own).map(|(sql, _)| sql));
    let properties = item.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (name, _) in properties {
        if let Some(field) = layout.properties.resolve(name) {
            sql.extend([field.micros(), field.is_bare_date()]);
        }
    }
    Ok(sql)
}

/// A column as DuckDB would type it; `None` for a value that says nothing of its type.
fn column(name: &str, value: &Value, shape: Shape) -> Option<ArrowField> {
    let is_text = shape.text && matches!(name, "assets" | "properties" | "bbox" | "geometry");
    let data_type = match value {
        _ if is_text => DataType::Utf8,
        Value::Object(members) if name == "assets" && shape.map => {
            let (_, first) = members.iter().next()?;
            let pair = vec![ArrowField::new("key", DataType::Utf8, false), column("value", first, shape)?];
            DataType::Map(Arc::new(ArrowField::new("entries", DataType::Struct(pair.into()), false)), false)
        }
        Value::Object(members) => DataType::Struct(members.iter().filter_map(|(n, v)| column(n, v, shape)).collect()),
        Value::Array(elements) => DataType::List(Arc::new(column("l", elements.first()?, shape)?)),
        Value::Number(_) => DataType::Float64,
        Value::Bool(_) => DataType::Boolean,
        Value::String(text) if parse_instant(text).is_some() && !shape.several => {
            DataType::Timestamp(duckdb::arrow::datatypes::TimeUnit::Microsecond, None)
        }
        Value::String(_) => DataType::Utf8,
        Value::Null => return None,
    };
    Some(ArrowField::new(name, data_type, true))
}

/// Whether all that a text brought into SQL stands in quotes: outside of them there are only words, numbers, and the signs
/// that our own SQL uses.
pub fn sql_is_closed(sql: &str) -> bool {
    let mut quote = None;
    let mut before = ' ';
    let mut depth = 0i64;
    for c in sql.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), '\0') => return false,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '-') if before == '-' => return false,
            (None, '*') if before == '/' => return false,
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth -= 1,
            (None, c) if c.is_ascii_alphanumeric() || " _.,:=<>+-*/%|".contains(c) => {}
            (None, _) => return false,
        }
        if depth < 0 {
            return false;
        }
        before = if quote.is_some() { ' ' } else { c };
    }
    quote.is_none() && depth == 0
}

/// The item of a batch of one row, read as the stream does: times and bbox as SQL would give them, `geometry` as WKB or as
/// GeoJSON text, the assets as objects, as text and as a whole.
///
/// # Errors
/// An item that lacks what every item has.
pub fn read_item(item: &Value, geometry: &[u8], wkb: bool) -> Result<Option<Item>> {
    let texts = |value: Option<&Value>| -> ArrayRef {
        Arc::new(StringArray::from(vec![value.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))]))
    };
    let time = item.get("datetime").and_then(Value::as_str);
    let edge = |i: usize| item.get("bbox").and_then(|bbox| bbox.get(i)?.as_f64());
    let mut arrays: Vec<ArrayRef> = vec![
        texts(item.get("id")),
        Arc::new(Int64Array::from(vec![time.and_then(parse_instant)])),
        texts(item.get("datetime")),
        Arc::new(BooleanArray::from(vec![time.map(|time| time.len() <= 10)])),
    ];
    arrays.extend((0..4).map(|i| Arc::new(Float64Array::from(vec![edge(i)])) as ArrayRef));
    arrays.push(match std::str::from_utf8(geometry) {
        Ok(text) if !wkb => Arc::new(StringArray::from(vec![text])),
        _ => Arc::new(BinaryArray::from(vec![geometry])),
    });
    arrays.push(texts(Some(item)));
    let mut columns = Columns {
        of_item: [None, Some(9)],
        time_text: Some(2),
        bare_date: Some(3),
        place: locate::Columns {
            bbox: Some([4, 5, 6, 7]),
            geometry: Some((8, if wkb { Encoding::Wkb } else { Encoding::GeoJson }, None)),
            pixels: locate::Pixelwise { item: [None, Some(9)], assets: None },
            shapes: Vec::new(),
        },
        ..Columns::default()
    };
    let mut keys = Vec::new();
    for (key, asset) in item.get("assets").and_then(Value::as_object).into_iter().flatten() {
        arrays.extend([texts(Some(asset)), texts(asset.get("href"))]);
        let at = arrays.len();
        columns.assets.extend([AssetColumn::Json(at - 2), AssetColumn::Typed(at - 1, Some(at - 2))]);
        keys.extend([key.clone(), key.clone()]);
    }
    let fields: Fields =
        arrays.iter().enumerate().map(|(i, a)| ArrowField::new(format!("c{i}"), a.data_type().clone(), true)).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|e| Error::Items(format!("no batch: {e}")))?;
    let mut reader = Reader::new(columns, keys, Period::Days(1), Area::EARTH, None);
    Ok(reader.items(&batch)?.pop())
}

/// The assets of the first item of a selection, and the bands that are read of it unless the call names some.
///
/// # Errors
/// An asset that is no JSON.
pub fn first_item(item: &Value, assets: &[(String, String)]) -> Result<Vec<String>> {
    let of_item = facts::of_item(None, Some(&item.to_string()));
    let described = Described { base: None, of_item, chosen: None };
    let mut first = FirstItem { id: "first".into(), place: None, assets: Vec::new() };
    for (key, json) in assets {
        first.assets.extend(described.asset(key, json));
    }
    Ok(default_bands(&first))
}
