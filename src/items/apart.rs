//! Keeps our names apart from those of a file, and puts together parts that write a column in different ways.
//!
//! DuckDB's columns of file and row number give way to columns of the same name in the file, hive keys hide columns, and
//! parts whose `assets` are a STRUCT here and text there are cast by rules that lose facts. Where none of that is the case,
//! which is nearly always, the relation stays as it is.

use std::sync::Arc;

use duckdb::Connection;
use duckdb::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use duckdb::core::{LogicalTypeHandle, LogicalTypeId};

use super::fields::{is_json, is_native};
use super::paths::files_of;
use super::rows;
use super::session::{failed, identifier, list, literal};
use super::source::{Files, Relation};
use crate::error::Result;

/// The columns of a relation, and the relation in a form in which every name is what it should be.
pub(super) fn look(connection: &Connection, relation: Relation) -> Result<(Schema, Relation)> {
    let relation = match &relation.files {
        Some(files) => together(connection, files, &relation)?.unwrap_or(relation),
        None => relation,
    };
    let (schema, odd) = columns(connection, &relation.from)?;
    let own = own_prefix(schema.fields());
    let is_taken = |name: &str| schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name));
    let ours = relation.base.iter().chain(&relation.ordinals);
    // A table made of JSON has a base of our own.
    let taken = ours.filter(|name| Some(*name) != relation.base.as_ref() || relation.files.is_some());
    if odd.is_empty() && !taken.clone().any(|name| is_taken(name)) {
        return Ok((schema, relation));
    }
    let base = relation.base.as_ref().filter(|_| relation.files.is_some());
    let (from, file) = match base {
        Some(_) => {
            let file = format!("{own}file");
            let from = relation.from.strip_suffix(')').unwrap_or(&relation.from);
            (format!("{from}, filename = {})", literal(&file)), Some(file))
        }
        None => (relation.from.clone(), relation.base.clone()),
    };
    let names: Vec<String> = (0..relation.ordinals.len()).map(|n| format!("{own}row {n}")).collect();
    // A window also keeps filters from the scan, where DuckDB 1.5 takes every column `filename` for its own.
    let (rows, ordinals) = if taken.clone().any(|name| is_taken(name)) {
        let name = format!("{own}row");
        (format!("row_number() OVER () AS {}", identifier(&name)), vec![name])
    } else {
        let named = relation.ordinals.iter().zip(&names);
        let rows: Vec<String> = named.map(|(column, name)| format!("{column} AS {}", identifier(name))).collect();
        (rows.join(", "), names)
    };
    let text = |name: &String| format!("CAST({0} AS JSON) AS {0}", identifier(name));
    let replaced = match odd.as_slice() {
        [] => String::new(),
        odd => format!(" REPLACE ({})", odd.iter().map(text).collect::<Vec<_>>().join(", ")),
    };
    let ordinals = ordinals.iter().map(|name| identifier(name)).collect();
    let from = format!("(SELECT *{replaced}, {rows} FROM {from})");
    let relation = Relation { from, base: file, ordinals, ..relation };
    Ok((columns(connection, &relation.from)?.0, relation))
}

/// What begins no name among the columns.
pub(super) fn own_prefix(columns: &Fields) -> String {
    let mut own = "lazycogs ".to_owned();
    while columns.iter().any(|column| column.name().to_lowercase().starts_with(&own)) {
        own.insert(0, '_');
    }
    own
}

