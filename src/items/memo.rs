//! What queries over an index found out, kept while its files are the same: each takes milliseconds, more than most reads
//! of rows.

use std::sync::{Arc, LazyLock, Mutex};

use moka::sync::Cache;

use super::item::{FirstItem, Item};
use super::looks::Looks;
use super::source::Version;

use crate::mutex::lock;

/// Selections that the process keeps; of each the items for so many choices of assets, and no more items than these.
const SELECTIONS: u64 = 32;
const ITEM_LISTS: usize = 3;
pub(super) const MOST_ITEMS: usize = 256;
const MOST_BYTES: usize = 1 << 20;

/// What is known of one selection. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Memo {
    known: Arc<Mutex<(Option<Version>, Known)>>,
    /// The process has it, too.
    lasts: bool,
}

/// The assets that come with the items, and those that tell where the items are.
type Keys = [Vec<String>; 2];

#[derive(Debug, Default)]
pub(super) struct Known {
    looks: Option<Looks>,
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
    /// That of a selection which `key` tells from all others.
    pub(super) fn lasting(key: String) -> Memo {
        static MEMOS: LazyLock<Cache<String, Memo>> = LazyLock::new(|| Cache::new(SELECTIONS));
        MEMOS.get_with(key, || Memo { lasts: true, ..Memo::default() })
    }

    /// What is known of the items of this version; nothing of another.
    pub(super) fn at<T>(&self, version: &Version, body: impl FnOnce(&mut Known) -> T) -> T {
        let mut memo = lock(&self.known);
        if memo.0.as_ref() != Some(version) {
            *memo = (Some(version.clone()), Known::default());
        }
        body(&mut memo.1)
    }

    pub(super) fn looks(&self, version: &Version) -> Option<Looks> {
        self.at(version, |known| known.looks.clone())
    }

    pub(super) fn set_looks(&self, version: &Version, looks: &Looks) {
        // Nobody would drop a table that the process remembers.
        if !self.lasts || looks.tables().next().is_none() {
            self.at(version, |known| known.looks = Some(looks.clone()));
        }
    }
}
