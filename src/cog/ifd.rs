//! TIFF structure: the file header, image file directories (IFDs) and the values of their tags.
//!
//! TIFF 6.0 specification, sections 2 and 15; BigTIFF as in libtiff 4. Every count and offset is checked against the bytes
//! that the file really has before anything is allocated for it.

use std::ops::Range;
use std::slice;

use super::reader::{FIRST_READ, HeaderReader};
use crate::error::{Error, Result};

/// More directories than this are no raster with overviews and masks.
const MAX_IFDS: usize = 64;
/// BigTIFF counts entries in 64 bits; TIFF has a few dozen tags.
const MAX_ENTRIES: u64 = 4096;
/// Overviews halve each side, so all their tile arrays together take a third of the full resolution's; a little more than
/// that is read ahead, so that they need no request of their own.
const MAX_READ_AHEAD: u64 = 1 << 20;

/// The tags that we read. Anything else (ICC profiles, XMP, ...) is not fetched.
#[repr(u16)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    NewSubfileType = 254,
    OldSubfileType = 255,
    ImageWidth = 256,
    ImageLength = 257,
    BitsPerSample = 258,
    Compression = 259,
    Photometric = 262,
    FillOrder = 266,
    StripOffsets = 273,
    SamplesPerPixel = 277,
    RowsPerStrip = 278,
    StripByteCounts = 279,
    PlanarConfiguration = 284,
    Predictor = 317,
    TileWidth = 322,
    TileLength = 323,
    TileOffsets = 324,
    TileByteCounts = 325,
    ExtraSamples = 338,
    SampleFormat = 339,
    JpegTables = 347,
    ModelPixelScale = 33550,
    ModelTiepoint = 33922,
    ModelTransformation = 34264,
    GeoKeyDirectory = 34735,
    GeoDoubleParams = 34736,
    GeoAsciiParams = 34737,
    GdalMetadata = 42112,
    GdalNodata = 42113,
    LercParameters = 50674,
}

impl Tag {
    const ALL: [Tag; 30] = [
        Tag::NewSubfileType,
        Tag::OldSubfileType,
        Tag::ImageWidth,
        Tag::ImageLength,
        Tag::BitsPerSample,
        Tag::Compression,
        Tag::Photometric,
        Tag::FillOrder,
        Tag::StripOffsets,
        Tag::SamplesPerPixel,
        Tag::RowsPerStrip,
        Tag::StripByteCounts,
        Tag::PlanarConfiguration,
        Tag::Predictor,
        Tag::TileWidth,
        Tag::TileLength,
        Tag::TileOffsets,
        Tag::TileByteCounts,
        Tag::ExtraSamples,
        Tag::SampleFormat,
        Tag::JpegTables,
        Tag::ModelPixelScale,
        Tag::ModelTiepoint,
        Tag::ModelTransformation,
        Tag::GeoKeyDirectory,
        Tag::GeoDoubleParams,
        Tag::GeoAsciiParams,
        Tag::GdalMetadata,
        Tag::GdalNodata,
        Tag::LercParameters,
    ];

    fn from_code(code: u16) -> Option<Tag> {
        Tag::ALL.into_iter().find(|t| *t as u16 == code)
    }

    /// Georeference and metadata matter in the first IFD only.
    fn is_dataset_wide(self) -> bool {
        (Tag::ModelPixelScale as u16..=Tag::GdalNodata as u16).contains(&(self as u16))
    }
}

/// Byte order and flavour of a TIFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub big_endian: bool,
    pub big_tiff: bool,
}

impl Layout {
    /// An unsigned integer of up to 8 bytes.
    fn uint(self, bytes: &[u8]) -> u64 {
        let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self.big_endian {
            true => bytes.iter().fold(0, push),
            false => bytes.iter().rev().fold(0, push),
        }
    }

    fn offset_size(self) -> u64 {
        if self.big_tiff { 8 } else { 4 }
    }
}

/// One tag of an IFD: `count` values of a TIFF field type, at a position in the file (inside the IFD if they fit).
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: Tag,
    field_type: u16,
    count: u64,
    position: u64,
}

