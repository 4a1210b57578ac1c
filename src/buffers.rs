//! Large buffers used again: fresh memory costs a page fault for every four kilobytes, more than filling it does.

use std::sync::{LazyLock, Mutex, PoisonError};

use crate::pixels::{DataType, Pixel, Pixels};

/// Bytes that are kept for the next taker.
const KEPT_BYTES: usize = 64 << 20;
/// Smaller buffers come from the allocator's own memory anyway.
const SMALLEST: usize = 128 << 10;

#[derive(Default)]
struct Shelf {
    buffers: Vec<Pixels>,
    bytes: usize,
}

static SHELF: LazyLock<Mutex<Shelf>> = LazyLock::new(Mutex::default);

fn shelf() -> std::sync::MutexGuard<'static, Shelf> {
    SHELF.lock().unwrap_or_else(PoisonError::into_inner)
}

fn capacity(pixels: &Pixels) -> usize {
    crate::with_pixels!(pixels, v => v.capacity() * pixels.dtype().size())
}

/// A buffer of `len` values, which are zeros or those of an earlier use.
pub fn take<T: Pixel>(len: usize) -> Vec<T> {
    let bytes = len * T::DTYPE.size();
    let fits = |dtype: DataType, have: usize| dtype == T::DTYPE && have >= bytes && have / 4 <= bytes;
    let mut shelf = shelf();
    let found = shelf.buffers.iter().position(|b| fits(b.dtype(), capacity(b)));
    let Some(found) = found.filter(|_| bytes >= SMALLEST) else {
        drop(shelf);
        return vec![T::default(); len];
    };
    let buffer = shelf.buffers.swap_remove(found);
    shelf.bytes -= capacity(&buffer);
    drop(shelf);
    let mut values = T::unwrap(buffer).unwrap_or_default();
    values.resize(len, T::default());
    values
}

/// Gives a buffer back.
pub fn give(buffer: Pixels) {
    let bytes = capacity(&buffer);
    let mut shelf = shelf();
    if bytes >= SMALLEST && shelf.bytes + bytes <= KEPT_BYTES {
        shelf.bytes += bytes;
        shelf.buffers.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_length_asked_for() {
        give(Pixels::UInt16(vec![7; 1 << 20]));
        let taken = take::<u16>((1 << 20) - 5);
        assert_eq!(taken.len(), (1 << 20) - 5);
        assert_eq!(take::<f64>(3), [0.0; 3]);
    }
}
