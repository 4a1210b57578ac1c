//! Tests of the whole module on files built here.

use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use proptest::prelude::*;

use super::ifd::Tag;
use super::testing::{Builder, Directory, Values};
use super::*;
use crate::pixels::Pixels;

/// 16-bit tiles of 16 x 16, each counting up from its index.
fn counting_tiles(count: u16) -> Vec<Vec<u8>> {
    (0..count).map(|t| (0..256u16).flat_map(|i| (t * 1000 + i).to_le_bytes()).collect()).collect()
}

/// 40 x 24 pixels in 16 x 16 tiles, with an overview, a mask and the mask's overview.
fn pyramid() -> Vec<Directory> {
    let mask = |size, tiles: usize| {
        Directory::new(size, (16, 16), 1, vec![vec![0b1010_1010; 32]; tiles])
            .with(Tag::Photometric, Values::Short(vec![4]))
            .deflated()
    };
    let kind = |bits| Values::Long(vec![bits]);
    vec![
        Directory::new((40, 24), (16, 16), 16, counting_tiles(6))
            .deflated()
            .with_georeference()
            .with(Tag::GdalNodata, Values::Text("7".into())),
        mask((40, 24), 6).with(Tag::NewSubfileType, kind(4)),
        Directory::new((20, 12), (16, 16), 16, counting_tiles(2)).deflated().with(Tag::NewSubfileType, kind(1)),
        mask((20, 12), 2).with(Tag::NewSubfileType, kind(5)),
    ]
}

fn opened(file: &Bytes) -> Result<Cog> {
    // Headers are opened on worker threads: the future must be able to move to one.
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    block_on(sendable(open(file)))
}

fn message(file: &[u8]) -> String {
    opened(&Bytes::copy_from_slice(file)).unwrap_err().to_string()
}

fn tile(file: &Bytes, level: &Level, index: usize) -> Result<Pixels> {
    let range = level.tile_range(index).unwrap();
    let mut out = Pixels::zeros(DataType::UInt8, 0);
    decode_tile(level, index, &file[range.start as usize..range.end as usize], &mut out)?;
    Ok(out)
}

#[test]
fn a_pyramid_with_masks_reads_in_one_request_in_every_flavour_of_tiff() {
    for (big_tiff, big_endian) in [(false, false), (true, false)] {
        let file = Builder { big_tiff, big_endian, directories: pyramid() }.build();
        let cog = opened(&file).unwrap();
        assert_eq!((cog.header_requests, cog.header_bytes), (1, file.len() as u64));
        assert_eq!((cog.dtype, cog.samples, cog.alpha), (DataType::UInt16, 1, None));
        assert_eq!(cog.nodata, [Some(Nodata::Unsigned(7))]);
        let sizes: Vec<_> = cog.levels.iter().map(|l| (l.width, l.height, l.mask.is_some())).collect();
        assert_eq!(sizes, [(40, 24, true), (20, 12, true)]);
        let full = &cog.levels[0];
        assert_eq!((full.tiles_across(), full.tiles_down(), full.tile_index(0, 1, 2)), (3, 2, 5));
        let Pixels::UInt16(values) = tile(&file, full, 5).unwrap() else { panic!("not uint16") };
        assert_eq!((values.len(), values[0], values[255]), (256, 5000, 5255));
        let Pixels::UInt8(mask) = tile(&file, full.mask.as_ref().unwrap(), 0).unwrap() else { panic!("not uint8") };
        assert_eq!(mask[..4], [1, 0, 1, 0]);
        let (transform, crs) = cog.georeference().unwrap();
        assert_eq!((transform.apply(1.0, 1.0), crs), ((500_010.0, 3_999_990.0), "EPSG:32615"));
    }
}

