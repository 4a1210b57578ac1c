//! From stac-geoparquet to items. The only room that runs SQL.
//!
//! [`Selection`] says what is wanted. A [`source`](Source) becomes one SQL relation, its [`layout`] tells what the parts
//! of an item are in SQL, [`query`] writes the one query, and [`ItemStream`] reads its Arrow batches.

mod apart;
mod assets;
mod facts;
mod fields;
mod filter;
#[doc(hidden)]
pub mod fuzzing;
mod geometry;
mod geoparquet;
pub mod item;
mod json;
mod layout;
mod locate;
mod memo;
mod pixels;
mod query;
mod remote;
mod rows;
mod search;
mod session;
mod source;
mod storage;
mod stream;

pub use item::{Asset, FirstAsset, FirstItem, Item, Named, PerBand, default_bands};
pub use source::{OwnedValue, Source};
pub use stream::ItemStream;

use crate::area::Area;
use crate::error::Result;
use crate::time::{Interval, Period};
pub use memo::Memo;
use query::Query;

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
    /// Threads that the query may use.
    pub threads: usize,
    /// What is known of it from earlier queries: see [`Memo::of`].
    pub memo: Memo,
}

impl Selection {
    /// The first matching item in the order of the mosaic: `sortby`, then file order.
    ///
    /// # Errors
    /// Everything that is wrong with the source or with an argument of the selection.
    pub fn first(&self) -> Result<Option<FirstItem>> {
        let version = self.source.version();
        let known = version.as_ref().and_then(|version| self.memo.at(version, |known| known.first.clone()));
        if let Some(first) = known {
            return Ok(first);
        }
        let first = self.ask(|query| query.first())?;
        if let Some(version) = version {
            self.memo.at(&version, |known| known.first = Some(first.clone()));
        }
        Ok(first)
    }

    fn ask<T>(&self, question: impl Fn(&Query) -> Result<T>) -> Result<T> {
        session::run(self.threads, |connection| question(&Query::new(self, connection)?))
    }

    /// Whether the source is so small that looking at its items takes longer than reading them: files of less than a mebibyte.
    pub fn is_small(&self) -> bool {
        const SMALL: u64 = 1 << 20;
        self.source.version().is_some_and(|files| files.iter().map(|file| file.length).sum::<u64>() < SMALL)
    }

    /// The number of steps, by the bounding boxes of the items.
    ///
    /// # Errors
    /// As [`Selection::first`].
    pub fn count_steps(&self) -> Result<u64> {
        let version = self.source.version();
        let known = version.as_ref().and_then(|version| self.memo.at(version, |known| known.steps));
        if let Some(steps) = known {
            return Ok(steps);
        }
        let steps = self.ask(|query| query.count_steps())?;
        if let Some(version) = version {
            self.memo.at(&version, |known| known.steps = Some(steps));
        }
        Ok(steps)
    }

    /// Every asset key that some item of the source has, sorted. Reads every row where the schema does not tell.
    ///
    /// # Errors
    /// As [`Selection::first`].
    pub fn asset_keys(&self) -> Result<Vec<String>> {
        self.ask(|query| query.asset_keys())
    }

    /// The matching items by step, then `sortby`, then file order, with the `assets` asked for and no others. Where they are, the
    /// pixels of the assets `located` tell, if anything does.
    ///
    /// # Errors
    /// As [`Selection::first`]. What is wrong with one item is its [`Item::fault`], or that of one of its assets.
    pub fn stream(&self, assets: &[String], located: &[String]) -> Result<ItemStream> {
        let Some(version) = self.source.version() else { return ItemStream::start(self, assets, located) };
        let keys = [assets, located].map(<[String]>::to_vec);
        if let Some(items) = self.memo.at(&version, |known| known.items(&keys)) {
            return Ok(ItemStream::of(items));
        }
        let stream = ItemStream::start(self, assets, located)?;
        let memo = self.memo.clone();
        Ok(stream.then_tell(move |items| memo.at(&version, |known| known.set_items(keys, items))))
    }
}