/// The columns, and the names of those of DuckDB's VARIANT type, which only SQL can read.
fn columns(connection: &Connection, from: &str) -> Result<(Schema, Vec<String>)> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {from} LIMIT 0")).map_err(failed)?;
    let found = statement.stream_arrow([]).map_err(failed).map(|stream| stream.get_schema());
    match found {
        Ok(schema) => {
            let mut odd = Vec::new();
            let mut marked = |(index, field): (usize, &Arc<Field>)| {
                let logical = statement.column_logical_type(index);
                if logical.id() == LogicalTypeId::Variant {
                    odd.push(field.name().clone());
                }
                mark(field, &logical)
            };
            let fields: Fields = schema.fields().iter().enumerate().map(&mut marked).collect();
            Ok((Schema::new(fields), odd))
        }
        Err(error) => {
            // DuckDB 1.5 has no Arrow type for VARIANT, but can name its columns.
            let described = rows::query_texts(
                connection,
                &format!(
                    "SELECT column_name FROM (DESCRIBE SELECT * FROM {from}) WHERE contains(column_type, 'VARIANT')"
                ),
            )?;
            if described.is_empty() {
                return Err(error);
            }
            let names: Vec<String> = described.iter().map(|name| identifier(name)).collect();
            let rest = format!("(SELECT * EXCLUDE ({}) FROM {from})", names.join(", "));
            columns(connection, &rest).map(|(schema, _)| (schema, described))
        }
    }
}

/// The field, marked as JSON where DuckDB calls it so, which Arrow does not tell; members of a STRUCT, too.
fn mark(field: &Field, logical: &LogicalTypeHandle) -> Field {
    let field = match field.data_type() {
        DataType::Struct(members)
            if logical.id() == LogicalTypeId::Struct && logical.num_children() == members.len() =>
        {
            let members = members.iter().enumerate().map(|(index, member)| match member.data_type() {
                DataType::Utf8 => Arc::new(mark(member, &logical.child(index))),
                _ => member.clone(),
            });
            field.clone().with_data_type(DataType::Struct(members.collect()))
        }
        _ => field.clone(),
    };
    match logical.get_alias().as_deref() {
        Some("JSON") => {
            let name = ("ARROW:extension:name".to_owned(), "arrow.json".to_owned());
            field.with_metadata([name])
        }
        _ => field,
    }
}

/// The files as one relation where read_parquet would not put them together rightly; `None` where it does.
fn together(connection: &Connection, files: &Files, relation: &Relation) -> Result<Option<Relation>> {
    if let Some(found) = without_hive_clash(connection, files, relation)? {
        return Ok(Some(found));
    }
    if !relation.several || !files.is_local {
        return Ok(None);
    }
    if are_alike(connection, files)? {
        return Ok(Some(alike(files, relation)));
    }
    // A name may be that of a group of columns here and of a column there, or of JSON and of any text.
    let clashing = format!(
        "SELECT name FROM parquet_schema({}) WHERE NOT list_contains({}, name) GROUP BY name HAVING \
         count(DISTINCT (num_children IS NULL, coalesce(converted_type, '') = 'JSON')) > 1 ORDER BY name",
        list(&files.globs),
        list(DIFFERING)
    );
    let names = [DIFFERING.map(str::to_owned).to_vec(), rows::query_texts(connection, &clashing)?].concat();
    let told = shapes(connection, files, &names)?;
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (file, shape) in &told {
        match groups.iter_mut().find(|(known, _)| known == shape) {
            Some((_, files)) => files.push(file),
            None => groups.push((shape, vec![file])),
        }
    }
    if groups.len() < 2 {
        return Ok(None);
    }
    let order = files_of(connection, &files.globs)?;
    let position = format!("list_position({}, {{file}})", list(&order));
    let mut parts = Vec::new();
    for (_, group) in groups {
        let from = format!("read_parquet({}, {})", list(group), files.options);
        let (schema, _) = columns(connection, &from)?;
        parts.push((from, schema));
    }
    let schemas: Vec<&Schema> = parts.iter().map(|(_, schema)| schema).collect();
    let names: Vec<&String> = names.iter().filter(|name| is_apart(&schemas, name)).collect();
    let own = own_prefix(&parts.iter().flat_map(|(_, schema)| schema.fields().iter().cloned()).collect());
    let base = format!("{own}file");
    let [file, index, row] = ["file", "index", "row"].map(|name| identifier(&format!("{own}{name}")));
    let position = position.replace("{file}", &file);
    let parts: Vec<String> = parts
        .iter()
        .map(|(from, schema)| {
            let from = from.strip_suffix(')').unwrap_or(from);
            let uniform = names.iter().filter_map(|name| uniform(schema, name)).collect::<Vec<_>>().join(", ");
            let replaced = if uniform.is_empty() { uniform } else { format!(" REPLACE ({uniform})") };
            format!(
                "SELECT *{replaced}, {position} AS {index}, row_number() OVER () AS {row} \
                 FROM {from}, filename = {})",
                literal(&base)
            )
        })
        .collect();
    Ok(Some(Relation {
        from: format!("({})", parts.join(" UNION ALL BY NAME ")),
        ordinals: vec![index.clone(), row.clone()],
        base: Some(base),
        files: None,
        several: false,
        ..relation.clone()
    }))
}

