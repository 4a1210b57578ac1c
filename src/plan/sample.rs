//! The COGs that are opened at bind: each stands for all sources of its asset.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use futures::stream::{self, StreamExt};

use super::assets::{asset_context, object};
use crate::cog::headers::Headers;
use crate::cog::opened::Opened;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::items::{Asset, Selection};
use crate::request::{OnError, Request};
use crate::store::Session;

/// An asset that could have stood for the others, but cannot be read.
pub struct Unread {
    pub item: String,
    pub key: String,
    pub asset: Asset,
    pub error: Error,
}

/// By asset key, the id of an item and its asset.
pub type Chosen = HashMap<String, (String, Asset)>;

/// By asset key, the COG that stands for it.
pub type Samples = HashMap<String, Arc<Opened>>;

/// Where samples are looked for.
#[derive(Clone, Copy)]
pub struct Archive<'a> {
    pub request: &'a Request,
    /// That of the request, or all items where nothing matches it.
    pub selection: &'a Selection,
    pub session: &'a Session,
    pub headers: &'a Headers,
}

impl Archive<'_> {
    /// Opens one COG for each asset: the chosen one. Where the call ignores errors and that cannot be read, or `fits` refuses it,
    /// the first item that can be read is chosen instead; the others are told.
    ///
    /// # Errors
    /// A COG that cannot be read, where errors are not ignored or no item has a better one.
    pub fn open(
        &self,
        chosen: &mut Chosen,
        fits: impl Fn(&str, &str, &Opened) -> Result<()>,
    ) -> Result<(Samples, Vec<Unread>)> {
        let opening = chosen.iter().map(|(key, (item, asset))| async move {
            (key.clone(), item.clone(), asset.clone(), self.open_one(item, key, asset).await)
        });
        let answers = interrupt::wait(join_all(opening))?;
        let (mut opened, mut unread) = (Samples::new(), Vec::new());
        for (key, item, asset, answer) in answers {
            let within = |e: Error| e.within_once(asset_context(self.request, &item, &key, &asset));
            let error = match answer.and_then(|found| fits(&item, &key, &found).map(|()| found).map_err(within)) {
                Ok(found) => {
                    opened.insert(key, found);
                    continue;
                }
                Err(error) => error,
            };
            if self.request.errors == OnError::Raise || error == Error::Cancelled {
                return Err(error);
            }
            let (other, found) =
                self.search(&key, Unread { item, key: key.clone(), asset, error }, &mut unread, &fits)?;
            chosen.insert(key.clone(), other);
            opened.insert(key, found);
        }
        Ok((opened, unread))
    }

    /// The first item that can be read, of those after a broken one.
    fn search(
        &self,
        key: &str,
        first: Unread,
        unread: &mut Vec<Unread>,
        fits: &impl Fn(&str, &str, &Opened) -> Result<()>,
    ) -> Result<((String, Asset), Arc<Opened>)> {
        /// Opened at once: an archive may have lost a whole year.
        const AHEAD: usize = 8;
        let error = first.error.clone();
        let broken = (first.item.clone(), first.asset.href.clone());
        unread.push(first);
        let mut items = self.selection.stream(&[key.to_owned()], &[key.to_owned()])?.filter_map(|item| {
            let found = item.map(|item| {
                let asset = item.assets.first().cloned().flatten()?;
                (*item.id != *broken.0 || asset.href != broken.1).then(|| (item.id.to_string(), asset))
            });
            found.transpose()
        });
        loop {
            let others = items.by_ref().take(AHEAD).collect::<Result<Vec<_>>>()?;
            if others.is_empty() {
                return Err(error.within(format!("no item has an asset '{key}' that can be read")));
            }
            let opening = others.iter().map(|(item, asset)| self.open_one(item, key, asset));
            let answers: Vec<_> = interrupt::wait(stream::iter(opening).buffered(AHEAD).collect())?;
            for ((item, asset), answer) in others.into_iter().zip(answers) {
                match answer.and_then(|found| fits(&item, key, &found).map(|()| found)) {
                    Ok(found) => return Ok(((item, asset), found)),
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(error) => {
                        let error = error.within_once(asset_context(self.request, &item, key, &asset));
                        unread.push(Unread { item, key: key.to_owned(), asset, error });
                    }
                }
            }
        }
    }

    async fn open_one(&self, item: &str, key: &str, asset: &Asset) -> Result<Arc<Opened>> {
        let context = || asset_context(self.request, item, key, asset);
        let object = Arc::new(object(self.request, self.session, asset).map_err(|e| e.within(context()))?);
        self.headers.open(&object, asset.crs.as_ref()).await.map_err(|e| e.within(context()))
    }
}
