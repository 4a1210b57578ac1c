//! Items in the order of solar days: they come by their time in UTC, from which their own day differs by up to half a day.

use super::item::Item;
use crate::time::LONGEST_SOLAR_DAY;

/// Items whose day may not be complete.
#[derive(Default)]
pub(super) struct Days {
    waiting: Vec<Item>,
    /// Those without a time or a place come at the end, as with other periods.
    faulty: Vec<Item>,
}

impl Days {
    /// Takes the next items by time; those whose days are complete, by day and then in the order that was asked for.
    pub(super) fn add(&mut self, items: Vec<Item>) -> Vec<Item> {
        for item in items {
            if item.fault.is_some() { self.faulty.push(item) } else { self.waiting.push(item) }
        }
        let Some(now) = self.waiting.iter().map(|item| item.time).max() else { return Vec::new() };
        self.waiting.sort_by_key(|item| (item.step, item.order));
        let open = self.waiting.partition_point(|item| item.step.saturating_add(LONGEST_SOLAR_DAY) <= now);
        self.waiting.drain(..open).collect()
    }

    /// What is left at the end.
    pub(super) fn finish(self) -> Vec<Item> {
        self.waiting.into_iter().chain(self.faulty).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    const HOUR: i64 = 3_600_000_000;

    fn item(order: u64, time: i64, step: i64) -> Item {
        let (time, step) = (time * HOUR, step * HOUR);
        Item { id: "a".into(), order, time, step, place: Place::anywhere(), assets: Vec::new(), fault: None }
    }

    #[test]
    fn days_end_when_no_longitude_can_add_to_them() {
        let orders = |items: Vec<Item>| items.iter().map(|item| item.order).collect::<Vec<_>>();
        let mut days = Days::default();
        assert_eq!(orders(days.add(vec![item(3, -10, 0), item(9, 0, -24)])), Vec::<u64>::new());
        assert_eq!(orders(days.add(vec![item(1, 35, 0), item(4, 35, 24)])), [9]);
        let fault = Item { fault: Some("no time".into()), ..item(0, 0, 0) };
        assert_eq!(orders(days.add(vec![item(2, 36, 24), fault])), [1, 3]);
        assert_eq!(orders(days.finish()), [2, 4, 0]);
    }
}
