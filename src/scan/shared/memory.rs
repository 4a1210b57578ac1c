//! The part of the memory budget that reads in work share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::error::{Error, Result};

/// Permits are counted in these, so that any budget fits into the 32 bits of one acquisition.
const UNIT: u64 = 64 << 10;

/// A number of bytes to share.
pub struct Memory {
    units: Arc<Semaphore>,
    total: u32,
}

/// Bytes in use; given back when this is dropped.
pub type Reservation = OwnedSemaphorePermit;

/// Gives back what is more than `bytes`.
pub fn shrink(reservation: &mut Reservation, bytes: u64) {
    let keep = usize::try_from(bytes / UNIT + 1).unwrap_or(usize::MAX);
    drop(reservation.split(reservation.num_permits().saturating_sub(keep)));
}

/// What a reservation of `bytes` really takes.
pub fn rounded(bytes: u64) -> u64 {
    bytes / UNIT * UNIT + UNIT
}

/// Takes the part for `bytes` out of a reservation, as far as it has them.
pub fn part(reservation: &mut Reservation, bytes: u64) -> Option<Reservation> {
    let units = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX);
    reservation.split(units.min(reservation.num_permits()))
}

impl Memory {
    pub fn new(bytes: u64) -> Memory {
        let total = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX / 2).max(1);
        Memory { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    pub fn total(&self) -> u64 {
        u64::from(self.total) * UNIT
    }

    /// Waits for `bytes`, or all there is if they are more; for none if they are 0.
    pub async fn reserve_some(&self, bytes: u64) -> Result<Option<Reservation>> {
        if bytes == 0 { Ok(None) } else { self.reserve(bytes, true).await }
    }

    /// Takes `bytes`, or all there is if they are more. Waits for them if `wait`, else gives `None` if they are in use.
    pub async fn reserve(&self, bytes: u64, wait: bool) -> Result<Option<Reservation>> {
        let units = u32::try_from(bytes / UNIT + 1).unwrap_or(u32::MAX).min(self.total);
        if wait {
            return self.units.clone().acquire_many_owned(units).await.map(Some).map_err(|_| Error::Cancelled);
        }
        match self.units.clone().try_acquire_many_owned(units) {
            Ok(reservation) => Ok(Some(reservation)),
            Err(TryAcquireError::NoPermits) => Ok(None),
            Err(TryAcquireError::Closed) => Err(Error::Cancelled),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn what_is_too_much_takes_all() {
        let memory = Memory::new(10 * UNIT);
        let all = block_on(memory.reserve(u64::MAX, true)).unwrap();
        assert!(all.is_some());
        assert!(block_on(memory.reserve(1, false)).unwrap().is_none());
        drop(all);
        assert!(block_on(memory.reserve(1, false)).unwrap().is_some());
    }
}
