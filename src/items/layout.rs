//! What a given item table looks like, and the SQL that makes every layout look the same.

use duckdb::Connection;
use duckdb::arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema};

use super::apart;
use super::assets::{self, Assets};
use super::fields::{Field, Kind, Nested, Properties, is_json, is_native, near_misses, pointer};
use super::geometry::Encoding;
use super::geoparquet::{self, Metadata};
use super::rows;
use super::session::{Private, identifier, list, literal};
use super::source::Relation;
use crate::crs::Crs;
use crate::error::{Error, Result};

/// The SQL of the parts of an item.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub relation: Relation,
    pub id: String,
    pub bbox: Option<Bbox>,
    pub geometry: Option<Footprint>,
    pub assets: Assets,
    pub properties: Properties,
    /// Begins no name of the file, in small letters or capitals: what our SQL calls itself begins with it.
    pub own: String,
    columns: Fields,
    /// The fields of `properties`, where it is a STRUCT.
    nested: Option<Fields>,
    datetime: Option<Field>,
    start: Option<Field>,
    end: Option<Field>,
}

/// The geometry of an item.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Footprint {
    /// Yields what the encoding says.
    pub sql: String,
    pub encoding: Encoding,
    /// `None` for longitude and latitude.
    pub crs: Option<Crs>,
}

/// West, south, east and north, as SQL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bbox {
    pub edges: [String; 4],
    /// The edges are columns of their own, for which a parquet file keeps statistics.
    pub pruning: bool,
}

impl Layout {
    /// Looks at the columns of a relation.
    ///
    /// # Errors
    /// A relation that lacks what every item has names the column, and those that are there.
    pub(super) fn of(connection: &Private, relation: Relation) -> Result<Self> {
        let (name, files) = (relation.name.clone(), relation.files.clone());
        let look = || {
            let (schema, relation) = apart::look(connection, relation)?;
            let metadata = files.map_or_else(|| Ok(Metadata::default()), |files| Metadata::of(connection, &files))?;
            Ok((schema, relation, metadata))
        };
        let (schema, relation, metadata) = look().map_err(|e: Error| e.within(format!("items {name}")))?;
        Self::with_metadata(&schema, relation, &metadata)
    }

    pub(super) fn of_schema(schema: &Schema, relation: Relation) -> Result<Self> {
        Self::with_metadata(schema, relation, &Metadata::default())
    }

    fn with_metadata(schema: &Schema, relation: Relation, metadata: &Metadata) -> Result<Self> {
        let missing = |what: &str| {
            let there: Vec<String> = schema.fields().iter().map(|f| format!("'{}'", f.name())).collect();
            let there = there.join(", ");
            Error::Items(format!("items {} is no stac-geoparquet: no column {what}; there are {there}", relation.name))
        };
        let column = |name: &str| schema.fields().find(name).map(|(_, field)| field.as_ref());
        let id = column("id").ok_or_else(|| missing("'id'"))?;
        let assets = column("assets").ok_or_else(|| missing("'assets'"))?;
        let Some(assets) = Assets::of(assets.data_type(), relation.several) else {
            return Err(Error::Items(format!(
                "items {}: the column 'assets' is neither a STRUCT, a MAP nor JSON text",
                relation.name
            )));
        };
        let properties = properties(schema, &relation);
        let (datetime, start) = (properties.resolve("datetime"), properties.resolve("start_datetime"));
        if datetime.is_none() && start.is_none() {
            return Err(missing("'datetime'"));
        }
        let name = metadata.column.as_deref().filter(|_| column("geometry").is_none());
        let geometry =
            column(name.unwrap_or("geometry")).map(|field| footprint(field, metadata)).transpose()?.flatten();
        let bbox = bounds(schema, metadata, geometry.as_ref().is_some_and(|geometry| geometry.crs.is_some()));
        if bbox.is_none() && geometry.is_none() {
            return Err(missing("'bbox' or 'geometry' of a known layout"));
        }
        let end = properties.resolve("end_datetime");
        let id = format!("CAST({} AS VARCHAR)", identifier(id.name()));
        let nested = match column("properties").map(ArrowField::data_type) {
            Some(DataType::Struct(fields)) => Some(fields.clone()),
            _ => None,
        };
        let own = apart::own_prefix(schema.fields());
        let columns = schema.fields().clone();
        Ok(Self { relation, id, bbox, geometry, assets, properties, own, columns, nested, datetime, start, end })
    }