#[test]
fn big_endian_values_are_swapped() {
    let swapped =
        |tiles: Vec<Vec<u8>>| tiles.iter().map(|t| t.chunks(2).flat_map(|v| [v[1], v[0]]).collect()).collect();
    let directory = Directory::new((16, 16), (16, 16), 16, swapped(counting_tiles(1)));
    let file = Builder { big_endian: true, ..Builder::new(vec![directory]) }.build();
    let cog = opened(&file).unwrap();
    let Pixels::UInt16(values) = tile(&file, &cog.levels[0], 0).unwrap() else { panic!("not uint16") };
    assert_eq!(values, (0..256).collect::<Vec<u16>>());
}

/// Remembers what was asked for.
#[derive(Debug)]
struct Recorder(Bytes, Mutex<Vec<Range<u64>>>);

#[async_trait]
impl crate::store::ByteSource for Recorder {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.1.lock().unwrap().push(range.clone());
        self.0.read(range).await
    }
}

#[test]
fn a_header_larger_than_the_first_read_takes_two_requests() {
    // 40 000 tiles: 320 KB of tables for the image, 80 KB and 20 KB for its overviews.
    let image = |side: u32| {
        let tiles = (side as usize / 16).pow(2);
        Directory::new((side, side), (16, 16), 8, Vec::new())
            .with(Tag::TileOffsets, Values::Long(vec![0; tiles]))
            .with(Tag::TileByteCounts, Values::Long(vec![0; tiles]))
    };
    let reduced = |side| image(side).with(Tag::NewSubfileType, Values::Long(vec![1]));
    let file = Builder::new(vec![image(3200), reduced(1600), reduced(800)]).build();
    let source = Recorder(file.clone(), Mutex::default());
    let cog = block_on(open(&source)).unwrap();
    assert_eq!(cog.levels.len(), 3);
    let requests = source.1.into_inner().unwrap();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!((cog.header_requests, requests[1].start), (2, requests[0].end), "no byte twice");
    assert!(cog.levels[2].tile_range(0).is_none(), "sparse");
    let tables = (40_000 + 10_000 + 2_500) * 12;
    assert!((tables..tables + 4096).contains(&cog.memory()), "{}", cog.memory());
}

#[test]
fn sparse_tiles_hold_nodata_or_nothing() {
    let directory =
        Directory::new((16, 16), (16, 16), 16, vec![Vec::new()]).with(Tag::GdalNodata, Values::Text("9".into()));
    let cog = opened(&Builder::new(vec![directory]).build()).unwrap();
    let level = &cog.levels[0];
    assert_eq!((level.tile_range(0), level.tile_range(1)), (None, None));
    let mut out = Pixels::zeros(DataType::Float64, 3);
    fill_sparse(level, 0, cog.nodata[0], &mut out);
    assert_eq!(out, Pixels::UInt16(vec![9; 256]));
    fill_sparse(level, 0, None, &mut out);
    assert_eq!(out, Pixels::UInt16(vec![0; 256]));
}

#[test]
fn strips_are_tiles_as_wide_as_the_image() {
    let strip = |first: u8, rows: u8| (first..first + rows * 5).collect::<Vec<u8>>();
    let image = Directory::striped((5, 7), 3, 8, vec![strip(0, 3), strip(15, 3), strip(30, 1)]);
    for image in [image.clone(), image.deflated()] {
        let file = Builder::new(vec![image]).build();
        let cog = opened(&file).unwrap();
        let level = &cog.levels[0];
        assert!(level.striped);
        assert_eq!((level.tile_width, level.tile_height, level.tiles_across(), level.tiles_down()), (5, 3, 1, 3));
        assert_eq!(tile(&file, level, 1).unwrap(), Pixels::UInt8(strip(15, 3)));
        assert_eq!(tile(&file, level, 2).unwrap(), Pixels::UInt8(strip(30, 1)), "the last strip has one row");
    }
    // A last strip that is stored whole, and one that ends early.
    for (rows, whole) in [(3, true), (1, true), (0, false)] {
        let image = Directory::striped((5, 4), 3, 8, vec![strip(0, 3), [strip(15, rows), vec![1; 4]].concat()]);
        let file = Builder::new(vec![image.deflated()]).build();
        let last = tile(&file, &opened(&file).unwrap().levels[0], 1);
        assert_eq!(last.ok(), whole.then(|| Pixels::UInt8(strip(15, 1))));
    }
}

