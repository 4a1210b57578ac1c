//! Units in groups whose reads begin together: neighbours take source tiles from the same files, which are cheaper to ask for
//! at once. The groups follow from the plan and the sampled headers alone, so a query makes the same requests each time.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::batch::{Batch, Member};
use super::reader::Reader;
use super::unit::UnitReads;
use crate::error::{Error, Result};
use crate::items::Item;
use crate::plan::Units;
use crate::runtime;
use crate::scan::shared::faults;
use crate::scan::shared::memory::rounded;
use crate::scan::watch::failures::{Failure, Failures};
use crate::scan::watch::progress::Progress;

/// Units of one group, at most.
const MOST_UNITS: usize = 16;
/// Reads whose headers may be opened ahead of those that have begun.
const MOST_READS: usize = 512;

/// Neighbouring units of one step whose first reads begin together.
pub struct Group {
    pub units: Vec<UnitReads>,
    /// Its share of [`MOST_READS`], until its reads have begun.
    _reads: OwnedSemaphorePermit,
}

/// The units of a plan, group by group. Waits while too many reads wait to begin.
struct Groups {
    reader: Arc<Reader>,
    /// For items that have no place in the plan.
    failures: Failures,
    io: Handle,
    units: Units,
    /// Units so far.
    planned: u64,
    /// The first unit of the next group, and what the end of this one was.
    pending: Option<UnitReads>,
    failed: Option<Error>,
    reads: Arc<Semaphore>,
}

impl Group {
    /// Its units, whose reads have begun.
    pub fn into_units(self) -> Vec<UnitReads> {
        self.units
    }
}

/// Plans all units of a scan, and hands them over group by group; how many there were. Waiting, it holds no thread: any number
/// of scans may be half read.
///
/// # Errors
/// What is wrong with the items or their places. What was planned before is handed over.
pub async fn plan(
    reader: Arc<Reader>,
    io: Handle,
    send: mpsc::Sender<Group>,
    (progress, failures): (Arc<Progress>, Failures),
) -> Result<u64> {
    faults::point("planner");
    let (cube, assets) = (reader.shared.cube.clone(), reader.shared.assets.clone());
    let units = runtime::on_thread("lazycogs-index", move || Units::new(cube, &assets))?.await?;
    let reads = Arc::new(Semaphore::new(MOST_READS));
    let mut groups = Groups { reader, failures, io, units, planned: 0, pending: None, failed: None, reads };
    // Room first: a group that waits outside the queue has begun to open its headers.
    while let Ok(room) = send.reserve().await {
        let Some(group) = groups.next().await? else {
            progress.set_total(groups.planned);
            return Ok(groups.planned);
        };
        faults::point("plan");
        room.send(group);
    }
    Err(Error::Cancelled)
}

impl Groups {
    async fn next(&mut self) -> Result<Option<Group>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let units = self.collect().await?;
        if units.is_empty() { Ok(None) } else { self.opened(units).await.map(Some) }
    }

    async fn next_unit(&mut self) -> Option<Result<UnitReads>> {
        if let Some(pending) = self.pending.take() {
            return Some(Ok(pending));
        }
        let unit = self.units.next().await;
        for item in self.units.take_left_out() {
            self.failures.record(Failure::of_item(&item));
        }
        let unit = unit?;
        self.planned += u64::from(unit.is_ok());
        let shared = &self.reader.shared;
        Some(unit.and_then(|unit| UnitReads::new(shared, unit, self.planned)))
    }

    /// The next units, as many as fit into half of the memory for reads ahead.
    async fn collect(&mut self) -> Result<Vec<UnitReads>> {
        let (mut group, mut cost): (Vec<UnitReads>, u64) = (Vec::new(), 0);
        while group.len() < MOST_UNITS {
            let unit = match self.next_unit().await {
                None => break,
                Some(Err(e)) if group.is_empty() => return Err(e),
                Some(Err(e)) => {
                    self.failed = Some(e);
                    break;
                }
                Some(Ok(unit)) => unit,
            };
            cost += unit.first_items().iter().map(|item| rounded(self.reader.cost(item, &unit.unit))).sum::<u64>();
            let fits = cost <= self.reader.memory_ahead.total() / 2;
            let same_step = group.first().is_none_or(|first| first.unit.time_index == unit.unit.time_index);
            let alone = !fits || !same_step;
            if alone && !group.is_empty() {
                self.pending = Some(unit);
                break;
            }
            // The first unit of the next step may be long in coming.
            let last = unit.unit.is_last;
            group.push(unit);
            if last {
                break;
            }
        }
        Ok(group)
    }

    /// Has the group open the headers of its first items; reads of one item are a batch.
    async fn opened(&mut self, mut units: Vec<UnitReads>) -> Result<Group> {
        let mut readers: HashMap<u64, usize> = HashMap::new();
        for item in units.iter().flat_map(UnitReads::first_items) {
            *readers.entry(item.order).or_default() += 1;
        }
        let count = readers.values().sum::<usize>().min(MOST_READS) as u32;
        let reads = self.reads.clone().acquire_many_owned(count).await.map_err(|_| Error::Cancelled)?;
        readers.retain(|_, count| *count > 1);
        let mut batches: HashMap<u64, Vec<Member>> = readers
            .into_iter()
            .map(|(item, count)| (item, Batch::members(&self.reader.in_flight, count).collect()))
            .collect();
        let mut of_masks: HashMap<u64, Vec<Member>> = HashMap::new();
        if self.reader.shared.mask.is_some() {
            let pairs = batches.iter().map(|(item, members)| (*item, members.len()));
            of_masks.extend(pairs.map(|(item, count)| (item, Batch::members(&self.reader.in_flight, count).collect())));
        }
        // Reads are tasks of the I/O runtime.
        let _io = self.io.enter();
        for unit in &mut units {
            let of = |batches: &mut HashMap<u64, Vec<Member>>, item: &Item| batches.get_mut(&item.order)?.pop();
            unit.open(&self.reader, |item| (of(&mut batches, item), of(&mut of_masks, item)));
        }
        Ok(Group { units, _reads: reads })
    }
}
