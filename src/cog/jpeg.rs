//! JPEG tiles: the abbreviated streams that TIFF stores, with their tables in a tag.

use std::io::Read;

use jpeg_decoder::{ColorTransform, Decoder};

use super::Level;
use super::codec::{Compression, corrupt};
use crate::error::{Error, Result};

/// More scans than this are no tile: each takes as long as the first, however few bytes it has. libtiff's limit.
const MAX_SCANS: usize = 100;

/// Decodes one tile of `rows` rows of 8-bit samples into `out`; YCbCr becomes RGB, as GDAL shows it.
///
/// # Errors
/// `Corrupt` if the stream is broken or its size is not the tile's; `Unsupported` for 12-bit, lossless and other rare kinds.
pub fn decode(level: &Level, rows: u32, input: &[u8], out: &mut [u8]) -> Result<()> {
    let samples = level.samples_per_tile();
    if level.encoding.bits != 8 || !matches!(samples, 1 | 3 | 4) {
        return Err(Error::Unsupported(format!("JPEG tiles of {samples} samples of {} bits", level.encoding.bits)));
    }
    let tables = level.encoding.jpeg_tables.as_deref().unwrap_or_default();
    check_frame(level, rows, tables, input)?;
    // The tables are a stream of their own: its end and the tile's start are left out where they are joined.
    let tables = tables.strip_suffix(&[0xff, 0xd9]).unwrap_or(tables);
    let image = if tables.is_empty() { input } else { input.strip_prefix(&[0xff, 0xd8]).unwrap_or(input) };
    let mut decoder = Decoder::new(tables.chain(image));
    decoder.set_max_decoding_buffer_size(out.len());
    decoder.set_color_transform(match (samples, level.encoding.ycbcr) {
        (3, true) => ColorTransform::YCbCr,
        (3, false) => ColorTransform::RGB,
        _ => ColorTransform::None,
    });
    let pixels = decoder.decode().map_err(|e| match e {
        jpeg_decoder::Error::Unsupported(what) => Error::Unsupported(format!("a JPEG tile uses {what:?}")),
        other => corrupt(Compression::Jpeg, other),
    })?;
    if pixels.len() != out.len() {
        return Err(corrupt(
            Compression::Jpeg,
            format_args!("it holds {} bytes instead of {}", pixels.len(), out.len()),
        ));
    }
    match samples {
        4 => interleave_rows(&pixels, level.tile_width as usize, out),
        _ => out.copy_from_slice(&pixels),
    }
    Ok(())
}

/// Four components come from the decoder row by row, and within a row component by component.
fn interleave_rows(pixels: &[u8], width: usize, out: &mut [u8]) {
    for (planes, row) in pixels.chunks_exact(width * 4).zip(out.chunks_exact_mut(width * 4)) {
        for (component, plane) in planes.chunks_exact(width).enumerate() {
            row[component..].iter_mut().step_by(4).zip(plane).for_each(|(out, value)| *out = *value);
        }
    }
}

/// Compares the frame header with the tile before the decoder believes it: the decoder allocates what it says, and panics
/// on a number of components that no TIFF tile has, and on four of which some are subsampled.
fn check_frame(level: &Level, rows: u32, tables: &[u8], input: &[u8]) -> Result<()> {
    if frame_header(tables).is_some() {
        return Err(corrupt(Compression::Jpeg, "its tables hold an image"));
    }
    let frame = frame_header(input).ok_or_else(|| corrupt(Compression::Jpeg, "it has no frame header"))?;
    let expected = (level.tile_width, rows, level.samples_per_tile());
    if (u32::from(frame.width), u32::from(frame.height), u16::from(frame.components)) != expected {
        return Err(corrupt(
            Compression::Jpeg,
            format_args!(
                "its {} x {} x {} values are not the {} x {} x {} of the tile",
                frame.width, frame.height, frame.components, expected.0, expected.1, expected.2
            ),
        ));
    }
    if frame.components == 4 && frame.is_subsampled {
        return Err(Error::Unsupported("JPEG tiles of four bands that are not all of full resolution".into()));
    }
    if input.windows(2).filter(|pair| *pair == [0xff, 0xda]).count() > MAX_SCANS {
        return Err(Error::Unsupported(format!("JPEG tiles of more than {MAX_SCANS} scans")));
    }
    match frame.precision {
        8 => Ok(()),
        other => Err(Error::Unsupported(format!("JPEG tiles of {other} bits"))),
    }
}

struct Frame {
    precision: u8,
    height: u16,
    width: u16,
    components: u8,
    /// Some component has sampling factors other than 1 x 1.
    is_subsampled: bool,
}

/// The first SOFn segment; ITU-T T.81, annex B.
fn frame_header(input: &[u8]) -> Option<Frame> {
    let mut rest = input;
    loop {
        let at = rest.iter().position(|b| *b == 0xff)?;
        rest = &rest[at + 1..];
        match rest {
            // Fill bytes, and markers without a segment.
            [0xff, ..] => {}
            [0x00 | 0x01 | 0xd0..=0xd8, after @ ..] => rest = after,
            // SOFn, all but the three codes among them that mean tables (DHT, JPG, DAC).
            [0xc0..=0xcf, _, _, precision, h0, h1, w0, w1, components, layout @ ..]
                if !matches!(rest[0], 0xc4 | 0xc8 | 0xcc) =>
            {
                return Some(Frame {
                    precision: *precision,
                    height: u16::from_be_bytes([*h0, *h1]),
                    width: u16::from_be_bytes([*w0, *w1]),
                    components: *components,
                    is_subsampled: layout.chunks(3).take(usize::from(*components)).any(|c| c.get(1) != Some(&0x11)),
                });
            }
            [_, a, b, ..] => rest = rest.get(1 + usize::from(u16::from_be_bytes([*a, *b]))..)?,
            _ => return None,
        }
    }
}
