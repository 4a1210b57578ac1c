//! One file, read by both.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;

use async_tiff::ImageFileDirectory;
use async_tiff::decoder::DecoderRegistry;
use async_tiff::reader::Endianness;
use bytes::Bytes;
use futures::executor::block_on;
use lazycogs::cog::{self, Cog, CogCrs, Compression, Level, Nodata, decode_tile};
use lazycogs::error::Error;
use lazycogs::pixels::Pixels;

use crate::theirs::{Memory, ask, compression, directories, encoding, kind, size, tiled, transform, values};

/// What was compared.
#[derive(Debug, Default)]
pub struct Tally {
    pub files: usize,
    /// Files that we refuse, or that async-tiff does not read.
    pub ours_refused: usize,
    pub theirs_failed: usize,
    pub levels: usize,
    pub masks: usize,
    pub transforms: usize,
    pub codes: usize,
    pub nodata: usize,
    pub tiles: usize,
    pub strips: usize,
    /// Tiles and strips that async-tiff does not decode.
    pub undecoded: usize,
    /// Decoded tiles by compression.
    pub codecs: BTreeMap<String, usize>,
}

/// What differs in one file.
pub fn compare(file: &Bytes, tally: &mut Tally) -> Vec<String> {
    let (ours, theirs) = (block_on(cog::open(file)), directories(file));
    tally.files += 1;
    match (ours, theirs) {
        (Ok(ours), Some((theirs, endianness))) => {
            let mut comparison = Comparison { file, endianness, tally, differences: Vec::new() };
            comparison.cog(&ours, &theirs);
            comparison.differences
        }
        (Err(Error::Unsupported(_)), _) => {
            tally.ours_refused += 1;
            Vec::new()
        }
        (Err(error), Some(_)) => vec![format!("header: {error:?}, async-tiff reads it")],
        (_, None) => {
            tally.theirs_failed += 1;
            Vec::new()
        }
    }
}

/// One file: what differs, as "what: ours, theirs".
struct Comparison<'a> {
    file: &'a Bytes,
    endianness: Endianness,
    tally: &'a mut Tally,
    differences: Vec<String>,
}