#[test]
fn one_strip_holds_the_image_if_nobody_says_otherwise() {
    let image = Directory::striped((5, 4), u32::MAX, 16, vec![vec![7; 40]]);
    for image in [image.clone().without(Tag::RowsPerStrip), image] {
        let cog = opened(&Builder::new(vec![image]).build()).unwrap();
        assert_eq!((cog.levels[0].tile_height, cog.levels[0].tiles_down()), (4, 1));
    }
    let zero = Directory::striped((5, 4), 0, 16, vec![vec![7; 40]]);
    assert!(message(&Builder::new(vec![zero]).build()).contains("RowsPerStrip is 0"));
}

#[test]
fn large_uncompressed_strips_are_cut_where_their_rows_lie() {
    // 2 MB in a strip of 1000 rows, two of 500 with one shorter, and three planes of one each.
    let row = |row: usize| [row.to_le_bytes()[0], row.to_le_bytes()[1]].repeat(1000);
    let rows = |range: std::ops::Range<usize>| range.flat_map(row).collect::<Vec<u8>>();
    let planes = Directory::striped((1000, 1000), 1000, 16, vec![rows(0..1000), rows(1..1001), rows(2..1002)])
        .with(Tag::SamplesPerPixel, Values::Short(vec![3]))
        .with(Tag::PlanarConfiguration, Values::Short(vec![2]));
    let cases = [
        (Directory::striped((1000, 1000), 1000, 16, vec![rows(0..1000)]), 8, 131),
        (Directory::striped((1000, 1700), 900, 16, vec![rows(0..900), rows(900..1700)]), 12, 150),
        (planes, 8, 131),
    ];
    for (image, down, height) in cases {
        let file = Builder::new(vec![image]).build();
        let cog = opened(&file).unwrap();
        let level = &cog.levels[0];
        assert_eq!((level.tiles_down(), level.tile_height), (down, height));
        for sample in 0..level.samples {
            let mut found = Vec::new();
            for piece in 0..level.tiles_down() {
                let piece = tile(&file, level, level.tile_index(sample, piece, 0)).unwrap();
                found.extend_from_slice(piece.as_bytes());
            }
            assert_eq!(found, rows(usize::from(sample)..level.height as usize + usize::from(sample)));
        }
    }
    // Rows that no number of pieces divides, a strip that is not stored, one that is too short, one that is compressed.
    let prime = Directory::striped((1000, 1000), 997, 16, vec![rows(0..997), rows(0..3)]);
    let sparse = Directory::striped((1000, 1000), 1000, 16, vec![Vec::new()]);
    let short = Directory::striped((1000, 1000), 1000, 16, vec![rows(0..999)]);
    let packed = Directory::striped((1000, 1000), 1000, 16, vec![rows(0..1000)]).deflated();
    let down = |image| opened(&Builder::new(vec![image]).build()).unwrap().levels[0].tiles_down();
    assert_eq!([prime, sparse.clone(), short, packed].map(down), [2, 8, 1, 1]);
    let cog = opened(&Builder::new(vec![sparse]).build()).unwrap();
    assert_eq!(cog.levels[0].tile_range(7), None);
}

#[test]
fn pieces_cost_memory_only_as_strips_justify() {
    let huge = |width, rows| {
        Directory::striped((width, i32::MAX as u32), rows, 8, vec![vec![1; 8]])
            .with(Tag::StripOffsets, Values::Long8(vec![8]))
            .with(Tag::StripByteCounts, Values::Long8(vec![u64::MAX]))
    };
    let cog = opened(&Builder::new(vec![huge(1 << 13, u32::MAX)]).build()).unwrap();
    assert!(cog.levels[0].tiles_down() <= 1 << 16 && cog.memory() < 4096);
    assert!(message(&Builder::new(vec![huge(i32::MAX as u32, u32::MAX)]).build()).contains("at most 256 MiB"));
}

