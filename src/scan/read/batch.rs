//! Batches of reads: those of one item for neighbouring output tiles are fetched at once, so that source tiles that
//! lie one after the other in the file come in one request, whoever needs them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::requests::{InFlight, Joined, Request};
use crate::mutex::lock;
use crate::runtime::tell;
use crate::store::{ByteSource, merge_ranges};

/// The reads that wait for each other.
pub struct Batch {
    in_flight: Arc<InFlight>,
    state: Mutex<State>,
}

struct State {
    /// Reads that have neither ordered nor gone.
    absent: usize,
    orders: Vec<Order>,
    /// Requests under way and tiles that came with others, kept for who has not joined them yet.
    held: Vec<Held>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// Kept, not looked at.
enum Held {
    Request(#[expect(dead_code, reason = "held")] Request),
    Tile(#[expect(dead_code, reason = "held")] Arc<Bytes>),
}

/// A stored tile that one of the reads needs.
pub struct Order {
    pub object: Arc<dyn ByteSource>,
    /// Id of the opened COG, which is the object's.
    pub cog: u64,
    pub range: Range<u64>,
}

/// One read of a batch; where it is dropped, the others do not wait for it.
pub struct Member {
    batch: Arc<Batch>,
    ordered: bool,
}

impl Batch {
    /// A batch of so many reads.
    pub fn members(in_flight: &Arc<InFlight>, count: usize) -> impl Iterator<Item = Member> + use<> {
        let state = State { absent: count, orders: Vec::new(), held: Vec::new(), waiting: Vec::new() };
        let batch = Arc::new(Batch { in_flight: in_flight.clone(), state: Mutex::new(state) });
        (0..count).map(move |_| Member { batch: batch.clone(), ordered: false })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Member {
    /// Says what the read needs, and waits until everybody has: then the requests are made, to be joined as long as the
    /// member lives.
    pub async fn order(&mut self, orders: Vec<Order>) {
        let coming = {
            let mut state = self.batch.state();
            state.orders.extend(orders);
            let (told, coming) = oneshot::channel();
            state.waiting.push(told);
            coming
        };
        self.arrive();
        #[expect(
            clippy::let_underscore_must_use,
            reason = "whoever arrives last tells the others; where it died, the requests are made by who joins them"
        )]
        let _ = coming.await;
    }

    fn arrive(&mut self) {
        if std::mem::replace(&mut self.ordered, true) {
            return;
        }
        let mut state = self.batch.state();
        state.absent -= 1;
        if state.absent == 0 {
            let orders = std::mem::take(&mut state.orders);
            state.held = make_requests(orders, &self.batch.in_flight);
            for told in state.waiting.drain(..) {
                // Nobody listens where a read was given up while it waited.
                tell(told, ());
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.arrive();
    }
}

/// As few requests as bring all that is ordered; those that are under way already are joined.
fn make_requests(orders: Vec<Order>, in_flight: &InFlight) -> Vec<Held> {
    let mut held = Vec::new();
    let mut missing: BTreeMap<u64, Vec<Order>> = BTreeMap::new();
    for order in orders {
        match in_flight.join(&(order.cog, order.range.start)) {
            Some(Joined::Coming(request)) => held.push(Held::Request(request)),
            Some(Joined::Here(bytes)) => held.push(Held::Tile(bytes)),
            None => missing.entry(order.cog).or_default().push(order),
        }
    }
    for (cog, orders) in missing {
        let Some(object) = orders.first().map(|order| order.object.clone()) else { continue };
        let mut ranges: Vec<Range<u64>> = orders.into_iter().map(|order| order.range).collect();
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        ranges.dedup();
        for (range, members) in merge_ranges(&ranges) {
            let tiles = members.into_iter().map(|m| ranges[m].clone()).collect();
            held.push(Held::Request(in_flight.start(&object, cog, range, tiles, |_| true)));
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::executor::block_on;

    use super::*;

    fn order(range: Range<u64>) -> Order {
        Order { object: Arc::new(Bytes::from_static(&[7; 100])), cog: 1, range }
    }

    #[test]
    fn neighbours_get_one_request_when_the_last_has_ordered_or_gone() {
        let in_flight = Arc::new(InFlight::default());
        let mut members: Vec<Member> = Batch::members(&in_flight, 3).collect();
        let (mut a, mut b, c) = (members.remove(0), members.remove(0), members.remove(0));
        let mut first = Box::pin(a.order(vec![order(0..10), order(10..20)]));
        assert!(first.as_mut().now_or_never().is_none(), "two are missing");
        let mut second = Box::pin(b.order(vec![order(10..20), order(20..30)]));
        assert!(second.as_mut().now_or_never().is_none(), "one is missing");
        assert!(in_flight.join(&(1, 0)).is_none());
        drop(c);
        block_on(async { futures::join!(first, second) });
        let coming = [0, 10, 20].map(|start| match in_flight.join(&(1, start)) {
            Some(Joined::Coming(request)) => request,
            _ => panic!("nobody has waited for it yet"),
        });
        let answers = coming.map(|request| block_on(request).unwrap());
        assert!(answers.iter().all(|one| Arc::ptr_eq(one, &answers[0])), "all three are in one request");
        assert_eq!(answers[0].values().map(|tile| tile.len()).collect::<Vec<_>>(), [10; 3]);
        drop((a, b, answers));
        assert!(in_flight.join(&(1, 0)).is_none(), "and nobody holds it any more");
    }
}
