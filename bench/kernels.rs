//! `cargo bench`: the hot kernels, one by one, on made-up data.
//!
//! Each is measured on what a window of 2048 x 2048 pixels of Sentinel-2 gives it: uint16, blocks of 512, DEFLATE with
//! predictor 2, UTM brought to Web Mercator.

#![expect(clippy::expect_used, reason = "what is made up here is good")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use lazycogs::cog::{Nodata, decode_tile, open};
use lazycogs::crs::Crs;
use lazycogs::grid::{Affine, Grid, Rect};
use lazycogs::mosaic::Method;
use lazycogs::pixels::{DataType, Pixels};
use lazycogs::warp::{Kernel, Mapping, Resampler, Sampler, Source, Window};

const SIDE: usize = 2048;
const BLOCK: usize = 512;

/// Pixels that compress about as well as those of a satellite: a slope and noise.
fn pixels(len: usize) -> Vec<u16> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 58) as u16
    };
    (0..len).map(|i| 1000 + (i % SIDE) as u16 / 4 + noise()).collect()
}

/// A block of [`pixels`] as a file holds it.
fn compressed_block() -> Vec<u8> {
    let mut values = pixels(BLOCK * BLOCK);
    for row in values.chunks_mut(BLOCK) {
        for i in (1..row.len()).rev() {
            row[i] = row[i].wrapping_sub(row[i - 1]);
        }
    }
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut packed = vec![0; raw.len() + 1024];
    let len = libdeflater::Compressor::default().zlib_compress(&raw, &mut packed).expect("the buffer is large enough");
    packed.truncate(len);
    packed
}

/// One entry of a TIFF directory: tag, type (2: text, 3: 16 bits, 4: 32 bits, 12: double), count, bytes.
type Entry = (u16, u16, u32, Vec<u8>);

