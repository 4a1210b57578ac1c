//! One Cloud Optimized GeoTIFF: its header, its coordinate reference system, its levels, and the decoding of its tiles.
//!
//! The header parser is ours because headers come from strangers: every count is checked against the bytes that the file
//! has before anything is allocated for it. Nothing here does I/O but [`open`], which asks its [`ByteSource`] for the header
//! (one request for a file in GDAL's COG layout); who wants pixels asks [`Level::tile_range`] where a tile lies, fetches it,
//! and hands the bytes to [`decode_tile`].

mod codec;
mod decode;
mod ellipsoids;
mod geokeys;
mod header;
mod ifd;
mod jpeg;
mod lerc;
mod metadata;
pub mod opened;
mod predictor;
mod projection;
mod reader;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod widen;

use std::ops::Range;
use std::sync::Arc;

pub use codec::Compression;
pub use decode::{decode_tile, fill_sparse};
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
    /// Type of the values that [`decode_tile`] gives: integers of 1 to 7 bits become `uint8`, 9 to 15 bits `uint16`, 24 bits
    /// `uint32`; floating-point numbers of 16 and 24 bits become `float32`.
    pub dtype: DataType,
    /// Bands, the alpha band included.
    pub samples: u16,
    /// Which sample is an alpha band (0 = transparent), if any.
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
    /// Pixels of one tile; tiles at the right and lower edge are stored whole.
    pub tile_width: u32,
    pub tile_height: u32,
    /// The internal mask of this level, of the same size: one sample, 0 = invalid, anything else = valid. Its tiles need not
    /// be those of the level.
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

    /// Values in one decoded tile.
    pub fn tile_len(&self) -> usize {
        self.tile_width as usize * self.tile_height as usize * usize::from(self.samples_per_tile())
    }

    /// Which tile holds `sample` at the tile position `(row, col)`. Interleaved samples share one tile.
    pub fn tile_index(&self, sample: u16, row: u32, col: u32) -> usize {
        let (across, down) = (self.tiles_across() as usize, self.tiles_down() as usize);
        let plane = if self.encoding.separate { usize::from(sample) } else { 0 };
        (plane * down + row as usize) * across + col as usize
    }

    /// Where tile `index` lies in the file. `None`: the tile is not stored (or there is no such tile); see [`fill_sparse`].
    pub fn tile_range(&self, index: usize) -> Option<Range<u64>> {
        let (offset, count) = (*self.offsets.get(index)?, u64::from(*self.byte_counts.get(index)?));
        (offset != 0 && count != 0).then(|| offset..offset.saturating_add(count))
    }

    /// Bytes of all its tiles in the file.
    pub fn stored_bytes(&self) -> u64 {
        self.byte_counts.iter().map(|count| u64::from(*count)).sum()
    }

    fn memory(&self) -> usize {
        let own = size_of::<Self>() + self.offsets.len() * size_of::<u64>() + self.byte_counts.len() * size_of::<u32>();
        own + self.mask.as_ref().map_or(0, |mask| mask.memory())
    }

    /// Bytes of one row of a stored tile; rows start at a byte.
    fn row_bytes(&self) -> usize {
        (self.tile_width as usize * usize::from(self.samples_per_tile()) * usize::from(self.encoding.bits)).div_ceil(8)
    }

    /// Bytes of one tile after decompression.
    fn raw_len(&self) -> usize {
        self.row_bytes() * self.tile_height as usize
    }
}
