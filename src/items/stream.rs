//! Items out of Arrow batches, made on a thread of their own.
//!
//! The thread owns the connection, the statement and its result, which borrow from each other; and it makes items while
//! the consumer works.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use duckdb::InterruptHandle;
use duckdb::arrow::array::{ArrayRef, RecordBatch};
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::assets::{Facts, facts};
use super::item::{Asset, Item};
use super::memo::MOST_ITEMS;
use super::query::Query;
use super::session::{self, Database, Private, failed};
use super::source::Relation;
use super::storage::{self, Storage};
use super::{Selection, locate, rows};
use crate::area::Area;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::store::Hints;
use crate::time::Period;

/// Batches, of up to 2048 items each, that may wait for the consumer.
const AHEAD: usize = 4;

/// Where the parts of an item are among the columns of a batch; `id` and `time` are the first two.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub time_text: Option<usize>,
    pub bare_date: Option<usize>,
    pub place: locate::Columns,
    pub base: Option<usize>,
    pub crs: Option<usize>,
    pub storage: Option<usize>,
    /// The requested assets as JSON, in one list.
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
    /// The element of `objects` at the asset's own index.
    Object,
}

type Tell = Box<dyn FnOnce(Vec<Item>) + Send>;

/// The matching items by step, then `sortby`, then file order. Ends with the first error.
pub struct ItemStream {
    batches: Option<Receiver<Result<Vec<Item>>>>,
    batch: std::vec::IntoIter<Item>,
    /// `None` where all items were known before.
    thread: Option<(JoinHandle<()>, Interrupt)>,
    /// The items so far, and who wants to have them if they stay few.
    told: Option<(Vec<Item>, Tell)>,
}

/// Ends the query at work, of which there may be a second.
type Interrupt = Arc<Mutex<Arc<InterruptHandle>>>;

/// A query for items that is ready to run.
pub(super) struct Prepared {
    pub connection: Private,
    pub sql: String,
    pub reader: Reader,
    /// Kept as long as it is read.
    pub _relation: Relation,
}