#[test]
fn an_alpha_band_is_the_last_of_two_or_four() {
    let alpha = |samples: u16, photometric: u16, kinds: &[u16]| {
        let image = Directory::new((16, 16), (16, 16), 8, vec![vec![0; 256 * usize::from(samples)]])
            .with(Tag::SamplesPerPixel, Values::Short(vec![samples]))
            .with(Tag::Photometric, Values::Short(vec![photometric]))
            .with(Tag::ExtraSamples, Values::Short(kinds.to_vec()));
        opened(&Builder::new(vec![image]).build()).unwrap().alpha
    };
    assert_eq!([alpha(2, 1, &[2]), alpha(2, 1, &[1]), alpha(4, 2, &[2])], [Some(1), Some(1), Some(3)]);
    assert_eq!(alpha(4, 1, &[0, 0, 2]), Some(3));
    assert_eq!([alpha(3, 1, &[0, 2]), alpha(5, 2, &[0, 2]), alpha(2, 1, &[0])], [None; 3]);
    // One kind for three more bands: it is that of the first of them.
    assert_eq!(alpha(4, 1, &[2]), None);
}

#[test]
fn a_buffer_of_the_right_shape_is_not_reallocated() {
    let file = Builder::new(pyramid()).build();
    let cog = opened(&file).unwrap();
    let mut out = Pixels::zeros(DataType::UInt16, 256);
    let before = out.as_bytes().as_ptr();
    let range = cog.levels[0].tile_range(1).unwrap();
    decode_tile(&cog.levels[0], 1, &file[range.start as usize..range.end as usize], &mut out).unwrap();
    assert_eq!(out.as_bytes().as_ptr(), before);
}

#[test]
fn what_is_no_tiff_is_shown() {
    assert_eq!(message(b""), "not a TIFF: the file is empty");
    assert!(message(b"<!DOCTYPE html>\n<html>").contains("'<!DOCTYPE html> <html>' (a web page"));
    assert!(message(b"{\"error\": \"no such key\"}").contains("(JSON"));
    assert!(message(&[0x89, 0x50, 0x4e, 0x47, 0, 1, 2, 3, 4]).contains("the bytes 89 50 4e 47"));
    assert!(message(b"II*\0").contains("truncated"));
    assert!(message(b"II*\0\0\0\0\0").contains("no image"));
    assert!(message(b"II*\0\xff\0\0\0").contains("truncated: a directory (IFD) needs bytes 255 to 257"));
}

#[test]
fn directories_cannot_share_one_table_to_no_end() {
    let tiles = |n: usize| vec![vec![1; 256]; n];
    let first = Directory::new((1600, 1600), (16, 16), 8, tiles(10_000));
    let file = Builder::new(vec![first.clone()]).build();
    assert_eq!(opened(&file).unwrap().levels.len(), 1);
    // The same directory again and again: a few bytes each, which would cost as much memory as the first.
    let table_at = 8 + 2 + 10 * 12 + 4;
    let mut shared = Builder::new(vec![first]).build()[..table_at + 80_000].to_vec();
    let directory = shared[8..table_at].to_vec();
    for _ in 0..40 {
        let next = (shared.len() as u32).to_le_bytes();
        let link = shared.len() - if shared.len() > table_at + 80_000 { 4 } else { 80_004 };
        shared[link..link + 4].copy_from_slice(&next);
        shared.extend_from_slice(&directory);
    }
    let message = opened(&Bytes::from(shared)).unwrap_err().to_string();
    assert!(message.contains("over and over"), "{message}");
}