    /// `datetime`, else `start_datetime`, as microseconds: NULL if both are, or if the one that counts is no timestamp.
    pub(super) fn time(&self) -> String {
        match (&self.datetime, &self.start) {
            (Some(datetime), Some(start)) => {
                format!("CASE WHEN {} IS NOT NULL THEN {} ELSE {} END", datetime.sql, datetime.micros(), start.micros())
            }
            (Some(field), None) | (None, Some(field)) => field.micros(),
            (None, None) => "NULL".to_owned(),
        }
    }

    /// The first and the last microsecond of an item.
    pub(super) fn extent(&self) -> (String, String) {
        let micros = |field: &Option<Field>| field.as_ref().map(Field::micros);
        let (datetime, start, end) = (micros(&self.datetime), micros(&self.start), micros(&self.end));
        let first_of = |parts: [&Option<String>; 3]| {
            let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
            format!("coalesce({})", parts.join(", "))
        };
        (first_of([&start, &datetime, &None]), first_of([&end, &datetime, &start]))
    }

    /// The text that [`Layout::time`] was read from, where times are text.
    pub(super) fn time_text(&self) -> Option<String> {
        let texts: Vec<&str> = [&self.datetime, &self.start].into_iter().flatten().filter_map(Field::text).collect();
        (!texts.is_empty()).then(|| format!("coalesce({})", texts.join(", ")))
    }

    /// Whether the time is a date only.
    pub(super) fn is_bare_date(&self) -> String {
        match (&self.datetime, &self.start) {
            (Some(datetime), Some(start)) => {
                let (a, b) = (datetime.is_bare_date(), start.is_bare_date());
                format!("CASE WHEN {} IS NOT NULL THEN {a} ELSE {b} END", datetime.sql)
            }
            (Some(field), None) | (None, Some(field)) => field.is_bare_date(),
            (None, None) => "false".to_owned(),
        }
    }

    /// What the item says for all of its assets: the `wanted` columns as JSON, and its properties where they are JSON.
    pub(super) fn of_item(&self, wanted: &[&str]) -> [Option<String>; 2] {
        let packed = |value: &str, fields: &Fields| assets::pack(value, fields, wanted, &[], &self.own);
        let (nested, json) = match &self.properties.nested {
            Nested::Json => (None, Some("CAST(\"properties\" AS VARCHAR)".to_owned())),
            _ => (self.nested.as_ref().and_then(|fields| packed("\"properties\"", fields)), None),
        };
        // Columns win over members of `properties`, as they do by name.
        [packed("", &self.columns).or(nested), json]
    }

    /// The field that a user named in `argument`.
    ///
    /// # Errors
    /// No item has such a field; the message names similar ones.
    pub(super) fn field(&self, connection: &Connection, argument: &str, name: &str) -> Result<Field> {
        let known = || -> Result<Vec<String>> {
            let mut names = self.properties.names();
            if matches!(self.properties.nested, Nested::Json) {
                let keys = "SELECT DISTINCT unnest(TRY(json_keys(\"properties\")))";
                names.extend(rows::query_texts(connection, &format!("{keys} FROM {}", self.relation.from))?);
            }
            Ok(names)
        };
        let unknown = |known: Vec<String>| {
            Error::Argument(format!("{argument}: no item has a field '{name}'{}", near_misses(name, &known)))
        };
        let Some(field) = self.properties.resolve(name) else { return Err(unknown(known()?)) };
        let whole_numbers = self.columns.find(name).is_some_and(|(_, column)| column.data_type() == &DataType::Int32);
        if let (true, Some(files)) = (whole_numbers, &self.relation.files) {
            // DuckDB 1.5 takes parquet's null type for INTEGER.
            let told = format!(
                "SELECT DISTINCT coalesce(logical_type, '') FROM parquet_schema({}) WHERE name = {}",
                list(&files.globs),
                literal(name)
            );
            if rows::query_texts(connection, &told)? == ["NullType()"] {
                return Ok(Field { sql: format!("CAST({} AS VARCHAR)", field.sql), kind: Kind::Null });
            }
        }
        if self.properties.is_json_key(name) {
            let bare = name.strip_prefix("properties.").unwrap_or(name);
            let path = literal(&pointer(&[bare]));
            let exists = format!(
                "SELECT 'yes' FROM {} WHERE TRY(json_exists(\"properties\", {path})) LIMIT 1",
                self.relation.from
            );
            if rows::query_texts(connection, &exists)?.is_empty() {
                return Err(unknown(known()?));
            }
        }
        Ok(field)
    }
}

