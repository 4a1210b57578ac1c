//! Where items come from: parquet files, JSON files, or rows by value, each as one SQL relation with a file order.

use std::sync::{Arc, Mutex};

use duckdb::ffi;

use super::features;
use super::fetched::Fetched;
use super::paths::{files_of, find, has_wildcard, is_json, local};
use super::session::{self, Private, identifier, list, literal};
use super::table::Table;
use crate::error::{Error, Result};
use crate::mutex::lock;
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
        let mut table = lock(&self.0.table);
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

/// What tells whether items are still the same: the files, and what they are called where a pattern or a folder stands for them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Version {
    files: Vec<FileVersion>,
    listed: Vec<String>,
}

impl Version {
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// Whether no file can change once more and look the same.
    pub(super) fn is_settled(&self) -> bool {
        self.files.iter().all(FileVersion::is_settled)
    }
}

impl Source {
    /// `None` where it cannot be told without asking a server.
    pub(super) fn version(&self, threads: usize) -> Option<Version> {
        let of_file = |path: &str| file_version(local(path)?);
        let mut version = Version { files: Vec::new(), listed: Vec::new() };
        match self {
            Source::Rows(_) => {}
            Source::Paths(paths) => {
                for path in paths {
                    match of_file(path) {
                        Some(file) => version.files.push(file),
                        None => version.listed.extend(listed(path, threads)?),
                    }
                }
            }
            Source::Fetched(files) => {
                version.files = files.iter().map(|file| of_file(&file.path)).collect::<Option<_>>()?;
            }
        }
        for path in &version.listed {
            version.files.push(of_file(path)?);
        }
        Some(version)
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
                // A copy has another name next time.
                let lasting = matches!(self, Source::Paths(_));
                let table = features::table(connection, (&globs, &name), lasting, &origin)?;
                Relation::of_table(table, Some(features::BASE), name)
            }
            _ => return Err(Error::Argument("items mixes parquet and JSON files; give one kind per call".into())),
        };
        let fetched = if let Source::Fetched(files) = self { Some(files.clone()) } else { None };
        Ok(Relation { fetched, ..relation })
    }
}

/// The files of this machine that a pattern or a folder stands for; `None` where there are none.
fn listed(path: &str, threads: usize) -> Option<Vec<String>> {
    local(path)?;
    let files = session::run(threads, |connection| files_of(&connection, &find(path)?.globs(&connection)?));
    // What is wrong with a path is told where it is read.
    files.ok().filter(|files| !files.is_empty())
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
