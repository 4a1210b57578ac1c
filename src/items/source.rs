//! Where items come from: parquet files, JSON files, or rows by value, each as one SQL relation with a file order.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use duckdb::{Connection, ffi};

use super::remote::Fetched;
use super::rows;
use super::session::{Private, Table, identifier, list, literal};
use crate::error::{Error, Result};
use crate::store::{FileVersion, file_version, shown};

/// The `items` argument.
#[derive(Debug, Clone)]
pub enum Source {
    /// Files, globs, directories or URLs, in the order given.
    Paths(Vec<String>),
    /// Files, some of which were fetched from a URL.
    Fetched(Arc<Vec<Fetched>>),
    /// A STRUCT[] whose elements are item rows.
    Rows(OwnedValue),
}

/// A SQL value that DuckDB handed over, cheap to clone.
#[derive(Debug, Clone)]
pub struct OwnedValue(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    raw: ffi::duckdb_value,
    table: Mutex<Option<Arc<Table>>>,
}

// SAFETY: a duckdb_value is a heap object without ties to a connection or thread; after construction it is only read,
// and destroyed once.
unsafe impl Send for Handle {}
// SAFETY: as for `Send`.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: owned since `from_raw`.
        unsafe { ffi::duckdb_destroy_value(&mut self.raw) }
    }
}

impl OwnedValue {
    /// # Safety
    /// `raw` is a live value that the caller owns and gives away.
    pub unsafe fn from_raw(raw: ffi::duckdb_value) -> Self {
        Self(Arc::new(Handle { raw, table: Mutex::new(None) }))
    }

    fn is_struct_list(&self) -> bool {
        // SAFETY: the value lives as long as `self` and lends its type; the child type is ours to destroy.
        unsafe {
            let list = ffi::duckdb_get_value_type(self.0.raw);
            if ffi::duckdb_get_type_id(list) != ffi::DUCKDB_TYPE_DUCKDB_TYPE_LIST {
                return false;
            }
            let mut element = ffi::duckdb_list_type_child_type(list);
            let id = ffi::duckdb_get_type_id(element);
            ffi::duckdb_destroy_logical_type(&mut element);
            id == ffi::DUCKDB_TYPE_DUCKDB_TYPE_STRUCT
        }
    }

    /// The rows as a table of a private database, made at the first call.
    fn table(&self, connection: &Private) -> Result<Arc<Table>> {
        let mut table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = table.as_ref().filter(|table| table.is_in(connection)) {
            return Ok(table.clone());
        }
        if !self.is_struct_list() {
            return Err(Error::Argument("items given by value must be a STRUCT[], one struct per item".into()));
        }
        // SAFETY: the value lives as long as `self`.
        let made =
            unsafe { Table::from_value(connection, self.0.raw) }.map_err(|e| e.within("items given by value"))?;
        Ok(table.insert(Arc::new(made)).clone())
    }
}

/// A relation of item rows.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    /// What stands after FROM.
    pub from: String,
    /// The columns that put rows into file order, and together name one row.
    pub ordinals: Vec<String>,
    /// The column that holds the path or URL a row comes from.
    pub base: Option<String>,
    /// The files that were fetched, kept as long as they are read.
    pub fetched: Option<Arc<Vec<Fetched>>>,
    /// How an error names it.
    pub name: String,
    /// There may be more than one file, with columns that differ.
    pub several: bool,
    /// The files of which `from` is made, where it is.
    pub files: Option<Files>,
    /// Keeps the table alive.
    pub table: Option<Arc<Table>>,
}

impl Relation {
    /// Whether a connection can read it.
    pub(super) fn is_in(&self, connection: &Private) -> bool {
        self.table.as_ref().is_none_or(|table| table.is_in(connection))
    }

    /// A table that nobody will read: its columns are all that tests and fuzz targets look at.
    pub(super) fn unread(several: bool) -> Self {
        Self {
            from: "t".to_owned(),
            ordinals: vec!["rowid".to_owned()],
            base: None,
            fetched: None,
            name: "t".to_owned(),
            several,
            files: None,
            table: None,
        }
    }

    fn of_table(table: Arc<Table>, base: Option<&str>, name: String) -> Self {
        let from = table.name.clone();
        Self {
            from,
            ordinals: vec!["rowid".to_owned()],
            base: base.map(str::to_owned),
            fetched: None,
            name,
            several: false,
            files: None,
            table: Some(table),
        }
    }

    /// The path or URL that the hrefs of a row are relative to, in SQL.
    pub(super) fn base_sql(&self) -> Option<String> {
        let base = identifier(self.base.as_ref()?);
        let fetched = self.fetched.iter().flat_map(|files| files.iter()).filter(|file| file.path != file.origin);
        let cases: Vec<String> =
            fetched.map(|file| format!(" WHEN {} THEN {}", literal(&file.path), literal(&file.origin))).collect();
        Some(if cases.is_empty() { base } else { format!("CASE {base}{} ELSE {base} END", cases.concat()) })
    }
}

