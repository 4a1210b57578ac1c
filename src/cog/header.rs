//! From the directories of a TIFF to a [`Cog`].

use std::sync::Arc;

use super::codec::Compression;
use super::ifd::{Directories, Ifd, Tag};
use super::keys::GeoKeys;
use super::metadata::{Nodata, colour, descriptions, scale_offset};
use super::reader::HeaderReader;
use super::strips::rows_per_strip;
use super::{Cog, Encoding, Level, MAX_TILE_BYTES, Predictor, SampleFormat, side_of};
use crate::error::{Error, Result};
use crate::grid::Affine;
use crate::pixels::DataType;
use crate::store::ByteSource;

/// NewSubfileType, bit 0: a reduced-resolution version of another image of the file.
const REDUCED: u64 = 1;
/// NewSubfileType, bit 2: a transparency mask.
const MASK: u64 = 4;
/// ExtraSamples: the colours are multiplied with it, or not.
const ASSOCIATED_ALPHA: u64 = 1;
const UNASSOCIATED_ALPHA: u64 = 2;

/// Reads the header of a COG.
///
/// # Errors
/// `Corrupt` if this is no TIFF, is truncated or contradicts itself; `Unsupported`, naming the thing, if it stores its pixels
/// in a way that we do not read; `Store` if a read fails. A missing georeference is none: see
/// [`Cog::georeference`].
pub async fn open(source: &dyn ByteSource) -> Result<Cog> {
    let mut reader = HeaderReader::new(source);
    let directories = Directories::read(&mut reader).await?;
    let mut ifds = directories.iter(&reader);
    let main = ifds.next().ok_or_else(|| Error::Corrupt("the TIFF holds no image".into()))?;
    let big_endian = directories.layout.big_endian;
    let full = level(&main, big_endian)?;
    let (levels, masks) = overviews_and_masks(full, ifds, big_endian)?;
    let levels = attach_masks(levels, masks)?;

    let (dtype, samples) = (levels[0].dtype, levels[0].samples);
    let nodata = main.text(Tag::GdalNodata)?.and_then(|text| Nodata::parse(&text, dtype));
    let keys = GeoKeys::read(&main)?;
    let xml = main.text(Tag::GdalMetadata)?.unwrap_or_default();
    let tiepoints = main.doubles(Tag::ModelTiepoint)?;
    Ok(Cog {
        transform: transform(&main, &tiepoints, keys.pixel_is_point())?,
        crs: keys.crs(),
        dtype,
        samples,
        alpha: alpha(&main, samples, &xml)?,
        nodata: vec![nodata; usize::from(samples)],
        scale_offset: scale_offset(&xml, samples),
        descriptions: descriptions(&xml, samples),
        levels,
        header_bytes: reader.bytes,
        header_requests: reader.requests,
        ground_control_points: tiepoints.len() > 6,
    })
}

/// The levels, from fine to coarse, and the masks of any of them.
fn overviews_and_masks<'a>(
    full: Level,
    others: impl Iterator<Item = Ifd<'a>>,
    big_endian: bool,
) -> Result<(Vec<Level>, Vec<Level>)> {
    let (mut levels, mut masks) = (vec![full], Vec::new());
    for ifd in others {
        let kind = subfile_type(&ifd)?;
        if kind & (REDUCED | MASK) == 0 {
            continue;
        }
        let this = level(&ifd, big_endian);
        if kind & MASK != 0 {
            masks.push(this.map_err(|e| e.within("the mask"))?);
            continue;
        }
        // An overview that we cannot read, or that is something else (a thumbnail, a preview of fewer bands), is passed
        // over: a finer level gives the same answer, only dearer.
        let Ok(this) = this else { continue };
        if is_overview_of(&this, &levels[0]) {
            levels.push(this);
        }
    }
    levels[1..].sort_by_key(|l| std::cmp::Reverse(l.width));
    levels.dedup_by_key(|l| (l.width, l.height));
    Ok((levels, masks))
}

/// The bits of NewSubfileType, or what the older SubfileType says in their terms.
fn subfile_type(ifd: &Ifd) -> Result<u64> {
    if let Some(bits) = ifd.uint(Tag::NewSubfileType)? {
        return Ok(bits);
    }
    Ok(if ifd.uint(Tag::OldSubfileType)? == Some(2) { REDUCED } else { 0 })
}

