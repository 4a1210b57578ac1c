//! LERC tiles, perhaps inside DEFLATE or ZSTD, with the validity masks that libtiff writes into them.

mod blocks;

use std::borrow::Cow;

use lerc::{BlobInfo, LercDataType};

use self::blocks::Shape;
use super::codec::{Compression, corrupt, inflate, zstd};
use super::{Level, SampleFormat};
use crate::error::{Error, Result};
use crate::pixels::{Pixel, Pixels};

/// Decodes one tile of `rows` rows into `out`. A pixel that LERC masks becomes NaN in floating-point tiles; in 8-bit tiles with one band
/// less than the TIFF has, the mask is the alpha band (0 or 255).
///
/// # Errors
/// `Corrupt` if the blob is broken or is not of the tile's size and type.
pub fn decode(level: &Level, rows: u32, input: &[u8], out: &mut Pixels) -> Result<()> {
    let blob = unwrap_blob(level, rows, input)?;
    let info = lerc::get_blob_info(&blob).map_err(|e| corrupt(level.compression, e))?;
    let layout = layout(level, rows, &info, blob.len())?;
    let (width, height, depth) = (info.width as usize, info.height as usize, info.depth as usize);
    if !blocks::are_whole(&blob, Shape { width, height, depth, bands: info.bands }) {
        return Err(corrupt(level.compression, "its blocks do not hold what they should (or are not of LERC 2.4)"));
    }
    match out {
        Pixels::UInt8(out) => decode_typed(level, &blob, &info, layout, out),
        Pixels::Int8(out) => decode_typed(level, &blob, &info, layout, out),
        Pixels::UInt16(out) => decode_typed(level, &blob, &info, layout, out),
        Pixels::Int16(out) => decode_typed(level, &blob, &info, layout, out),
        Pixels::UInt32(out) => decode_typed(level, &blob, &info, layout, out),
        Pixels::Int32(out) => decode_typed(level, &blob, &info, layout, out),
        Pixels::Float32(out) => decode_typed(level, &blob, &info, layout, out),
        Pixels::Float64(out) => decode_typed(level, &blob, &info, layout, out),
        Pixels::UInt64(_) | Pixels::Int64(_) => Err(Error::Unsupported("LERC tiles of 64-bit integers".into())),
    }
}

/// The LERC blob, without the compression around it.
fn unwrap_blob<'a>(level: &Level, rows: u32, input: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    let unpack: fn(&[u8], &mut [u8]) -> Result<usize> = match level.compression {
        Compression::LercDeflate => inflate,
        Compression::LercZstd => zstd,
        _ => return Ok(Cow::Borrowed(input)),
    };
    // libtiff's bound for a blob: the raw values, as much again for its header and mask.
    let mut blob = vec![0; level.raw_len(rows) * 3 / 2 + 64 * 1024];
    let len = unpack(input, &mut blob)?;
    blob.truncate(len);
    Ok(Cow::Owned(blob))
}

/// How the values of the blob become those of the tile.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    /// Value by value.
    Interleaved,
    /// All but the last sample; the mask is the alpha band.
    MaskIsAlpha,
    /// Band after band, each with a mask of its own.
    Planes,
}

/// Compares the blob with the tile: the decoder writes as much as the blob says.
fn layout(level: &Level, rows: u32, info: &BlobInfo, blob_len: usize) -> Result<Layout> {
    let samples = u32::from(level.samples_per_tile());
    let broken = |why: String| Err(corrupt(level.compression, why));
    if (info.width, info.height) != (level.tile_width, rows) {
        return broken(format!("it is of {} x {} pixels", info.width, info.height));
    }
    if info.data_type != type_code(level) {
        return broken(format!("its values are of LERC type {}, not {}", info.data_type, level.dtype));
    }
    if info.blob_size as usize > blob_len {
        return broken(format!("it holds {blob_len} bytes instead of {}", info.blob_size));
    }
    let alpha = level.encoding.unassociated_alpha && info.data_type == u8::LERC_TYPE && samples > 1;
    match (info.depth, info.bands, info.masks) {
        (depth, 1, 0 | 1) if depth == samples => Ok(Layout::Interleaved),
        (depth, 1, 0 | 1) if alpha && depth == samples - 1 => Ok(Layout::MaskIsAlpha),
        (1, bands, masks) if bands == samples && (masks == 0 || masks == samples) => Ok(Layout::Planes),
        (depth, bands, masks) => broken(format!("it has {bands} bands of {depth} samples and {masks} masks")),
    }
}

fn type_code(level: &Level) -> u32 {
    let size_step = level.dtype.size().trailing_zeros() * 2;
    match (level.encoding.format, level.dtype.size()) {
        (SampleFormat::Float, 4) => f32::LERC_TYPE,
        (SampleFormat::Float, _) => f64::LERC_TYPE,
        (SampleFormat::Signed, _) => size_step,
        (SampleFormat::Unsigned, _) => size_step + 1,
    }
}

fn decode_typed<T: Pixel + LercDataType>(
    level: &Level,
    blob: &[u8],
    info: &BlobInfo,
    layout: Layout,
    out: &mut [T],
) -> Result<()> {
    let (values, mask) = lerc::decode_with_info::<T>(blob, info).map_err(|e| corrupt(level.compression, e))?;
    let samples = usize::from(level.samples_per_tile());
    let pixels = out.len() / samples;
    let invalid = T::from_f64_exact(f64::NAN);
    let valid = |i: usize| mask.as_ref().is_none_or(|m| m.get(i).is_none_or(|v| *v != 0));
    match layout {
        Layout::Interleaved => out.copy_from_slice(&values),
        Layout::MaskIsAlpha => {
            let alpha = |i| T::from_f64_saturating(if valid(i) { 255.0 } else { 0.0 });
            let stored = values.chunks_exact(samples - 1);
            for (i, (pixel, stored)) in out.chunks_exact_mut(samples).zip(stored).enumerate() {
                pixel[..samples - 1].copy_from_slice(stored);
                pixel[samples - 1] = alpha(i);
            }
        }
        Layout::Planes => {
            for (band, plane) in values.chunks_exact(pixels.max(1)).enumerate() {
                out[band..].iter_mut().step_by(samples).zip(plane).for_each(|(out, value)| *out = *value);
            }
        }
    }
    let Some(nan) = invalid.filter(|_| mask.is_some()) else { return Ok(()) };
    let masks = mask.as_ref().map_or(0, |m| m.len() / pixels.max(1));
    for (i, value) in out.iter_mut().enumerate() {
        let plane = if masks > 1 { i % samples } else { 0 };
        if !valid(plane * pixels + i / samples) {
            *value = nan;
        }
    }
    Ok(())
}
