//! Items out of Arrow batches.

use std::sync::Arc;

use duckdb::arrow::array::{ArrayRef, RecordBatch};

use super::facts::{self, Facts};
use super::item::{Asset, Item};
use super::{json, locate, rows};
use crate::area::Area;
use crate::error::Result;
use crate::place::Place;
use crate::store::Hints;
use crate::time::Period;

/// Where the parts of an item are among the columns of a batch; `id` and `time` are the first two.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub time_text: Option<usize>,
    pub bare_date: Option<usize>,
    /// The number of the item in the order that was asked for, where items come in another.
    pub rank: Option<usize>,
    pub place: locate::Columns,
    pub base: Option<usize>,
    /// What the item says for all of its assets: its columns as JSON, and its properties as JSON.
    pub of_item: [Option<usize>; 2],
    /// All assets as one JSON object, in place of `assets`.
    pub objects: Option<usize>,
    /// One entry per requested asset.
    pub assets: Vec<AssetColumn>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum AssetColumn {
    /// The href, and the facts as JSON.
    Typed(usize, Option<usize>),
    /// The whole asset as JSON.
    Json(usize),
}

pub(super) struct Reader {
    columns: Columns,
    keys: Vec<String>,
    period: Period,
    area: Area,
    locator: locate::Locator,
    /// The way to the href of an asset that the call wants.
    chosen: Option<String>,
    count: u64,
    base: Recent,
    /// Those of the last item, and the texts they were read from: those of the next are usually the same, letter by letter.
    of_item: ([Option<String>; 2], Result<Arc<Facts>, String>),
    /// The same per asset.
    facts: Vec<Option<(String, Result<Facts, String>)>>,
    /// What was made of the crs and the store of the last asset.
    crs: Recent,
    store: Option<Arc<Hints>>,
}

/// A text that mostly repeats from row to row, shared while it does.
#[derive(Default)]
struct Recent(Option<Arc<str>>);

impl Recent {
    fn share(&mut self, text: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *text => last.clone(),
            _ => self.0.insert(text.into()).clone(),
        }
    }
}

/// The text at a place that [`Columns`] names.
fn text(batch: &RecordBatch, index: Option<usize>, row: usize) -> Result<Option<&str>> {
    at(batch, index).map_or(Ok(None), |column| rows::text(column, row))
}

/// The column at a place that [`Columns`] names.
fn at(batch: &RecordBatch, index: Option<usize>) -> Option<&ArrayRef> {
    batch.columns().get(index?)
}

impl Reader {
    pub(super) fn new(
        mut columns: Columns,
        keys: Vec<String>,
        period: Period,
        area: Area,
        chosen: Option<String>,
    ) -> Self {
        let facts = vec![None; keys.len()];
        let locator = locate::Locator::new(std::mem::take(&mut columns.place));
        Reader {
            columns,
            keys,
            period,
            area,
            locator,
            chosen,
            count: 0,
            base: Recent::default(),
            of_item: ([None, None], Ok(Arc::default())),
            facts,
            crs: Recent::default(),
            store: None,
        }
    }