#[test]
fn counts_that_overflow_together_are_corrupt() {
    let image = Directory::new((16, 16), (16, 16), 8, vec![vec![3; 256]]);
    let mut file = Builder { big_tiff: true, ..Builder::new(vec![image]) }.build().to_vec();
    // The counts of the first two tags: their sum is 2^64, which is not nothing.
    for entry in [24, 44] {
        file[entry + 2..entry + 4].copy_from_slice(&1u16.to_le_bytes());
        file[entry + 4..entry + 12].copy_from_slice(&(1u64 << 63).to_le_bytes());
        file[entry + 12..entry + 20].copy_from_slice(&8u64.to_le_bytes());
    }
    let message = opened(&Bytes::from(file)).unwrap_err().to_string();
    assert!(message.contains("truncated"), "{message}");
}

#[test]
fn circles_and_contradictions_are_corrupt() {
    let file = Builder::new(pyramid()).build();
    let mut circle = file.to_vec();
    let entries = usize::from(u16::from_le_bytes([circle[8], circle[9]]));
    circle[10 + entries * 12..14 + entries * 12].copy_from_slice(&8u32.to_le_bytes());
    assert!(message(&circle).contains("circle"));

    let small = |d: Directory| Builder::new(vec![d]).build();
    let image = || Directory::new((64, 64), (16, 16), 8, vec![vec![0; 256]; 16]);
    assert!(message(&small(image().with(Tag::ImageWidth, Values::Long(vec![640])))).contains("160 tiles but lists 16"));
    assert!(message(&small(image().with(Tag::TileWidth, Values::Long(vec![0])))).contains("TileWidth is 0"));
    assert!(message(&small(image().without(Tag::ImageLength))).contains("lacks the tag ImageLength"));
    let huge =
        image().with(Tag::TileWidth, Values::Long(vec![1 << 20])).with(Tag::TileLength, Values::Long(vec![1 << 20]));
    assert!(message(&small(huge)).contains("at most 256 MiB"));
    let forged = image()
        .with(Tag::TileOffsets, Values::Long(vec![8; 16]))
        .with(Tag::TileByteCounts, Values::Long(vec![u32::MAX; 16]));
    assert!(message(&small(forged)).contains("claims 4294967295 compressed"));
}

#[test]
fn what_we_do_not_read_is_named() {
    let image = || Directory::new((16, 16), (16, 16), 8, vec![vec![0; 256]]);
    let refused = |tag, value: u16| message(&Builder::new(vec![image().with(tag, Values::Short(vec![value]))]).build());
    assert!(refused(Tag::Compression, 50002).contains("JPEG XL"));
    assert!(refused(Tag::SampleFormat, 6).contains("complex"));
    assert!(refused(Tag::BitsPerSample, 33).contains("33 bits"));
    assert!(refused(Tag::Photometric, 5).contains("CMYK"));
    assert!(refused(Tag::FillOrder, 2).contains("FillOrder"));
    let mixed = image().with(Tag::BitsPerSample, Values::Short(vec![8, 16, 8]));
    assert!(message(&Builder::new(vec![mixed]).build()).contains("different bit depths"));
}

#[test]
fn thumbnails_pages_and_foreign_overviews_are_passed_over() {
    let image = |size: (u32, u32), kind| {
        let tiles = (size.0.div_ceil(16) * size.1.div_ceil(16)) as usize;
        Directory::new(size, (16, 16), 8, vec![vec![1; 256]; tiles]).with(Tag::NewSubfileType, Values::Long(vec![kind]))
    };
    let other_type = image((16, 8), 1).with(Tag::SampleFormat, Values::Short(vec![2]));
    let directories = vec![
        image((64, 32), 0),
        image((16, 8), 1),
        image((20, 20), 1),
        image((64, 32), 2),
        image((33, 17), 1),
        other_type,
        image((32, 16), 1).with(Tag::Compression, Values::Short(vec![3])),
    ];
    let cog = opened(&Builder::new(directories).build()).unwrap();
    assert_eq!(cog.levels.iter().map(|l| l.width).collect::<Vec<_>>(), [64, 33, 16]);
}

