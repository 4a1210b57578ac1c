//! Tables of shapes that a call brings along, such as parcels: an id and a geometry in each row.

use duckdb::arrow::array::RecordBatch;
use duckdb::arrow::datatypes::{DataType, Field, Schema};

use super::geometry::Encoding;
use super::geoparquet::Metadata;
use super::layout::footprint;
use super::paths::{find, is_json};
use super::session::{self, Private, identifier, list};
use super::source::{Relation, Source};
use super::{apart, rows};
use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::store::shown;

/// What names a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Id {
    Number(i64),
    Text(String),
    Missing,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Id::Number(number) => write!(f, "{number}"),
            Id::Text(text) => write!(f, "'{text}'"),
            Id::Missing => f.write_str("NULL"),
        }
    }
}

/// A geometry as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    Wkb(Vec<u8>),
    /// WKT or GeoJSON.
    Text(String),
    Missing,
}

/// Rows in the order of the files, all in memory.
#[derive(Debug, Clone)]
pub struct Shapes {
    pub rows: Vec<(Id, Raw)>,
    /// All ids are numbers.
    pub numbered: bool,
    /// That of the coordinates, where the source declares one.
    pub crs: Option<Crs>,
}

/// Columns that are looked for, in this order, where nothing says which one holds the geometry.
const GEOMETRIES: [&str; 5] = ["geometry", "geom", "wkb_geometry", "wkt", "shape"];

impl Shapes {
    /// Reads parquet, GeoJSON or rows by value. `id` is the column that names the rows; else they are named by `id`, where there is
    /// one, or counted from 1. `argument` is how errors call the source.
    ///
    /// # Errors
    /// Files that cannot be read; no column of that name, or none with a geometry: the message lists those there are.
    pub fn read(source: &Source, id: Option<&str>, threads: usize, argument: &str) -> Result<Shapes> {
        let within = |e: Error| if e == Error::Cancelled { e } else { e.within(argument) };
        session::run(threads, |connection| match geojson(source) {
            Some(paths) => of_geojson(&connection, &paths, id),
            None => of_relation(&connection, source.relation(&connection, None)?, id),
        })
        .map_err(within)
    }
}

/// The paths of GeoJSON files.
fn geojson(source: &Source) -> Option<Vec<String>> {
    let paths: Vec<(String, String)> = match source {
        Source::Paths(paths) => paths.iter().map(|path| (path.clone(), path.clone())).collect(),
        Source::Fetched(files) => files.iter().map(|file| (file.path.clone(), file.origin.clone())).collect(),
        Source::Rows(_) => return None,
    };
    let all = !paths.is_empty() && paths.iter().all(|(_, origin)| is_json(origin));
    all.then(|| paths.into_iter().map(|(path, _)| path).collect())
}

/// A FeatureCollection, a Feature or a bare geometry in each file. RFC 7946: longitude and latitude.
fn of_geojson(connection: &Private, paths: &[String], id: Option<&str>) -> Result<Shapes> {
    let mut globs = Vec::new();
    for path in paths {
        globs.extend(find(path)?.globs(connection)?);
    }
    let column = match id {
        // A member of the feature, else of its properties.
        Some(name) => format!("coalesce(f->{0}, f->'properties'->{0})", session::literal(name)),
        None => "f->'id'".to_owned(),
    };
    let sql = format!(
        "SELECT CAST({column} AS VARCHAR) AS id, CASE WHEN f->>'type' = 'Feature' THEN CAST(f->'geometry' AS VARCHAR) ELSE CAST(f AS VARCHAR) \
         END AS g FROM (SELECT unnest(CASE WHEN j->>'type' = 'FeatureCollection' THEN CAST(j->'features' AS JSON[]) ELSE [j] \
         END) AS f FROM (SELECT CAST(content AS JSON) AS j FROM read_text({})))",
        list(&globs)
    );
    let batches = session::rows(connection, &sql)?;
    let mut found = Vec::new();
    for batch in &batches {
        let [ids, geometries] = batch.columns() else { continue };
        for row in 0..batch.num_rows() {
            let named = rows::text(ids, row)?.and_then(name_in);
            let geometry = rows::text(geometries, row)?.map(str::to_owned);
            found.push((named, geometry.map_or(Raw::Missing, Raw::Text)));
        }
    }
    if let Some(name) = id.filter(|_| !found.is_empty() && found.iter().all(|(named, _)| named.is_none())) {
        return Err(Error::Argument(format!("no feature has a property '{name}'")));
    }
    let unnamed = found.iter().all(|(named, _)| named.is_none());
    let numbered = found.iter().all(|(named, _)| !matches!(named, Some(Id::Text(_))));
    let rows = found.into_iter().enumerate().map(|(i, (named, geometry))| {
        let id = match named {
            None if unnamed => Id::Number(i as i64 + 1),
            None => Id::Missing,
            Some(Id::Number(number)) if !numbered => Id::Text(number.to_string()),
            Some(id) => id,
        };
        (id, geometry)
    });
    Ok(Shapes { rows: rows.collect(), numbered, crs: None })
}

