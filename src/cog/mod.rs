//! One Cloud Optimized GeoTIFF: its header, its coordinate reference system, its levels, and the decoding of its tiles.
//!
//! The header parser is ours because headers come from strangers: every count is checked against the bytes that the file
//! has before anything is allocated for it. Nothing here does I/O but [`open`], which asks its [`ByteSource`] for the header
//! (one request for a file in GDAL's COG layout); who wants pixels asks [`Level::tile_range`] where a tile lies, fetches it,
//! and hands the bytes to [`decode_tile`].

mod codec;
mod decode;
mod geokeys;
mod header;
pub mod headers;
mod ifd;
mod jpeg;
mod keys;
mod lerc;
mod lzw;
mod metadata;
pub mod opened;
mod predictor;
mod projection;
mod reader;
mod strips;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod widen;

use std::ops::Range;
use std::sync::Arc;

pub use codec::Compression;
pub use decode::{decode_tile, fill_sparse, sparse_pixel};
pub use header::open;
pub use metadata::Nodata;

use crate::error::{Error, Result};
use crate::grid::Affine;
use crate::pixels::DataType;
#[cfg(doc)]
use crate::store::ByteSource;

/// A tile that decodes to more is refused: a forged header must not make us allocate what no real file needs.
pub const MAX_TILE_BYTES: usize = 256 << 20;

/// The header of one COG. Immutable; share it in an `Arc`.
#[derive(Debug, Clone)]
pub struct Cog {
    /// From pixel corners of the full resolution to coordinates of the CRS. A file whose tiepoint is a pixel's centre
    /// (PixelIsPoint) is already shifted by half a pixel, as GDAL does. `None`: see [`Cog::georeference`].
    pub transform: Option<Affine>,
    /// The coordinate reference system, for PROJ.
    pub crs: CogCrs,
    /// Type of the values that [`decode_tile`] gives: integers of 1 to 7 bits become `uint8`, 9 to 15 bits `uint16`, 17 to 31
    /// bits `uint32`; floating-point numbers of 16 and 24 bits become `float32`.
    pub dtype: DataType,
    /// Bands, the alpha band included.
    pub samples: u16,
    /// Which sample is an alpha band (0 = transparent), if any: the last of two or four, as GDAL takes it.
    pub alpha: Option<u16>,
    /// What marks an invalid pixel, one per sample. `None` too where the declared value is none of `dtype`'s.
    pub nodata: Vec<Option<Nodata>>,
    /// `(scale, offset)` that GDAL metadata declares, one per sample: the physical value is `value * scale + offset`.
    pub scale_offset: Vec<Option<(f64, f64)>>,
    /// What the file calls its samples.
    pub descriptions: Vec<Option<String>>,
    /// Full resolution first, then overviews from fine to coarse. Never empty.
    pub levels: Vec<Level>,
    /// Bytes that reading the header took.
    pub header_bytes: u64,
    /// Requests that reading the header took.
    pub header_requests: u32,
    ground_control_points: bool,
}

impl Cog {
    /// Bytes of memory that the header takes, for a cache that is bounded by them.
    pub fn memory(&self) -> usize {
        let per_sample = size_of::<Option<Nodata>>() + size_of::<Option<(f64, f64)>>();
        let levels: usize = self.levels.iter().map(Level::memory).sum();
        size_of::<Self>() + usize::from(self.samples) * per_sample + levels
    }

    /// What tells which pixels of `sample` are valid: one thing and no other, as in GDAL.
    pub fn validity(&self, sample: u16) -> Validity {
        let alpha =
            self.alpha.filter(|alpha| *alpha != sample && matches!(self.dtype, DataType::UInt8 | DataType::UInt16));
        match (&self.levels[0].mask, self.nodata.get(usize::from(sample)).copied().flatten(), alpha) {
            (Some(_), ..) => Validity::Mask,
            (None, Some(nodata), _) => Validity::Nodata(nodata),
            (None, None, Some(alpha)) => Validity::Alpha(alpha),
            (None, None, None) => Validity::Everything,
        }
    }