#[test]
fn a_missing_georeference_is_told_but_pixels_open() {
    let image = || Directory::new((16, 16), (16, 16), 8, vec![vec![3; 256]]);
    let why = |d: Directory| opened(&Builder::new(vec![d]).build()).unwrap().georeference().unwrap_err().to_string();
    assert!(why(image()).contains("no georeference"));
    let gcps = image().with(Tag::ModelTiepoint, Values::Double(vec![0.0; 24]));
    assert!(why(gcps).contains("ground control points only"));
    let no_crs = image().with_georeference().without(Tag::GeoKeyDirectory);
    assert!(why(no_crs).contains("no coordinate reference system"));
    let matrix = [0.0, -10.0, 0.0, 100.0, 5.0, 0.0, 0.0, 200.0];
    let rotated = image().with(Tag::ModelTransformation, Values::Double([&matrix[..], &[0.0; 8]].concat()));
    let cog = opened(&Builder::new(vec![rotated]).build()).unwrap();
    assert_eq!(cog.transform, Some(Affine { a: 0.0, b: -10.0, c: 100.0, d: 5.0, e: 0.0, f: 200.0 }));
}

#[test]
fn a_tiepoint_in_the_pixel_centre_is_shifted_to_the_corner() {
    let keys = Values::Short(vec![1, 1, 0, 1, 1025, 0, 1, 2]);
    let image = Directory::new((16, 16), (16, 16), 8, vec![vec![3; 256]]).with_georeference();
    let cog = opened(&Builder::new(vec![image.with(Tag::GeoKeyDirectory, keys)]).build()).unwrap();
    assert_eq!(cog.transform.unwrap().apply(0.5, 0.5), (500_000.0, 4_000_000.0));
}

#[test]
fn jpeg_streams_are_not_believed() {
    let frame = |width: u16, components: u8| {
        let mut stream = vec![0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0, 16];
        stream.extend(width.to_be_bytes());
        stream.push(components);
        stream.extend([[0, 0x21, 0]; 4].concat());
        stream
    };
    let error_of = |samples: u16, tile: Vec<u8>, tables: &[u8]| {
        let image = Directory::new((16, 16), (16, 16), 8, vec![tile])
            .with(Tag::Compression, Values::Short(vec![7]))
            .with(Tag::SamplesPerPixel, Values::Short(vec![samples]))
            .with(Tag::JpegTables, Values::Bytes(tables.to_vec()));
        let file = Builder::new(vec![image]).build();
        let cog = opened(&file).unwrap();
        tile_error(&file, &cog)
    };
    let error = |tile: Vec<u8>, tables: &[u8]| error_of(1, tile, tables);
    assert!(error(frame(65535, 1), &[]).contains("65535 x 16 x 1 values are not the 16 x 16 x 1 of the tile"));
    assert!(error(frame(16, 2), &[]).contains("16 x 16 x 2"));
    assert!(error(b"no JPEG".to_vec(), &[0xff]).contains("no frame header"));
    assert!(error(frame(16, 1), &[0xff, 0xd8, 0xff, 0xd9]).contains("JPEG tile is corrupt"));
    assert!(error(frame(16, 1), &frame(65535, 4)).contains("tables hold an image"));
    assert!(error_of(4, frame(16, 4), &[]).contains("full resolution"), "the decoder panics on them");
    let scans = [frame(16, 1), [0xff, 0xda, 0, 2].repeat(101)].concat();
    assert!(error(scans, &[]).contains("100 scans"));
}

fn tile_error(file: &Bytes, cog: &Cog) -> String {
    tile(file, &cog.levels[0], 0).unwrap_err().to_string()
}

