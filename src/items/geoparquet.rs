//! What a GeoParquet file says about its geometry: the column, its CRS, and the columns of its bounds.

use duckdb::arrow::datatypes::Field as ArrowField;
use serde_json::Value;

use super::rows;
use super::session::{Private, list};
use super::source::Files;
use crate::crs::Crs;
use crate::error::Result;

/// The metadata `geo`, as far as they matter.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Metadata {
    /// The column of the geometry, where it has a name of its own.
    pub column: Option<String>,
    /// That of the geometry; `None` for longitude and latitude.
    pub crs: Option<Crs>,
    /// The paths of the columns of west, south, east and north.
    pub covering: Option<[Vec<String>; 4]>,
}

impl Metadata {
    /// Those of the first file that has any: they speak for all files of an archive.
    ///
    /// # Errors
    /// A CRS that PROJ refuses.
    pub(super) fn of(connection: &Private, files: &Files) -> Result<Metadata> {
        let files = list(&files.globs);
        let sql = format!("SELECT decode(value) FROM parquet_kv_metadata({files}) WHERE decode(key) = 'geo' LIMIT 1");
        match rows::query_texts(connection, &sql)?.first() {
            Some(text) => Metadata::read(text),
            None => Ok(Metadata::default()),
        }
    }

    fn read(text: &str) -> Result<Metadata> {
        // What is no JSON says nothing.
        let geo: Value = serde_json::from_str(text).unwrap_or_default();
        let name = geo.get("primary_column").and_then(Value::as_str).unwrap_or("geometry");
        let column = geo.get("columns").and_then(|columns| columns.get(name));
        let crs = column.and_then(|column| column.get("crs")).map(crs).transpose()?.flatten();
        let covering = column.and_then(|column| column.get("covering")?.get("bbox"));
        let path = |edge: &str| -> Option<Vec<String>> {
            let path = covering?.get(edge)?.as_array()?;
            path.iter().map(|part| part.as_str().map(str::to_owned)).collect()
        };
        let edges = ["xmin", "ymin", "xmax", "ymax"].map(path);
        let covering = if let [Some(w), Some(s), Some(e), Some(n)] = edges { Some([w, s, e, n]) } else { None };
        Ok(Metadata { column: column.map(|_| name.to_owned()), crs, covering })
    }
}

/// The CRS of a column of DuckDB's type GEOMETRY; `None` for longitude and latitude.
///
/// # Errors
/// A CRS that PROJ refuses.
pub(super) fn crs_of_field(field: &ArrowField) -> Result<Option<Crs>> {
    let metadata = field.metadata().get("ARROW:extension:metadata");
    let metadata: Value = metadata.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    metadata.get("crs").map_or(Ok(None), crs)
}

fn crs(definition: &Value) -> Result<Option<Crs>> {
    let definition = match definition {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        object => object.to_string(),
    };
    let crs = Crs::new(&definition).map_err(|e| e.within("the geometry of the items"))?;
    // Degrees of one datum or another are less apart than the margins of items.
    Ok(crs.turn().is_none().then_some(crs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projected_crs_and_a_covering() {
        let text = r#"{"primary_column":"geom","columns":{"geom":{"encoding":"WKB","crs":"EPSG:32633","covering":{"bbox":
            {"xmin":["b","w"],"ymin":["b","s"],"xmax":["b","e"],"ymax":["b","n"]}}}}}"#;
        let found = Metadata::read(text).unwrap();
        assert_eq!(found.column.as_deref(), Some("geom"));
        assert_eq!(found.crs.map(|crs| crs.definition().to_owned()).as_deref(), Some("EPSG:32633"));
        assert_eq!(found.covering.unwrap()[3], ["b", "n"]);
    }

    #[test]
    fn degrees_are_left_alone() {
        for crs in ["null", "\"OGC:CRS84\"", "\"EPSG:4269\""] {
            let text = format!(r#"{{"columns":{{"geometry":{{"crs":{crs}}}}}}}"#);
            assert_eq!(Metadata::read(&text).unwrap().crs, None);
        }
        assert_eq!(Metadata::read("nonsense").unwrap(), Metadata::default());
        assert!(Metadata::read(r#"{"columns":{"geometry":{"crs":"EPSG:1"}}}"#).is_err());
    }
}
