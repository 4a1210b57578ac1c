//! The `assets` column in its three layouts, and what an asset says about its pixels.

use std::sync::Arc;

use duckdb::arrow::datatypes::{DataType, Fields};
use serde_json::Value;

use super::fields::pointer;
use super::session::{identifier, list, literal};
use super::storage::{self, Storage};

/// What of an asset can matter to a read.
const FACTS: [&str; 9] = [
    "nodata",
    "bands",
    "raster:bands",
    "raster:scale",
    "raster:offset",
    "proj:code",
    "proj:epsg",
    "proj:wkt2",
    "proj:projjson",
];
/// What of a band can matter: STAC 1.1 `bands` and the raster extension's `raster:bands`.
const BAND_FACTS: [&str; 5] = ["nodata", "scale", "offset", "raster:scale", "raster:offset"];
/// What describes an asset to a person, and chooses the default bands.
const DESCRIPTION: [&str; 3] = ["href", "type", "roles"];

/// The layout of the `assets` column.
#[derive(Debug, Clone)]
pub(super) enum Assets {
    /// STRUCT: one field per key, over all items.
    Struct {
        keys: Fields,
        whole: bool,
    },
    /// MAP from key to STRUCT.
    Map(Fields),
    /// MAP from key to JSON text.
    MapOfJson,
    Json,
}

/// The SQL of one asset.
#[derive(Debug, PartialEq)]
pub(super) enum AssetSql {
    /// The href, and the facts as JSON text where the layout has any.
    Typed { href: String, facts: Option<String> },
    /// The whole asset as JSON text.
    Json(String),
    /// An element of [`Assets::objects`].
    Object,
}

impl Assets {
    /// `None` for a type that cannot hold assets.
    ///
    /// `several` files may differ in their keys; then an asset is read as a whole, since DuckDB 2.0.0 fails on a field of
    /// a struct that one of the files lacks.
    pub(super) fn of(data_type: &DataType, several: bool) -> Option<Self> {
        match data_type {
            DataType::Struct(keys) => Some(Self::Struct { keys: keys.clone(), whole: several }),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Json),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(pair) => match pair.get(1)?.data_type() {
                    DataType::Struct(fields) => Some(Self::Map(fields.clone())),
                    DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::MapOfJson),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// How to read the asset `key`; `None` if no item can have it.
    pub(super) fn sql(&self, key: &str) -> Option<AssetSql> {
        match self {
            Self::Struct { keys, whole } => {
                let (_, fields) = struct_fields(keys, key)?;
                typed(&struct_value(key, *whole), fields)
            }
            Self::Map(fields) => typed(&map_value(key), fields),
            Self::MapOfJson => Some(AssetSql::Json(format!("CAST({} AS VARCHAR)", map_value(key)))),
            Self::Json => Some(AssetSql::Object),
        }
    }

    /// The objects of several assets as VARCHAR[], where all of them are one JSON text, which is then parsed only once.
    pub(super) fn objects(&self, keys: &[String]) -> Option<String> {
        let paths = list(keys.iter().map(|key| pointer(&[key])));
        matches!(self, Self::Json).then(|| format!("CAST(json_extract(\"assets\", {paths}) AS VARCHAR[])"))
    }

    /// Two VARCHAR[] expressions for a single row: the keys in the item's order, and each asset's JSON.
    pub(super) fn described(&self) -> (String, String) {
        match self {
            Self::Struct { keys, whole } => {
                let packed: Vec<(&str, String)> = keys
                    .iter()
                    .filter_map(|key| {
                        let (name, fields) = struct_fields(keys, key.name())?;
                        let value = struct_value(name, *whole);
                        let href = fields.iter().any(|f| f.name() == "href").then(|| format!("{value}.\"href\""))?;
                        let json = pack(&value, fields, &[&DESCRIPTION, &FACTS, &storage::OF_ASSET])?;
                        Some((name, format!("CASE WHEN {href} IS NOT NULL THEN {json} END")))
                    })
                    .collect();
                let values: Vec<&str> = packed.iter().map(|(_, sql)| sql.as_str()).collect();
                (list(packed.iter().map(|(name, _)| name)), format!("[{}]", values.join(", ")))
            }
            Self::Map(fields) => {
                let json =
                    pack("v", fields, &[&DESCRIPTION, &FACTS, &storage::OF_ASSET]).unwrap_or_else(|| "NULL".to_owned());
                let values = format!("list_transform(map_values(\"assets\"), lambda v: {json})");
                ("map_keys(\"assets\")".to_owned(), values)
            }
            Self::MapOfJson => (
                "map_keys(\"assets\")".to_owned(),
                "list_transform(map_values(\"assets\"), lambda v: CAST(v AS VARCHAR))".to_owned(),
            ),
            Self::Json => (
                "json_keys(\"assets\")".to_owned(),
                "list_transform(json_keys(\"assets\"), lambda k: CAST(json_extract(\"assets\", \
                 '/' || replace(replace(k, '~', '~0'), '/', '~1')) AS VARCHAR))"
                    .to_owned(),
            ),
        }
    }

    /// A query for every key that an item has, or the keys themselves where the schema tells them.
    pub(super) fn keys(&self) -> Result<Vec<String>, &'static str> {
        match self {
            Self::Struct { keys, .. } => Ok(keys.iter().map(|key| key.name().clone()).collect()),
            Self::Map(_) | Self::MapOfJson => Err("map_keys(\"assets\")"),
            Self::Json => Err("json_keys(\"assets\")"),
        }
    }
}

