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
pub mod item;
mod json;
mod layout;
mod memo;
mod query;
mod remote;
mod rows;
mod session;
mod source;
mod storage;
mod stream;

pub(crate) use session::private_database;

pub use item::{Asset, FirstAsset, FirstItem, Item, Named, PerBand, default_bands};
pub use source::{OwnedValue, Source};
pub use stream::ItemStream;

use crate::error::Result;
use crate::time::{Interval, Period};
pub use memo::Memo;
use query::Query;

/// Which items, and in which order.
#[derive(Debug, Clone)]
pub struct Selection {
    pub source: Source,
    /// Finite `[west, south, east, north]` in EPSG:4326 degrees, west <= east: an area that crosses the antimeridian is two.
    /// An item is taken if its bbox touches one of them.
    pub boxes: Vec<[f64; 4]>,
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
        let first = Query::new(self)?.first()?;
        if let Some(version) = version {
            self.memo.at(&version, |known| known.first = Some(first.clone()));
        }
        Ok(first)
    }

    /// Whether the source is so small that looking at its items takes longer than reading them: files of less than a mebibyte.
    pub fn is_small(&self) -> bool {
        const SMALL: u64 = 1 << 20;
        self.source.version().is_some_and(|files| files.iter().map(|(length, _)| length).sum::<u64>() < SMALL)
    }

    /// Every asset key that some item of the source has, sorted. Reads every row where the schema does not tell.
    ///
    /// # Errors
    /// As [`Selection::first`].
    pub fn asset_keys(&self) -> Result<Vec<String>> {
        Query::new(self)?.asset_keys()
    }

    /// The matching items by step, then `sortby`, then file order, with the `assets` asked for and no others.
    ///
    /// # Errors
    /// As [`Selection::first`]. What is wrong with one item is its [`Item::fault`], or that of one of its assets.
    pub fn stream(&self, assets: &[String]) -> Result<ItemStream> {
        let Some(version) = self.source.version() else { return Query::new(self)?.stream(assets) };
        if let Some(items) = self.memo.at(&version, |known| known.items(assets)) {
            return Ok(ItemStream::of(items));
        }
        let stream = Query::new(self)?.stream(assets)?;
        let (memo, keys) = (self.memo.clone(), assets.to_vec());
        Ok(stream.then_tell(move |items| memo.at(&version, |known| known.set_items(keys, items))))
    }
}