fn shorts(tag: u16, values: &[u16]) -> Entry {
    (tag, 3, values.len() as u32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn longs(tag: u16, values: &[u32]) -> Entry {
    (tag, 4, values.len() as u32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn doubles(tag: u16, values: &[f64]) -> Entry {
    (tag, 12, values.len() as u32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// The directory of one level; its blocks are said to lie a megabyte and more into the file.
fn level(side: u32, overview: bool) -> Vec<Entry> {
    let blocks = side.div_ceil(BLOCK as u32).pow(2);
    let offsets: Vec<u32> = (0..blocks).map(|i| (1 << 20) + i * 300_000).collect();
    let mut entries = vec![
        longs(254, &[u32::from(overview)]),
        longs(256, &[side]),
        longs(257, &[side]),
        shorts(258, &[16]),
        shorts(259, &[8]),
        shorts(262, &[1]),
        shorts(277, &[1]),
        shorts(317, &[2]),
        longs(322, &[BLOCK as u32]),
        longs(323, &[BLOCK as u32]),
        longs(324, &offsets),
        longs(325, &vec![299_992; blocks as usize]),
    ];
    if !overview {
        entries.push(doubles(33550, &[10.0, 10.0, 0.0]));
        entries.push(doubles(33922, &[0.0, 0.0, 0.0, 500_000.0, 5_000_000.0, 0.0]));
        entries.push(shorts(34735, &[1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32615]));
        entries.push((42113, 2, 2, b"0\0".to_vec()));
    }
    entries
}

/// The header of a COG of `side` x `side` pixels and `levels` levels, without its blocks.
fn header(side: u32, levels: u32) -> Bytes {
    let mut file = b"II\x2a\0\x08\0\0\0".to_vec();
    for number in 0..levels {
        let entries = level(side >> number, number > 0);
        let mut values_at = file.len() + 2 + entries.len() * 12 + 4;
        let mut values: Vec<u8> = Vec::new();
        file.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, bytes) in &entries {
            file.extend(tag.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend(count.to_le_bytes());
            if bytes.len() <= 4 {
                file.extend(bytes.iter().copied().chain([0; 4]).take(4));
            } else {
                file.extend((values_at as u32).to_le_bytes());
                values.extend(bytes);
                values_at += bytes.len();
            }
        }
        let next = if number + 1 < levels { values_at as u32 } else { 0 };
        file.extend(next.to_le_bytes());
        file.extend(values);
    }
    Bytes::from(file)
}

fn decoding(c: &mut Criterion) {
    let cog = block_on(open(&header(10980, 1))).expect("the header is good");
    let packed = compressed_block();
    let mut out = Pixels::UInt16(Vec::new());
    decode_tile(&cog.levels[0], 0, &packed, &mut out).expect("the block is good");
    assert_eq!(out, Pixels::UInt16(pixels(BLOCK * BLOCK)));
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Bytes((BLOCK * BLOCK * 2) as u64));
    group.bench_function("deflate, predictor 2, 512 x 512 uint16", |b| {
        b.iter(|| decode_tile(&cog.levels[0], 0, black_box(&packed), &mut out));
    });
}

fn headers(c: &mut Criterion) {
    let file = header(10980, 6);
    c.bench_function("header/10980 x 10980, 6 levels", |b| b.iter(|| block_on(open(black_box(&file)))));
}

/// A grid of [`SIDE`] x [`SIDE`] pixels of 15 m in Web Mercator, within [`source`].
fn mercator() -> (Grid, Crs) {
    let (left, top) = (-10_340_000.0, 5_620_000.0);
    let extent = SIDE as f64 * 15.0;
    let grid = Grid::new([left, top - extent, left + extent, top], 15.0).expect("the grid is good");
    (grid, Crs::new("EPSG:3857").expect("PROJ knows it"))
}

fn source() -> Source {
    let transform = Affine { a: 10.0, b: 0.0, c: 500_000.0, d: 0.0, e: -10.0, f: 5_000_000.0 };
    let crs = Crs::new("EPSG:32615").expect("PROJ knows it");
    Source { crs, transform, width: 10980, height: 10980, tile: (512, 512) }
}

/// A grid on the source's own pixels.
fn native() -> (Grid, Crs) {
    let (left, top, extent) = (510_000.0, 4_990_000.0, SIDE as f64 * 10.0);
    let grid = Grid::new([left, top - extent, left + extent, top], 10.0).expect("the grid is good");
    (grid, source().crs)
}

fn mapping(grid: &Grid, crs: &Crs, source: &Source) -> Mapping {
    let found = Mapping::new(grid, crs, grid.rect(), source, Kernel::Nearest).expect("the transformation exists");
    found.expect("the grid lies within the source")
}

fn warping(c: &mut Criterion) {
    let source = source();
    for (name, (grid, crs)) in [("UTM to Web Mercator", mercator()), ("one CRS", native())] {
        let pixels_out = Throughput::Elements(grid.rect().pixels() as u64);
        let mut group = c.benchmark_group("mapping");
        group.throughput(pixels_out.clone()).sample_size(20);
        group.bench_function(name, |b| b.iter(|| mapping(black_box(&grid), &crs, &source)));
        group.finish();

        let found = mapping(&grid, &crs, &source);
        let values = pixels(found.window_pixels() as usize);
        let window = Window { values: &values, mask: None, col: found.col, row: found.row, width: found.width };
        let Rect { width, height, .. } = found.rect;
        let sampler = Sampler::new(&found, 0..width as usize, window, Nodata::parse("0", DataType::UInt16));
        let (mut values, mut valid) = (vec![0u16; width as usize], vec![0u8; width as usize]);
        let mut group = c.benchmark_group("nearest");
        group.throughput(pixels_out).sample_size(20);
        group.bench_function(name, |b| {
            b.iter(|| {
                for row in 0..height as usize {
                    black_box(sampler.row(row, 0..width as usize, &mut values, black_box(&mut valid)));
                }
            });
        });
    }
}

/// A grid of pixels `shrink` times as large as the source's, a fraction of one beside them.
fn shifted(shrink: f64) -> (Grid, Crs) {
    let (left, top, extent) = (510_003.7, 4_990_002.3, SIDE as f64 * 10.0);
    let grid = Grid::new([left, top - extent, left + extent, top], 10.0 * shrink).expect("the grid is good");
    (grid, source().crs)
}

/// What the kernels make of a whole window, and what it costs to find their taps.
fn resampling(c: &mut Criterion) {
    let source = source();
    let cases = [
        ("one CRS", shifted(1.0), vec![Kernel::Bilinear, Kernel::Cubic, Kernel::Lanczos]),
        ("UTM to Web Mercator", mercator(), vec![Kernel::Bilinear, Kernel::Cubic, Kernel::Lanczos, Kernel::Average]),
        ("one CRS, shrunk by 3.5", shifted(3.5), vec![Kernel::Average, Kernel::Mode, Kernel::Max, Kernel::Med]),
    ];
    for (name, (grid, crs), kernels) in cases {
        for kernel in kernels {
            let make = || {
                let found = Mapping::new(&grid, &crs, grid.rect(), &source, kernel).expect("the transformation exists");
                found.expect("the grid lies within the source")
            };
            let found = make();
            let Rect { width, height, .. } = found.rect;
            let mut group = c.benchmark_group(format!("resample/{name}"));
            group.throughput(Throughput::Elements(grid.rect().pixels() as u64)).sample_size(10);
            group.bench_function(format!("{}, mapping", kernel.name()), |b| b.iter(make));
            for (kind, hole) in [("whole", 0), ("with holes", 12)] {
                let mut values = pixels(found.window_pixels() as usize);
                values.iter_mut().filter(|v| hole > 0 && **v % hole == 0).for_each(|v| *v = 0);
                // Classes of land cover rather than numbers.
                if kernel == Kernel::Mode {
                    values.iter_mut().for_each(|v| *v = *v / 8 % 12 + 1);
                }
                let window = Window { values: &values, mask: None, col: found.col, row: found.row, width: found.width };
                let (mut out, mut valid) = (vec![0.0; width as usize], vec![0u8; width as usize]);
                group.bench_function(format!("{}, {kind}", kernel.name()), |b| {
                    b.iter(|| {
                        let mut resampler = Resampler::new(&found, window, Nodata::parse("0", DataType::UInt16));
                        for row in 0..height as usize {
                            resampler.row(row, 0..width as usize, &mut out, black_box(&mut valid));
                        }
                    });
                });
            }
            group.finish();
        }
    }
}

/// Feeds a scene once for each of the marks of valid pixels, row by row, and finishes.
fn compose(method: Method, scene: &[u16], marks: &[Vec<u8>], dtype: DataType) -> (Pixels, Vec<u8>) {
    let mut mosaic = method.start::<u16>(SIDE * SIDE, false);
    for marks in marks {
        for row in 0..SIDE {
            let run = row * SIDE..(row + 1) * SIDE;
            mosaic.feed(run.start, &scene[run.clone()], &marks[run]);
        }
    }
    mosaic.finish(dtype)
}

fn mosaics(c: &mut Criterion) {
    let scene = pixels(SIDE * SIDE);
    let whole = vec![1u8; SIDE * SIDE];
    // Stripes that no two items share, and stripes that most of them share.
    let stripes = |part: usize| (0..SIDE * SIDE).map(|i| u8::from(i / 64 % 8 == part)).collect::<Vec<u8>>();
    let most = |part: usize| (0..SIDE * SIDE).map(|i| u8::from(i / 64 % 8 != part)).collect::<Vec<u8>>();
    let cases = [
        ("first, one whole item", Method::First, DataType::UInt16, vec![whole]),
        ("first, eight items of an eighth", Method::First, DataType::UInt16, (0..8).map(stripes).collect()),
        ("median, eight items", Method::Median, DataType::Float32, (0..8).map(most).collect()),
        ("highest, eight items", Method::Highest, DataType::UInt16, (0..8).map(most).collect()),
    ];
    let mut group = c.benchmark_group("mosaic");
    group.sample_size(10);
    for (name, method, dtype, marks) in cases {
        group.throughput(Throughput::Elements((SIDE * SIDE * marks.len()) as u64));
        group.bench_function(name, |b| {
            b.iter(|| compose(method, &scene, black_box(&marks), dtype));
        });
    }
}

criterion_group!(kernels, decoding, headers, warping, resampling, mosaics);
criterion_main!(kernels);
