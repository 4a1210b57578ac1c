//! What the paths of `items` name: files, folders, patterns, URLs.

use std::path::Path;

use duckdb::Connection;

use super::rows;
use super::session::{list, literal};
use crate::error::{Error, Result};
use crate::store::shown;

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

/// The files that patterns stand for, as DuckDB finds them.
pub(super) fn files_of(connection: &Connection, globs: &[String]) -> Result<Vec<String>> {
    rows::query_texts(connection, &format!("SELECT file FROM glob({})", list(globs)))
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
