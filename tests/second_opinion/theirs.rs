//! What async-tiff says of a file, as far as it can be asked, in the words that we have for it.

use std::alloc::System;
use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, catch_unwind};

use async_tiff::error::{AsyncTiffError, AsyncTiffResult};
use async_tiff::metadata::TiffMetadataReader;
use async_tiff::reader::{AsyncFileReader, Endianness};
use async_tiff::tags::{self, ExtraSamples, PhotometricInterpretation, PlanarConfiguration, SampleFormat, Tag};
use async_tiff::{ImageFileDirectory, TagValue, TypedArray};
use bytes::Bytes;
use cap::Cap;
use futures::executor::block_on;
use lazycogs::cog::Compression;
use lazycogs::grid::Affine;

/// What async-tiff may allocate for a file: this, and so many times the file.
const MEMORY: usize = 64 << 20;
const MEMORY_PER_BYTE: usize = 64;
/// More directories than any file here has; a chain of them may run in a circle.
const MAX_DIRECTORIES: usize = 64;

/// Refuses what would pass the limit, which ends the process.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

thread_local! {
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// A file in memory, for async-tiff.
#[derive(Debug)]
pub struct Memory(pub Bytes);

#[async_trait::async_trait]
impl AsyncFileReader for Memory {
    async fn get_bytes(&self, range: Range<u64>) -> AsyncTiffResult<Bytes> {
        let len = self.0.len() as u64;
        match range.start <= range.end && range.end <= len {
            true => Ok(self.0.slice(range.start as usize..range.end as usize)),
            false => Err(AsyncTiffError::EndOfFile(range.end, len)),
        }
    }
}

/// Asks async-tiff; an error or a panic is no answer.
pub fn ask<T>(file: &Bytes, question: impl FnOnce() -> AsyncTiffResult<T>) -> Option<T> {
    let allowance = MEMORY + file.len() * MEMORY_PER_BYTE;
    let limited = ALLOCATOR.set_limit(ALLOCATOR.allocated() + allowance);
    ASKING.set(true);
    let answer = catch_unwind(AssertUnwindSafe(question));
    ASKING.set(false);
    let lifted = ALLOCATOR.set_limit(usize::MAX);
    assert!(limited.is_ok() && lifted.is_ok(), "the memory of the test cannot be bounded");
    answer.ok()?.ok()
}

/// Panics of async-tiff are no news.
pub fn hide_panics() {
    let shown = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !ASKING.get() {
            shown(info)
        }
    }));
}

/// The directories of a file, and its byte order.
pub fn directories(file: &Bytes) -> Option<(Vec<ImageFileDirectory>, Endianness)> {
    let memory = Memory(file.clone());
    ask(file, || {
        block_on(async {
            let mut reader = TiffMetadataReader::try_open(&memory).await?;
            let mut found = Vec::new();
            while let Some(directory) = reader.read_next_ifd(&memory).await? {
                found.push(directory);
                if found.len() > MAX_DIRECTORIES {
                    return Err(AsyncTiffError::General("too many directories".into()));
                }
            }
            Ok((found, reader.endianness()))
        })
    })
}

/// A directory of strips as one of tiles that are as wide as the image, which are all that async-tiff decodes.
pub fn tiled(ifd: &ImageFileDirectory, endianness: Endianness) -> Option<ImageFileDirectory> {
    let (Some(offsets), Some(counts)) = (ifd.strip_offsets(), ifd.strip_byte_counts()) else {
        return Some(ifd.clone());
    };
    let rows = ifd.rows_per_strip().map_or(ifd.image_height(), |rows| rows.min(ifd.image_height()));
    let shorts = |values: Vec<u16>| TagValue::List(values.into_iter().map(TagValue::Short).collect());
    let longs = |values: &[u64]| TagValue::List(values.iter().copied().map(TagValue::UnsignedBig).collect());
    let mut fields = HashMap::from([
        (Tag::ImageWidth, TagValue::Unsigned(ifd.image_width())),
        (Tag::ImageLength, TagValue::Unsigned(ifd.image_height())),
        (Tag::BitsPerSample, shorts(ifd.bits_per_sample().to_vec())),
        (Tag::SampleFormat, shorts(ifd.sample_format().iter().map(|format| format.to_u16()).collect())),
        (Tag::Compression, TagValue::Short(ifd.compression().to_u16())),
        (Tag::PhotometricInterpretation, TagValue::Short(ifd.photometric_interpretation().to_u16())),
        (Tag::SamplesPerPixel, TagValue::Short(ifd.samples_per_pixel())),
        (Tag::PlanarConfiguration, TagValue::Short(ifd.planar_configuration().to_u16())),
        (Tag::TileWidth, TagValue::Unsigned(ifd.image_width())),
        (Tag::TileLength, TagValue::Unsigned(rows)),
        (Tag::TileOffsets, longs(offsets)),
        (Tag::TileByteCounts, longs(counts)),
    ]);
    if let Some(predictor) = ifd.predictor() {
        fields.insert(Tag::Predictor, TagValue::Short(predictor.to_u16()));
    }
    if let Some(tables) = ifd.jpeg_tables() {
        fields.insert(Tag::JPEGTables, TagValue::List(tables.iter().copied().map(TagValue::Byte).collect()));
    }
    if let Some(parameters) = ifd.lerc_parameters() {
        let parameters = parameters.iter().copied().map(TagValue::Unsigned).collect();
        fields.insert(Tag::LercParameters, TagValue::List(parameters));
    }
    ImageFileDirectory::from_tags(fields, endianness).ok()
}

