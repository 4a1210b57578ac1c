//! JSON files as a table of items. A file is cut into its items part by part, so that no more of it is in memory than an item and the
//! rows that wait for their table; DuckDB would read a FeatureCollection as one value, and once more for each member.
//!
//! What is no file of this machine, compressed, or not what items usually look like is left to DuckDB, which reads more, and says
//! what is wrong.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use serde_json::value::RawValue;

use super::paths::{files_of, local};
use super::session::{Private, list};
use super::table::{Appender, Table};
use super::{json, rows};
use crate::error::{Error, Result};
use crate::mutex::lock;
use crate::store::{FileVersion, file_version};

/// The members of an item that become columns: text, and what stays JSON.
const TEXTS: [&str; 3] = ["type", "id", "collection"];
const VALUES: [&str; 4] = ["bbox", "geometry", "assets", "properties"];

/// The column that tells the file of a row.
pub(super) const BASE: &str = "base";

/// Tables that the process keeps while their files stay what they are, and the bytes of those files.
const MOST_KEPT: usize = 4;
pub(super) const MOST_KEPT_BYTES: u64 = 64 << 20;

/// A table, and the files that it was made of: as they were named, where they are, and what they were.
struct Kept {
    files: Vec<(String, PathBuf, FileVersion)>,
    table: Arc<Table>,
}

/// The latest last.
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// The items of FeatureCollections, arrays, single items and newline-delimited files, which somebody may ask for again where they are
/// `lasting`.
///
/// # Errors
/// A file that is no JSON, or whose objects are no items; `origin` tells how a message names it.
pub(super) fn table(
    connection: &Private,
    (globs, name): (&[String], &str),
    lasting: bool,
    origin: &dyn Fn(&str) -> String,
) -> Result<Arc<Table>> {
    let paths = files_of(connection, globs)?;
    let files = if lasting { versions(&paths) } else { None };
    let mut kept = lock(&KEPT);
    // Those of a database that is gone would keep it.
    kept.retain(|kept| kept.table.is_in(connection));
    if let Some(known) = files.as_ref().and_then(|files| kept.iter().position(|kept| kept.files == *files)) {
        kept[known..].rotate_left(1);
        return Ok(kept[kept.len() - 1].table.clone());
    }
    drop(kept);
    let table = match cut(connection, &paths)? {
        Some(table) => table,
        None => read_by_duckdb(connection, globs).map_err(|e| e.within(format!("items {name}")))?,
    };
    check(connection, &table, origin)?;
    let table = Arc::new(table);
    if let Some(files) = files {
        keep(Kept { files, table: table.clone() });
    }
    Ok(table)
}

/// `None` where they cannot be told, or will not stay.
fn versions(paths: &[String]) -> Option<Vec<(String, PathBuf, FileVersion)>> {
    let of_one = |path: &String| {
        let version = file_version(local(path)?).filter(FileVersion::is_settled)?;
        Some((path.clone(), std::path::absolute(path).ok()?, version))
    };
    paths.iter().map(of_one).collect()
}

fn keep(new: Kept) {
    let bytes = |kept: &Kept| kept.files.iter().map(|(.., version)| version.length).sum::<u64>();
    let mut kept = lock(&KEPT);
    kept.push(new);
    let mut dropped = Vec::new();
    while kept.len() > MOST_KEPT || kept.iter().map(bytes).sum::<u64>() > MOST_KEPT_BYTES {
        dropped.push(kept.remove(0));
    }
    // A table that is dropped asks its database.
    drop(kept);
}