/// Opens a file and decodes all of it.
#[expect(clippy::let_underscore_must_use, reason = "an error is as good as pixels")]
fn read_everything(file: &Bytes) {
    let Ok(cog) = opened(file) else { return };
    let _ = cog.georeference();
    let mut out = Pixels::zeros(cog.dtype, 0);
    for level in cog.levels.iter().flat_map(|l| std::iter::once(l).chain(l.mask.as_deref())) {
        for index in 0..(level.tiles_across() as usize * level.tiles_down() as usize).min(64) {
            let Some(range) = level.tile_range(index) else { continue };
            let bytes = block_on(crate::store::ByteSource::read(file, range)).unwrap();
            let _ = decode_tile(level, index, &bytes, &mut out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_files_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
        truncate: bool,
        big_tiff: bool,
    ) {
        let mut file = Builder { big_tiff, ..Builder::new(pyramid()) }.build().to_vec();
        for (at, byte) in flips {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if truncate {
            file.truncate(end.index(file.len()));
        }
        read_everything(&Bytes::from(file));
    }
}

/// 512 x 512 `uint16` like a Sentinel-2 band: smooth relief and sensor noise, horizontally differenced, deflated.
fn textured_tile() -> Vec<u8> {
    let mut noise = 1u32;
    let mut previous = 0u16;
    let values = (0..512 * 512u32).flat_map(|i| {
        let (row, col) = (f64::from(i / 512), f64::from(i % 512));
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let relief = 1500.0 + 400.0 * (row / 60.0).sin() * (col / 45.0).cos();
        let value = relief as u16 + (noise >> 26) as u16;
        let difference = if i % 512 == 0 { value } else { value.wrapping_sub(previous) };
        previous = value;
        difference.to_le_bytes()
    });
    values.collect()
}

/// Prints MB/s of decoded values: `cargo test --release decode_speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn decode_speed() {
    let measure = |what: &str, run: &mut dyn FnMut()| {
        let best = (0..60).map(|_| {
            let start = std::time::Instant::now();
            (0..5).for_each(|_| run());
            start.elapsed().as_secs_f64() / 5.0
        });
        let best = best.fold(f64::INFINITY, f64::min);
        eprintln!("{what}: {:.0} MB/s ({:.0} us per tile)", 0.524288 / best, best * 1e6);
        best
    };
    let image = Directory::new((512, 512), (512, 512), 16, vec![textured_tile()]);
    let file = Builder::new(vec![image.with(Tag::Predictor, Values::Short(vec![2])).deflated()]).build();
    let cog = opened(&file).unwrap();
    let level = &cog.levels[0];
    let range = level.tile_range(0).unwrap();
    let packed = &file[range.start as usize..range.end as usize];
    eprintln!("compressed to {:.0} %", packed.len() as f64 / 5242.88);
    let mut bare = libdeflater::Decompressor::new();
    let mut bytes = vec![0; 512 * 512 * 2];
    let libdeflate = measure("bare libdeflate", &mut || {
        bare.zlib_decompress(packed, &mut bytes).unwrap();
    });
    let mut out = Pixels::zeros(DataType::UInt16, 0);
    let ours = measure("decode_tile", &mut || decode_tile(level, 0, packed, &mut out).unwrap());
    eprintln!("decode_tile takes {:+.1} %", (ours / libdeflate - 1.0) * 100.0);
    let mut values = vec![1u16; 512 * 512];
    measure("predictor 2 alone, uint16", &mut || super::predictor::undo_horizontal(&mut values, 512, 1));
    let mut values = vec![1u8; 512 * 1024];
    measure("predictor 2 alone, uint8", &mut || super::predictor::undo_horizontal(&mut values, 512, 1));
    measure("predictor 2 alone, uint8 x 3", &mut || super::predictor::undo_horizontal(&mut values, 3 * 256, 3));
    measure("predictor 3 alone, float32", &mut || {
        super::predictor::undo_floating_point(&mut values, 2048, 1, 4).unwrap();
    });
}