    /// The alpha band that the pixels of `sample` need.
    pub fn alpha_for(&self, sample: u16) -> Option<u16> {
        match self.validity(sample) {
            Validity::Alpha(alpha) => Some(alpha),
            _ => None,
        }
    }

    /// Where the pixels lie: the transform of the full resolution, and the CRS as PROJ's `proj_create` takes it.
    ///
    /// # Errors
    /// `Unsupported` if the file has no georeference, `Corrupt` if its pixels would have no area, `Crs` if it has no CRS or
    /// one that cannot be told; the message says which. Pixels can be decoded all the same.
    pub fn georeference(&self) -> Result<(Affine, &str)> {
        let Some(transform) = self.transform else {
            let why = match self.ground_control_points {
                true => "the file is georeferenced by ground control points only; rectify it with gdalwarp",
                false => {
                    "the file has no georeference (neither ModelPixelScale and ModelTiepoint nor ModelTransformation)"
                }
            };
            return Err(Error::Unsupported(why.into()));
        };
        if transform.inverse().is_none() {
            return Err(Error::Corrupt(format!("the georeference gives pixels without an area: {transform:?}")));
        }
        match &self.crs {
            CogCrs::Definition(text) => Ok((transform, text)),
            CogCrs::Missing => Err(Error::Crs("the file declares no coordinate reference system".into())),
            CogCrs::Unresolvable(why) => Err(Error::Crs(why.clone())),
        }
    }
}

/// What tells the valid pixels of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Validity {
    /// The internal mask of each level.
    Mask,
    /// The nodata value that the file declares.
    Nodata(Nodata),
    /// An alpha band.
    Alpha(u16),
    /// The file says nothing: all are valid.
    Everything,
}

/// The coordinate reference system that a file declares.
#[derive(Debug, Clone, PartialEq)]
pub enum CogCrs {
    /// What PROJ's `proj_create` takes: `EPSG:32615`, an OGC URN, or WKT.
    Definition(String),
    /// The file declares none.
    Missing,
    /// The file declares one that we cannot tell; the text says why.
    Unresolvable(String),
}

/// One resolution of a COG: the image itself, an overview, or the mask of either.
#[derive(Debug, Clone)]
pub struct Level {
    /// Pixels.
    pub width: u32,
    pub height: u32,
    /// Pixels of one tile; tiles at the right and lower edge are stored whole. A strip is a tile as wide as the image.
    pub tile_width: u32,
    pub tile_height: u32,
    /// Stored in strips. The last one holds the rows that are left, see [`Level::tile_rows`].
    pub striped: bool,
    /// Tiles that one stored strip is cut into.
    cut: u32,
    /// The internal mask of this level, of the same size: one sample for all bands or one for each, 0 = invalid, anything else =
    /// valid. Its tiles need not be those of the level.
    pub mask: Option<Box<Level>>,
    /// Type of decoded values.
    pub dtype: DataType,
    /// Bands of the image.
    pub samples: u16,
    pub compression: Compression,
    encoding: Encoding,
    offsets: Arc<[u64]>,
    byte_counts: Arc<[u32]>,
}

/// How the values of a tile are stored, below the compression.
#[derive(Debug, Clone, PartialEq)]
struct Encoding {
    predictor: Predictor,
    /// Samples in planes of their own instead of side by side in each pixel.
    separate: bool,
    bits: u16,
    format: SampleFormat,
    big_endian: bool,
    ycbcr: bool,
    /// The last sample is an unassociated alpha; LERC may hold it as its mask.
    unassociated_alpha: bool,
    jpeg_tables: Option<Arc<[u8]>>,
}

