//! What is done for units before their turn: headers are opened and the first reads begin, in the order of the plan, as
//! far as memory allows.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::compose::Composer;
use super::coverage::Coverage;
use super::memory::Reservation;
use super::read::{ReadItem, Slots, Target};
use super::task::Owned;
use crate::error::Result;
use crate::items::Item;
use crate::plan::Unit;
use crate::store::in_turn;

/// Items that are read ahead of the one that the mosaic waits for.
const ITEMS_AHEAD: usize = 8;

/// A unit on its way to its turn.
pub struct Begun {
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
            let _ = give.send(memory);
        }
    }
}

impl Begun {
    /// Starts to open the headers that a unit needs in any case. Called on a thread of the I/O runtime.
    ///
    /// # Errors
    /// No transformation between the grid's CRS and longitude and latitude.
    pub fn new(composer: &Arc<Composer>, unit: Unit, turn: u64) -> Result<Begun> {
        let cube = &composer.cube;
        let mosaic = cube.request.mosaic;
        let mut items = unit.items.clone();
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
        let mut reads = Queue { turn, waiting: VecDeque::new(), next: 0, end, settled };
        reads.fill(composer, &unit, &items);
        Ok(Begun { unit, turn, items, coverage, reads })
    }
}

impl Queue {
    /// Starts the reads of the next items, a few at a time.
    pub fn fill(&mut self, composer: &Arc<Composer>, unit: &Unit, items: &[Arc<Item>]) {
        while self.waiting.len() < ITEMS_AHEAD && self.next < self.end.min(items.len()) {
            let item = items[self.next].clone();
            let (tell, opened) = oneshot::channel();
            let (give, memory) = oneshot::channel();
            let slots = Slots { opened: tell, memory };
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

/// Has the first reads of `units` begin, and hands them over in their order.
pub async fn ahead(
    composer: Arc<Composer>,
    mut units: mpsc::Receiver<Result<Begun>>,
    send: mpsc::Sender<Result<Begun>>,
) {
    while let Some(unit) = units.recv().await {
        let begun = match unit {
            Ok(mut unit) => composer.begin(&mut unit).await.map(|()| unit),
            failed => failed,
        };
        let failed = begun.is_err();
        if send.send(begun).await.is_err() || failed {
            return;
        }
    }
}

impl Composer {
    /// Gives the first reads of a unit memory. What goes wrong in them is told when the mosaic asks for them.
    async fn begin(&self, begun: &mut Begun) -> Result<()> {
        let mut asked = 0;
        while let Some((reading, first)) = begun.reads.without_memory() {
            if let Some(opened) = reading.opened.take() {
                // A read whose headers cannot be opened ends without a word.
                let _ = opened.await;
            }
            let cost = self.cost(&reading.item, &begun.unit);
            asked += cost;
            // Earlier units give back what they hold; what this one holds, it keeps until its turn.
            let wait = first || asked <= self.memory_ahead.total();
            let Some(memory) = self.memory_ahead.reserve(cost, wait).await? else { return Ok(()) };
            reading.grant(memory);
        }
        Ok(())
    }
}