/// How parquet files are read.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub globs: Vec<String>,
    pub options: String,
    pub hive: Option<bool>,
    pub several: bool,
    pub is_local: bool,
}

/// What tells whether items are still the same.
pub(super) type Version = Vec<FileVersion>;

impl Source {
    /// `None` where it cannot be told without listing folders or asking a server.
    pub(super) fn version(&self) -> Option<Version> {
        let of_file = |path: &str| file_version(local(path)?);
        match self {
            Source::Rows(_) => Some(Vec::new()),
            Source::Paths(paths) => paths.iter().map(|path| of_file(path)).collect(),
            Source::Fetched(files) => files.iter().map(|file| of_file(&file.path)).collect(),
        }
    }

    /// # Errors
    /// A file that does not exist, a list that mixes kinds, JSON that is no STAC item, rows that are no structs.
    pub(super) fn relation(&self, connection: &Private, hive: Option<bool>) -> Result<Relation> {
        let (paths, origins) = match self {
            Source::Rows(value) => {
                return Ok(Relation::of_table(value.table(connection)?, None, "given by value".to_owned()));
            }
            Source::Paths(paths) if paths.is_empty() => {
                return Err(Error::Argument("items is an empty list; name at least one file".into()));
            }
            Source::Paths(paths) => (paths.clone(), paths.clone()),
            Source::Fetched(files) => files.iter().map(|file| (file.path.clone(), file.origin.clone())).unzip(),
        };
        let json = origins.iter().filter(|path| is_json(path)).count();
        let name = match origins.as_slice() {
            [path] => format!("'{}'", shown::place(path)),
            [first, ..] => format!("'{}' and {} more", shown::place(first), origins.len() - 1),
            [] => String::new(),
        };
        let mut globs = Vec::new();
        for path in &paths {
            globs.extend(find(path)?.globs(connection)?);
        }
        let relation = match json {
            0 => parquet(&globs, hive, name),
            n if n == paths.len() => {
                let origin = |file: &str| {
                    let named = paths.iter().zip(&origins).find(|(path, _)| *path == file);
                    shown::place(named.map_or(file, |(_, origin)| origin))
                };
                json_items(connection, &globs, name, &origin)?
            }
            _ => return Err(Error::Argument("items mixes parquet and JSON files; give one kind per call".into())),
        };
        let fetched = if let Source::Fetched(files) = self { Some(files.clone()) } else { None };
        Ok(Relation { fetched, ..relation })
    }
}

fn parquet(globs: &[String], hive: Option<bool>, name: String) -> Relation {
    let several = globs.len() > 1 || globs.iter().any(|glob| has_wildcard(glob));
    let mut options = format!("union_by_name = {several}");
    let is_local = globs.iter().all(|glob| local(glob).is_some());
    if let Some(hive) = hive {
        options += &format!(", hive_partitioning = {hive}");
    }
    Relation {
        from: format!("read_parquet({}, {options})", list(globs)),
        ordinals: ["file_index", "file_row_number"].map(str::to_owned).to_vec(),
        base: Some("filename".to_owned()),
        fetched: None,
        name,
        several,
        files: Some(Files { globs: globs.to_vec(), options, hive, several, is_local }),
        table: None,
    }
}

/// Items of FeatureCollections, arrays, single items and newline-delimited files, with the members of an item as columns.
/// `origin` tells how a file is named in a message.
fn json_items(
    connection: &Private,
    globs: &[String],
    name: String,
    origin: &dyn Fn(&str) -> String,
) -> Result<Relation> {
    const DEFAULT_LIMIT: u64 = 16 << 20;
    // A FeatureCollection is one JSON object; DuckDB must be told how long it may be.
    let largest = globs.iter().filter_map(|glob| std::fs::metadata(local(glob)?).ok()).map(|m| m.len()).max();
    let limit = largest.unwrap_or(0).max(DEFAULT_LIMIT) + 1;
    let read = format!(
        "read_json_objects({}, format = 'auto', filename = true, hive_partitioning = false, maximum_object_size = {limit})",
        list(globs)
    );
    let query = format!(
        "WITH objects AS (SELECT json, filename FROM {read}), \
         items AS (SELECT unnest(CASE WHEN json->>'type' = 'FeatureCollection' THEN json_extract(json, '$.features[*]') \
         ELSE [json] END) AS item, filename FROM objects) \
         SELECT item->>'type' AS type, item->>'id' AS id, item->>'collection' AS collection, item->'bbox' AS bbox, \
         item->'geometry' AS geometry, item->'assets' AS assets, item->'properties' AS properties, filename AS base \
         FROM items"
    );
    let table = Table::create(connection, &query).map_err(|e| e.within(format!("items {name}")))?;
    let odd = format!(
        "SELECT coalesce(type, 'nothing'), base FROM {} WHERE type IS DISTINCT FROM 'Feature' OR assets IS NULL LIMIT 1",
        table.name
    );
    if let [kind, file, ..] = rows::query_texts(connection, &odd)?.as_slice() {
        return Err(Error::Items(format!(
            "items '{}' does not hold STAC items: an object says it is a '{kind}', or has no assets; give an Item, a \
             FeatureCollection of items, an array of items, or one item per line",
            origin(file)
        )));
    }
    Ok(Relation::of_table(Arc::new(table), Some("base"), name))
}

