//! Large buffers used again: fresh memory costs a page fault for every four kilobytes, more than filling it does.

use std::sync::{LazyLock, Mutex};

use bytes::Bytes;

use crate::mutex::lock;
use crate::pixels::{Pixel, Pixels};

/// Bytes that are kept for the next taker while nobody works.
const IDLE_BYTES: usize = 32 << 20;
/// A thread keeps a buffer of its own for what it does over and over, but none larger than this.
pub const SCRATCH: usize = 1 << 20;
/// Smaller buffers come from the allocator's own memory anyway.
const SMALLEST: usize = 128 << 10;

#[derive(Default)]
struct Shelf {
    buffers: Vec<Pixels>,
    bytes: usize,
    /// Bytes that may be kept beyond [`IDLE_BYTES`].
    allowed: usize,
}

/// Lets more bytes be kept until it is dropped.
pub struct Allowance(usize);

pub fn allow(bytes: u64) -> Allowance {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX / 4);
    let mut shelf = shelf();
    shelf.allowed = shelf.allowed.saturating_add(bytes);
    Allowance(bytes)
}

impl Drop for Allowance {
    fn drop(&mut self) {
        let mut shelf = shelf();
        shelf.allowed = shelf.allowed.saturating_sub(self.0);
        while shelf.bytes > shelf.room() {
            let Some(buffer) = shelf.buffers.pop() else { return };
            shelf.bytes -= capacity(&buffer);
        }
    }
}

impl Shelf {
    fn room(&self) -> usize {
        IDLE_BYTES.saturating_add(self.allowed)
    }
}

static SHELF: LazyLock<Mutex<Shelf>> = LazyLock::new(Mutex::default);

fn shelf() -> std::sync::MutexGuard<'static, Shelf> {
    lock(&SHELF)
}

fn capacity(pixels: &Pixels) -> usize {
    crate::with_pixels!(pixels, v => v.capacity() * pixels.dtype().size())
}

/// A buffer of `len` values, which are zeros or those of an earlier use.
pub fn take<T: Pixel>(len: usize) -> Vec<T> {
    taken(len).unwrap_or_else(|| fresh(len))
}

/// A buffer of `len` zeros, of which fresh memory is not touched.
pub fn zeros<T: Pixel>(len: usize) -> Vec<T> {
    match taken(len) {
        Some(mut used) => {
            used.fill(T::default());
            used
        }
        None => fresh(len),
    }
}

/// Memory that is zero as it comes.
fn fresh<T: Pixel>(len: usize) -> Vec<T> {
    let bytes = len * T::DTYPE.size();
    // Sizes in steps, so that a buffer fits more than one use.
    let room = if bytes < SMALLEST { len } else { bytes.next_multiple_of(SMALLEST) / T::DTYPE.size() };
    let mut values = vec![T::default(); room];
    values.truncate(len);
    values
}

/// The smallest kept buffer of a type that holds `len` values, if it is not far too large.
fn taken<T: Pixel>(len: usize) -> Option<Vec<T>> {
    let bytes = len * T::DTYPE.size();
    if bytes < SMALLEST {
        return None;
    }
    let mut shelf = shelf();
    let fits = shelf.buffers.iter().enumerate().filter(|(_, buffer)| {
        let have = capacity(buffer);
        buffer.dtype() == T::DTYPE && have >= bytes && have / 2 <= bytes
    });
    let (found, _) = fits.min_by_key(|(_, buffer)| capacity(buffer))?;
    let buffer = shelf.buffers.swap_remove(found);
    shelf.bytes -= capacity(&buffer);
    drop(shelf);
    let mut values = T::unwrap(buffer)?;
    values.resize(len, T::default());
    Some(values)
}

/// Gives a buffer back.
pub fn give(buffer: Pixels) {
    let bytes = capacity(&buffer);
    let mut shelf = shelf();
    if bytes >= SMALLEST && shelf.bytes + bytes <= shelf.room() {
        shelf.bytes += bytes;
        shelf.buffers.push(buffer);
    }
}

/// The bytes of a buffer, which is given back when the last reference to them goes.
pub fn lent(buffer: Pixels) -> Bytes {
    struct Lent(Pixels);
    impl AsRef<[u8]> for Lent {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    impl Drop for Lent {
        fn drop(&mut self) {
            give(self.0.take());
        }
    }
    Bytes::from_owner(Lent(buffer))
}

/// Bytes of the buffers that wait for a taker.
pub fn held() -> u64 {
    shelf().bytes as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_kept_while_it_is_allowed() {
        let allowance = allow(256 << 20);
        give(Pixels::Int64(vec![1; 20 << 20]));
        assert!(held() >= 160 << 20);
        drop(allowance);
        assert!(held() <= IDLE_BYTES as u64);
    }

    #[test]
    fn a_buffer_comes_back_with_the_length_asked_for() {
        give(Pixels::UInt16(vec![7; 1 << 20]));
        let taken = take::<u16>((1 << 20) - 5);
        assert_eq!(taken.len(), (1 << 20) - 5);
        assert_eq!(take::<f64>(3), [0.0; 3]);
    }
}
