//! Which items are wanted.

use super::features::MOST_KEPT_BYTES;
use super::memo::Memo;
use super::paths::{is_json, local};
use super::source::{Source, Version};
use crate::area::Area;
use crate::time::{Interval, Period};

/// Which items, and in which order.
#[derive(Debug, Clone)]
pub struct Selection {
    pub source: Source,
    /// An item is taken if it touches the area.
    pub area: Area,
    /// Keeps an item whose [start, end] overlaps the interval.
    pub datetime: Option<Interval>,
    /// CQL2 text or JSON.
    pub filter: Option<String>,
    pub ids: Option<Vec<String>>,
    /// Field names, with `-` in front for descending; NULLs are last, ties keep the order of the files.
    pub sortby: Vec<String>,
    pub period: Period,
    /// `hive_partitioning` of `read_parquet`; `None` leaves it to DuckDB.
    pub hive: Option<bool>,
    /// The way to the href of an asset, such as `alternate.s3`, instead of its own.
    pub asset_href: Option<String>,
    /// The asset keys that [`Selection::first`] is asked about; `None` for all.
    pub named: Option<Vec<String>>,
    /// [`Selection::first`] may be another item where the assets of the first cannot be read.
    pub passes_over: bool,
    /// Threads that the query may use.
    pub threads: usize,
    /// What is known of it from earlier queries: see [`Memo::of`].
    pub memo: Memo,
}

/// Ids that stand in every statement; more go into a table, once.
pub(super) const FEW_IDS: usize = 100;

impl Selection {
    /// What tells whether the items are still the same; `None` where that cannot be told without asking a server.
    pub(super) fn version(&self) -> Option<Version> {
        self.source.version(self.threads)
    }

    /// Whether the source is so small that looking at its items takes longer than reading them: files of less than a mebibyte, or rows
    /// that are in memory.
    pub fn is_small(&self) -> bool {
        const SMALL: u64 = 1 << 20;
        self.version().is_some_and(|version| version.bytes() < SMALL)
    }
}

impl Memo {
    /// That of an equal selection of plain files, if the process has one; else an empty one.
    pub fn of(selection: &Selection) -> Memo {
        key(selection).map(Memo::lasting).unwrap_or_default()
    }
}

/// Everything that decides which items there are. `None` where the files alone do not: rows by value, files fetched from
/// a server; JSON whose table is too large to be kept; many ids; and files that were just written.
fn key(selection: &Selection) -> Option<String> {
    let Source::Paths(paths) = &selection.source else { return None };
    let version = selection.version()?;
    if paths.iter().any(|path| is_json(path)) && version.bytes() > MOST_KEPT_BYTES {
        return None;
    }
    if selection.ids.as_ref().is_some_and(|ids| ids.len() > FEW_IDS) || !version.is_settled() {
        return None;
    }
    let paths: Option<Vec<_>> = paths.iter().map(|path| std::path::absolute(local(path)?).ok()).collect();
    let Selection { area, datetime, filter, ids, sortby, period, hive, asset_href, named, passes_over, .. } = selection;
    // Relative hrefs are told from a path as it was given.
    Some(format!(
        "{:?}",
        (
            paths?,
            &selection.source,
            area,
            datetime,
            filter,
            ids,
            (sortby, period, hive, asset_href, named, passes_over)
        )
    ))
}
