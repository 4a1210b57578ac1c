//! Units in groups whose reads begin together: neighbours take source tiles from the same files, which are cheaper to ask for
//! at once. The groups follow from the plan and the sampled headers alone, so a query makes the same requests each time.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ahead::Begun;
use super::compose::Composer;
use super::failures::Failure;
use super::memory::rounded;
use super::together::{Seat, Together};
use crate::error::{Error, Result};
use crate::plan::{Unit, Units};

/// Units of one group, at most.
const MOST_UNITS: usize = 16;
/// Reads whose headers may be opened ahead of those that have begun.
const MOST_READS: usize = 512;

/// Neighbouring units of one step whose first reads begin together.
pub struct Group {
    pub units: Vec<Begun>,
    /// Its share of [`MOST_READS`], until its reads have begun.
    _reads: OwnedSemaphorePermit,
}

/// The units of a plan, group by group. Blocks while too many reads wait to begin.
pub struct Groups {
    composer: Arc<Composer>,
    units: Units,
    /// Units so far.
    pub planned: u64,
    /// The first unit of the next group, and what the end of this one was.
    pending: Option<Begun>,
    failed: Option<Error>,
    reads: Arc<Semaphore>,
}

/// For whom the groups are made: they end when it is dropped.
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(Semaphore::new(MOST_READS)))
    }
}

impl Room {
    /// Permits for reads.
    pub fn reads(&self) -> Arc<Semaphore> {
        self.0.clone()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Groups {
    /// For a planner on a thread of its own; `reads` are those of a [`Room`].
    pub fn new(composer: Arc<Composer>, units: Units, reads: Arc<Semaphore>) -> Groups {
        Groups { composer, units, planned: 0, pending: None, failed: None, reads }
    }

    fn next_unit(&mut self) -> Option<Result<Begun>> {
        if let Some(pending) = self.pending.take() {
            return Some(Ok(pending));
        }
        let unit = self.units.next();
        for item in self.units.take_left_out() {
            self.composer.failures.record(Failure::of_item(&item));
        }
        let unit = unit?;
        self.planned += u64::from(unit.is_ok());
        Some(unit.and_then(|unit| Begun::new(&self.composer, unit, self.planned)))
    }

    /// The next units, as many as fit into half of the memory for reads ahead.
    fn collect(&mut self) -> Result<Vec<Begun>> {
        let (mut group, mut cost): (Vec<Begun>, u64) = (Vec::new(), 0);
        while group.len() < MOST_UNITS {
            let begun = match self.next_unit() {
                None => break,
                Some(Err(e)) if group.is_empty() => return Err(e),
                Some(Err(e)) => {
                    self.failed = Some(e);
                    break;
                }
                Some(Ok(begun)) => begun,
            };
            cost += begun.first_items().iter().map(|item| rounded(self.composer.cost(item, &begun.unit))).sum::<u64>();
            let fits = cost <= self.composer.memory_ahead.total() / 2;
            let same_step = group.first().is_none_or(|first| first.unit.time_index == begun.unit.time_index);
            let alone = !fits || !same_step;
            if alone && !group.is_empty() {
                self.pending = Some(begun);
                break;
            }
            let last = self.is_last(&begun.unit);
            group.push(begun);
            if last {
                break;
            }
        }
        Ok(group)
    }

    /// Whether the unit is the last of its step: the next one may be long in coming.
    fn is_last(&self, unit: &Unit) -> bool {
        let tiling = &self.composer.cube.tiling;
        unit.chunk_row + 1 == tiling.down() && unit.chunk_col + 1 == tiling.across()
    }

    /// Has the group open the headers of its first items; reads of one item sit together.
    fn opened(&self, mut units: Vec<Begun>) -> Result<Group> {
        let mut readers: HashMap<u64, usize> = HashMap::new();
        for item in units.iter().flat_map(Begun::first_items) {
            *readers.entry(item.order).or_default() += 1;
        }
        let count = readers.values().sum::<usize>().min(MOST_READS) as u32;
        let reads = futures::executor::block_on(self.reads.clone().acquire_many_owned(count));
        let reads = reads.map_err(|_| Error::Cancelled)?;
        readers.retain(|_, count| *count > 1);
        let mut seats: HashMap<u64, Vec<Seat>> = readers
            .into_iter()
            .map(|(item, count)| (item, Together::seats(&self.composer.flights, count).collect()))
            .collect();
        for begun in &mut units {
            begun.open(&self.composer, |item| seats.get_mut(&item.order)?.pop());
        }
        Ok(Group { units, _reads: reads })
    }
}

impl Iterator for Groups {
    type Item = Result<Group>;

    fn next(&mut self) -> Option<Result<Group>> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        match self.collect() {
            Ok(units) if units.is_empty() => None,
            Ok(units) => Some(self.opened(units)),
            Err(e) => Some(Err(e)),
        }
    }
}