fn struct_fields<'a>(keys: &'a Fields, key: &str) -> Option<(&'a str, &'a Fields)> {
    let (_, field) = keys.find(key)?;
    match field.data_type() {
        DataType::Struct(fields) => Some((field.name(), fields)),
        _ => None,
    }
}

fn struct_value(key: &str, whole: bool) -> String {
    let value = format!("\"assets\".{}", identifier(key));
    // A list of one keeps DuckDB from reading fields of the struct one by one.
    if whole { format!("list_extract([{value}], 1)") } else { value }
}

/// The value of `key` in a MAP.
pub(super) fn map_value(key: &str) -> String {
    format!("map_extract_value(\"assets\", {})", literal(key))
}

fn typed(value: &str, fields: &Fields) -> Option<AssetSql> {
    fields.find("href")?;
    Some(AssetSql::Typed {
        href: format!("{value}.\"href\""),
        facts: pack(value, fields, &[&FACTS, &storage::OF_ASSET]),
    })
}

/// Those of the `wanted` fields of the asset `key` that exist, as JSON text, where assets are typed.
pub(super) fn packed(assets: &Assets, key: &str, wanted: &[&str]) -> Option<String> {
    match assets {
        Assets::Struct { keys, whole } => pack(&struct_value(key, *whole), struct_fields(keys, key)?.1, &[wanted]),
        Assets::Map(fields) => pack(&map_value(key), fields, &[wanted]),
        Assets::MapOfJson | Assets::Json => None,
    }
}

/// Those of the `wanted` fields that exist, as JSON text; `None` if there are none. Only they are read from the file.
fn pack(value: &str, fields: &Fields, wanted: &[&[&str]]) -> Option<String> {
    let wanted = wanted.iter().flat_map(|names| names.iter());
    let members: Vec<String> = wanted
        .filter_map(|name| {
            let (_, field) = fields.find(name)?;
            let member = format!("{value}.{}", identifier(name));
            Some(format!("{} := {}", identifier(name), packed_member(&member, field.data_type())?))
        })
        .collect();
    (!members.is_empty()).then(|| format!("CAST(to_json(struct_pack({})) AS VARCHAR)", members.join(", ")))
}