/// A path as DuckDB shall read it.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    Pattern(String),
    /// Its name as a pattern.
    Folder(String),
}

impl Found {
    pub(super) fn pattern(&self) -> &str {
        let (Self::Pattern(pattern) | Self::Folder(pattern)) = self;
        pattern
    }

    /// The patterns of the files.
    pub(super) fn globs(&self, connection: &Connection) -> Result<Vec<String>> {
        match self {
            Self::Pattern(pattern) => Ok(vec![pattern.clone()]),
            Self::Folder(folder) => in_folder(connection, folder),
        }
    }
}

/// What a path names: an existing file is no pattern whatever it is called.
pub(super) fn find(path: &str) -> Result<Found> {
    let Some(file) = local(path) else { return Ok(Found::Pattern(path.to_owned())) };
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => Ok(Found::Folder(escape_wildcards(path.trim_end_matches('/')))),
        Ok(_) => Ok(Found::Pattern(escape_wildcards(path))),
        Err(_) if has_wildcard(path) => Ok(Found::Pattern(path.to_owned())),
        Err(_) if path.is_empty() => Err(Error::Argument("items is an empty path".into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::Items(format!("no such file: '{}'", shown::place(path))))
        }
        Err(error) => Err(Error::Items(format!("cannot read '{}': {error}", shown::place(path)))),
    }
}

/// The parquet files of a folder: one pattern, or each by its name where some are called `.PARQUET` or `.parq`.
fn in_folder(connection: &Connection, folder: &str) -> Result<Vec<String>> {
    let usual = format!("{folder}/**/*parquet");
    let files = format!(
        "SELECT file FROM glob({}) WHERE regexp_matches(lower(file), '(parquet|\\.parq)$') ORDER BY file",
        literal(&format!("{folder}/**"))
    );
    let files = rows::query_texts(connection, &files)?;
    match files.iter().all(|file| file.ends_with("parquet")) {
        true => Ok(vec![usual]),
        false => Ok(files.iter().map(|file| escape_wildcards(file)).collect()),
    }
}

/// The path in the local file system, if it is one. File URLs are paths by now.
pub(super) fn local(path: &str) -> Option<&Path> {
    (!path.contains("://")).then(|| Path::new(path))
}

pub(super) fn has_wildcard(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

fn escape_wildcards(path: &str) -> String {
    path.chars().fold(String::with_capacity(path.len()), |mut escaped, c| {
        match c {
            '*' | '?' | '[' => escaped.extend(['[', c, ']']),
            _ => escaped.push(c),
        }
        escaped
    })
}

/// A question mark is a letter of a local name, begins the query of an http URL, and may be either in a bucket.
pub(super) fn is_json(path: &str) -> bool {
    let named = |path: &str| {
        let path = path.to_ascii_lowercase();
        let path = path.trim_end_matches(".gz").trim_end_matches(".zst");
        [".json", ".geojson", ".ndjson", ".jsonl"].iter().any(|suffix| path.ends_with(suffix))
    };
    let is_http = path.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
    match local(path) {
        Some(_) => named(path),
        None => (!is_http && named(path)) || path.split(['?', '#']).next().is_some_and(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_name() {
        for path in
            ["a.json", "b.GEOJSON", "s3://c/d.ndjson?x=1", "e.jsonl", "f.json.gz", "what?.json", "s3://c/g#1?.json"]
        {
            assert!(is_json(path), "{path}");
        }
        for path in ["a.parquet", "json", "x.json/y.parquet", "dir/", "a.json?x", "https://h/a?b=c.json"] {
            assert!(!is_json(path), "{path}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let pattern = |path: &str| Ok(Found::Pattern(path.to_owned()));
        let error = find("/no/such/items.parquet").unwrap_err();
        assert_eq!(error.to_string(), "no such file: '/no/such/items.parquet'");
        assert_eq!(find("/no/such/*.parquet"), pattern("/no/such/*.parquet"));
        assert_eq!(find("s3://bucket/a.parquet"), pattern("s3://bucket/a.parquet"));
        assert!(find("").is_err());
    }

    #[test]
    fn what_exists_is_no_pattern() {
        let directory = std::env::temp_dir().join(format!("lazycogs-[source]-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let text = directory.to_str().unwrap();
        let found = find(&format!("{text}/")).unwrap();
        std::fs::remove_dir(&directory).unwrap();
        let Found::Folder(escaped) = found else { panic!("{found:?} is no folder") };
        assert!(escaped.contains("[[]source]") && !escaped.ends_with('/'), "{escaped}");
        assert_eq!(escape_wildcards("a*b?c[d]"), "a[*]b[?]c[[]d]");
    }
}
