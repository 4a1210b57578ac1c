//! A builder of small TIFFs, for tests.

use bytes::Bytes;

use super::ifd::Tag;

/// The values of one tag.
#[derive(Debug, Clone)]
pub enum Values {
    Short(Vec<u16>),
    Long(Vec<u32>),
    Long8(Vec<u64>),
    Double(Vec<f64>),
    Text(String),
    Bytes(Vec<u8>),
}

/// One directory: tags, and the tiles that its TileOffsets and TileByteCounts are made for.
#[derive(Debug, Clone)]
pub struct Directory {
    pub tags: Vec<(Tag, Values)>,
    pub tiles: Vec<Vec<u8>>,
}

impl Directory {
    /// An uncompressed image of one sample of `bits` bits; every tile is filled from `tiles`.
    pub fn new(size: (u32, u32), tile: (u32, u32), bits: u16, tiles: Vec<Vec<u8>>) -> Directory {
        let tags = vec![
            (Tag::ImageWidth, Values::Long(vec![size.0])),
            (Tag::ImageLength, Values::Long(vec![size.1])),
            (Tag::BitsPerSample, Values::Short(vec![bits])),
            (Tag::Compression, Values::Short(vec![1])),
            (Tag::Photometric, Values::Short(vec![1])),
            (Tag::SamplesPerPixel, Values::Short(vec![1])),
            (Tag::TileWidth, Values::Long(vec![tile.0])),
            (Tag::TileLength, Values::Long(vec![tile.1])),
        ];
        Directory { tags, tiles }
    }

    /// The same in strips of `rows` rows, which are the `tiles`.
    pub fn striped(size: (u32, u32), rows: u32, bits: u16, strips: Vec<Vec<u8>>) -> Directory {
        let image = Directory::new(size, (16, 16), bits, strips).without(Tag::TileWidth).without(Tag::TileLength);
        image.with(Tag::RowsPerStrip, Values::Long(vec![rows]))
    }

    /// Sets a tag, in place of the value it had.
    pub fn with(mut self, tag: Tag, values: Values) -> Directory {
        self.tags.retain(|(t, _)| *t != tag);
        self.tags.push((tag, values));
        self
    }

    pub fn without(mut self, tag: Tag) -> Directory {
        self.tags.retain(|(t, _)| *t != tag);
        self
    }

    /// A deflated image.
    pub fn deflated(mut self) -> Directory {
        for tile in &mut self.tiles {
            let mut packed = vec![0; tile.len() + 100];
            let len = libdeflater::Compressor::default().zlib_compress(tile, &mut packed).unwrap();
            packed.truncate(len);
            *tile = packed;
        }
        self.with(Tag::Compression, Values::Short(vec![8]))
    }

    pub fn with_georeference(self) -> Directory {
        self.with(Tag::ModelPixelScale, Values::Double(vec![10.0, 10.0, 0.0]))
            .with(Tag::ModelTiepoint, Values::Double(vec![0.0, 0.0, 0.0, 500_000.0, 4_000_000.0, 0.0]))
            .with(
                Tag::GeoKeyDirectory,
                Values::Short(vec![1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32615]),
            )
    }
}

/// A whole file: the directories with their values first, as in a COG, then the tiles.
#[derive(Debug, Clone)]
pub struct Builder {
    pub big_endian: bool,
    pub big_tiff: bool,
    pub directories: Vec<Directory>,
}

impl Builder {
    pub fn new(directories: Vec<Directory>) -> Builder {
        Builder { big_endian: false, big_tiff: false, directories }
    }

    pub fn build(&self) -> Bytes {
        // The offsets of the tiles do not change the size of the header: the first pass finds it out.
        let header = self.header(0);
        let mut file = self.header(header.len() as u64);
        for directory in &self.directories {
            directory.tiles.iter().for_each(|tile| file.extend_from_slice(tile));
        }
        Bytes::from(file)
    }

