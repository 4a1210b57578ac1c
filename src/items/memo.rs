//! What queries over an index found out, kept while its files are the same: each takes milliseconds, more than most reads
//! of rows.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use moka::sync::Cache;

use super::query::Looks;
use super::source::Version;
use super::{FirstItem, Item, Selection, Source};
use crate::store::FileVersion;

/// Selections that the process keeps; of each the items for so many choices of assets, and no more items than these.
const SELECTIONS: u64 = 32;
const ITEM_LISTS: usize = 3;
pub(super) const MOST_ITEMS: usize = 256;
const MOST_BYTES: usize = 1 << 20;

/// What is known of one selection. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Memo(Arc<Mutex<(Option<Version>, Known)>>);

/// The assets that come with the items, and those that tell where the items are.
type Keys = [Vec<String>; 2];

#[derive(Debug, Default)]
pub(super) struct Known {
    pub looks: Option<Looks>,
    pub first: Option<Option<FirstItem>>,
    pub steps: Option<u64>,
    /// All items, by the assets that were asked for; the latest last.
    items: Vec<(Keys, Vec<Item>)>,
}

impl Known {
    pub fn items(&self, assets: &Keys) -> Option<Vec<Item>> {
        self.items.iter().find(|(keys, _)| keys == assets).map(|(_, items)| items.clone())
    }

    pub fn set_items(&mut self, assets: Keys, items: Vec<Item>) {
        self.items.retain(|(keys, _)| *keys != assets);
        // Footprints may be of any size.
        if items.iter().map(Item::memory).sum::<usize>() > MOST_BYTES {
            return;
        }
        if self.items.len() == ITEM_LISTS {
            self.items.remove(0);
        }
        self.items.push((assets, items));
    }
}

impl Memo {
    /// That of an equal selection of plain files, if the process has one; else an empty one.
    pub fn of(selection: &Selection) -> Memo {
        static MEMOS: LazyLock<Cache<String, Memo>> = LazyLock::new(|| Cache::new(SELECTIONS));
        let Some(key) = key(selection) else { return Memo::default() };
        MEMOS.get_with(key, Memo::default)
    }

    /// What is known of the items of this version; nothing of another.
    pub(super) fn at<T>(&self, version: &Version, body: impl FnOnce(&mut Known) -> T) -> T {
        let mut memo = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memo.0.as_ref() != Some(version) {
            *memo = (Some(version.clone()), Known::default());
        }
        body(&mut memo.1)
    }
}

/// Everything that decides which items there are. `None` where the files alone do not: rows by value, files fetched from
/// a server, patterns; JSON, whose items are in a table that nobody would drop; many ids; and files that were just written.
fn key(selection: &Selection) -> Option<String> {
    let Source::Paths(paths) = &selection.source else { return None };
    if paths.iter().any(|path| super::source::is_json(path)) {
        return None;
    }
    // They are in a table, too.
    if selection.ids.as_ref().is_some_and(|ids| ids.len() > super::query::FEW_IDS) {
        return None;
    }
    if !selection.source.version()?.iter().all(FileVersion::is_settled) {
        return None;
    }
    let paths: Option<Vec<_>> =
        paths.iter().map(|path| std::path::absolute(super::source::local(path)?).ok()).collect();
    let Selection { area, datetime, filter, ids, sortby, period, hive, asset_href, named, .. } = selection;
    // Relative hrefs are told from a path as it was given.
    Some(format!(
        "{:?}",
        (paths?, &selection.source, area, datetime, filter, ids, (sortby, period, hive, asset_href, named))
    ))
}