fn properties(schema: &Schema, relation: &Relation) -> Properties {
    let known = |fields: &Fields| fields.iter().map(|f| (f.name().clone(), Kind::of(f))).collect::<Vec<_>>();
    let nested = match schema.fields().find("properties").map(|(_, field)| field.data_type()) {
        Some(DataType::Struct(fields)) => Nested::Struct(known(fields)),
        Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => Nested::Json,
        _ => Nested::None,
    };
    let mut flat = known(schema.fields());
    // These are structure, not properties, whatever their type.
    let structure = ["assets", "bbox", "geometry", "links", "properties", "stac_extensions", "stac_version", "type"];
    let is_ours = |name: &String| Some(name) == relation.base.as_ref() || relation.ordinals.contains(&identifier(name));
    flat.retain(|(name, _)| !structure.contains(&name.as_str()) && !is_ours(name));
    Properties { flat, nested }
}

fn bbox(field: &ArrowField) -> Option<Bbox> {
    match field.data_type() {
        DataType::Struct(fields) => {
            let edges = ["xmin", "ymin", "xmax", "ymax"];
            let present = edges.iter().all(|edge| fields.find(edge).is_some());
            // A bare field is what statistics prune by; other numbers than floating-point ones, such as the DECIMAL of a
            // SQL literal, are read as if they were.
            let sql = edges.map(|edge| match fields.find(edge).map(|f| f.1.data_type()) {
                Some(DataType::Float64 | DataType::Float32) => format!("\"bbox\".{}", identifier(edge)),
                _ => format!("TRY_CAST(\"bbox\".{} AS DOUBLE)", identifier(edge)),
            });
            present.then_some(Bbox { edges: sql, pruning: true })
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            Some(of_list("TRY_CAST(\"bbox\" AS DOUBLE[])"))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            // `null`, and whatever else is no list, is no bbox.
            Some(of_list("TRY_CAST(CAST(\"bbox\" AS VARCHAR) AS DOUBLE[])"))
        }
        _ => None,
    }
}

/// Four numbers, or six with the heights between.
fn of_list(bbox: &str) -> Bbox {
    let edge = |flat: u8, tall: u8| format!("({bbox})[CASE WHEN len({bbox}) = 6 THEN {tall} ELSE {flat} END]");
    Bbox { edges: [edge(1, 1), edge(2, 2), edge(3, 4), edge(4, 5)], pruning: false }
}

/// The columns of the bounds: `bbox`, else what covers the geometry. Bounds of a projected geometry are in its CRS and of no use.
fn bounds(schema: &Schema, metadata: &Metadata, is_projected: bool) -> Option<Bbox> {
    let column = |name: &str| schema.fields().find(name).map(|(_, field)| field.as_ref());
    let covers =
        |name: &str| metadata.covering.iter().flatten().any(|path| path.first().is_some_and(|part| part == name));
    if let Some(found) = column("bbox").filter(|_| !(is_projected && covers("bbox"))).and_then(bbox) {
        return Some(found);
    }
    let paths = metadata.covering.as_ref().filter(|_| !is_projected)?;
    let edge = |path: &Vec<String>| -> Option<String> {
        let [name, member] = path.as_slice() else { return None };
        let DataType::Struct(fields) = column(name)?.data_type() else { return None };
        fields.find(member).filter(|(_, field)| field.data_type().is_floating())?;
        Some(format!("{}.{}", identifier(name), identifier(member)))
    };
    let edges: Option<Vec<String>> = paths.iter().map(edge).collect();
    Some(Bbox { edges: edges?.try_into().ok()?, pruning: true })
}