/// Whether all files have the same columns.
fn are_alike(connection: &Connection, files: &Files) -> Result<bool> {
    let columns = "column_id, name, type, type_length, repetition_type, num_children, converted_type, logical_type, scale, \
                   precision";
    let sql = format!(
        "SELECT DISTINCT CAST(sum(CAST(hash({columns}) AS HUGEINT)) AS VARCHAR) FROM parquet_schema({}) GROUP BY file_name",
        list(&files.globs)
    );
    Ok(rows::query_texts(connection, &sql)?.len() < 2)
}

/// The files, each with the shape of the columns `names`.
fn shapes(connection: &Connection, files: &Files, names: &[String]) -> Result<Vec<(String, String)>> {
    let element = "coalesce(type, '') || coalesce(converted_type, '') || (num_children IS NULL)";
    // Lists of points say only further down how deep they are.
    let depth =
        "coalesce(logical_type, '') || CASE WHEN num_children IS NULL THEN '' ELSE array_to_string(below, ' ') END";
    let shape = |name: &String| {
        let element = if name == "geometry" { format!("{element} || {depth}") } else { element.to_owned() };
        format!("coalesce(max(CASE WHEN name = {} THEN {element} END), '')", literal(name))
    };
    let sql = format!(
        "SELECT file_name, {} FROM (SELECT *, list(name || coalesce(num_children, 0)) OVER (PARTITION BY file_name ORDER BY \
         position ROWS BETWEEN CURRENT ROW AND 8 FOLLOWING) AS below FROM (SELECT *, row_number() OVER () AS position FROM \
         parquet_schema({}))) GROUP BY file_name ORDER BY file_name",
        names.iter().map(shape).collect::<Vec<_>>().join(" || ' ' || "),
        list(&files.globs)
    );
    let told = rows::query_texts(connection, &sql)?;
    let of_file = |row: &[String; 2]| (row[0].clone(), row[1].clone());
    Ok(told.as_chunks::<2>().0.iter().map(of_file).collect())
}

/// The relation of files that have the same columns: the first speaks for all, so that a statement need not open them to be planned, and
/// reads single fields of a struct.
fn alike(files: &Files, relation: &Relation) -> Relation {
    let options = files.options.replacen("union_by_name = true", "union_by_name = false", 1);
    let from = format!("read_parquet({}, {options})", list(&files.globs));
    Relation {
        from,
        several: false,
        files: Some(Files { options, several: false, ..files.clone() }),
        ..relation.clone()
    }
}

/// Columns that parts may write in ways that DuckDB does not tell apart, or casts by rules that lose facts.
const DIFFERING: [&str; 3] = ["assets", "bbox", "geometry"];