impl Comparison<'_> {
    fn equal<T: PartialEq + Debug>(&mut self, what: &str, ours: T, theirs: T) {
        if ours != theirs {
            self.differences.push(format!("{what}: {ours:?}, async-tiff has {theirs:?}"));
        }
    }

    fn cog(&mut self, ours: &Cog, theirs: &[ImageFileDirectory]) {
        let Some(main) = theirs.first() else { return self.equal("directories", 1, 0) };
        self.georeference(ours, main);
        let nodata = main.gdal_nodata().and_then(|text| Nodata::parse(text, ours.dtype));
        // As text, in which NaN is equal to itself.
        self.equal("nodata", format!("{:?}", ours.nodata[0]), format!("{nodata:?}"));
        self.tally.nodata += usize::from(nodata.is_some());
        for (number, level) in ours.levels.iter().enumerate() {
            let place = format!("level {number}");
            let image = theirs.iter().enumerate().find(|(at, ifd)| match number {
                0 => *at == 0,
                _ => *at > 0 && kind(ifd) & 4 == 0 && size(ifd) == (level.width, level.height),
            });
            match image {
                Some((_, ifd)) => self.level(&place, level, ifd),
                None => self.differences.push(format!("{place}: async-tiff has none of this size")),
            }
            self.tally.levels += 1;
            let Some(mask) = &level.mask else { continue };
            match theirs.iter().find(|ifd| kind(ifd) & 4 != 0 && size(ifd) == (level.width, level.height)) {
                Some(ifd) => self.level(&format!("{place}, mask"), mask, ifd),
                None => self.differences.push(format!("{place}, mask: async-tiff has none")),
            }
            self.tally.masks += 1;
        }
        for ifd in theirs.iter().skip(1).filter(|ifd| kind(ifd) & 5 == 1) {
            let found = ours.levels.iter().any(|level| (level.width, level.height) == size(ifd));
            self.equal(&format!("overview of {:?}", size(ifd)), found, true);
        }
    }

    fn georeference(&mut self, ours: &Cog, main: &ImageFileDirectory) {
        self.equal("transform", ours.transform, transform(main));
        self.tally.transforms += usize::from(ours.transform.is_some());
        // 0 is undefined, 32767 defined by the user.
        let code = main.geo_key_directory().and_then(|keys| keys.epsg_code()).filter(|code| !matches!(code, 0 | 32767));
        match &ours.crs {
            CogCrs::Definition(text) => {
                let found = text.strip_prefix("EPSG:").and_then(|code| code.parse().ok());
                self.equal("EPSG code", found, code);
                self.tally.codes += usize::from(code.is_some());
            }
            CogCrs::Missing => self.equal("EPSG code", None, code),
            CogCrs::Unresolvable(_) => {}
        }
    }

    fn level(&mut self, place: &str, ours: &Level, theirs: &ImageFileDirectory) {
        let (debug, what) = (format!("{ours:?}"), |what: &str| format!("{place}, {what}"));
        self.equal(&what("size"), (ours.width, ours.height), size(theirs));
        self.equal(&what("samples"), ours.samples, theirs.samples_per_pixel());
        self.equal(&what("strips"), ours.striped, theirs.tile_width().is_none());
        self.equal(&what("compression"), Some(ours.compression), compression(theirs));
        let encoding = encoding(theirs, ours.compression, self.endianness);
        if !debug.contains(&encoding) {
            let ours = debug.split_once("encoding: ").map_or("", |(_, rest)| rest);
            let ours = ours.split_once(", offsets").map_or(ours, |(encoding, _)| encoding);
            self.differences.push(format!("{place}, encoding: {ours}, async-tiff has {encoding}"));
        }
        let Some(tiled) = ask(self.file, || Ok(tiled(theirs, self.endianness))).flatten() else {
            return self.tally.undecoded += 1;
        };
        // A large strip without compression is cut into several of our tiles.
        let cut = debug.split_once(" cut: ").and_then(|(_, rest)| rest.split_once(',')?.0.parse().ok()).unwrap_or(1);
        let height = if cut == 1 { Some(ours.tile_height) } else { tiled.tile_height() };
        self.equal(&what("block"), (Some(ours.tile_width), height), (tiled.tile_width(), tiled.tile_height()));
        let blocks = Blocks { level: ours, cut, ifd: &tiled };
        for (block, theirs) in blocks.theirs() {
            let range = ours.tile_range(blocks.first_tile(block));
            let mut theirs = theirs.filter(|range| range.start != 0 && !range.is_empty());
            // What an uncompressed strip has behind its rows is not read, and a piece of one ends before the strip does.
            if let (true, Compression::None, Some(ours), Some(theirs)) =
                (ours.striped, ours.compression, &range, &mut theirs)
            {
                theirs.end = theirs.end.min(ours.end);
            }
            self.equal(&what(&format!("place of {block:?}")), range, theirs);
        }
        for row in 0..blocks.down() {
            for col in 0..ours.tiles_across() {
                self.tile(place, &blocks, row, col);
            }
        }
    }

    fn tile(&mut self, place: &str, blocks: &Blocks, row: u32, col: u32) {
        let memory = Memory(self.file.clone());
        let planes = blocks.planes();
        if (0..planes).any(|plane| blocks.level.tile_range(blocks.first_tile((plane, row, col))).is_none()) {
            return;
        }
        let theirs = ask(self.file, || {
            let tile = block_on(blocks.ifd.fetch_tile(col as usize, row as usize, &memory))?;
            tile.decode(&DecoderRegistry::default())
        });
        let typed = theirs.filter(|array| array.data_type().is_some());
        let Some(theirs) = typed else { return self.tally.undecoded += 1 };
        let mut ours = Vec::new();
        let mut pixels = Pixels::zeros(blocks.level.dtype, 0);
        for index in (0..planes).flat_map(|plane| blocks.tiles((plane, row, col))) {
            let decoded = blocks.level.tile_range(index).map(|range| {
                let end = (range.end as usize).min(self.file.len());
                let bytes = self.file.get(range.start as usize..end).unwrap_or_default();
                decode_tile(blocks.level, index, bytes, &mut pixels)
            });
            match decoded {
                Some(Ok(())) => ours.extend_from_slice(pixels.as_bytes()),
                other => {
                    return self.differences.push(format!("{place}, tile {row} {col}: {other:?}, async-tiff reads it"));
                }
            }
        }
        let (dtype, bytes) = values(theirs.data());
        if dtype != blocks.level.dtype.name() || bytes != ours {
            let unequal = bytes.iter().zip(&ours).filter(|(a, b)| a != b).count();
            let (found, ours) = (bytes.len(), ours.len());
            let what = format!("tile {row} {col} ({:?})", blocks.level.compression);
            self.differences.push(format!("{place}, {what}: {unequal} bytes differ of {ours}, {dtype} {found}"));
        }
        match blocks.level.striped {
            true => self.tally.strips += 1,
            false => self.tally.tiles += 1,
        }
        *self.tally.codecs.entry(format!("{:?}", blocks.level.compression)).or_default() += 1;
    }
}

/// Plane, row and column of a tile or strip.
type Block = (u16, u32, u32);

/// The tiles of a level as async-tiff counts them.
struct Blocks<'a> {
    level: &'a Level,
    /// Our tiles in one of its strips.
    cut: u32,
    ifd: &'a ImageFileDirectory,
}

impl Blocks<'_> {
    fn planes(&self) -> u16 {
        self.level.samples / self.level.samples_per_tile()
    }

    fn down(&self) -> u32 {
        self.level.tiles_down().div_ceil(self.cut)
    }

    fn first_tile(&self, (plane, row, col): Block) -> usize {
        self.level.tile_index(plane, row * self.cut, col)
    }

    /// Our tiles in a block.
    fn tiles(&self, (plane, row, col): Block) -> impl Iterator<Item = usize> {
        let rows = row * self.cut..((row + 1) * self.cut).min(self.level.tiles_down());
        rows.map(move |row| self.level.tile_index(plane, row, col))
    }

    /// Where each block lies, as async-tiff has it.
    fn theirs(&self) -> Vec<(Block, Option<Range<u64>>)> {
        let (across, down) = (self.level.tiles_across(), self.down());
        let tables = self.ifd.tile_offsets().zip(self.ifd.tile_byte_counts());
        let all = (0..self.planes()).flat_map(|plane| (0..down).map(move |row| (plane, row)));
        all.flat_map(|(plane, row)| (0..across).map(move |col| (plane, row, col)))
            .enumerate()
            .map(|(at, block)| {
                let range =
                    tables.and_then(|(starts, counts)| Some(*starts.get(at)?..starts.get(at)? + counts.get(at)?));
                (block, range)
            })
            .collect()
    }
}
