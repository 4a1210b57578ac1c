//! What is done for units before their turn: headers are opened and the first reads begin, group by group in the order of
//! the plan, as far as memory allows.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::items::Item;
use crate::plan::Unit;
use crate::runtime::tell;
use crate::scan::read::batch::Seat;
use crate::scan::read::coverage::Coverage;
use crate::scan::read::groups::Group;
use crate::scan::read::reader::{ReadItem, Slots, Target};
use crate::scan::shared::faults;
use crate::scan::shared::memory::{Reservation, part, rounded};
use crate::scan::shared::task::Owned;
use crate::scan::unit::Composer;
use crate::store::in_turn;

/// Items that are read ahead of the one that the mosaic waits for.
const ITEMS_AHEAD: usize = 16;

/// A unit on its way to its turn.
pub struct Begun {
    /// Without its items.
    pub unit: Unit,
    /// Its place in the order of the plan.
    pub turn: u64,
    /// In the order of the mosaic.
    pub items: Vec<Arc<Item>>,
    /// Where the mosaic stops early: what is still open.
    pub coverage: Option<Coverage>,
    pub reads: Queue,
}

/// The reads of one unit, in the order of its items.
pub struct Queue {
    turn: u64,
    waiting: VecDeque<Reading>,
    /// The next item to ask for, and the end of those that are asked for together.
    next: usize,
    pub end: usize,
    /// For each band the pixels that no item can change any more.
    pub settled: Arc<Vec<Option<Vec<u8>>>>,
}

/// The read of one item: it opens the headers at once, and goes on when it gets memory.
pub struct Reading {
    pub item: Arc<Item>,
    pub task: Owned<ReadItem>,
    /// Told when the headers are open; taken by who waits for that.
    opened: Option<oneshot::Receiver<()>>,
    memory: Option<oneshot::Sender<Reservation>>,
}

impl Reading {
    pub fn grant(&mut self, memory: Reservation) {
        if let Some(give) = self.memory.take() {
            // A read that failed already needs none.
            tell(give, memory);
        }
    }
}

impl Begun {
    /// A unit whose first reads have not begun.
    ///
    /// # Errors
    /// No transformation between the grid's CRS and longitude and latitude.
    pub fn new(composer: &Composer, mut unit: Unit, turn: u64) -> Result<Begun> {
        let cube = &composer.cube;
        let mosaic = cube.request.mosaic;
        let mut items = std::mem::take(&mut unit.items);
        if mosaic.reverses() {
            items.reverse();
        }
        let (mut coverage, mut end) = (None, items.len());
        if mosaic.stops_early() && items.len() > 1 {
            let mut open = Coverage::new(cube, unit.rect)?;
            end = open.wave(&items);
            coverage = Some(open);
        }
        let settled = Arc::new(vec![None; composer.bands.len()]);
        Ok(Begun {
            unit,
            turn,
            items,
            coverage,
            reads: Queue { turn, waiting: VecDeque::new(), next: 0, end, settled },
        })
    }

    /// The items that it reads before its turn.
    pub fn first_items(&self) -> &[Arc<Item>] {
        &self.items[..self.reads.end.min(ITEMS_AHEAD)]
    }

    /// Starts to open the headers of its first items. Called on a thread of the I/O runtime. `seat` gives a read its seat beside
    /// those of the same item for other units.
    pub fn open(&mut self, composer: &Arc<Composer>, seat: impl FnMut(&Item) -> Option<Seat>) {
        self.reads.fill(composer, &self.unit, &self.items, seat);
    }
}

impl Queue {
    /// Starts the reads of the next items, a few at a time.
    pub fn fill(
        &mut self,
        composer: &Arc<Composer>,
        unit: &Unit,
        items: &[Arc<Item>],
        mut seat: impl FnMut(&Item) -> Option<Seat>,
    ) {
        while self.waiting.len() < ITEMS_AHEAD && self.next < self.end.min(items.len()) {
            let item = items[self.next].clone();
            let (tell, opened) = oneshot::channel();
            let (give, memory) = oneshot::channel();
            let slots = Slots { opened: tell, memory, seat: seat(&item) };
            let read = composer.clone().read_item(item.clone(), Target::of(unit), self.settled.clone(), slots);
            let task = Owned::spawn(in_turn(self.turn, read));
            self.waiting.push_back(Reading { item, task, opened: Some(opened), memory: Some(give) });
            self.next += 1;
        }
    }

    /// The first read that has no memory yet, and whether it is the very first.
    pub fn without_memory(&mut self) -> Option<(&mut Reading, bool)> {
        let at = self.waiting.iter().position(|reading| reading.memory.is_some())?;
        Some((&mut self.waiting[at], at == 0))
    }

    pub fn pop(&mut self) -> Option<Reading> {
        self.waiting.pop_front()
    }
}

/// Has the first reads of `groups` begin, and hands their units over in their order; how many there were.
///
/// # Errors
/// What went wrong with the plan, after the units before it.
pub async fn ahead(
    composer: Arc<Composer>,
    (mut planner, mut groups): (Owned<Result<u64>>, mpsc::Receiver<Group>),
    send: mpsc::Sender<Begun>,
) -> Result<u64> {
    while let Some(mut group) = groups.recv().await {
        faults::point("ahead");
        composer.begin(&mut group.units).await?;
        for unit in group.into_units() {
            // Nobody listens any more where a unit before it failed.
            send.send(unit).await.map_err(|_| Error::Cancelled)?;
        }
    }
    planner.join().await?
}

impl Composer {
    /// Gives the first reads of a group memory. What goes wrong in them is told when the mosaic asks for them.
    async fn begin(&self, units: &mut [Begun]) -> Result<()> {
        for reading in units.iter_mut().flat_map(|begun| &mut begun.reads.waiting) {
            if let Some(opened) = reading.opened.take() {
                #[expect(
                    clippy::let_underscore_must_use,
                    reason = "a read whose headers cannot be opened ends without a word, and says why when it is asked for"
                )]
                let _ = opened.await;
            }
        }
        match units {
            [only] => self.begin_one(only).await,
            units => self.begin_all(units).await,
        }
    }

    /// As far as the memory goes.
    async fn begin_one(&self, begun: &mut Begun) -> Result<()> {
        let mut asked = 0;
        while let Some((reading, first)) = begun.reads.without_memory() {
            let cost = self.cost(&reading.item, &begun.unit);
            asked += rounded(cost);
            // Earlier units give back what they hold; what this one holds, it keeps until its turn.
            let wait = first || asked <= self.memory_ahead.total();
            let Some(memory) = self.memory_ahead.reserve(cost, wait).await? else { return Ok(()) };
            reading.grant(memory);
        }
        Ok(())
    }

    /// All at once: reads that wait for each other must not wait for memory that one of them holds. There is enough for a group.
    async fn begin_all(&self, units: &mut [Begun]) -> Result<()> {
        let readings =
            || units.iter().flat_map(|begun| begun.reads.waiting.iter().map(move |r| (&r.item, &begun.unit)));
        let costs: Vec<u64> = readings().map(|(item, unit)| rounded(self.cost(item, unit))).collect();
        let Some(mut memory) = self.memory_ahead.reserve(costs.iter().sum(), true).await? else { return Ok(()) };
        let readings = units.iter_mut().flat_map(|begun| &mut begun.reads.waiting);
        for (reading, cost) in readings.zip(costs) {
            reading.grant(part(&mut memory, cost).ok_or(Error::Cancelled)?);
        }
        Ok(())
    }
}
