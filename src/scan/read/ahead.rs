//! Memory for the reads of units before their turn: the first reads begin group by group in the order of the plan, as far as memory
//! allows.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::groups::Group;
use super::reader::Reader;
use super::unit::UnitReads;
use crate::error::{Error, Result};
use crate::scan::shared::faults;
use crate::scan::shared::memory::{part, rounded};
use crate::scan::shared::task::Owned;

/// Has the first reads of `groups` begin, and hands their units over in their order; how many there were.
///
/// # Errors
/// What went wrong with the plan, after the units before it.
pub async fn ahead(
    reader: Arc<Reader>,
    (mut planner, mut groups): (Owned<Result<u64>>, mpsc::Receiver<Group>),
    send: mpsc::Sender<UnitReads>,
) -> Result<u64> {
    while let Some(mut group) = groups.recv().await {
        faults::point("ahead");
        begin(&reader, &mut group.units).await?;
        for unit in group.into_units() {
            // Nobody listens any more where a unit before it failed.
            send.send(unit).await.map_err(|_| Error::Cancelled)?;
        }
    }
    planner.join().await?
}

/// Gives the first reads of a group memory. What goes wrong in them is told when the mosaic asks for them.
async fn begin(reader: &Reader, units: &mut [UnitReads]) -> Result<()> {
    for reading in units.iter_mut().flat_map(|unit| &mut unit.reading) {
        reading.opened().await;
    }
    match units {
        [only] => begin_one(reader, only).await,
        units => begin_all(reader, units).await,
    }
}

/// As far as the memory goes.
async fn begin_one(reader: &Reader, unit: &mut UnitReads) -> Result<()> {
    let mut asked = 0;
    while let Some(at) = unit.without_memory() {
        let cost = reader.cost(&unit.reading[at].item, &unit.unit);
        asked += rounded(cost);
        // Earlier units give back what they hold; what this one holds, it keeps until its turn.
        let wait = at == 0 || asked <= reader.memory_ahead.total();
        let Some(memory) = reader.memory_ahead.reserve(cost, wait).await? else { return Ok(()) };
        unit.reading[at].grant(memory);
    }
    Ok(())
}

/// All at once: reads that wait for each other must not wait for memory that one of them holds. There is enough for a group.
async fn begin_all(reader: &Reader, units: &mut [UnitReads]) -> Result<()> {
    let readings = || units.iter().flat_map(|unit| unit.reading.iter().map(move |r| (&r.item, &unit.unit)));
    let costs: Vec<u64> = readings().map(|(item, unit)| rounded(reader.cost(item, unit))).collect();
    let Some(mut memory) = reader.memory_ahead.reserve(costs.iter().sum(), true).await? else { return Ok(()) };
    let readings = units.iter_mut().flat_map(|unit| &mut unit.reading);
    for (reading, cost) in readings.zip(costs) {
        reading.grant(part(&mut memory, cost).ok_or(Error::Cancelled)?);
    }
    Ok(())
}