impl ItemStream {
    pub(super) fn start(selection: &Selection, assets: &[String], located: &[String]) -> Result<Self> {
        let prepare = {
            let (selection, assets, located) = (selection.clone(), assets.to_vec(), located.to_vec());
            move |connection: Private| Query::new(&selection, connection)?.prepare(&assets, &located)
        };
        let threads = selection.threads;
        let mut prepared = session::run(threads, &prepare)?;
        let interrupt: Interrupt = Arc::new(Mutex::new(prepared.connection.interrupt_handle()));
        let (sender, receiver) = channel(AHEAD);
        let shared = interrupt.clone();
        let run = move || {
            let mut sent = 0;
            let mut outcome = produce(&mut prepared, &mut sent, 0, &sender);
            if outcome.is_err() && session::retired(prepared.connection.database()) {
                // As in `session::run`: the fault may be another query's. The order is the same, so the rest follows.
                let skip = sent;
                outcome = Database::alone(threads).and_then(&prepare).and_then(|mut again| {
                    *shared.lock().unwrap_or_else(PoisonError::into_inner) = again.connection.interrupt_handle();
                    produce(&mut again, &mut sent, skip, &sender)
                });
            }
            if let Err(error) = outcome {
                #[expect(clippy::let_underscore_must_use, reason = "a consumer that is gone does not mind")]
                let _ = sender.blocking_send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("lazycogs-items".into()).spawn(run);
        let thread = thread.map_err(|e| Error::Items(format!("cannot start a thread to read items: {e}")))?;
        let thread = Some((thread, interrupt));
        Ok(Self { batches: Some(receiver), batch: Vec::new().into_iter(), thread, told: None })
    }

    /// The items of an earlier stream.
    pub(super) fn of(items: Vec<Item>) -> Self {
        Self { batches: None, batch: items.into_iter(), thread: None, told: None }
    }

    /// Lets `tell` have all items at the end, if there are no more than [`MOST_ITEMS`].
    pub(super) fn then_tell(mut self, tell: impl FnOnce(Vec<Item>) + Send + 'static) -> Self {
        self.told = Some((Vec::new(), Box::new(tell)));
        self
    }

    fn note(&mut self, item: &Item) {
        if let Some((items, _)) = &mut self.told {
            if items.len() == MOST_ITEMS {
                self.told = None;
            } else {
                items.push(item.clone());
            }
        }
    }
}

impl ItemStream {
    /// The next item; `None` after the last. A call that is given up loses none.
    pub async fn receive(&mut self) -> Option<Result<Item>> {
        loop {
            if let Some(item) = self.batch.next() {
                self.note(&item);
                return Some(Ok(item));
            }
            match self.batches.as_mut()?.recv().await {
                Some(Ok(batch)) => self.batch = batch.into_iter(),
                Some(Err(error)) => {
                    (self.batches, self.told) = (None, None);
                    return Some(Err(error));
                }
                None => return self.end().err().map(Err),
            }
        }
    }

    /// The end of the items, unless the thread died before it.
    fn end(&mut self) -> Result<()> {
        self.batches = None;
        let ended = self.thread.take().map_or(Ok(()), |(thread, _)| thread.join());
        ended.map_err(|panic| Error::of_panic(panic.as_ref()))?;
        if let Some((items, tell)) = self.told.take() {
            tell(items);
        }
        Ok(())
    }
}

/// For a thread that may be blocked.
impl Iterator for ItemStream {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        if let Some(item) = self.batch.next() {
            self.note(&item);
            return Some(Ok(item));
        }
        self.batches.as_ref()?;
        interrupt::wait(self.receive()).unwrap_or_else(|e| Some(Err(e)))
    }
}

impl Drop for ItemStream {
    fn drop(&mut self) {
        self.batches = None;
        if let Some((_, interrupt)) = &self.thread {
            interrupt.lock().unwrap_or_else(PoisonError::into_inner).interrupt();
        }
    }
}

/// Sends the items after the first `skip`, and counts in `sent` those that are sent in all.
fn produce(
    Prepared { connection, sql, reader, .. }: &mut Prepared,
    sent: &mut usize,
    mut skip: usize,
    sender: &Sender<Result<Vec<Item>>>,
) -> Result<()> {
    let mut statement = connection.prepare(sql).map_err(failed)?;
    for batch in statement.stream_arrow([]).map_err(failed)? {
        let mut items = reader.items(&batch.map_err(failed)?)?;
        let known = skip.min(items.len());
        skip -= known;
        items.drain(..known);
        *sent += items.len();
        if sender.blocking_send(Ok(items)).is_err() {
            break;
        }
    }
    Ok(())
}

pub(super) struct Reader {
    columns: Columns,
    keys: Vec<String>,
    period: Period,
    area: Area,
    locator: locate::Locator,
    count: u64,
    base: Recent,
    crs: Recent,
    /// What the last item said about stores, as text and read.
    storage: (String, Option<Arc<Storage>>),
    /// What was made of it for the last asset.
    store: Option<Arc<Hints>>,
    /// Per asset the last facts read: those of the next item are usually the same, letter by letter.
    facts: Vec<Option<(String, Facts)>>,
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

/// The column at a place that [`Columns`] names.
fn at(batch: &RecordBatch, index: Option<usize>) -> Option<&ArrayRef> {
    batch.columns().get(index?)
}

impl Reader {
    pub(super) fn new(mut columns: Columns, keys: Vec<String>, period: Period, area: Area) -> Self {
        let facts = vec![None; keys.len()];
        let locator = locate::Locator::new(std::mem::take(&mut columns.place));
        Reader {
            columns,
            keys,
            period,
            area,
            locator,
            count: 0,
            base: Recent::default(),
            crs: Recent::default(),
            storage: (String::new(), None),
            store: None,
            facts,
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
        let id = at(batch, Some(0)).and_then(|ids| rows::text(ids, row));
        let id: Arc<str> = id.ok_or_else(|| Error::Items("an item has no id".into()))?.into();
        let place = self.locator.place(batch, row, &id)?;
        let Some(place) = place.filter(|place| place.touches(&self.area)) else { return Ok(None) };
        let time = self.time(batch, row, &id)?;
        let mut assets = Vec::with_capacity(self.keys.len());
        for index in 0..self.keys.len() {
            assets.push(self.asset(batch, row, index, &id)?);
        }
        let order = self.count;
        self.count += 1;
        Ok(Some(Item { id, order, time, step: self.period.step_of(time), place, assets }))
    }

    fn time(&self, batch: &RecordBatch, row: usize, id: &str) -> Result<i64> {
        let text = at(batch, self.columns.time_text).and_then(|texts| rows::text(texts, row));
        let bare = at(batch, self.columns.bare_date).and_then(|bare| rows::boolean(bare, row)) == Some(true);
        match (at(batch, Some(1)).and_then(|times| rows::integer(times, row)), text) {
            (Some(_), _) if bare => Err(Error::Items(format!(
                "item '{id}' has a date without a time, which names no instant and no hour; use P1D or a longer period"
            ))),
            (Some(time), _) => Ok(time),
            (None, Some(text)) => Err(Error::Items(format!("item '{id}': datetime '{text}' is not a timestamp"))),
            (None, None) => Err(Error::Items(format!("item '{id}' has neither datetime nor start_datetime"))),
        }
    }

    fn asset(&mut self, batch: &RecordBatch, row: usize, index: usize, id: &str) -> Result<Option<Asset>> {
        let text = |column: usize| at(batch, Some(column)).and_then(|column| rows::text(column, row));
        let object = match self.columns.assets.get(index) {
            None => return Ok(None),
            Some(&AssetColumn::Typed(href, facts)) => {
                let Some(href) = text(href) else { return Ok(None) };
                let facts = self.typed_facts(index, facts.and_then(text));
                return Ok(Some(self.assembled(batch, row, href, facts)));
            }
            Some(&AssetColumn::Json(column)) => text(column),
            Some(&AssetColumn::Object) => {
                at(batch, self.columns.objects).and_then(|column| rows::text_element(column, row, index))
            }
        };
        let Some(object) = object.and_then(|json| serde_json::from_str::<Value>(json).ok()) else { return Ok(None) };
        match object.get("href").and_then(Value::as_str) {
            _ if object.is_null() => Ok(None),
            Some(href) => Ok(Some(self.assembled(batch, row, href, facts(&object)))),
            None => {
                let key = self.keys.get(index).map_or("", String::as_str);
                Err(Error::Items(format!("item '{id}' asset '{key}' has no href")))
            }
        }
    }

    fn assembled(&mut self, batch: &RecordBatch, row: usize, href: &str, facts: Facts) -> Asset {
        let base = at(batch, self.columns.base).and_then(|column| rows::text(column, row));
        let crs = at(batch, self.columns.crs).and_then(|column| rows::text(column, row));
        Asset {
            href: href.into(),
            base: base.map(|base| self.base.share(base)),
            nodata: facts.nodata,
            scale_offset: facts.scale_offset,
            crs: facts.crs.or_else(|| crs.map(|crs| self.crs.share(crs))),
            store: self.store(batch, row, facts.storage.as_deref()),
        }
    }

    /// What the item and the asset say about the store of the asset; mostly the same from asset to asset.
    fn store(&mut self, batch: &RecordBatch, row: usize, asset: Option<&Storage>) -> Option<Arc<Hints>> {
        let json = at(batch, self.columns.storage).and_then(|column| rows::text(column, row)).unwrap_or_default();
        if self.storage.0 != json {
            let read = serde_json::from_str(json).ok().and_then(|value| storage::read(&value));
            self.storage = (json.to_owned(), read.map(Arc::new));
        }
        let hints = storage::hints(asset, self.storage.1.as_deref())?;
        if self.store.as_deref() != Some(&hints) {
            self.store = Some(Arc::new(hints));
        }
        self.store.clone()
    }

    fn typed_facts(&mut self, index: usize, json: Option<&str>) -> Facts {
        let (Some(json), Some(recent)) = (json, self.facts.get_mut(index)) else { return Facts::default() };
        match recent {
            Some((text, facts)) if text == json => facts.clone(),
            _ => {
                let value = serde_json::from_str(json).unwrap_or(Value::Null);
                recent.insert((json.to_owned(), facts(&value))).1.clone()
            }
        }
    }
}
