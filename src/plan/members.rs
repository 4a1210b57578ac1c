//! The items of one step, and where their files really are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use futures::future::join_all;

use super::cube::Cube;
use super::outlines::{lies_where, outline_of};
use crate::area::Area;
use crate::cog::opened::Opened;
use crate::items::Item;
use crate::place::Outline;

/// The items of one step. What they declare chooses tiles for them; before a tile is finished, those that declare to lie elsewhere
/// are asked for their headers, as far as their pixels could count. Nearly all headers are needed for other tiles anyway.
#[derive(Debug, Default)]
pub struct Members {
    /// In the order of the stream.
    items: Vec<Arc<Item>>,
    /// For each item, where its files lie if that is beyond what it declares.
    beyond: Vec<OnceLock<Box<[Outline]>>>,
    /// How many are known to lie where they say.
    honest: AtomicUsize,
}

/// Items whose headers are opened together: they are only looked at.
const AT_ONCE: usize = 64;

/// The headers of the item at a position.
type Seen = (usize, Vec<Arc<Opened>>);

impl Members {
    pub fn new(items: Vec<Arc<Item>>) -> Members {
        let beyond = items.iter().map(|_| OnceLock::new()).collect();
        Members { items, beyond, honest: AtomicUsize::new(0) }
    }

    /// Whether all are known to lie where they say.
    pub fn are_honest(&self) -> bool {
        self.honest.load(Ordering::Relaxed) == self.items.len()
    }

    /// The items, at most [`AT_ONCE`], of which nobody knows yet whether they lie where they say: those that are not among `own`, and
    /// whose order `counts`.
    pub fn unknown(&self, own: &[Arc<Item>], counts: impl Fn(u64) -> bool) -> Vec<usize> {
        if self.are_honest() {
            return Vec::new();
        }
        let own = sorted_orders(own);
        let is_unknown = |at: &usize| {
            let order = self.items[*at].order;
            self.beyond[*at].get().is_none() && counts(order) && own.binary_search(&order).is_err()
        };
        (0..self.items.len()).filter(is_unknown).take(AT_ONCE).collect()
    }

    /// Opens the headers of items. What cannot be opened is not told of: it fails where it declares to be.
    pub async fn open(&self, cube: &Cube, assets: &[String], items: &[usize]) -> Vec<Seen> {
        join_all(items.iter().map(|at| self.open_one(cube, assets, *at))).await
    }

    async fn open_one(&self, cube: &Cube, assets: &[String], at: usize) -> Seen {
        let item = &self.items[at];
        let present = assets.iter().zip(&item.assets).filter_map(|(key, asset)| Some((key, asset.as_ref()?)));
        let opened = join_all(present.map(|(key, asset)| cube.open(&item.id, key, asset))).await;
        (at, opened.into_iter().flatten().map(|(_, opened)| opened).collect())
    }

    /// Takes note of where files lie.
    pub fn learn(&self, seen: &[Seen]) {
        for (at, files) in seen {
            let beyond = outlines_beyond(&self.items[*at], files);
            let is_honest = beyond.is_empty();
            if self.beyond[*at].set(beyond).is_ok() && is_honest {
                self.honest.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The items that are not among `own`, and whose files are known to reach into an area all the same.
    pub fn undeclared(&self, own: &[Arc<Item>], area: &Area) -> Vec<Arc<Item>> {
        if self.are_honest() {
            return Vec::new();
        }
        let own = sorted_orders(own);
        let reaches = |beyond: &OnceLock<Box<[Outline]>>| {
            beyond.get().is_some_and(|files| files.iter().any(|outline| outline.meets(area)))
        };
        let found = self.items.iter().zip(&self.beyond).filter(|(_, beyond)| reaches(beyond));
        found.filter(|(item, _)| own.binary_search(&item.order).is_err()).map(|(item, _)| item.clone()).collect()
    }
}

fn sorted_orders(items: &[Arc<Item>]) -> Vec<u64> {
    let mut orders: Vec<u64> = items.iter().map(|item| item.order).collect();
    orders.sort_unstable();
    orders
}

/// Of the files of an item, those that do not lie where it says. One that has no place is found out where it is read.
fn outlines_beyond(item: &Item, files: &[Arc<Opened>]) -> Box<[Outline]> {
    let mut seen: Vec<&Opened> = Vec::new();
    let mut beyond = Vec::new();
    for file in files {
        // The bands of an item mostly lie on one grid.
        if seen.iter().any(|other| lies_where(other, file)) {
            continue;
        }
        seen.push(file);
        if let Ok(outline) = outline_of(file)
            && !item.place.encloses(&outline)
        {
            beyond.push(outline);
        }
    }
    beyond.into()
}
