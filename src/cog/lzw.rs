//! TIFF's LZW (TIFF 6.0, section 13).
//!
//! Each string of the table is the one before it with one more byte, so it stands in the output already, where it was first
//! written: the table holds places, and a code is one copy.

/// Codes of the table, as many as 12 bits name.
const CODES: usize = 1 << WIDEST;
const NARROWEST: usize = 9;
const WIDEST: usize = 12;
const CLEAR: usize = 256;
const END: usize = 257;
/// Strings up to this length are copied as if they had it: one load and one store.
const SHORT: usize = 16;

/// How codes lie in the bytes.
pub(super) trait Order {
    /// Whether codes grow before the table needs it, by one entry.
    const EARLY: usize;
    /// The code of `width` bits that begins `skip` bits into the first of `bytes`.
    fn code(bytes: [u8; 8], skip: usize, width: usize) -> usize;
}

/// Most significant bit first: TIFF since version 6.0.
pub(super) struct Msb;

/// Least significant bit first: files from before.
pub(super) struct Lsb;

impl Order for Msb {
    const EARLY: usize = 1;

    fn code(bytes: [u8; 8], skip: usize, width: usize) -> usize {
        ((u64::from_be_bytes(bytes) << skip) >> (64 - width)) as usize
    }
}

impl Order for Lsb {
    const EARLY: usize = 0;

    fn code(bytes: [u8; 8], skip: usize, width: usize) -> usize {
        (u64::from_le_bytes(bytes) >> skip) as usize & ((1 << width) - 1)
    }
}

/// Fills `out` as far as the stream goes; returns the bytes written. What the stream holds beyond `out` is not looked at.
///
/// # Errors
/// A code that no entry of the table has yet.
pub(super) fn decode<O: Order>(input: &[u8], out: &mut [u8]) -> Result<usize, &'static str> {
    // Where the string of each code stands in `out`, and its length.
    let mut table = [(0u32, 0u32); CODES];
    let (mut next, mut width) = (END + 1, NARROWEST);
    let (mut bit, bits) = (0, input.len() * 8);
    // The string of the code before; none after a clear code.
    let (mut last, mut last_len) = (0, 0);
    let mut written = 0;
    while written < out.len() && bit + width <= bits {
        let code = O::code(eight(input, bit / 8), bit % 8, width);
        bit += width;
        match code {
            CLEAR => {
                (next, width, last_len) = (END + 1, NARROWEST, 0);
                continue;
            }
            END => break,
            _ => {}
        }
        if last_len > 0 && next < CODES {
            // Its last byte is the first that this code writes.
            table[next] = (last as u32, last_len as u32 + 1);
            next += 1;
            if next + O::EARLY == 1 << width && width < WIDEST {
                width += 1;
            }
        }
        last = written;
        last_len = if code < CLEAR {
            out[written] = code as u8;
            1
        } else if code < next {
            let (from, len) = table[code];
            repeat(out, from as usize, len as usize, written)
        } else {
            return Err("a code stands for nothing");
        };
        written += last_len;
    }
    Ok(written)
}

/// The eight bytes from `at` on, zeros behind the end.
fn eight(input: &[u8], at: usize) -> [u8; 8] {
    let mut bytes = [0; 8];
    let rest = &input[at..];
    match rest.first_chunk() {
        Some(whole) => return *whole,
        None => bytes[..rest.len()].copy_from_slice(rest),
    }
    bytes
}

/// Writes the `len` bytes from `from` on again at `to`, as far as there is room, and returns how many that are. The last of
/// them may be the first that is written.
fn repeat(out: &mut [u8], from: usize, len: usize, to: usize) -> usize {
    let len = len.min(out.len() - to);
    let apart = from + len <= to;
    if apart && len <= SHORT && to + SHORT <= out.len() {
        // What is written beyond `len` is overwritten by what follows.
        out.copy_within(from..from + SHORT, to);
    } else if apart {
        out.copy_within(from..from + len, to);
    } else {
        for i in 0..len {
            out[to + i] = out[from + i];
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weezl::{BitOrder, encode::Encoder};

    use super::*;

    fn packed(data: &[u8], order: BitOrder) -> Vec<u8> {
        let mut encoder = match order {
            BitOrder::Msb => Encoder::with_tiff_size_switch(order, 8),
            BitOrder::Lsb => Encoder::new(order, 8),
        };
        encoder.encode(data).unwrap()
    }

    fn unpacked(input: &[u8], order: BitOrder, out: &mut [u8]) -> Result<usize, &'static str> {
        match order {
            BitOrder::Msb => decode::<Msb>(input, out),
            BitOrder::Lsb => decode::<Lsb>(input, out),
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(
            seed in any::<u64>(), len in 0usize..40_000, values in 1u64..256, run in 1u64..40, room in 0usize..50_000, msb: bool,
        ) {
            let data: Vec<u8> = (0..len as u64).map(|i| ((i / run).wrapping_mul(seed) >> 13) % values).map(|v| v as u8).collect();
            let order = if msb { BitOrder::Msb } else { BitOrder::Lsb };
            let mut out = vec![0; room];
            let written = unpacked(&packed(&data, order), order, &mut out);
            prop_assert_eq!(written, Ok(len.min(room)));
            prop_assert_eq!(&out[..len.min(room)], &data[..len.min(room)]);
        }

        #[test]
        fn any_bytes_are_taken(input: Vec<u8>, room in 0usize..5000, msb: bool) {
            let order = if msb { BitOrder::Msb } else { BitOrder::Lsb };
            if let Ok(written) = unpacked(&input, order, &mut vec![0; room]) {
                prop_assert!(written <= room);
            }
        }
    }

    #[test]
    fn a_code_before_its_time_is_an_error() {
        // 256, then 300 where 258 would be the first: nine bits each.
        let codes = 256u32 << 23 | 300 << 14;
        assert!(decode::<Msb>(&codes.to_be_bytes(), &mut [0; 9]).is_err());
    }
}