fn packed_member(member: &str, data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::List(element) => match element.data_type() {
            DataType::Struct(fields) => {
                let present = BAND_FACTS.iter().filter(|name| fields.find(name).is_some());
                let facts: Vec<String> =
                    present.map(|name| format!("{0} := CAST(band.{0} AS VARCHAR)", identifier(name))).collect();
                let lambda = |body: String| format!("list_transform({member}, lambda band: {body})");
                (!facts.is_empty()).then(|| lambda(format!("struct_pack({})", facts.join(", "))))
            }
            _ => Some(member.to_owned()),
        },
        DataType::Struct(_) => Some(member.to_owned()),
        // JSON has no NaN, but as text it can be told.
        _ => Some(format!("CAST({member} AS VARCHAR)")),
    }
}

/// What an asset (or an item's properties) says about pixels, and about where they are stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Facts {
    pub nodata: Vec<Option<f64>>,
    pub scale_offset: Vec<Option<(f64, f64)>>,
    pub crs: Option<Arc<str>>,
    pub storage: Option<Arc<Storage>>,
}

/// Reads the facts of an asset object. `raster:bands` and `bands` speak per band, the asset itself for all of them.
pub(super) fn facts(asset: &Value) -> Facts {
    let own_nodata = number(asset.get("nodata"));
    let own_scale = scale_offset(asset);
    let bands = ["bands", "raster:bands"].iter().find_map(|name| {
        let bands = asset.get(name)?.as_array()?;
        let tells = |band: &Value| BAND_FACTS.iter().any(|fact| number(band.get(fact)).is_some());
        bands.iter().any(tells).then_some(bands)
    });
    let (nodata, scales): (Vec<_>, Vec<_>) = match bands {
        Some(bands) => {
            bands.iter().map(|b| (number(b.get("nodata")).or(own_nodata), scale_offset(b).or(own_scale))).unzip()
        }
        None => (vec![own_nodata], vec![own_scale]),
    };
    let storage = storage::read(asset).map(Arc::new);
    Facts { nodata: unless_silent(nodata), scale_offset: unless_silent(scales), crs: crs(asset), storage }
}

fn unless_silent<T>(bands: Vec<Option<T>>) -> Vec<Option<T>> {
    if bands.iter().any(Option::is_some) { bands } else { Vec::new() }
}

fn scale_offset(object: &Value) -> Option<(f64, f64)> {
    let of = |names: [&str; 2]| names.iter().find_map(|name| number(object.get(name)));
    match (of(["scale", "raster:scale"]), of(["offset", "raster:offset"])) {
        (None, None) => None,
        (scale, offset) => Some((scale.unwrap_or(1.0), offset.unwrap_or(0.0))),
    }
}

/// A definition for PROJ.
fn crs(object: &Value) -> Option<Arc<str>> {
    let text = |name: &str| object.get(name)?.as_str().filter(|text| !text.is_empty());
    if let Some(code) = text("proj:code") {
        return Some(code.into());
    }
    if let Some(epsg) = number(object.get("proj:epsg")) {
        return Some(format!("EPSG:{epsg}").into());
    }
    if let Some(definition) = text("proj:wkt2").or_else(|| text("proj:projjson")) {
        return Some(definition.into());
    }
    let projjson = object.get("proj:projjson")?;
    (projjson.get("type")?.is_string()).then(|| projjson.to_string().into())
}