fn read_by_duckdb(connection: &Private, globs: &[String]) -> Result<Table> {
    const DEFAULT_LIMIT: u64 = 16 << 20;
    // A FeatureCollection is one JSON object; DuckDB must be told how long it may be.
    let largest = globs.iter().filter_map(|glob| std::fs::metadata(local(glob)?).ok()).map(|m| m.len()).max();
    let limit = largest.unwrap_or(0).max(DEFAULT_LIMIT) + 1;
    let read = format!(
        "read_json_objects({}, format = 'auto', filename = true, hive_partitioning = false, maximum_object_size = {limit})",
        list(globs)
    );
    let texts = TEXTS.map(|name| format!("item->>'{name}' AS {name}")).join(", ");
    let values = VALUES.map(|name| format!("item->'{name}' AS {name}")).join(", ");
    Table::create(
        connection,
        &format!(
            "WITH objects AS (SELECT json, filename FROM {read}), \
             items AS (SELECT unnest(CASE WHEN json->>'type' = 'FeatureCollection' THEN json_extract(json, '$.features[*]') \
             ELSE [json] END) AS item, filename FROM objects) \
             SELECT {texts}, {values}, filename AS {BASE} FROM items"
        ),
    )
}

fn check(connection: &Private, table: &Table, origin: &dyn Fn(&str) -> String) -> Result<()> {
    let odd = format!(
        "SELECT coalesce(type, 'nothing'), {BASE} FROM {} WHERE type IS DISTINCT FROM 'Feature' OR assets IS NULL LIMIT 1",
        table.name
    );
    match rows::query_texts(connection, &odd)?.as_slice() {
        [kind, file, ..] => Err(Error::Items(format!(
            "items '{}' does not hold STAC items: an object says it is a '{kind}', or has no assets; give an Item, a \
             FeatureCollection of items, an array of items, or one item per line",
            origin(file)
        ))),
        _ => Ok(()),
    }
}

/// Why a file was not cut to its end.
enum Stop {
    /// It is for DuckDB to read.
    Odd,
    Failed(Error),
}

type Cut<T = ()> = std::result::Result<T, Stop>;