impl Encoding {
    /// Whether values are stored as they are computed with, in whole bytes.
    fn is_native(&self) -> bool {
        matches!(
            (self.format, self.bits),
            (SampleFormat::Float, 32 | 64) | (SampleFormat::Unsigned | SampleFormat::Signed, 8 | 16 | 32 | 64)
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Predictor {
    None,
    Horizontal,
    FloatingPoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SampleFormat {
    Unsigned,
    Signed,
    Float,
}

impl Level {
    pub fn tiles_across(&self) -> u32 {
        self.width.div_ceil(self.tile_width)
    }

    pub fn tiles_down(&self) -> u32 {
        self.height.div_ceil(self.tile_height)
    }

    /// Values per pixel in one tile: all samples where they are interleaved, 1 where each has planes of its own.
    pub fn samples_per_tile(&self) -> u16 {
        if self.encoding.separate { 1 } else { self.samples }
    }

    /// Values in one whole decoded tile.
    pub fn tile_len(&self) -> usize {
        self.rows_len(self.tile_height)
    }

    /// Rows that tile `index` holds.
    pub fn tile_rows(&self, index: usize) -> u32 {
        if !self.striped {
            return self.tile_height;
        }
        let above = (index % self.tiles_down() as usize) as u32 * self.tile_height;
        self.tile_height.min(self.height - above)
    }

    /// Values in so many rows of a tile.
    pub fn rows_len(&self, rows: u32) -> usize {
        self.tile_width as usize * rows as usize * usize::from(self.samples_per_tile())
    }

    /// Bytes of the largest tile, decoded and as it is stored. None are decoded where none is stored.
    pub fn largest_tile(&self) -> u64 {
        let stored = (0..self.offsets.len()).filter_map(|index| self.tile_range(index));
        let Some(largest) = stored.map(|range| range.end - range.start).max() else { return 0 };
        let held = if self.cut == 1 { largest } else { 0 };
        (self.tile_len() * self.dtype.size()) as u64 + held
    }

    /// Which tile holds `sample` at the tile position `(row, col)`. Interleaved samples share one tile.
    pub fn tile_index(&self, sample: u16, row: u32, col: u32) -> usize {
        let (across, down) = (self.tiles_across() as usize, self.tiles_down() as usize);
        let plane = if self.encoding.separate { usize::from(sample) } else { 0 };
        (plane * down + row as usize) * across + col as usize
    }

    /// Where tile `index` lies in the file. `None`: the tile is not stored (or there is no such tile); see [`fill_sparse`].
    pub fn tile_range(&self, index: usize) -> Option<Range<u64>> {
        if self.cut > 1 {
            return self.piece_range(index);
        }
        let (offset, count) = (*self.offsets.get(index)?, u64::from(*self.byte_counts.get(index)?));
        (offset != 0 && count != 0).then(|| offset..offset.saturating_add(count))
    }

    /// Bytes of all its tiles in the file.
    pub fn stored_bytes(&self) -> u64 {
        let stored = self.byte_counts.iter().filter(|count| **count != 0);
        match self.cut {
            1 => stored.map(|count| u64::from(*count)).sum(),
            cut => stored.count() as u64 * u64::from(cut) * self.raw_len(self.tile_height) as u64,
        }
    }

    fn memory(&self) -> usize {
        let own = size_of::<Self>() + self.offsets.len() * size_of::<u64>() + self.byte_counts.len() * size_of::<u32>();
        own + self.mask.as_ref().map_or(0, |mask| mask.memory())
    }

    /// Bytes of memory that decoding one tile takes, its pixels included.
    pub fn decoding_memory(&self) -> u64 {
        let pixels = (self.tile_len() * self.dtype.size()) as u64;
        let in_place = self.compression.is_of_bytes() && self.encoding.is_native();
        // Decoders of images have buffers of their own; odd bit depths are widened from one.
        if in_place { pixels } else { pixels * 3 }
    }

    /// Bytes of one row of a stored tile; rows start at a byte.
    fn row_bytes(&self) -> usize {
        (self.tile_width as usize * usize::from(self.samples_per_tile()) * usize::from(self.encoding.bits)).div_ceil(8)
    }

    /// Bytes of so many rows of a tile after decompression.
    fn raw_len(&self, rows: u32) -> usize {
        self.row_bytes().saturating_mul(rows as usize)
    }
}

/// A number of pixels, which GDAL counts in 31 bits.
fn side_of(value: u64) -> std::result::Result<u32, u64> {
    u32::try_from(value).ok().filter(|side| *side > 0 && *side <= i32::MAX as u32).ok_or(value)
}
