//! Files: headers, tiles, windows.

use bytes::Bytes;
use futures::executor::block_on;
use lazycogs::cog::{Cog, Level, decode_tile, fill_sparse, open};
use lazycogs::crs::{Crs, LONLAT, transformer};
use lazycogs::grid::Grid;
use lazycogs::pixels::Pixels;
use lazycogs::scan;
use lazycogs::store::ByteSource;

/// Tiles of more pixels than this are left alone, for speed: the project reads up to `MAX_TILE_BYTES`.
const MAX_TILE: usize = 1 << 18;

/// Opens a file and finds out where on the Earth it lies.
pub fn header(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let Ok(cog) = block_on(open(&file)) else { return };
    // A value of a tag takes a byte of the file at least, and eight bytes of memory at most; directories may share them
    // as far as the first read and twice the header go.
    let justified = data.len() * 16 + usize::from(cog.samples) * 64 + (256 << 10);
    assert!(cog.memory() <= justified, "{} bytes of header of a file of {}", cog.memory(), data.len());
    assert!(cog.levels.windows(2).all(|pair| pair[0].width >= pair[1].width), "levels are not from fine to coarse");
    let Ok((transform, definition)) = cog.georeference() else { return };
    let inverse = transform.inverse().expect("a georeference has an inverse");
    inverse.apply(0.0, 0.0);
    let Ok(crs) = Crs::new(definition) else { return };
    // Making a transformation takes long, and PROJ knows those of codes.
    if !definition.starts_with("EPSG:") {
        let _ = transformer(&crs, &LONLAT).map(|to_lonlat| to_lonlat.point(transform.c, transform.f));
    }
}

/// Opens a file, decodes tiles of every level and mask, and reads a window of it.
pub fn tiles(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let Ok(cog) = block_on(open(&file)) else { return };
    let mut out = Pixels::zeros(cog.dtype, 0);
    for level in cog.levels.iter().flat_map(|level| std::iter::once(level).chain(level.mask.as_deref())) {
        if level.tile_len() > MAX_TILE {
            continue;
        }
        decode_some(&file, level, &mut out);
        let last = level.tiles_down() as usize - 1;
        fill_sparse(level, last, cog.nodata.first().copied().flatten(), &mut out);
        assert_eq!(out.len(), level.rows_len(level.tile_rows(last)));
    }
    window(&file, cog, data);
}

fn decode_some(file: &Bytes, level: &Level, out: &mut Pixels) {
    let tiles = level.tile_index(level.samples - 1, level.tiles_down() - 1, level.tiles_across() - 1) + 1;
    let last = tiles - 1;
    for index in (0..tiles.min(12)).chain([last]) {
        let Some(range) = level.tile_range(index) else { continue };
        let bytes = block_on(ByteSource::read(file, range)).expect("memory can be read");
        if decode_tile(level, index, &bytes, out).is_ok() {
            assert_eq!((out.len(), out.dtype()), (level.rows_len(level.tile_rows(index)), level.dtype));
        }
    }
}

/// Opens a file and maps a grid in another CRS to a level of it, where the last bytes of the file tell. The transformation is
/// always one of two, since PROJ takes long to find others.
pub fn mapping(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let Some(&[choice, zoom, col, row, width, height]) = data.last_chunk() else { return };
    let Ok(cog) = block_on(open(&file)) else { return };
    let Some(transform) = cog.transform else { return };
    let (crs, unit) = if choice < 128 { ("EPSG:5070", 1.0) } else { ("OGC:CRS84", 1e-5) };
    let (Ok(source), Ok(crs)) = (Crs::new("EPSG:32615"), Crs::new(crs)) else { return };
    let along = |side: u32, part: u8| f64::from(side) * (f64::from(part) / 200.0 - 0.1);
    let (x, y) = transform.apply(along(cog.levels[0].width, col), along(cog.levels[0].height, row));
    let Ok((x, y)) = transformer(&source, &crs).map(|to_grid| to_grid.point(x, y)) else { return };
    let resolution = transform.a.abs().max(transform.b.abs()) * unit * f64::from(zoom).exp2().min(1e9) / 16.0;
    let length = |pixels: u8| resolution * f64::from(pixels % 64 + 1);
    let Ok(grid) = Grid::new([x, y - length(height), x + length(width), y], resolution) else { return };
    if grid.width.max(grid.height) > 128 {
        return;
    }
    let level = usize::from(choice) % cog.levels.len();
    // What is wrong with the file or its place is an error; what is wrong with us is a panic.
    let _ = scan::fuzzing::map_window(cog, level, (&grid, &crs), &source);
}

/// Reads a window whose place the last bytes of the file tell.
fn window(file: &Bytes, cog: Cog, data: &[u8]) {
    let Some(&[choice, zoom, col, row, width, height]) = data.last_chunk() else { return };
    let index = usize::from(choice) % cog.levels.len();
    let level = &cog.levels[index];
    let masks = level.mask.as_deref();
    if [Some(level), masks].into_iter().flatten().any(|image| image.tile_len() > MAX_TILE) {
        return;
    }
    let Ok((transform, _)) = cog.georeference() else { return };
    let resolution = transform.a.abs().max(transform.b.abs()) * f64::from(zoom % 32 + 1) / 4.0;
    let along = |side: u32, part: u8| f64::from(side) * (f64::from(part) / 200.0 - 0.1);
    let (xmin, ymax) = transform.apply(along(cog.levels[0].width, col), along(cog.levels[0].height, row));
    let length = |pixels: u8| resolution * f64::from(pixels % 64 + 1);
    let Ok(grid) = Grid::new([xmin, ymax - length(height), xmin + length(width), ymax], resolution) else { return };
    if grid.width.max(grid.height) > 128 {
        return;
    }
    if let Err(error) = scan::fuzzing::read_window(file, cog, index, &grid, 1 << 20) {
        assert!(!error.to_string().contains("internal error"), "{error}");
    }
}