/// The table of files that can be cut; `None` if one of them cannot.
fn cut(connection: &Private, paths: &[String]) -> Result<Option<Table>> {
    let is_compressed = |path: &String| [".gz", ".zst"].iter().any(|end| path.to_ascii_lowercase().ends_with(end));
    if paths.iter().any(is_compressed) {
        return Ok(None);
    }
    let texts = [&TEXTS[..], &[BASE]].concat().iter().map(|name| format!("{name} VARCHAR")).collect::<Vec<_>>();
    let values = VALUES.map(|name| format!("{name} JSON"));
    let table = Table::empty(connection, &[&texts[..], &values].concat().join(", "))?;
    let mut into = Appender::new(&table)?;
    for path in paths {
        match cut_file(path, &mut |item| append(&mut into, path, item)) {
            Ok(()) => {}
            Err(Stop::Odd) => return Ok(None),
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
    into.end()?;
    Ok(Some(table))
}

fn cut_file(path: &str, found: Found) -> Cut {
    // To open a pipe would wait for a writer. What goes wrong is told by DuckDB.
    let file = local(path).filter(|path| std::fs::metadata(path).is_ok_and(|found| found.is_file()));
    let file = file.and_then(|path| File::open(path).ok()).ok_or(Stop::Odd)?;
    Text { file, bytes: Vec::new(), start: 0, at: 0 }.items(found)
}

/// The columns of an item, if DuckDB would take it for JSON.
fn append(into: &mut Appender, path: &str, item: &[u8]) -> Cut {
    let text = std::str::from_utf8(item).map_err(|_| Stop::Odd)?;
    // What Python writes and JSON lacks, `NaN` and the like, is read by us alone.
    if serde_json::from_str::<&RawValue>(text).is_err() {
        json::parse(text).map_err(|_| Stop::Odd)?;
    }
    let members = json::members(text).map_err(|_| Stop::Odd)?;
    let member = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
    let told = TEXTS.map(|name| member(name).and_then(text_of));
    let texts = told.iter().map(Option::as_deref).chain([Some(path)]);
    let columns: Vec<Option<&str>> = texts.chain(VALUES.map(member)).collect();
    into.append_texts(&columns).map_err(Stop::Failed)
}

/// What SQL makes of a JSON value as text.
fn text_of(value: &str) -> Option<String> {
    match json::parse(value) {
        Ok(Value::Null) => None,
        Ok(Value::String(text)) => Some(text),
        _ => Some(value.to_owned()),
    }
}

type Found<'a> = &'a mut dyn FnMut(&[u8]) -> Cut;

/// Bytes read at a time.
const PART: u64 = 1 << 20;

/// A file as far as it is read and needed.
struct Text<R> {
    file: R,
    bytes: Vec<u8>,
    /// Where the bytes begin that are needed.
    start: usize,
    at: usize,
}

impl<R: Read> Text<R> {
    /// Gives the text of each item to `found`. Values stand one after the other, or in one list.
    fn items(&mut self, found: Found) -> Cut {
        match self.peek()? {
            Some(b'[') => self.list(&mut |text| text.object(found))?,
            // Nothing at all may be something to DuckDB.
            None => return Err(Stop::Odd),
            Some(_) => {
                while self.peek()?.is_some() {
                    self.object(found)?;
                }
            }
        }
        if self.peek()?.is_none() { Ok(()) } else { Err(Stop::Odd) }
    }

    /// An item, or the features of a collection one by one.
    fn object(&mut self, found: Found) -> Cut {
        self.peek()?;
        self.start = self.at;
        self.expect(b'{')?;
        // The type may come behind the features.
        let (mut is_collection, mut is_cut) = (None, false);
        while !self.takes(b'}')? {
            let key = self.value()?;
            // DuckDB knows what it spells.
            if key.contains(&b'\\') || !key.starts_with(b"\"") {
                return Err(Stop::Odd);
            }
            let (is_type, is_features) = (key == b"\"type\"", key == b"\"features\"");
            self.expect(b':')?;
            if is_features && !is_cut && self.peek()? == Some(b'[') {
                is_cut = true;
                self.list(&mut |text| {
                    text.peek()?;
                    text.start = text.at;
                    found(text.value()?)
                })?;
            } else {
                let value = self.value()?;
                if is_type && is_collection.is_none() {
                    is_collection = Some(value == b"\"FeatureCollection\"");
                }
            }
            if is_cut {
                self.start = self.at;
            }
            if self.peek()? != Some(b'}') {
                self.expect(b',')?;
            }
        }
        match (is_cut, is_collection == Some(true)) {
            (false, false) => found(self.bytes.get(self.start..self.at).unwrap_or_default()),
            (true, true) => Ok(()),
            _ => Err(Stop::Odd),
        }
    }

    fn list(&mut self, each: &mut dyn FnMut(&mut Self) -> Cut) -> Cut {
        self.expect(b'[')?;
        if self.takes(b']')? {
            return Ok(());
        }
        loop {
            each(self)?;
            if self.takes(b']')? {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// The bytes of the value that follows: up to its end, without a look at what is inside.
    fn value(&mut self) -> Cut<&[u8]> {
        self.peek()?;
        // Reading on moves the bytes, and where they start.
        let from = self.at - self.start;
        let mut depth = 0usize;
        loop {
            match self.peek()?.ok_or(Stop::Odd)? {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b']' | b'}' | b':' if depth == 0 => return Err(Stop::Odd),
                _ if depth == 0 => self.seek(|byte| b",]}:".contains(&byte) || byte.is_ascii_whitespace()).map(drop)?,
                _ => self.at += 1,
            }
            if depth == 0 {
                return self.bytes.get(self.start + from..self.at).ok_or(Stop::Odd);
            }
            self.seek(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
        }
    }

    /// Moves behind the string that begins here.
    fn string(&mut self) -> Cut {
        self.at += 1;
        while self.seek(|byte| matches!(byte, b'"' | b'\\'))? == b'\\' {
            // What is escaped may not have been read.
            self.at += 1;
            self.seek(|_| true)?;
            self.at += 1;
        }
        self.at += 1;
        Ok(())
    }

    /// Moves to the next byte that is `wanted`.
    fn seek(&mut self, wanted: impl Fn(u8) -> bool) -> Cut<u8> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            if let Some((n, byte)) = rest.iter().enumerate().find(|(_, byte)| wanted(**byte)) {
                self.at += n;
                return Ok(*byte);
            }
            self.at = self.bytes.len();
            if !self.read()? {
                return Err(Stop::Odd);
            }
        }
    }

    /// The next byte that is no space; `None` at the end.
    fn peek(&mut self) -> Cut<Option<u8>> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            if let Some((n, byte)) = rest.iter().enumerate().find(|(_, byte)| !b" \t\n\r".contains(*byte)) {
                self.at += n;
                return Ok(Some(*byte));
            }
            self.at = self.bytes.len();
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    fn takes(&mut self, wanted: u8) -> Cut<bool> {
        let found = self.peek()? == Some(wanted);
        self.at += usize::from(found);
        Ok(found)
    }

    fn expect(&mut self, wanted: u8) -> Cut {
        if self.takes(wanted)? { Ok(()) } else { Err(Stop::Odd) }
    }

    /// Reads on, and forgets what is not needed; false at the end of the file.
    fn read(&mut self) -> Cut<bool> {
        self.bytes.drain(..self.start);
        self.at -= self.start;
        self.start = 0;
        let read = (&mut self.file).take(PART).read_to_end(&mut self.bytes).map_err(|_| Stop::Odd)?;
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that gives a byte at a time, so that everything lies on a border.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(into.get_mut(..1).unwrap_or_default())
        }
    }

    fn items(text: &str) -> Option<Vec<String>> {
        let mut found = Vec::new();
        let mut push = |item: &[u8]| {
            found.push(String::from_utf8_lossy(item).into_owned());
            Ok(())
        };
        let mut text = Text { file: Drops(text.as_bytes()), bytes: Vec::new(), start: 0, at: 0 };
        text.items(&mut push).is_ok().then_some(found)
    }

    #[test]
    fn items_are_cut_out_of_every_form() {
        let (a, b) = (r#"{"id": "a]}\"\\", "x": [1, {"y": "\\"}]}"#, r#"{"type": "Feature", "n": NaN}"#);
        let both = Some(vec![a.to_owned(), b.to_owned()]);
        assert_eq!(items(&format!("{a}\n{b}\n")), both);
        assert_eq!(items(&format!(" [{a} , {b}]\r\n")), both);
        assert_eq!(items(&format!(r#"{{"type": "FeatureCollection", "features": [{a},{b}], "n": 1}}"#)), both);
        assert_eq!(items(&format!(r#"{{"n": [[]], "features":[ {a}, {b} ], "type":"FeatureCollection"}} "#)), both);
        assert_eq!(items(&format!(r#"{{"type":"FeatureCollection","features":[{a}]}}{b}"#)), both);
        assert_eq!(items(r#"{"type": "FeatureCollection", "features": []}"#), Some(vec![]));
        assert_eq!(items("[]"), Some(vec![]));
    }

    #[test]
    fn what_is_odd_is_left_alone() {
        for text in [
            "",
            " ",
            "7",
            "[7]",
            "{} 7",
            "[{}] {}",
            "[{},]",
            "[{}",
            r#"{"a": 1"#,
            r#"{"a" 1}"#,
            r#"{"a": }"#,
            r#"{"\u0061": 1}"#,
            r#"{"features": []}"#,
            r#"{"type": "FeatureCollection"}"#,
            r#"{"type": "FeatureCollection", "features": {}}"#,
            r#"{"type": "FeatureCollection", "features": [{}"#,
            r#"{"type": "FeatureCollection", "features": ["#,
        ] {
            assert_eq!(items(text), None, "{text}");
        }
    }
}