/// Whether parts must be brought to one form of a column: assets and boxes in any case, geometries where they differ, others where they are any text in one part, and
/// in another JSON, which the text need not be, or structured: DuckDB 2.0.0 cannot read a member of both.
fn is_apart(schemas: &[&Schema], name: &str) -> bool {
    let fields = || schemas.iter().filter_map(|schema| Some(schema.fields().find(name)?.1));
    let is_any_text = |field: &Arc<Field>| is_text(field.data_type()) && !is_json(field);
    let differ =
        || fields().zip(fields().skip(1)).any(|(a, b)| a.data_type() != b.data_type() || is_native(a) != is_native(b));
    if name == "geometry" {
        return differ();
    }
    matches!(name, "assets" | "bbox")
        || fields().any(is_any_text) && fields().any(|field| is_json(field) || field.data_type().is_nested())
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A column in the one form that parts of any form can be brought to.
fn uniform(schema: &Schema, name: &str) -> Option<String> {
    let (_, field) = schema.fields().find(name)?;
    let is_text = is_text(field.data_type());
    let is_binary = matches!(field.data_type(), DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let column = identifier(name);
    let text = || match is_text {
        true => format!("CAST({column} AS VARCHAR)"),
        false => format!("CASE WHEN {column} IS NOT NULL THEN CAST(to_json({column}) AS VARCHAR) END"),
    };
    let sql = match (name, field.data_type()) {
        ("geometry", _) if is_native(field) => format!("ST_AsWKB({column})"),
        ("geometry", _) if is_binary => column.clone(),
        // Read as WKB is, which begins otherwise.
        ("geometry", _) => format!("encode(ltrim({}))", text()),
        ("bbox", DataType::Struct(_)) => {
            let edges = ["xmin", "ymin", "xmax", "ymax"].map(|edge| format!("CAST({column}.{edge} AS DOUBLE)"));
            format!("CASE WHEN {column} IS NOT NULL THEN [{}] END", edges.join(", "))
        }
        ("bbox", _) if is_text => format!("TRY_CAST(CAST({column} AS VARCHAR) AS DOUBLE[])"),
        ("bbox", _) => format!("CAST({column} AS DOUBLE[])"),
        _ => text(),
    };
    Some(format!("{sql} AS {column}"))
}

/// Without the hive keys that hide a column of the files, which tells more: `datetime=2024-05-01` is a folder of many times.
fn without_hive_clash(connection: &Connection, files: &Files, relation: &Relation) -> Result<Option<Relation>> {
    let may_have_keys = files.hive != Some(false) && files.globs.iter().any(|glob| glob.contains(['*', '=']));
    if !may_have_keys || !files.is_local {
        return Ok(None);
    }
    let keys = format!(
        "SELECT DISTINCT unnest(regexp_extract_all(file, '[/\\\\]([^/\\\\=]+)=', 1)) FROM glob({})",
        list(&files.globs)
    );
    let keys = rows::query_texts(connection, &keys)?;
    if keys.is_empty() {
        return Ok(None);
    }
    let plain =
        format!("read_parquet({}, union_by_name = {}, hive_partitioning = false)", list(&files.globs), files.several);
    let (schema, _) = columns(connection, &plain)?;
    let is_own = |key: &String| schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(key));
    if !keys.iter().any(is_own) {
        return Ok(None);
    }
    let (with_keys, _) = columns(connection, &format!("read_parquet({}, {})", list(&files.globs), files.options))?;
    let own = own_prefix(schema.fields());
    let base = format!("{own}file");
    let (file, row) = (identifier(&base), identifier(&format!("{own}row")));
    let told = keys.iter().filter(|key| !is_own(key)).filter_map(|key| {
        let (_, field) = with_keys.fields().find(key)?;
        let data_type = match field.data_type() {
            DataType::Int64 => "BIGINT",
            DataType::Date32 => "DATE",
            DataType::Timestamp(TimeUnit::Microsecond, _) => "TIMESTAMP",
            _ => "VARCHAR",
        };
        let pattern = literal(&format!("[/\\\\]{}=([^/\\\\]*)", regex::escape(key)));
        let value = format!("nullif(url_decode(regexp_extract({file}, {pattern}, 1)), '')");
        Some(format!(", TRY_CAST({value} AS {data_type}) AS {}", identifier(key)))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() {
        return Ok(Some(Relation { from: plain, ..relation.clone() }));
    }
    let plain = plain.strip_suffix(')').unwrap_or(&plain);
    let from = format!(
        "(SELECT *{}, row_number() OVER () AS {row} FROM {plain}, filename = {}))",
        told.concat(),
        literal(&base)
    );
    Ok(Some(Relation { from, ordinals: vec![row], base: Some(base), files: None, ..relation.clone() }))
}
