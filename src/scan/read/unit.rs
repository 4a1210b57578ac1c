//! The reads of one unit, in the order of its items: the first begin before its turn, the others while it is at work.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::batch::Member;
use super::coverage::Coverage;
use super::reader::{ReadItem, Reader, Slots, Target};
use crate::error::Result;
use crate::items::Item;
use crate::plan::Unit;
use crate::runtime::tell;
use crate::scan::shared::memory::Reservation;
use crate::scan::shared::state::Shared;
use crate::scan::shared::task::Owned;
use crate::store::in_turn;

/// Items that are read ahead of the one that the mosaic waits for.
const ITEMS_AHEAD: usize = 16;

/// A unit and its reads.
pub struct UnitReads {
    /// Without its items.
    pub unit: Unit,
    /// Its place in the order of the plan.
    pub turn: u64,
    /// In the order of the mosaic.
    items: Vec<Arc<Item>>,
    /// Where the mosaic stops early: what is still open.
    coverage: Option<Coverage>,
    /// Reads that have begun, in the order of their items.
    pub reading: VecDeque<Reading>,
    /// The next item to ask for, and the end of those that are asked for together.
    next: usize,
    end: usize,
    /// For each band the pixels that no item can change any more, or that nobody wants.
    settled: Arc<Vec<Option<Vec<u8>>>>,
    /// 1 where nobody wants the pixel.
    closed: Option<Arc<Vec<u8>>>,
}

/// The read of one item: it opens the headers at once, and goes on when it gets memory.
pub struct Reading {
    pub item: Arc<Item>,
    task: Owned<ReadItem>,
    /// Told when the headers are open; taken by who waits for that.
    opened: Option<oneshot::Receiver<()>>,
    memory: Option<oneshot::Sender<Reservation>>,
}

impl Reading {
    /// Waits until its headers are open.
    pub async fn opened(&mut self) {
        if let Some(opened) = self.opened.take() {
            #[expect(
                clippy::let_underscore_must_use,
                reason = "a read whose headers cannot be opened ends without a word, and says why when it is asked for"
            )]
            let _ = opened.await;
        }
    }

    /// Gives it the memory that it waits for.
    pub fn grant(&mut self, memory: Reservation) {
        if let Some(give) = self.memory.take() {
            // A read that failed already needs none.
            tell(give, memory);
        }
    }
}

impl UnitReads {
    /// A unit whose first reads have not begun.
    ///
    /// # Errors
    /// No transformation between the grid's CRS and longitude and latitude.
    pub fn new(shared: &Shared, mut unit: Unit, turn: u64) -> Result<UnitReads> {
        let mut items = std::mem::take(&mut unit.items);
        if shared.order.reverses {
            items.reverse();
        }
        let closed = shared.cube.closed(unit.chunk_row, unit.chunk_col)?;
        let settled = vec![closed.clone(); shared.bands.len()];
        let (mut coverage, mut end) = (None, items.len());
        if shared.order.stops_early && items.len() > 1 {
            let mut open = Coverage::new(&shared.cube, unit.rect)?;
            if closed.is_some() {
                open.settle(&settled, unit.rect);
            }
            end = open.wave(&items);
            coverage = Some(open);
        }
        let (settled, closed) = (Arc::new(settled), closed.map(Arc::new));
        Ok(UnitReads { unit, turn, items, coverage, reading: VecDeque::new(), next: 0, end, settled, closed })
    }