impl Entry {
    fn value_size(&self) -> Option<u64> {
        match self.field_type {
            1 | 2 | 6 | 7 => Some(1),
            3 | 8 => Some(2),
            4 | 9 | 11 | 13 => Some(4),
            5 | 10 | 12 | 16 | 17 | 18 => Some(8),
            _ => None,
        }
    }

    fn range(&self) -> Result<Range<u64>> {
        let size = self
            .value_size()
            .ok_or_else(|| Error::Corrupt(format!("tag {:?} has the unknown type {}", self.tag, self.field_type)))?;
        let end = self.count.checked_mul(size).and_then(|len| self.position.checked_add(len));
        Ok(self.position
            ..end.ok_or_else(|| Error::Corrupt(format!("tag {:?} claims {} values", self.tag, self.count)))?)
    }
}

/// One directory, with the values of its tags at hand in the reader.
#[derive(Debug)]
pub struct Ifd<'a> {
    reader: &'a HeaderReader<'a>,
    layout: Layout,
    entries: &'a [Entry],
}

impl Ifd<'_> {
    fn bytes(&self, tag: Tag) -> Result<Option<(&Entry, &[u8])>> {
        let Some(entry) = self.entries.iter().find(|e| e.tag == tag) else { return Ok(None) };
        let range = entry.range()?;
        let bytes = if range.is_empty() { Some(&[][..]) } else { self.reader.get(&range) };
        let bytes = bytes.ok_or_else(|| Error::Corrupt(format!("tag {tag:?} lies outside the file")))?;
        Ok(Some((entry, bytes)))
    }

    pub fn has(&self, tag: Tag) -> bool {
        self.entries.iter().any(|e| e.tag == tag)
    }

    /// The raw bytes of a tag, whatever its type.
    pub fn raw(&self, tag: Tag) -> Result<Option<&[u8]>> {
        Ok(self.bytes(tag)?.map(|(_, bytes)| bytes))
    }

    /// Unsigned integers.
    pub fn uints(&self, tag: Tag) -> Result<Option<impl ExactSizeIterator<Item = u64>>> {
        let Some((entry, bytes)) = self.bytes(tag)? else { return Ok(None) };
        let size = match entry.field_type {
            1 | 7 => 1,
            3 => 2,
            4 | 13 => 4,
            16 | 18 => 8,
            other => return Err(Error::Corrupt(format!("tag {tag:?} has type {other}, not an unsigned integer"))),
        };
        let layout = self.layout;
        Ok(Some(bytes.chunks_exact(size).map(move |value| layout.uint(value))))
    }

    /// The first value of an integer tag.
    pub fn uint(&self, tag: Tag) -> Result<Option<u64>> {
        Ok(self.uints(tag)?.and_then(|mut values| values.next()))
    }

    /// Like [`Ifd::uint`] for a tag whose values fit 16 bits.
    pub fn short(&self, tag: Tag, default: u16) -> Result<u16> {
        let value = self.uint(tag)?.unwrap_or(u64::from(default));
        u16::try_from(value).map_err(|_| Error::Corrupt(format!("tag {tag:?} is {value}")))
    }

    /// Floating-point numbers.
    pub fn doubles(&self, tag: Tag) -> Result<Vec<f64>> {
        let Some((entry, bytes)) = self.bytes(tag)? else { return Ok(Vec::new()) };
        let bits = |value: &[u8]| self.layout.uint(value);
        match entry.field_type {
            11 => Ok(bytes.chunks_exact(4).map(|v| f64::from(f32::from_bits(bits(v) as u32))).collect()),
            12 => Ok(bytes.chunks_exact(8).map(|v| f64::from_bits(bits(v))).collect()),
            other => Err(Error::Corrupt(format!("tag {tag:?} has type {other}, not a floating-point number"))),
        }
    }

    /// Text up to its first NUL; bytes that are no UTF-8 are replaced.
    pub fn text(&self, tag: Tag) -> Result<Option<String>> {
        let Some(bytes) = self.raw(tag)? else { return Ok(None) };
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        Ok(Some(String::from_utf8_lossy(&bytes[..end]).into_owned()))
    }
}

