//! The `assets` column in its layouts, as SQL.

use duckdb::arrow::datatypes::{DataType, Field, Fields};

use super::facts::{BAND_FACTS, BAND_NAMES, FACTS};
use super::fields::is_json;
use super::session::{identifier, list, literal};
use super::storage;

/// What describes an asset to a person, and chooses the default bands.
const DESCRIPTION: [&str; 4] = ["href", "type", "roles", "eo:bands"];
/// Fields that are read one by one of a struct; beyond that the struct is cheaper as a whole, since the time that DuckDB
/// takes to plan grows with the square of their number.
const MOST_FIELDS: usize = 24;

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
    /// MAP from key to JSON text, or to what can be told as JSON.
    MapOfJson {
        text: bool,
    },
    Json,
}

/// The SQL of one asset.
#[derive(Debug, PartialEq)]
pub(super) enum AssetSql {
    /// The href, and the facts as JSON text where the layout has any.
    Typed { href: String, facts: Option<String> },
    /// The whole asset as JSON text.
    Json(String),
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
                    DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::MapOfJson { text: true }),
                    _ => Some(Self::MapOfJson { text: false }),
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// How to read the asset `key`, with the members that `more` names; `None` if no item can have it.
    pub(super) fn sql(&self, key: &str, more: &[&str], own: &str) -> Option<AssetSql> {
        match self {
            Self::Struct { keys, whole } => {
                let (_, field) = keys.find(key)?;
                let value = struct_value(field.name(), *whole);
                match field.data_type() {
                    DataType::Null => None,
                    DataType::Struct(fields) => typed(&value, fields, more, own),
                    _ => Some(AssetSql::Json(as_json(&value, field))),
                }
            }
            Self::Map(fields) => typed(&map_value(key), fields, more, own),
            Self::MapOfJson { text: true } => Some(AssetSql::Json(format!("CAST({} AS VARCHAR)", map_value(key)))),
            Self::MapOfJson { text: false } => {
                Some(AssetSql::Json(format!("CAST(to_json({}) AS VARCHAR)", map_value(key))))
            }
            Self::Json => Some(AssetSql::Json(self.whole())),
        }
    }

    /// Whether `keys` are best read out of all assets as one text, see [`Assets::whole`].
    pub(super) fn is_read_whole(&self, keys: &[String]) -> bool {
        match self {
            Self::Json => true,
            Self::Struct { .. } => keys.len() > MOST_FIELDS,
            Self::Map(_) | Self::MapOfJson { .. } => false,
        }
    }

    /// All assets as the text of one JSON object.
    pub(super) fn whole(&self) -> String {
        match self {
            Self::Json => "CAST(\"assets\" AS VARCHAR)".to_owned(),
            // A value that is no JSON must not fail the others.
            Self::MapOfJson { text: true } => {
                "CAST(to_json(CAST(\"assets\" AS MAP(VARCHAR, VARCHAR))) AS VARCHAR)".to_owned()
            }
            _ => "CAST(to_json(\"assets\") AS VARCHAR)".to_owned(),
        }
    }

    /// For a single row the assets as two VARCHAR[], keys and JSON texts, of those that are `named`, else of all; `None`
    /// where [`Assets::whole`] is to be read.
    pub(super) fn described(&self, named: Option<&[String]>, more: &[&str], own: &str) -> Option<(String, String)> {
        let Self::Struct { keys, whole } = self else { return None };
        let wanted = keys.iter().filter(|field| named.is_none_or(|named| named.contains(field.name())));
        let mut names = Vec::new();
        let mut values = Vec::new();
        for field in wanted {
            let value = struct_value(field.name(), *whole);
            values.push(match field.data_type() {
                DataType::Null => continue,
                DataType::Struct(fields) => {
                    fields.find("href")?;
                    let wanted = [&DESCRIPTION, &FACTS[..], &storage::OF_ASSET, more].concat();
                    let json = pack(&value, fields, &wanted, &[&BAND_NAMES[..], &BAND_FACTS].concat(), own)?;
                    format!("CASE WHEN {value} IS NOT NULL THEN {json} END")
                }
                _ => as_json(&value, field),
            });
            names.push(field.name());
            if names.len() > MOST_FIELDS {
                return None;
            }
        }
        Some((format!("CAST({} AS VARCHAR[])", list(names)), format!("CAST([{}] AS VARCHAR[])", values.join(", "))))
    }

    /// A query for every key that an item has, or the keys themselves where the schema tells them.
    pub(super) fn keys(&self) -> Result<Vec<String>, &'static str> {
        match self {
            Self::Struct { keys, .. } => Ok(keys.iter().map(|key| key.name().clone()).collect()),
            Self::Map(_) | Self::MapOfJson { .. } => Err("map_keys(\"assets\")"),
            Self::Json => Err("TRY(json_keys(\"assets\"))"),
        }
    }
}

fn struct_value(key: &str, whole: bool) -> String {
    let value = format!("\"assets\".{}", identifier(key));
    // A list of one keeps DuckDB from reading fields of the struct one by one.
    if whole { format!("list_extract([{value}], 1)") } else { value }
}

/// The value of `key` in a MAP.
fn map_value(key: &str) -> String {
    format!("map_extract_value(\"assets\", {})", literal(key))
}