    /// Whether it has no items, and none can turn out to have pixels here.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.unit.members.are_honest()
    }

    /// 1 for each pixel that nobody wants; `None` where all are wanted.
    pub fn closed(&self) -> Option<&Arc<Vec<u8>>> {
        self.closed.as_ref()
    }

    /// Its items, in the order of the mosaic, and how many of them were fed.
    pub fn items(&self) -> (&[Arc<Item>], usize) {
        (&self.items, self.next - self.reading.len())
    }

    /// The unit from the start again, with more items.
    ///
    /// # Errors
    /// As for [`UnitReads::new`].
    pub fn again(self, shared: &Shared, more: Vec<Arc<Item>>) -> Result<UnitReads> {
        let unit = Unit { items: self.items, ..self.unit }.with(more);
        UnitReads::new(shared, unit, self.turn)
    }

    /// The items that it reads before its turn.
    pub fn first_items(&self) -> &[Arc<Item>] {
        &self.items[..self.end.min(ITEMS_AHEAD)]
    }

    /// Has the reads of the next items open their headers, a few at a time. Called on a thread of the I/O runtime. `member` tells
    /// which batch a read belongs to, and which that of its mask.
    pub fn open(&mut self, reader: &Arc<Reader>, mut member: impl FnMut(&Item) -> (Option<Member>, Option<Member>)) {
        while self.reading.len() < ITEMS_AHEAD && self.next < self.end.min(self.items.len()) {
            let item = self.items[self.next].clone();
            let (tell, opened) = oneshot::channel();
            let (give, memory) = oneshot::channel();
            let (member, mask_member) = member(&item);
            let slots = Slots { opened: tell, memory, member, mask_member };
            let read = reader.clone().read_item(item.clone(), Target::of(&self.unit), self.settled.clone(), slots);
            let task = Owned::spawn(in_turn(self.turn, read));
            self.reading.push_back(Reading { item, task, opened: Some(opened), memory: Some(give) });
            self.next += 1;
        }
    }

    /// Position of the first read that has no memory yet.
    pub fn without_memory(&self) -> Option<usize> {
        self.reading.iter().position(|reading| reading.memory.is_some())
    }

    /// The next item and what its read brings, while those behind it are read; `None` after the last that was asked for.
    pub async fn next(&mut self, reader: &Arc<Reader>) -> Result<Option<(Arc<Item>, ReadItem)>> {
        self.begin(reader, true).await?;
        let Some(Reading { item, task, .. }) = self.reading.pop_front() else { return Ok(None) };
        Ok(Some((item, self.delivered(task, reader).await?)))
    }

    /// Begins the reads of the next items, as far as memory allows. The unit is `idle` where it has no read in work.
    async fn begin(&mut self, reader: &Arc<Reader>, idle: bool) -> Result<()> {
        self.open(reader, |_| (None, None));
        while let Some(at) = self.without_memory() {
            let cost = reader.cost(&self.reading[at].item, &self.unit);
            // Only a unit that has nothing in work waits for memory: what others hold, they give back.
            let Some(memory) = reader.memory.reserve(cost, at == 0 && idle).await? else { break };
            self.reading[at].grant(memory);
        }
        Ok(())
    }

    /// What a read brings. Where it takes its time, and the output tile is so small that all of that goes into round trips, the
    /// items that would fill its holes are asked for beside it, not after it.
    async fn delivered(&mut self, mut read: Owned<ReadItem>, reader: &Arc<Reader>) -> Result<ReadItem> {
        /// What is in a cache is there sooner, what comes from a server later.
        const AT_ONCE: Duration = Duration::from_millis(5);
        const HASTY_PIXELS: usize = 32 * 32;
        if let Some(coverage) = &mut self.coverage
            && self.end < self.items.len()
            && self.unit.rect.pixels() <= HASTY_PIXELS
            && !reader.shared.cube.is_local
        {
            if let Ok(delivered) = tokio::time::timeout(AT_ONCE, read.join()).await {
                return delivered;
            }
            self.end += coverage.wave(&self.items[self.end..]);
            // The read in work holds memory: to wait for more would be to wait for itself.
            self.begin(reader, false).await?;
        }
        read.join().await
    }

    /// Whether items are left that nobody has asked for.
    pub fn has_more(&self) -> bool {
        self.coverage.is_some() && self.end < self.items.len()
    }

    /// Asks for as many more items as it takes to cover what is still open. `settled` is for each band what no item changes any more.
    pub fn ask_for_more(&mut self, settled: Vec<Option<Vec<u8>>>) {
        if let Some(coverage) = &mut self.coverage {
            coverage.settle(&settled, self.unit.rect);
            self.end += coverage.wave(&self.items[self.end..]);
            self.settled = Arc::new(settled);
        }
    }
}