/// All directories of a file, in file order.
#[derive(Debug)]
pub struct Directories {
    pub layout: Layout,
    entries: Vec<Vec<Entry>>,
}

impl Directories {
    pub fn iter<'a>(&'a self, reader: &'a HeaderReader<'a>) -> impl Iterator<Item = Ifd<'a>> {
        self.entries.iter().map(move |e| Ifd { reader, layout: self.layout, entries: e })
    }

    /// Reads the header and the chain of directories, with the values of all tags that matter.
    ///
    /// # Errors
    /// `Corrupt` if this is no TIFF, if the chain runs in a circle or is longer than any real one, or if a part lies beyond
    /// the end of the file; `Store` if a read fails.
    pub async fn read(reader: &mut HeaderReader<'_>) -> Result<Directories> {
        let (layout, mut offset) = parse_header(reader.start().await?)?;
        let mut seen = Vec::new();
        let mut entries = Vec::new();
        let mut claimed = 0u64;
        while offset != 0 {
            if seen.contains(&offset) {
                return Err(Error::Corrupt("the chain of directories (IFDs) runs in a circle".into()));
            }
            if seen.len() == MAX_IFDS {
                return Err(Error::Corrupt(format!("the TIFF has more than {MAX_IFDS} directories (IFDs)")));
            }
            seen.push(offset);
            let first = entries.is_empty();
            let (directory, next) = read_directory(reader, layout, offset, first).await?;
            claimed = fetch_values(reader, layout, &directory, next, entries.len()).await?.saturating_add(claimed);
            // Values take up to eight times the memory of their bytes, once for each directory that points to them.
            if claimed > reader.bytes.saturating_mul(2) + FIRST_READ {
                return Err(Error::Corrupt("the directories (IFDs) claim the same bytes over and over".into()));
            }
            entries.push(directory);
            offset = next;
        }
        if entries.is_empty() {
            return Err(Error::Corrupt("the TIFF holds no image: its first directory (IFD) is at offset 0".into()));
        }
        Ok(Directories { layout, entries })
    }
}

async fn read_directory(
    reader: &mut HeaderReader<'_>,
    layout: Layout,
    offset: u64,
    first: bool,
) -> Result<(Vec<Entry>, u64)> {
    let what = "a directory (IFD)";
    let overflow = || Error::Corrupt(format!("{what} is at the impossible offset {offset}"));
    let absent = || Error::Corrupt(format!("{what} lies outside the file"));
    let (count_size, entry_size) = if layout.big_tiff { (8, 20) } else { (2, 12) };
    let body = offset.checked_add(count_size).ok_or_else(overflow)?;
    reader.ensure(slice::from_ref(&(offset..body)), FIRST_READ, what).await?;
    let count = layout.uint(reader.get(&(offset..body)).ok_or_else(absent)?);
    if count == 0 || count > MAX_ENTRIES {
        return Err(Error::Corrupt(format!("{what} at offset {offset} claims {count} tags")));
    }
    let next = body.checked_add(count * entry_size).ok_or_else(overflow)?;
    let end = next.checked_add(layout.offset_size()).ok_or_else(overflow)?;
    reader.ensure(slice::from_ref(&(body..end)), FIRST_READ, what).await?;
    let table = reader.get(&(body..next)).ok_or_else(absent)?;
    let mut entries: Vec<Entry> = Vec::new();
    for (i, bytes) in table.chunks_exact(entry_size as usize).enumerate() {
        let Some(entry) = parse_entry(layout, bytes, body + i as u64 * entry_size) else { continue };
        // libtiff keeps the first of two entries with one tag.
        let known = entries.iter().any(|e| e.tag == entry.tag);
        if !known && (first || !entry.tag.is_dataset_wide()) {
            entries.push(entry);
        }
    }
    let next = layout.uint(reader.get(&(next..end)).ok_or_else(absent)?);
    Ok((entries, next))
}

