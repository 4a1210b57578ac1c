//! From an index to items: the only room that runs SQL over it.
//! In: a [`Selection`], which is a [`Source`] (stac-geoparquet, JSON, rows by value) and all that a call asks of its items.
//! Out: the [`FirstItem`], the keys of assets, the number of steps, and the [`ItemStream`] of [`Item`]s in their order.
//! Between: a source becomes one SQL relation, its [`layout`] says what the parts of an item are in SQL, [`query`] asks, and [`reader`]
//! makes items of the answer. What was learnt of files is kept while they stay the same ([`memo`], [`features`]).

mod apart;
mod assets;
mod facts;
mod features;
mod fetched;
mod fields;
mod filter;
mod first;
#[doc(hidden)]
pub mod fuzzing;
mod geometry;
mod geoparquet;
pub mod item;
mod json;
mod layout;
mod locate;
mod looks;
mod memo;
mod paths;
mod pixels;
mod query;
mod reader;
mod remote;
mod rows;
mod search;
mod selection;
mod session;
mod shapes;
mod solar;
mod source;
mod storage;
mod stream;
mod table;

pub use fields::near_misses;
pub use filter::parse as parse_filter;
pub use geometry::wkb_of_geojson;
pub use item::{Asset, FirstAsset, FirstItem, Item, Named, PerBand, default_bands};
pub use memo::Memo;
pub use selection::Selection;
pub use shapes::{Id, Raw, Shapes};
pub use source::{OwnedValue, Source};
pub use stream::ItemStream;

use crate::error::Result;
use memo::Known;
use query::Query;

impl Selection {
    /// The first matching item in the order of the mosaic: `sortby`, then file order.
    ///
    /// # Errors
    /// Everything that is wrong with the source or with an argument of the selection.
    pub fn first(&self) -> Result<Option<FirstItem>> {
        self.once(|known| &mut known.first, |query| query.first())
    }

    /// The answer to a question, asked again only where the files have changed. It has its `place` in what is known.
    fn once<T: Clone>(
        &self,
        place: impl Fn(&mut Known) -> &mut Option<T>,
        question: impl Fn(&Query) -> Result<T>,
    ) -> Result<T> {
        let version = self.version();
        let known = version.as_ref().and_then(|version| self.memo.at(version, |known| place(known).clone()));
        if let Some(answer) = known {
            return Ok(answer);
        }
        let answer = self.ask(question)?;
        if let Some(version) = version {
            self.memo.at(&version, |known| *place(known) = Some(answer.clone()));
        }
        Ok(answer)
    }

    fn ask<T>(&self, question: impl Fn(&Query) -> Result<T>) -> Result<T> {
        session::run(self.threads, |connection| question(&Query::new(self, connection)?))
    }

    /// The number of steps, by the bounding boxes of the items.
    ///
    /// # Errors
    /// As [`Selection::first`].
    pub fn count_steps(&self) -> Result<u64> {
        self.once(|known| &mut known.steps, |query| query.count_steps())
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
        let Some(version) = self.version() else { return ItemStream::start(self, assets, located) };
        let keys = [assets, located].map(<[String]>::to_vec);
        if let Some(items) = self.memo.at(&version, |known| known.items(&keys)) {
            return Ok(ItemStream::of(items));
        }
        let stream = ItemStream::start(self, assets, located)?;
        let memo = self.memo.clone();
        Ok(stream.then_tell(move |items| memo.at(&version, |known| known.set_items(keys, items))))
    }
}