/// Whether `small` shows the same bands over the same extent: some factor must explain both sides, give or take the pixel
/// that rounding may add or drop.
fn is_overview_of(small: &Level, full: &Level) -> bool {
    let factors = |full: u32, small: u32| {
        let (full, small) = (f64::from(full), f64::from(small));
        (full / (small + 1.0), if small > 1.0 { full / (small - 1.0) } else { f64::INFINITY })
    };
    let (low_x, high_x) = factors(full.width, small.width);
    let (low_y, high_y) = factors(full.height, small.height);
    let smaller = small.width <= full.width && small.height <= full.height;
    smaller && low_x.max(low_y) <= high_x.min(high_y) && (small.dtype, small.samples) == (full.dtype, full.samples)
}

/// Gives each mask to the level of its size.
fn attach_masks(mut levels: Vec<Level>, masks: Vec<Level>) -> Result<Vec<Level>> {
    for mask in masks {
        let samples = levels[0].samples;
        if !(mask.samples == 1 || mask.samples == samples) || mask.dtype != DataType::UInt8 {
            return Err(Error::Unsupported(format!(
                "the internal mask of {samples} bands has {} samples of type {}; a mask has one for all bands or one for each, \
                 of at most 8 bits",
                mask.samples, mask.dtype
            )));
        }
        let owner = levels.iter_mut().find(|l| (l.width, l.height) == (mask.width, mask.height));
        if let Some(owner) = owner.filter(|l| l.mask.is_none()) {
            owner.mask = Some(Box::new(mask));
        }
    }
    match levels[0].mask {
        // A level without the mask that its neighbours have would show invalid pixels.
        Some(_) => levels.retain(|l| l.mask.is_some()),
        // What is valid must not depend on the level; GDAL, too, looks for masks of overviews only where the image has one.
        None => levels.iter_mut().for_each(|l| l.mask = None),
    }
    Ok(levels)
}

/// One directory as a level.
fn level(ifd: &Ifd, big_endian: bool) -> Result<Level> {
    let (width, height) = (side(ifd, Tag::ImageWidth)?, side(ifd, Tag::ImageLength)?);
    let striped = !ifd.has(Tag::TileWidth);
    let (tile_width, tile_height) = match striped {
        true => (width, rows_per_strip(ifd, height)?),
        false => (side(ifd, Tag::TileWidth)?, side(ifd, Tag::TileLength)?),
    };
    let samples = ifd.short(Tag::SamplesPerPixel, 1)?;
    if samples == 0 {
        return Err(Error::Corrupt("the TIFF claims to have no bands".into()));
    }
    let compression = Compression::from_code(ifd.short(Tag::Compression, 1)?, lerc_inner(ifd)?)?;
    let encoding = encoding(ifd, compression, samples, big_endian)?;
    let level = Level {
        width,
        height,
        tile_width,
        tile_height,
        striped,
        cut: 1,
        mask: None,
        dtype: dtype(&encoding)?,
        samples,
        compression,
        encoding,
        offsets: Arc::default(),
        byte_counts: Arc::default(),
    };
    let mut level = with_tables(level, ifd)?;
    level.cut_strips();
    check_tile_size(&level)?;
    Ok(level)
}

fn side(ifd: &Ifd, tag: Tag) -> Result<u32> {
    let value = ifd.uint(tag)?.ok_or_else(|| Error::Corrupt(format!("the TIFF lacks the tag {tag:?}")))?;
    side_of(value).map_err(|value| Error::Corrupt(format!("tag {tag:?} is {value}")))
}

/// Which compression lies around LERC: the second of the LercParameters.
fn lerc_inner(ifd: &Ifd) -> Result<u64> {
    Ok(ifd.uints(Tag::LercParameters)?.and_then(|mut v| v.nth(1)).unwrap_or(0))
}