/// `None` for a tag that we do not read.
fn parse_entry(layout: Layout, bytes: &[u8], position: u64) -> Option<Entry> {
    let tag = Tag::from_code(layout.uint(bytes.get(..2)?) as u16)?;
    let field_type = layout.uint(bytes.get(2..4)?) as u16;
    let size = layout.offset_size() as usize;
    let count = layout.uint(bytes.get(4..4 + size)?);
    let value = bytes.get(4 + size..4 + 2 * size)?;
    let mut entry = Entry { tag, field_type, count, position: position + 4 + size as u64 };
    let len = entry.value_size().and_then(|s| s.checked_mul(count));
    if len.is_none_or(|len| len > size as u64) {
        entry.position = layout.uint(value);
    }
    Some(entry)
}

/// Fetches what the tags of one directory point to and, in the same breath, the start of the next directory. Returns the
/// bytes that the tags claim.
async fn fetch_values(
    reader: &mut HeaderReader<'_>,
    layout: Layout,
    entries: &[Entry],
    next: u64,
    index: usize,
) -> Result<u64> {
    let what = format!("directory (IFD) {index}");
    let mut wanted = Vec::with_capacity(entries.len() + 1);
    for entry in entries {
        // A type that we do not know is an error only where the tag is used.
        if entry.value_size().is_some() {
            wanted.push(entry.range()?);
        }
    }
    let len = |range: &Range<u64>| range.end - range.start;
    let claimed = wanted.iter().map(len).fold(0, u64::saturating_add);
    let missing = wanted.iter().filter(|r| reader.get(r).is_none()).map(len).fold(0, u64::saturating_add);
    if missing == 0 {
        return Ok(claimed);
    }
    if let Some(end) = next.checked_add(layout.offset_size()).filter(|_| next != 0) {
        wanted.push(next..end);
    }
    let ahead = if next == 0 { 0 } else { (FIRST_READ + missing / 3).min(MAX_READ_AHEAD) };
    reader.ensure(&wanted, ahead, &what).await?;
    Ok(claimed)
}

/// Byte order, flavour and the offset of the first directory.
fn parse_header(start: &[u8]) -> Result<(Layout, u64)> {
    let big_endian = match start.get(..2) {
        Some(b"II") => false,
        Some(b"MM") => true,
        _ => return Err(not_a_tiff(start)),
    };
    let layout = |big_tiff| Layout { big_endian, big_tiff };
    let field = |range: Range<usize>| start.get(range).map(|bytes| layout(false).uint(bytes));
    match (field(2..4), field(4..8), field(8..16)) {
        (Some(42), Some(offset), _) => Ok((layout(false), offset)),
        (Some(43), Some(sizes), Some(offset)) => {
            let offset_size = if big_endian { sizes >> 16 } else { sizes & 0xffff };
            match offset_size {
                8 => Ok((layout(true), offset)),
                other => Err(Error::Corrupt(format!("a BigTIFF with offsets of {other} bytes; 8 is the only size"))),
            }
        }
        (Some(42 | 43), _, _) => {
            Err(Error::Corrupt(format!("the TIFF is truncated: it ends after {} bytes", start.len())))
        }
        _ => Err(not_a_tiff(start)),
    }
}

fn not_a_tiff(start: &[u8]) -> Error {
    if start.is_empty() {
        return Error::Corrupt("not a TIFF: the file is empty".into());
    }
    let shown = &start[..start.len().min(48)];
    let printable = shown.iter().filter(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()).count();
    let looks = if printable * 10 >= shown.len() * 9 {
        let text: String = String::from_utf8_lossy(shown).split_whitespace().collect::<Vec<_>>().join(" ");
        let kind = match start.iter().find(|b| !b.is_ascii_whitespace()) {
            Some(b'<') => " (a web page or an XML error, not the file itself)",
            Some(b'{' | b'[') => " (JSON, perhaps the error of a server)",
            _ => "",
        };
        format!("the text '{text}'{kind}")
    } else {
        let hex: Vec<String> = shown.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("the bytes {}", hex.join(" "))
    };
    Error::Corrupt(format!("not a TIFF: it starts with {looks}"))
}