    pub(super) fn items(&mut self, batch: &RecordBatch) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            items.extend(self.item(batch, row)?);
        }
        Ok(items)
    }

    /// `None` for an item that is not in the area, or nowhere.
    fn item(&mut self, batch: &RecordBatch, row: usize) -> Result<Option<Item>> {
        let id = text(batch, Some(0), row)?;
        let found = match id {
            Some(id) => self.locator.place(batch, row, id)?,
            None => Err("an item has no id".to_owned()),
        };
        let (place, mut fault) = match found {
            Ok(Some(place)) if place.touches(&self.area) => (place, None),
            Ok(_) => return Ok(None),
            Err(what) => (Place::anywhere(), Some(what)),
        };
        let id: Arc<str> = id.unwrap_or_default().into();
        let (mut time, mut assets) = (0, Vec::new());
        if fault.is_none() {
            match self.time(batch, row, &id)? {
                Ok(found) => (time, assets) = (found, self.assets(batch, row)?),
                Err(what) => fault = Some(what),
            }
        }
        let rank = at(batch, self.columns.rank).map_or(Ok(None), |ranks| rows::integer(ranks, row))?;
        let order = rank.map_or(self.count, i64::unsigned_abs);
        self.count += 1;
        let fault = fault.map(Arc::from);
        let step = self.period.step_at(time, || place.longitude());
        Ok(Some(Item { id, order, time, step, place, assets, fault }))
    }

    /// Whether items come by time, and their own day is to be found.
    pub(super) fn by_solar_days(&self) -> bool {
        self.columns.rank.is_some()
    }

    /// The time, or why there is none.
    fn time(&mut self, batch: &RecordBatch, row: usize, id: &str) -> Result<Result<i64, String>> {
        let said = text(batch, self.columns.time_text, row)?;
        let bare = at(batch, self.columns.bare_date).map_or(Ok(None), |bare| rows::boolean(bare, row))? == Some(true);
        let time = at(batch, Some(1)).map_or(Ok(None), |times| rows::integer(times, row))?;
        Ok(match (time, said) {
            (Some(_), _) if bare => Err(format!(
                "item '{id}' has a date without a time, which names no instant and no hour; use P1D or a longer period"
            )),
            (Some(time), _) => Ok(time),
            (None, Some(text)) => Err(format!("item '{id}': datetime '{text}' is not a timestamp")),
            (None, None) => Err(match self.of_item(batch, row)? {
                Err(what) => format!("item '{id}': {what}"),
                Ok(_) => format!("item '{id}' has neither datetime nor start_datetime"),
            }),
        })
    }

    fn assets(&mut self, batch: &RecordBatch, row: usize) -> Result<Vec<Option<Asset>>> {
        let of_item = self.of_item(batch, row)?;
        let base = text(batch, self.columns.base, row)?;
        let mut assets = match text(batch, self.columns.objects, row)? {
            Some(json) => self.of_objects(json),
            None => Vec::with_capacity(self.keys.len()),
        };
        for column in self.columns.assets.clone().into_iter().take(self.keys.len()) {
            let index = assets.len();
            assets.push(match column {
                AssetColumn::Json(column) => text(batch, Some(column), row)?.and_then(|json| self.of_object(json)),
                AssetColumn::Typed(href, facts) => match text(batch, Some(href), row)? {
                    Some(href) => Some(self.typed(index, href, text(batch, facts, row)?)),
                    None => None,
                },
            });
        }
        assets.resize_with(self.keys.len(), || None);
        // An asset is as good as what its item says for all of them.
        let read = |asset: Result<(String, Facts), String>| match (asset, &of_item) {
            (Ok((href, facts)), Ok(of_item)) => facts.asset(&href, of_item),
            (Err(what), _) => Asset::faulty(what),
            (_, Err(what)) => Asset::faulty(what.clone()),
        };
        let mut assets: Vec<Option<Asset>> = assets.into_iter().map(|asset| asset.map(read)).collect();
        for asset in assets.iter_mut().flatten() {
            asset.base = base.map(|base| self.base.share(base));
            asset.crs = asset.crs.take().map(|crs| self.crs.share(&crs));
            if self.store != asset.store {
                self.store = asset.store.take();
            }
            asset.store = self.store.clone();
        }
        Ok(assets)
    }

    /// What the item says for all of its assets.
    fn of_item(&mut self, batch: &RecordBatch, row: usize) -> Result<Result<Arc<Facts>, String>> {
        let [columns, properties] = self.columns.of_item;
        let texts = [text(batch, columns, row)?, text(batch, properties, row)?];
        let (known, facts) = &mut self.of_item;
        if known.each_ref().map(Option::as_deref) != texts {
            *facts = facts::of_item(texts[0], texts[1]).map(Arc::new);
            *known = texts.map(|text| text.map(str::to_owned));
        }
        Ok(facts.clone())
    }

    /// The requested assets out of the text of all of them.
    fn of_objects(&self, json: &str) -> Vec<Option<Result<(String, Facts), String>>> {
        let members = match json::members(json) {
            _ if json.trim() == "null" => Vec::new(),
            Ok(members) => members,
            Err(what) => {
                let fault = format!("the text of 'assets' {what}");
                return self.keys.iter().map(|_| Some(Err(fault.clone()))).collect();
            }
        };
        let find = |key: &String| members.iter().rfind(|(name, _)| name == key).map(|(_, json)| *json);
        let found: Vec<Option<&str>> = self.keys.iter().map(find).collect();
        found.into_iter().map(|json| self.of_object(json?)).collect()
    }

    /// The href and facts of an asset that is one JSON text; `None` for `null`.
    fn of_object(&self, json: &str) -> Option<Result<(String, Facts), String>> {
        if json.trim() == "null" {
            return None;
        }
        let read = || {
            let asset = facts::asset_object(json, self.chosen.as_deref(), &[])?;
            let href = facts::href(&asset)?;
            Ok((href, facts::facts(&asset, self.chosen.as_deref())?))
        };
        Some(read())
    }

    fn typed(&mut self, index: usize, href: &str, json: Option<&str>) -> Result<(String, Facts), String> {
        let chosen = self.chosen.as_deref();
        let (json, Some(recent)) = (json.unwrap_or("{}"), self.facts.get_mut(index)) else {
            return Ok((href.to_owned(), Facts::default()));
        };
        let facts = match recent {
            Some((text, facts)) if text == json => facts.clone(),
            _ => {
                let facts = json::parse(json).and_then(|value| facts::facts(&value, chosen));
                recent.insert((json.to_owned(), facts)).1.clone()
            }
        };
        facts.map(|facts| (href.to_owned(), facts))
    }
}