fn encoding(ifd: &Ifd, compression: Compression, samples: u16, big_endian: bool) -> Result<Encoding> {
    let bits = same_for_all(ifd, Tag::BitsPerSample, 1, "bit depths")?;
    let format = match same_for_all(ifd, Tag::SampleFormat, 1, "sample formats")? {
        1 | 4 => SampleFormat::Unsigned,
        2 => SampleFormat::Signed,
        3 => SampleFormat::Float,
        5 | 6 => {
            return Err(Error::Unsupported(format!("complex numbers of {bits} bits; write real and imaginary bands")));
        }
        other => return Err(Error::Unsupported(format!("the sample format {other}"))),
    };
    let predictor = match ifd.short(Tag::Predictor, 1)? {
        _ if !compression.takes_predictor() => Predictor::None,
        1 => Predictor::None,
        2 if matches!(bits, 8 | 16 | 32 | 64) => Predictor::Horizontal,
        2 => return Err(Error::Unsupported(format!("the horizontal predictor (2) on samples of {bits} bits"))),
        3 if format == SampleFormat::Float => Predictor::FloatingPoint,
        3 => return Err(Error::Corrupt("the floating-point predictor (3) on integers".into())),
        other => return Err(Error::Unsupported(format!("the predictor {other}"))),
    };
    let photometric = ifd.short(Tag::Photometric, 1)?;
    let ycbcr = photometric == 6;
    if let Some(name) = colour_model(photometric).filter(|_| !(ycbcr && compression == Compression::Jpeg)) {
        return Err(Error::Unsupported(format!("{name} colours; rewrite the file as RGB")));
    }
    if ifd.short(Tag::FillOrder, 1)? == 2 {
        return Err(Error::Unsupported("bytes with reversed bits (FillOrder 2)".into()));
    }
    let separate = match ifd.short(Tag::PlanarConfiguration, 1)? {
        1 => false,
        2 => samples > 1,
        other => return Err(Error::Corrupt(format!("the planar configuration {other}"))),
    };
    let jpeg_tables = if compression == Compression::Jpeg { ifd.raw(Tag::JpegTables)? } else { None };
    Ok(Encoding {
        predictor,
        separate,
        bits,
        format,
        big_endian,
        ycbcr,
        unassociated_alpha: ifd.uints(Tag::ExtraSamples)?.and_then(|kinds| kinds.last()) == Some(UNASSOCIATED_ALPHA),
        jpeg_tables: jpeg_tables.map(Arc::from),
    })
}

/// Photometric interpretations whose numbers are not what a band of a raster should be.
fn colour_model(photometric: u16) -> Option<&'static str> {
    match photometric {
        5 => Some("CMYK"),
        6 => Some("YCbCr"),
        8..=10 => Some("CIE L*a*b*"),
        32803 => Some("colour filter array"),
        32844 | 32845 => Some("LogLuv"),
        _ => None,
    }
}

/// The value of a tag that holds one number per sample, which must be the same for all.
fn same_for_all(ifd: &Ifd, tag: Tag, default: u16, what: &str) -> Result<u16> {
    let first = ifd.short(tag, default)?;
    if ifd.uints(tag)?.is_some_and(|mut values| values.any(|v| v != u64::from(first))) {
        return Err(Error::Unsupported(format!("bands of different {what}")));
    }
    Ok(first)
}

fn dtype(encoding: &Encoding) -> Result<DataType> {
    use SampleFormat::*;
    Ok(match (encoding.format, encoding.bits) {
        (Unsigned, 1..=8) => DataType::UInt8,
        (Unsigned, 9..=16) => DataType::UInt16,
        (Unsigned, 17..=32) => DataType::UInt32,
        (Unsigned, 64) => DataType::UInt64,
        (Signed, 8) => DataType::Int8,
        (Signed, 16) => DataType::Int16,
        (Signed, 32) => DataType::Int32,
        (Signed, 64) => DataType::Int64,
        (Float, 16 | 24 | 32) => DataType::Float32,
        (Float, 64) => DataType::Float64,
        (format, bits) => {
            let kind = format!("{format:?}").to_lowercase();
            return Err(Error::Unsupported(format!("samples of {bits} bits ({kind})")));
        }
    })
}

/// The alpha band, as GDAL finds it: the last of two or four bands, where GDAL's metadata or else the ExtraSamples tag say that
/// it is one. The tag counts from behind the colours.
fn alpha(ifd: &Ifd, samples: u16, xml: &str) -> Result<Option<u16>> {
    if !matches!(samples, 2 | 4) {
        return Ok(None);
    }
    let last = samples - 1;
    let declared = match colour(xml, last) {
        Some(colour) => colour == "Alpha",
        None => {
            let kinds = ifd.uints(Tag::ExtraSamples)?;
            let colours = match ifd.short(Tag::Photometric, 1)? {
                1 => 1,
                2 | 6 => 3,
                _ => usize::from(samples).saturating_sub(kinds.as_ref().map_or(0, ExactSizeIterator::len)),
            };
            let place = usize::from(last).checked_sub(colours);
            let kind = kinds.zip(place).and_then(|(mut kinds, place)| kinds.nth(place));
            matches!(kind, Some(ASSOCIATED_ALPHA | UNASSOCIATED_ALPHA))
        }
    };
    Ok(declared.then_some(last))
}

