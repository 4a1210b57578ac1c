//! The items of a query, made on a thread of their own.
//!
//! The thread owns the connection, the statement and its result, which borrow from each other; and it makes items while
//! the consumer works.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use duckdb::InterruptHandle;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::item::Item;
use super::memo::MOST_ITEMS;
use super::query::{Prepared, Query};
use super::selection::Selection;
use super::session::{self, Database, Private, failed};
use super::solar::Days;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::mutex::lock;

/// Batches, of up to 2048 items each, that may wait for the consumer.
const AHEAD: usize = 4;

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
                    *lock(&shared) = again.connection.interrupt_handle();
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
    pub fn of(items: Vec<Item>) -> Self {
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
            lock(interrupt).interrupt();
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
    let mut send = |mut items: Vec<Item>| {
        let known = skip.min(items.len());
        skip -= known;
        items.drain(..known);
        *sent += items.len();
        items.is_empty() || sender.blocking_send(Ok(items)).is_ok()
    };
    let mut days = reader.by_solar_days().then(Days::default);
    let mut statement = connection.prepare(sql).map_err(failed)?;
    for batch in statement.stream_arrow([]).map_err(failed)? {
        let items = reader.items(&batch.map_err(failed)?)?;
        let items = match &mut days {
            Some(days) => days.add(items),
            None => items,
        };
        if !send(items) {
            return Ok(());
        }
    }
    send(days.map(Days::finish).unwrap_or_default());
    Ok(())
}