pub fn kind(ifd: &ImageFileDirectory) -> u32 {
    ifd.new_subfile_type().unwrap_or(0)
}

pub fn size(ifd: &ImageFileDirectory) -> (u32, u32) {
    (ifd.image_width(), ifd.image_height())
}

/// The transform that its tags declare, as GDAL takes them.
pub fn transform(ifd: &ImageFileDirectory) -> Option<Affine> {
    let (scale, tie) = (ifd.model_pixel_scale().unwrap_or_default(), ifd.model_tiepoint().unwrap_or_default());
    let point = ifd.geo_key_directory().is_some_and(|keys| keys.raster_type == Some(2));
    let corner = match (scale, tie, ifd.model_transformation()) {
        (&[sx, sy, ..], &[col, row, _, x, y, ..], _) if sx != 0.0 && sy != 0.0 => {
            Affine { a: sx, b: 0.0, c: x - col * sx, d: 0.0, e: -sy.abs(), f: y + row * sy.abs() }
        }
        (_, _, Some(&[a, b, _, c, d, e, _, f, ..])) => Affine { a, b, c, d, e, f },
        _ => return None,
    };
    let half = if point { 0.5 } else { 0.0 };
    let (c, f) = corner.apply(-half, -half);
    Some(Affine { c, f, ..corner })
}

pub fn compression(ifd: &ImageFileDirectory) -> Option<Compression> {
    Some(match ifd.compression() {
        tags::Compression::None => Compression::None,
        tags::Compression::LZW => Compression::Lzw,
        tags::Compression::ModernJPEG => Compression::Jpeg,
        tags::Compression::Deflate | tags::Compression::OldDeflate => Compression::Deflate,
        tags::Compression::PackBits => Compression::PackBits,
        tags::Compression::LZMA => Compression::Lzma,
        tags::Compression::ZSTD => Compression::Zstd,
        tags::Compression::WebP => Compression::WebP,
        tags::Compression::LERC => match ifd.lerc_parameters().and_then(|parameters| parameters.get(1)) {
            None | Some(0) => Compression::Lerc,
            Some(1) => Compression::LercDeflate,
            Some(2) => Compression::LercZstd,
            _ => return None,
        },
        _ => return None,
    })
}

/// How a level says that its values are stored, from what async-tiff knows of them.
pub fn encoding(ifd: &ImageFileDirectory, compression: Compression, endianness: Endianness) -> String {
    let predicts =
        [Compression::Lzw, Compression::Deflate, Compression::Zstd, Compression::Lzma].contains(&compression);
    let predictor = ifd.predictor().filter(|_| predicts).unwrap_or(tags::Predictor::None);
    let separate = ifd.planar_configuration() == PlanarConfiguration::Planar && ifd.samples_per_pixel() > 1;
    let format = match ifd.sample_format().first() {
        Some(SampleFormat::Int) => "Signed",
        Some(SampleFormat::Float) => "Float",
        _ => "Unsigned",
    };
    let ycbcr = ifd.photometric_interpretation() == PhotometricInterpretation::YCbCr;
    let alpha = ifd.extra_samples().and_then(<[_]>::last) == Some(&ExtraSamples::UnassociatedAlpha);
    let tables = ifd.jpeg_tables().filter(|_| compression == Compression::Jpeg);
    format!(
        "Encoding {{ predictor: {predictor:?}, separate: {separate}, bits: {}, format: {format}, big_endian: {}, \
         ycbcr: {ycbcr}, unassociated_alpha: {alpha}, jpeg_tables: {tables:?} }}",
        ifd.bits_per_sample()[0],
        endianness == Endianness::BigEndian
    )
}

/// The type of decoded values by our name, and their bytes.
pub fn values(array: &TypedArray) -> (&'static str, Vec<u8>) {
    match array {
        TypedArray::Bool(v) => ("uint8", v.iter().map(|v| u8::from(*v)).collect()),
        TypedArray::UInt8(v) => ("uint8", v.clone()),
        TypedArray::UInt16(v) => ("uint16", bytemuck::cast_slice(v).to_vec()),
        TypedArray::UInt32(v) => ("uint32", bytemuck::cast_slice(v).to_vec()),
        TypedArray::UInt64(v) => ("uint64", bytemuck::cast_slice(v).to_vec()),
        TypedArray::Int8(v) => ("int8", bytemuck::cast_slice(v).to_vec()),
        TypedArray::Int16(v) => ("int16", bytemuck::cast_slice(v).to_vec()),
        TypedArray::Int32(v) => ("int32", bytemuck::cast_slice(v).to_vec()),
        TypedArray::Int64(v) => ("int64", bytemuck::cast_slice(v).to_vec()),
        TypedArray::Float32(v) => ("float32", bytemuck::cast_slice(v).to_vec()),
        TypedArray::Float64(v) => ("float64", bytemuck::cast_slice(v).to_vec()),
    }
}