fn check_tile_size(level: &Level) -> Result<()> {
    let pixels = u128::from(level.tile_width) * u128::from(level.tile_height);
    let bytes = pixels * u128::from(level.samples_per_tile()) * level.dtype.size() as u128;
    if bytes > MAX_TILE_BYTES as u128 {
        return Err(Error::Unsupported(format!(
            "{} of {} x {} pixels and {} samples take {} MiB; at most {} MiB are read",
            if level.striped { "strips" } else { "tiles" },
            level.tile_width,
            level.tile_height,
            level.samples_per_tile(),
            bytes >> 20,
            MAX_TILE_BYTES >> 20
        )));
    }
    Ok(())
}

/// Adds the positions of the tiles.
fn with_tables(mut level: Level, ifd: &Ifd) -> Result<Level> {
    // libtiff reads tile tables under the names of the strip tables too, and some writers use them.
    let (offsets_tag, counts_tag) = match ifd.has(Tag::TileOffsets) {
        true => (Tag::TileOffsets, Tag::TileByteCounts),
        false => (Tag::StripOffsets, Tag::StripByteCounts),
    };
    let missing = |tag: Tag| Error::Corrupt(format!("the TIFF lacks the tag {tag:?}"));
    let offsets = ifd.uints(offsets_tag)?.ok_or_else(|| missing(offsets_tag))?;
    let counts = ifd.uints(counts_tag)?.ok_or_else(|| missing(counts_tag))?;
    let planes = if level.encoding.separate { u64::from(level.samples) } else { 1 };
    let tiles = u128::from(level.tiles_across()) * u128::from(level.tiles_down()) * u128::from(planes);
    if (offsets.len() as u128) < tiles || (counts.len() as u128) < tiles {
        return Err(Error::Corrupt(format!(
            "the TIFF needs {tiles} tiles but lists {} offsets and {} byte counts",
            offsets.len(),
            counts.len()
        )));
    }
    let tiles = tiles as usize;
    level.offsets = offsets.take(tiles).collect();
    // No codec makes a tile much larger than its pixels; a count that does is forged, and would be fetched.
    let whole = level.raw_len(level.tile_height) as u64;
    let limit = whole.saturating_mul(2).saturating_add(1 << 20).min(u64::from(u32::MAX));
    let checked = |count: u64| match u32::try_from(count) {
        // What lies behind the rows of an uncompressed strip is not read; one of them may be the whole of a large file.
        _ if level.striped && level.compression == Compression::None => {
            Ok(u32::try_from(count.min(whole)).unwrap_or(u32::MAX))
        }
        Ok(small) if count <= limit => Ok(small),
        _ => Err(Error::Corrupt(format!("a tile of {whole} bytes claims {count} compressed ones"))),
    };
    level.byte_counts = counts.take(tiles).map(checked).collect::<Result<_>>()?;
    Ok(level)
}

/// The geotransform, from the tags that GDAL prefers in this order; GeoTIFF 1.1, section 7.1.
fn transform(ifd: &Ifd, tiepoints: &[f64], pixel_is_point: bool) -> Result<Option<Affine>> {
    let scale = ifd.doubles(Tag::ModelPixelScale)?;
    let matrix = ifd.doubles(Tag::ModelTransformation)?;
    let corner = match (scale.as_slice(), tiepoints, matrix.as_slice()) {
        ([sx, sy, ..], [col, row, _, x, y, _, ..], _) if *sx != 0.0 && *sy != 0.0 => {
            // A negative y scale is a writer's mistake more often than a raster with south up: GDAL, too, takes its size.
            let (sx, sy) = (*sx, -sy.abs());
            Affine { a: sx, b: 0.0, c: x - col * sx, d: 0.0, e: sy, f: y - row * sy }
        }
        (_, _, [a, b, _, c, d, e, _, f, ..]) => Affine { a: *a, b: *b, c: *c, d: *d, e: *e, f: *f },
        _ => return Ok(None),
    };
    if !pixel_is_point {
        return Ok(Some(corner));
    }
    let (x, y) = corner.apply(-0.5, -0.5);
    Ok(Some(Affine { c: x, f: y, ..corner }))
}