/// The text of a value that is JSON or can be told as JSON.
fn as_json(value: &str, field: &Field) -> String {
    match is_text(field.data_type()) || is_json(field) {
        true => format!("CAST({value} AS VARCHAR)"),
        false => format!("CAST(to_json({value}) AS VARCHAR)"),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn typed(value: &str, fields: &Fields, more: &[&str], own: &str) -> Option<AssetSql> {
    fields.find("href")?;
    let wanted = [&FACTS[..], &storage::OF_ASSET, more].concat();
    Some(AssetSql::Typed {
        // Hrefs may be of an ENUM.
        href: format!("CAST({value}.\"href\" AS VARCHAR)"),
        facts: pack(value, fields, &wanted, &BAND_FACTS, own),
    })
}

/// Those of the `wanted` fields of the asset `key` that exist, as JSON text, where assets are typed.
pub(super) fn packed(assets: &Assets, key: &str, wanted: &[&str], own: &str) -> Option<String> {
    match assets {
        Assets::Struct { keys, whole } => match keys.find(key)?.1.data_type() {
            DataType::Struct(fields) => pack(&struct_value(key, *whole), fields, wanted, &[], own),
            _ => None,
        },
        Assets::Map(fields) => pack(&map_value(key), fields, wanted, &[], own),
        Assets::MapOfJson { .. } | Assets::Json => None,
    }
}

/// Those of the `wanted` fields that exist, as JSON text; `None` if there are none. Only they are read from the file.
pub(super) fn pack(value: &str, fields: &Fields, wanted: &[&str], of_band: &[&str], own: &str) -> Option<String> {
    let members: Vec<String> = wanted
        .iter()
        .filter_map(|name| {
            let (_, field) = fields.find(name)?;
            let member = if value.is_empty() { identifier(name) } else { format!("{value}.{}", identifier(name)) };
            Some(format!("{} := {}", identifier(name), packed_member(&member, field.data_type(), of_band, own)?))
        })
        .collect();
    (!members.is_empty()).then(|| format!("CAST(to_json(struct_pack({})) AS VARCHAR)", members.join(", ")))
}

/// `own` begins no name of the file, so that the one of an element is not taken for a column.
fn packed_member(member: &str, data_type: &DataType, of_band: &[&str], own: &str) -> Option<String> {
    match data_type {
        DataType::Null => None,
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            let DataType::Struct(fields) = element.data_type() else { return Some(member.to_owned()) };
            let band = identifier(&format!("{own}band"));
            let present = of_band.iter().filter(|name| fields.find(name).is_some());
            let facts: Vec<String> =
                present.map(|name| format!("{0} := CAST({band}.{0} AS VARCHAR)", identifier(name))).collect();
            let of_each = || format!("list_transform({member}, lambda {band}: struct_pack({}))", facts.join(", "));
            (!facts.is_empty()).then(of_each)
        }
        DataType::Struct(_) | DataType::Map(..) => Some(member.to_owned()),
        // JSON has no NaN, but as text it can be told; and what is called JSON need not be.
        _ => Some(format!("CAST({member} AS VARCHAR)")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        let nothing = Field::new("nothing", DataType::Null, true);
        let keys = vec![red, plain, text("json"), nothing].into();
        let assets = Assets::Struct { keys, whole: false };
        let sql = |key: &str| assets.sql(key, &[], "own ");
        let href = "CAST(\"assets\".\"plain\".\"href\" AS VARCHAR)".to_owned();
        assert_eq!(sql("plain"), Some(AssetSql::Typed { href, facts: None }));
        let Some(AssetSql::Typed { href, facts: Some(facts) }) = sql("r'\"d") else { panic!("no facts") };
        assert_eq!(href, r#"CAST("assets"."r'""d"."href" AS VARCHAR)"#);
        assert!(facts.contains("\"nodata\" := CAST(\"own band\".\"nodata\" AS VARCHAR)"), "{facts}");
        assert!(!facts.contains("unit") && !facts.contains("title"), "{facts}");
        assert_eq!(sql("json"), Some(AssetSql::Json("CAST(\"assets\".\"json\" AS VARCHAR)".into())));
        assert_eq!((sql("nothing"), sql("nir")), (None, None));
    }

    #[test]
    fn of_several_files_an_asset_is_read_whole() {
        let plain = Field::new("plain", DataType::Struct(asset_fields(vec![])), true);
        let assets = Assets::Struct { keys: vec![plain].into(), whole: true };
        let href = "CAST(list_extract([\"assets\".\"plain\"], 1).\"href\" AS VARCHAR)".to_owned();
        assert_eq!(assets.sql("plain", &[], ""), Some(AssetSql::Typed { href, facts: None }));
    }

    #[test]
    fn keys_are_quoted_in_maps() {
        let Some(AssetSql::Typed { href, .. }) = Assets::Map(asset_fields(vec![])).sql("a'b", &[], "") else {
            panic!("no href")
        };
        assert_eq!(href, "CAST(map_extract_value(\"assets\", 'a''b').\"href\" AS VARCHAR)");
    }

    #[test]
    fn many_assets_are_read_as_one() {
        let of = |count: usize| {
            let keys = (0..count).map(|n| Field::new(format!("k{n}"), DataType::Struct(asset_fields(vec![])), true));
            Assets::Struct { keys: keys.collect(), whole: false }
        };
        let one = ["k3".to_owned()];
        assert!(of(20).described(None, &[], "").is_some() && of(800).described(None, &[], "").is_none());
        let (names, values) = of(800).described(Some(&one), &[], "").unwrap();
        assert_eq!(names, "CAST(['k3'] AS VARCHAR[])");
        assert!(values.contains("\"assets\".\"k3\"") && !values.contains("k4"), "{values}");
        assert!(!of(800).is_read_whole(&one) && of(800).is_read_whole(&vec![one[0].clone(); 100]));
    }
}