/// A JSON value as a name: a whole number is one, and text stays text, whatever its digits.
fn name_in(json: &str) -> Option<Id> {
    match serde_json::from_str(json).unwrap_or_default() {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(Id::Text(text)),
        other => Some(other.as_i64().map_or_else(|| Id::Text(other.to_string()), Id::Number)),
    }
}

fn of_relation(connection: &Private, relation: Relation, id: Option<&str>) -> Result<Shapes> {
    let files = relation.files.clone();
    let (schema, relation) = apart::look(connection, relation)?;
    let metadata = files.map_or_else(|| Ok(Metadata::default()), |files| Metadata::of(connection, &files))?;
    let (geometry, encoding, crs) = geometry_of(&schema, &metadata, &relation.name)?;
    let named = match (id, schema.fields().find("id")) {
        (Some(name), _) => {
            let found = schema.fields().find(name).ok_or_else(|| without(&schema, &relation.name, name))?;
            Some(found.1.as_ref())
        }
        (None, found) => found.map(|(_, field)| field.as_ref()),
    };
    let numbered = named.is_none_or(|field| field.data_type().is_integer());
    let id = match named {
        Some(field) if numbered => format!("CAST({} AS BIGINT)", identifier(field.name())),
        Some(field) => format!("CAST({} AS VARCHAR)", identifier(field.name())),
        None => format!("row_number() OVER (ORDER BY {})", relation.ordinals.join(", ")),
    };
    let sql = format!("SELECT {id}, {geometry} FROM {} ORDER BY {}", relation.from, relation.ordinals.join(", "));
    let mut found = Vec::new();
    for batch in &session::rows(connection, &sql)? {
        for row in 0..batch.num_rows() {
            found.push(of_row(batch, row, numbered, encoding)?);
        }
    }
    Ok(Shapes { rows: found, numbered, crs })
}

fn of_row(batch: &RecordBatch, row: usize, numbered: bool, encoding: Encoding) -> Result<(Id, Raw)> {
    let [ids, geometries] = batch.columns() else { return Ok((Id::Missing, Raw::Missing)) };
    let id = match numbered {
        true => rows::integer(ids, row)?.map(Id::Number),
        false => rows::text(ids, row)?.map(|text| Id::Text(text.to_owned())),
    };
    let bytes = rows::bytes(geometries, row)?;
    let raw = match (bytes, encoding) {
        (None, _) => Raw::Missing,
        (Some(bytes), Encoding::Wkb) => Raw::Wkb(bytes.to_vec()),
        (Some(bytes), _) => Raw::Text(String::from_utf8_lossy(bytes).into_owned()),
    };
    Ok((id.unwrap_or(Id::Missing), raw))
}

/// The SQL of the geometry, how it is written, and its CRS.
fn geometry_of(schema: &Schema, metadata: &Metadata, name: &str) -> Result<(String, Encoding, Option<Crs>)> {
    let column = |name: &str| schema.fields().find(name).map(|(_, field)| field.as_ref());
    let is_binary = |field: &&Field| matches!(field.data_type(), DataType::Binary | DataType::LargeBinary);
    let found = metadata
        .column
        .as_deref()
        .and_then(column)
        .or_else(|| GEOMETRIES.into_iter().find_map(column))
        .or_else(|| schema.fields().iter().map(AsRef::as_ref).find(is_binary))
        .ok_or_else(|| without(schema, name, "geometry"))?;
    let footprint = footprint(found, metadata)?.filter(|found| found.encoding != Encoding::Nested);
    let footprint = footprint.ok_or_else(|| {
        Error::Argument(format!("the column '{}' is no geometry: give WKB, WKT or GeoJSON", found.name()))
    })?;
    Ok((footprint.sql, footprint.encoding, footprint.crs))
}

fn without(schema: &Schema, name: &str, column: &str) -> Error {
    let there: Vec<String> = schema.fields().iter().map(|field| format!("'{}'", field.name())).collect();
    Error::Argument(format!("{} has no column '{column}'; there are {}", shown::place(name), there.join(", ")))
}