    fn header(&self, mut tile_offset: u64) -> Vec<u8> {
        let mut out = if self.big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        self.put(&mut out, if self.big_tiff { 43 } else { 42 }, 2);
        if self.big_tiff {
            self.put(&mut out, 8, 2);
            self.put(&mut out, 0, 2);
        }
        self.put_offset(&mut out, if self.big_tiff { 16 } else { 8 });
        for (i, directory) in self.directories.iter().enumerate() {
            let last = i + 1 == self.directories.len();
            self.directory(&mut out, directory, &mut tile_offset, last);
        }
        out
    }

    fn directory(&self, out: &mut Vec<u8>, directory: &Directory, tile_offset: &mut u64, last: bool) {
        let mut tags = directory.tags.clone();
        let counts: Vec<u32> = directory.tiles.iter().map(|t| t.len() as u32).collect();
        let offsets = counts.iter().map(|count| {
            let offset = *tile_offset;
            *tile_offset += u64::from(*count);
            if *count == 0 { 0 } else { offset }
        });
        let offsets: Vec<u64> = offsets.collect();
        let has = |tag| tags.iter().any(|(t, _)| *t == tag);
        let (offsets_tag, counts_tag) = match has(Tag::TileWidth) {
            true => (Tag::TileOffsets, Tag::TileByteCounts),
            false => (Tag::StripOffsets, Tag::StripByteCounts),
        };
        if !has(offsets_tag) {
            tags.push((
                offsets_tag,
                match self.big_tiff {
                    true => Values::Long8(offsets),
                    false => Values::Long(offsets.iter().map(|o| *o as u32).collect()),
                },
            ));
            tags.push((counts_tag, Values::Long(counts)));
        }
        tags.sort_by_key(|(tag, _)| *tag as u16);
        let (count_size, entry_size, offset_size) = if self.big_tiff { (8, 20, 8) } else { (2, 12, 4) };
        let values_start = out.len() + count_size + tags.len() * entry_size + offset_size;
        let mut values: Vec<u8> = Vec::new();
        self.put(out, tags.len() as u64, count_size);
        for (tag, value) in &tags {
            let (field_type, count, bytes) = self.encode(value);
            self.put(out, *tag as u64, 2);
            self.put(out, field_type, 2);
            self.put(out, count, offset_size);
            if bytes.len() <= offset_size {
                out.extend_from_slice(&bytes);
                out.resize(out.len() + offset_size - bytes.len(), 0);
            } else {
                self.put_offset(out, (values_start + values.len()) as u64);
                values.extend_from_slice(&bytes);
            }
        }
        let next = if last { 0 } else { values_start + values.len() };
        self.put_offset(out, next as u64);
        out.extend_from_slice(&values);
    }

    fn encode(&self, values: &Values) -> (u64, u64, Vec<u8>) {
        let mut out = Vec::new();
        let (field_type, count) = match values {
            Values::Short(v) => (3, v.iter().map(|v| self.put(&mut out, u64::from(*v), 2)).count()),
            Values::Long(v) => (4, v.iter().map(|v| self.put(&mut out, u64::from(*v), 4)).count()),
            Values::Long8(v) => (16, v.iter().map(|v| self.put(&mut out, *v, 8)).count()),
            Values::Double(v) => (12, v.iter().map(|v| self.put(&mut out, v.to_bits(), 8)).count()),
            Values::Text(text) => {
                out.extend_from_slice(text.as_bytes());
                out.push(0);
                (2, out.len())
            }
            Values::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                (7, out.len())
            }
        };
        (field_type, count as u64, out)
    }

    fn put_offset(&self, out: &mut Vec<u8>, value: u64) {
        self.put(out, value, if self.big_tiff { 8 } else { 4 });
    }

    fn put(&self, out: &mut Vec<u8>, value: u64, size: usize) {
        match self.big_endian {
            true => out.extend_from_slice(&value.to_be_bytes()[8 - size..]),
            false => out.extend_from_slice(&value.to_le_bytes()[..size]),
        }
    }
}
