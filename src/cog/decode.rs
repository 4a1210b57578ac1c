//! From the compressed bytes of a tile to pixel values.

use std::cell::RefCell;

use super::codec::{Compression, corrupt, decompress};
use super::metadata::Nodata;
use super::predictor::{undo_floating_point, undo_horizontal};
use super::widen::widen;
use super::{Level, Predictor, jpeg, lerc};
use crate::buffers::{self, SCRATCH};
use crate::error::{Error, Result};
use crate::pixels::{DataType, Pixel, Pixels};
use crate::{with_pixels, with_type};

/// Decodes tile `index` into `out`: [`Level::tile_rows`] x `tile_width` x [`Level::samples_per_tile`] values, interleaved, in the
/// machine's byte order, predictor undone, odd bit depths widened. `out` is given the right type and length, and is not
/// reallocated when it had them before.
///
/// # Errors
/// `Corrupt` if the data are broken or hold less than the tile; `Unsupported` for rare kinds of JPEG and LERC.
pub fn decode_tile(level: &Level, index: usize, compressed: &[u8], out: &mut Pixels) -> Result<()> {
    let rows = level.tile_rows(index);
    let decoded = decode_rows(level, rows, compressed, out);
    if decoded.is_ok() || rows == level.tile_height {
        return decoded;
    }
    // Some writers store the last strip whole, as if the image went on below its edge.
    decode_rows(level, level.tile_height, compressed, out).or(decoded)?;
    with_pixels!(out, values => values.truncate(level.rows_len(rows)));
    Ok(())
}

/// Decodes a tile of `rows` rows.
fn decode_rows(level: &Level, rows: u32, compressed: &[u8], out: &mut Pixels) -> Result<()> {
    shape(level, rows, out);
    match level.compression {
        Compression::Jpeg => jpeg::decode(level, rows, compressed, out.as_bytes_mut()),
        Compression::WebP => webp(level, rows, compressed, out.as_bytes_mut()),
        Compression::Lerc | Compression::LercDeflate | Compression::LercZstd => {
            lerc::decode(level, rows, compressed, out)
        }
        _ if level.encoding.is_native() => {
            let bytes = out.as_bytes_mut();
            decompress(level.compression, compressed, bytes)?;
            to_native(level, bytes)
        }
        _ => decode_odd_depth(level, rows, compressed, out),
    }
}

/// Fills `out` with what tile `index` holds if it is not stored: the nodata value, else 0, as GDAL does.
pub fn fill_sparse(level: &Level, index: usize, nodata: Option<Nodata>, out: &mut Pixels) {
    shape(level, level.tile_rows(index), out);
    with_pixels!(out, values => values.fill(sparse(nodata)));
}

/// The one value of a tile that is not stored. No memory is taken for its pixels: there are no bytes that answer for its size.
pub fn sparse_pixel(level: &Level, nodata: Option<Nodata>) -> Pixels {
    with_type!(level.dtype, T => T::wrap(vec![sparse(nodata)]))
}

fn sparse<T: Pixel>(nodata: Option<Nodata>) -> T {
    nodata.and_then(Nodata::cast).unwrap_or_default()
}

fn shape(level: &Level, rows: u32, out: &mut Pixels) {
    let len = level.rows_len(rows);
    if out.dtype() != level.dtype {
        *out = with_type!(level.dtype, T => T::wrap(Vec::new()));
    }
    with_pixels!(out, values => values.resize(len, Default::default()));
}

/// Depths that no type has pass through a buffer of their own.
fn decode_odd_depth(level: &Level, rows: u32, compressed: &[u8], out: &mut Pixels) -> Result<()> {
    thread_local! {
        // Of 64-bit words, so that it may be seen as words of any size.
        static RAW: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    let bytes = level.raw_len(rows);
    let words = bytes.div_ceil(8);
    let mut widened = |raw: &mut [u64]| {
        let raw = &mut bytemuck::cast_slice_mut(raw)[..bytes];
        decompress(level.compression, compressed, raw)?;
        to_native(level, raw)?;
        let row_len = level.tile_width as usize * usize::from(level.samples_per_tile());
        widen(raw, level.row_bytes(), level.encoding.bits, out, row_len)
    };
    if bytes > SCRATCH {
        let mut raw = buffers::take(words);
        let result = widened(&mut raw);
        buffers::give(Pixels::UInt64(raw));
        return result;
    }
    RAW.with_borrow_mut(|raw| {
        raw.resize(words, 0);
        widened(raw)
    })
}

/// Undoes byte order and predictor, in place.
fn to_native(level: &Level, bytes: &mut [u8]) -> Result<()> {
    let encoding = &level.encoding;
    let samples = usize::from(level.samples_per_tile());
    let row_len = level.tile_width as usize * samples;
    if encoding.predictor == Predictor::FloatingPoint {
        return undo_floating_point(bytes, level.row_bytes(), samples, usize::from(encoding.bits / 8));
    }
    if encoding.big_endian {
        match encoding.bits {
            16 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|v| v.reverse()),
            24 => bytes.as_chunks_mut::<3>().0.iter_mut().for_each(|v| v.reverse()),
            32 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|v| v.reverse()),
            64 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|v| v.reverse()),
            _ => {}
        }
    }
    if encoding.predictor == Predictor::Horizontal {
        match encoding.bits {
            8 => undo_horizontal(bytes, row_len, samples),
            16 => undo_horizontal(words::<u16>(bytes)?, row_len, samples),
            32 => undo_horizontal(words::<u32>(bytes)?, row_len, samples),
            64 => undo_horizontal(words::<u64>(bytes)?, row_len, samples),
            other => return Err(Error::Unsupported(format!("the horizontal predictor on {other} bits"))),
        }
    }
    Ok(())
}

fn words<T: bytemuck::Pod>(bytes: &mut [u8]) -> Result<&mut [T]> {
    bytemuck::try_cast_slice_mut(bytes).map_err(|e| corrupt(Compression::None, e))
}

fn webp(level: &Level, rows: u32, compressed: &[u8], out: &mut [u8]) -> Result<()> {
    let samples = usize::from(level.samples_per_tile());
    if level.dtype != DataType::UInt8 || !matches!(samples, 3 | 4) {
        return Err(Error::Unsupported(format!("WebP tiles of {samples} samples of type {}", level.dtype)));
    }
    let broken = |why: &str| corrupt(level.compression, why);
    let features = webp::BitstreamFeatures::new(compressed).ok_or_else(|| broken("it is no WebP image"))?;
    if (features.width(), features.height()) != (level.tile_width, rows) {
        return Err(corrupt(
            level.compression,
            format_args!("it is of {} x {} pixels", features.width(), features.height()),
        ));
    }
    let image = webp::Decoder::new(compressed).decode().ok_or_else(|| broken("the stream is broken"))?;
    let stored = if image.is_alpha() { 4 } else { 3 };
    let (pixels, kept) = (image.chunks_exact(stored), stored.min(samples));
    for (out, pixel) in out.chunks_exact_mut(samples).zip(pixels) {
        out[..kept].copy_from_slice(&pixel[..kept]);
        // WebP drops an alpha band that is opaque everywhere.
        out[kept..].fill(u8::MAX);
    }
    Ok(())
}
