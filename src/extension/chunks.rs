//! `lazycogs_read_chunks`: one row per output tile, each band a BLOB.

use std::sync::Arc;

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::arguments;
use super::arrow::Blob;
use super::vectors::Chunk;
use crate::buffers;
use crate::cog::Nodata;
use crate::error::Result;
use crate::pixels::{Pixel, Pixels};
use crate::plan::Cube;
use crate::scan::{Scan, Tile};
use crate::with_type;

pub struct ReadChunks;

const COORDINATES: [(&str, Type); 9] = [
    ("time", Type::TIMESTAMP),
    ("chunk_row", Type::BIGINT),
    ("chunk_col", Type::BIGINT),
    ("xmin", Type::DOUBLE),
    ("ymin", Type::DOUBLE),
    ("xmax", Type::DOUBLE),
    ("ymax", Type::DOUBLE),
    ("height", Type::BIGINT),
    ("width", Type::BIGINT),
];

pub struct Global {
    scan: Scan,
    /// Columns of the function in the order of the output, and the bands among them.
    columns: Vec<usize>,
    bands: Vec<usize>,
}

impl TableFunction for ReadChunks {
    const NAME: &'static str = "lazycogs_read_chunks";
    type Bind = Arc<Cube>;
    type Global = Global;
    type Local = ();

    fn parameters() -> Vec<Type> {
        arguments::positional()
    }

    fn named_parameters() -> Vec<(&'static str, Type)> {
        arguments::named()
    }

    fn bind(info: &BindInfo) -> Result<Arc<Cube>> {
        let cube = Arc::new(arguments::cube(info, Self::NAME, &COORDINATES, true)?);
        for (name, column) in &COORDINATES {
            info.add_column(name, column);
        }
        for band in &cube.bands {
            info.add_column(&band.name, &Type::BLOB);
        }
        info.set_cardinality(cube.target.len().saturating_mul(cube.likely_steps()), false);
        Ok(cube)
    }

    fn init(cube: &Arc<Cube>, info: &InitInfo) -> Result<Global> {
        let columns = info.columns();
        let band = |column: &usize| column.checked_sub(COORDINATES.len()).filter(|b| *b < cube.bands.len());
        let bands: Vec<usize> = columns.iter().filter_map(band).collect();
        info.set_max_threads(cube.request.threads);
        Ok(Global { scan: Scan::start(Self::NAME, cube.clone(), bands.clone())?, columns, bands })
    }

    fn scan(cube: &Arc<Cube>, global: &Global, _: &mut (), output: &mut Chunk) -> Result<()> {
        let Some(mut tile) = global.scan.next().transpose()? else { return Ok(()) };
        let mut layer = 0;
        for (i, column) in global.columns.iter().enumerate() {
            match column.checked_sub(COORDINATES.len()) {
                None => set_coordinate(cube, &tile, *column, i, output),
                Some(band) if band < cube.bands.len() => {
                    let nodata = cube.bands[global.bands[layer]].nodata;
                    let (pixels, valid) = &mut tile.layers[layer];
                    let mut pixels = pixels.take();
                    fill_invalid(&mut pixels, valid, nodata);
                    output.column(i).refer_to(&Blob::new(buffers::lent(pixels))?);
                    layer += 1;
                }
                Some(_) => {}
            }
        }
        output.set_len(1);
        Ok(())
    }
}

fn set_coordinate(cube: &Cube, tile: &Tile, column: usize, output_column: usize, output: &mut Chunk) {
    let (unit, rect) = (&tile.unit, tile.unit.rect);
    let corner = |col: u64, row: u64| cube.request.grid.affine().apply(col as f64, row as f64);
    let mut out = output.column(output_column);
    // SAFETY: the types are those of COORDINATES.
    unsafe {
        match column {
            0 => out.set(0, unit.time),
            1 => out.set(0, unit.chunk_row as i64),
            2 => out.set(0, unit.chunk_col as i64),
            3 => out.set(0, corner(rect.col, rect.row).0),
            4 => out.set(0, corner(rect.col, rect.row_end()).1),
            5 => out.set(0, corner(rect.col_end(), rect.row).0),
            6 => out.set(0, corner(rect.col, rect.row).1),
            7 => out.set(0, rect.height as i64),
            _ => out.set(0, rect.width as i64),
        }
    }
}

/// Writes the sentinel where there is no value: the band's nodata, else NaN, else 0.
fn fill_invalid(pixels: &mut Pixels, valid: &[u8], nodata: Option<Nodata>) {
    if !valid.contains(&0) {
        return;
    }
    with_type!(pixels.dtype(), T => {
        let nan = || T::DTYPE.is_float().then(|| T::from_f64_saturating(f64::NAN));
        let fill: T = nodata.and_then(Nodata::cast).or_else(nan).unwrap_or_default();
        let values: &mut [T] = bytemuck::cast_slice_mut(pixels.as_bytes_mut());
        for (value, valid) in values.iter_mut().zip(valid) {
            *value = if *valid != 0 { *value } else { fill };
        }
    });
}
