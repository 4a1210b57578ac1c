//! Values of bit depths that no Rust type has, widened to the next one that does.

use half::f16;

use crate::error::{Error, Result};
use crate::pixels::Pixels;

/// Widens the rows of `raw`, each padded to `row_bytes`, into `out`. Integers are packed, most significant bit first;
/// floating-point numbers are little-endian bytes. No value is scaled.
///
/// # Errors
/// `Unsupported` for a depth that `out`'s type is not made from.
pub fn widen(raw: &[u8], row_bytes: usize, bits: u16, out: &mut Pixels, row_len: usize) -> Result<()> {
    let (row_bytes, row_len) = (row_bytes.max(1), row_len.max(1));
    match (bits, out) {
        (1..=7, Pixels::UInt8(out)) => {
            for (row, out) in raw.chunks_exact(row_bytes).zip(out.chunks_exact_mut(row_len)) {
                out.iter_mut().zip(unpack(row, bits)).for_each(|(out, value)| *out = value as u8);
            }
        }
        (9..=15, Pixels::UInt16(out)) => {
            for (row, out) in raw.chunks_exact(row_bytes).zip(out.chunks_exact_mut(row_len)) {
                out.iter_mut().zip(unpack(row, bits)).for_each(|(out, value)| *out = value as u16);
            }
        }
        (24, Pixels::UInt32(out)) => {
            let values = raw.as_chunks::<3>().0;
            out.iter_mut().zip(values).for_each(|(out, [a, b, c])| *out = u32::from_be_bytes([0, *a, *b, *c]));
        }
        (17..=31, Pixels::UInt32(out)) => {
            for (row, out) in raw.chunks_exact(row_bytes).zip(out.chunks_exact_mut(row_len)) {
                out.iter_mut().zip(unpack_wide(row, bits)).for_each(|(out, value)| *out = value);
            }
        }
        (16, Pixels::Float32(out)) => {
            let values = raw.as_chunks::<2>().0;
            out.iter_mut().zip(values).for_each(|(out, v)| *out = f16::from_le_bytes(*v).to_f32());
        }
        (24, Pixels::Float32(out)) => {
            let values = raw.as_chunks::<3>().0;
            out.iter_mut().zip(values).for_each(|(out, [a, b, c])| *out = float24(u32::from_le_bytes([*a, *b, *c, 0])));
        }
        (bits, out) => return Err(Error::Unsupported(format!("{} values of {bits} bits", out.dtype()))),
    }
    Ok(())
}

/// Integers of `bits` bits (at most 16), most significant bit first.
fn unpack(row: &[u8], bits: u16) -> impl Iterator<Item = u32> {
    let bits = usize::from(bits);
    let mask = (1u32 << bits) - 1;
    let byte = |i: usize| u32::from(row.get(i).copied().unwrap_or(0));
    (0..row.len() * 8 / bits).map(move |i| {
        let (first, offset) = (i * bits / 8, i * bits % 8);
        let window = byte(first) << 16 | byte(first + 1) << 8 | byte(first + 2);
        window >> (24 - offset - bits) & mask
    })
}

/// As [`unpack`], for 17 to 31 bits, which lie in up to five bytes.
fn unpack_wide(row: &[u8], bits: u16) -> impl Iterator<Item = u32> {
    let bits = usize::from(bits);
    (0..row.len() * 8 / bits).map(move |i| {
        let (first, offset) = (i * bits / 8, i * bits % 8);
        let window = (0..5).fold(0, |window, at| window << 8 | u64::from(row.get(first + at).copied().unwrap_or(0)));
        (window >> (40 - offset - bits)) as u32 & ((1 << bits) - 1)
    })
}

/// The 24-bit float of the DNG specification and GDAL: sign, 7 bits of exponent (bias 63), 16 bits of fraction.
fn float24(bits: u32) -> f32 {
    let (sign, exponent, fraction) = (bits >> 23 & 1, bits >> 16 & 0x7f, bits & 0xffff);
    let magnitude = match exponent {
        0 => fraction as f32 * 2f32.powi(-62 - 16),
        0x7f => f32::from_bits(0x7f80_0000 | fraction << 7),
        _ => f32::from_bits((exponent + 127 - 63) << 23 | fraction << 7),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::DataType;

    #[test]
    fn packed_integers_are_read_from_the_top_bit_and_rows_start_at_a_byte() {
        let mut out = Pixels::zeros(DataType::UInt8, 10);
        widen(&[0b1011_0010, 0b0000_0000, 0b1000_0000, 0b1000_0000], 2, 1, &mut out, 5).unwrap();
        assert_eq!(out, Pixels::UInt8(vec![1, 0, 1, 1, 0, 1, 0, 0, 0, 0]));
        let mut out = Pixels::zeros(DataType::UInt16, 3);
        widen(&[0x12, 0x3A, 0xBC, 0xFF, 0xF0], 5, 12, &mut out, 3).unwrap();
        assert_eq!(out, Pixels::UInt16(vec![0x123, 0xABC, 0xFFF]));
        let mut out = Pixels::zeros(DataType::UInt16, 2);
        widen(&[0b1111_1111, 0b1111_1110, 0b0000_0000, 0b0000_0100], 4, 15, &mut out, 2).unwrap();
        assert_eq!(out, Pixels::UInt16(vec![0x7fff, 1]));
    }

    #[test]
    fn integers_of_24_bits_are_packed_like_the_others() {
        let mut out = Pixels::zeros(DataType::UInt32, 2);
        widen(&[0, 1, 2, 0xff, 0, 0], 6, 24, &mut out, 2).unwrap();
        assert_eq!(out, Pixels::UInt32(vec![0x102, 0xff0000]));
    }

    #[test]
    fn integers_of_17_to_31_bits_are_packed_across_bytes() {
        let mut out = Pixels::zeros(DataType::UInt32, 2);
        // 31 ones; a zero, 30 zeros, a one; the rest of the row is padding.
        widen(&[0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0b0000_0111], 8, 31, &mut out, 2).unwrap();
        assert_eq!(out, Pixels::UInt32(vec![0x7fff_ffff, 1]));
        widen(&[0x80, 0, 0x40, 0, 0x40], 5, 17, &mut out, 2).unwrap();
        assert_eq!(out, Pixels::UInt32(vec![0x1_0000, 0x1_0001]));
    }

    #[test]
    fn odd_floats_become_float32() {
        let mut out = Pixels::zeros(DataType::Float32, 2);
        widen(&[0x00, 0x3c, 0x00, 0xc0], 4, 16, &mut out, 2).unwrap();
        assert_eq!(out, Pixels::Float32(vec![1.0, -2.0]));
        assert_eq!(float24(63 << 16), 1.0);
        assert_eq!(float24(1 << 23 | 64 << 16 | 0x8000), -3.0);
        assert_eq!(float24(1), 2f32.powi(-78));
        assert_eq!(float24(0x7f << 16), f32::INFINITY);
        assert!(float24(0x7f << 16 | 1).is_nan());
    }

    #[test]
    fn a_depth_that_does_not_match_the_type_is_refused() {
        assert!(widen(&[0], 1, 5, &mut Pixels::zeros(DataType::Float64, 1), 1).is_err());
    }
}