/// A number, or the text of one: STAC writes NaN and the infinities as text.
fn number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use duckdb::arrow::datatypes::Field;
    use serde_json::json;

    use super::*;

    fn text(name: &str) -> Field {
        Field::new(name, DataType::Utf8, true)
    }

    fn asset_fields(extra: Vec<Field>) -> Fields {
        [vec![text("href"), text("type"), text("title")], extra].concat().into()
    }

    #[test]
    fn only_what_matters_is_read_of_a_struct() {
        let bands: Fields = vec![Field::new("nodata", DataType::Float64, true), text("unit")].into();
        let element = Field::new("l", DataType::Struct(bands), true);
        let bands = Field::new("raster:bands", DataType::List(Arc::new(element)), true);
        let red = Field::new("r'\"d", DataType::Struct(asset_fields(vec![bands])), true);
        let plain = Field::new("plain", DataType::Struct(asset_fields(vec![])), true);
        let keys = vec![red, plain, text("odd")].into();
        let assets = Assets::Struct { keys, whole: false };
        assert_eq!(
            assets.sql("plain"),
            Some(AssetSql::Typed { href: r#""assets"."plain"."href""#.into(), facts: None })
        );
        let Some(AssetSql::Typed { href, facts: Some(facts) }) = assets.sql("r'\"d") else { panic!("no facts") };
        assert_eq!(href, r#""assets"."r'""d"."href""#);
        assert!(facts.contains("\"nodata\" := CAST(band.\"nodata\" AS VARCHAR)"), "{facts}");
        assert!(!facts.contains("unit") && !facts.contains("title"), "{facts}");
        assert_eq!(assets.sql("odd"), None);
        assert_eq!(assets.sql("nir"), None);
    }

    #[test]
    fn of_several_files_an_asset_is_read_whole() {
        let plain = Field::new("plain", DataType::Struct(asset_fields(vec![])), true);
        let assets = Assets::Struct { keys: vec![plain].into(), whole: true };
        let href = "list_extract([\"assets\".\"plain\"], 1).\"href\"".to_owned();
        assert_eq!(assets.sql("plain"), Some(AssetSql::Typed { href, facts: None }));
    }

    #[test]
    fn keys_are_quoted_in_maps_and_json() {
        let Some(AssetSql::Typed { href, .. }) = Assets::Map(asset_fields(vec![])).sql("a'b") else {
            panic!("no href")
        };
        assert_eq!(href, "map_extract_value(\"assets\", 'a''b').\"href\"");
        let json = Assets::Json.objects(&["a'/b".into(), "c".into()]).unwrap();
        assert_eq!(json, "CAST(json_extract(\"assets\", ['/a''~1b', '/c']) AS VARCHAR[])");
        assert_eq!(Assets::Json.sql("c"), Some(AssetSql::Object));
    }

    #[test]
    fn facts_of_bands_come_before_those_of_the_asset() {
        let asset =
            json!({"nodata": 7, "raster:bands": [{"nodata": "nan", "scale": 0.1}, {"offset": -1, "unit": "m"}]});
        let facts = facts(&asset);
        assert!(facts.nodata[0].unwrap().is_nan());
        assert_eq!(facts.nodata[1], Some(7.0));
        assert_eq!(facts.scale_offset, [Some((0.1, 0.0)), Some((1.0, -1.0))]);
    }

    #[test]
    fn bands_that_say_nothing_leave_it_to_the_asset() {
        let asset = json!({"nodata": 0, "raster:scale": 2, "bands": [{"name": "red"}, {"name": "nir"}]});
        let Facts { nodata, scale_offset, crs, .. } = facts(&asset);
        assert_eq!((nodata, scale_offset, crs), (vec![Some(0.0)], vec![Some((2.0, 0.0))], None));
        assert_eq!(facts(&json!({"href": "x"})), Facts::default());
    }

    #[test]
    fn crs_in_every_spelling() {
        let crs = |value: Value| facts(&value).crs.map(|crs| crs.to_string());
        assert_eq!(crs(json!({"proj:code": "IAU:1", "proj:epsg": 4326})), Some("IAU:1".into()));
        assert_eq!(crs(json!({"proj:code": null, "proj:epsg": 32615})), Some("EPSG:32615".into()));
        assert_eq!(crs(json!({"proj:epsg": "32615"})), Some("EPSG:32615".into()));
        assert_eq!(crs(json!({"proj:epsg": null, "proj:wkt2": "PROJCRS[]"})), Some("PROJCRS[]".into()));
        let projjson = json!({"type": "GeographicCRS"});
        assert_eq!(crs(json!({"proj:projjson": projjson})), Some(projjson.to_string()));
        assert_eq!(crs(json!({"proj:projjson": {"type": null}})), None);
    }
}