/// `None` for a type that holds no geometry.
pub(super) fn footprint(field: &ArrowField, metadata: &Metadata) -> Result<Option<Footprint>> {
    let sql = &identifier(field.name());
    let native = is_native(field);
    let as_json = || format!("CASE WHEN {sql} IS NOT NULL THEN CAST(to_json({sql}) AS VARCHAR) END");
    let (sql, encoding) = match field.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView if native => {
            (format!("ST_AsWKB({sql})"), Encoding::Wkb)
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => (sql.clone(), Encoding::Wkb),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if is_json(field) => {
            (format!("CAST({sql} AS VARCHAR)"), Encoding::GeoJson)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => (sql.clone(), Encoding::GeoJson),
        DataType::Struct(fields) if fields.find("x").is_some() => (as_json(), Encoding::Nested),
        DataType::Struct(_) => (as_json(), Encoding::GeoJson),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => (as_json(), Encoding::Nested),
        _ => return Ok(None),
    };
    let crs = if native { geoparquet::crs_of_field(field)? } else { None };
    Ok(Some(Footprint { sql, encoding, crs: crs.or_else(|| metadata.crs.clone()) }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use duckdb::arrow::datatypes::TimeUnit;

    use super::super::source::Relation;
    use super::*;

    fn layout(fields: Vec<ArrowField>) -> Result<Layout> {
        Layout::of_schema(&Schema::new(fields), Relation::unread(false))
    }

    fn of(name: &str, data_type: DataType) -> ArrowField {
        ArrowField::new(name, data_type, true)
    }

    fn minimal() -> Vec<ArrowField> {
        vec![
            of("id", DataType::Utf8),
            of("assets", DataType::Utf8),
            of("datetime", DataType::Timestamp(TimeUnit::Millisecond, None)),
            of("geometry", DataType::Binary),
        ]
    }

    #[test]
    fn a_table_without_what_an_item_has_names_it() {
        for name in ["id", "assets", "datetime", "geometry"] {
            let fields = minimal().into_iter().filter(|f| f.name() != name).collect();
            let message = layout(fields).unwrap_err().to_string();
            assert!(message.contains(&format!("'{name}'")) && message.contains("there are"), "{message}");
        }
        assert!(layout(minimal()).is_ok());
        let mut fields = minimal();
        fields[1] = of("assets", DataType::Int32);
        assert!(layout(fields).unwrap_err().to_string().contains("'assets' is neither"));
    }

    #[test]
    fn boxes_with_and_without_heights() {
        let six: Fields =
            ["xmin", "ymin", "zmin", "xmax", "ymax", "zmax"].map(|n| of(n, DataType::Float64)).to_vec().into();
        let found = bbox(&of("bbox", DataType::Struct(six))).unwrap();
        assert!(found.pruning);
        assert_eq!(found.edges[2], "\"bbox\".\"xmax\"");
        let list = DataType::List(Arc::new(of("l", DataType::Float64)));
        assert!(bbox(&of("bbox", list)).unwrap().edges[3].contains("THEN 5 ELSE 4"));
        assert_eq!(bbox(&of("bbox", DataType::Struct(vec![of("minx", DataType::Float64)].into()))), None);
        assert_eq!(bbox(&of("bbox", DataType::Binary)), None);
    }

    #[test]
    fn the_extent_uses_the_columns_there_are() {
        let mut fields = minimal();
        assert_eq!(layout(fields.clone()).unwrap().extent().1, "coalesce(epoch_us(\"datetime\"))");
        fields.push(of("start_datetime", DataType::Utf8));
        fields.push(of("end_datetime", DataType::Date32));
        let (first, last) = layout(fields).unwrap().extent();
        assert_eq!(
            first,
            "coalesce(epoch_us(TRY_CAST(upper(trim(CAST(\"start_datetime\" AS VARCHAR))) AS TIMESTAMPTZ)), epoch_us(\"datetime\"))"
        );
        assert!(last.starts_with("coalesce(epoch_us(CAST(\"end_datetime\" AS TIMESTAMP)), "), "{last}");
    }

    #[test]
    fn what_holds_for_all_assets_is_asked_only_where_a_column_tells() {
        let mut fields = minimal();
        assert_eq!(layout(fields.clone()).unwrap().of_item(&["proj:code", "nodata", "storage:region"]), [None, None]);
        fields.push(of("storage:region", DataType::Utf8));
        fields.push(of("nodata", DataType::Float64));
        let [flat, json] = layout(fields).unwrap().of_item(&["proj:code", "nodata", "storage:region"]);
        let wanted = "CAST(to_json(struct_pack(\"nodata\" := CAST(\"nodata\" AS VARCHAR), \
                      \"storage:region\" := CAST(\"storage:region\" AS VARCHAR))) AS VARCHAR)";
        assert_eq!((flat.as_deref(), json), (Some(wanted), None));
        let mut fields = minimal();
        fields.push(of("properties", DataType::Utf8));
        assert_eq!(
            layout(fields).unwrap().of_item(&["proj:code", "nodata", "storage:region"])[1].as_deref(),
            Some("CAST(\"properties\" AS VARCHAR)")
        );
    }

    #[test]
    fn our_names_are_not_those_of_the_file() {
        let mut fields = minimal();
        fields.push(of("LazyCogs 1", DataType::Utf8));
        fields.push(of("_lazycogs x", DataType::Utf8));
        assert_eq!(layout(fields).unwrap().own, "__lazycogs ");
    }

    #[test]
    fn nested_properties_hold_the_times_too() {
        let mut fields = minimal();
        fields[2] = of("properties", DataType::Struct(vec![of("datetime", DataType::Utf8)].into()));
        let found = layout(fields.clone()).unwrap();
        assert_eq!(
            found.time(),
            "epoch_us(TRY_CAST(upper(trim(CAST(\"properties\".\"datetime\" AS VARCHAR))) AS TIMESTAMPTZ))"
        );
        fields[2] = of("properties", DataType::Utf8);
        assert!(layout(fields).unwrap().time_text().is_some());
    }
}
