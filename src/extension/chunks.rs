//! `lazycogs_read_chunks`: one row per output tile, each band a BLOB.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::arguments;
use super::arrow::Blob;
use super::vectors::Chunk;
use crate::buffers;
use crate::cog::Nodata;
use crate::error::Result;
use crate::mutex::lock;
use crate::pixels::{Pixel, Pixels};
use crate::plan::{Band, Cube};
use crate::scan::{Finished, Scan, Tile};
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
    /// Columns of the function in the order of the output.
    columns: Vec<usize>,
    /// The bytes of tiles that no item touches, by band and number of pixels: those within the grid, and those at its edges.
    untouched: Mutex<HashMap<(usize, usize), Bytes>>,
}

impl Global {
    /// The `pixels` pixels of a tile in which `band`, one of the cube's, has no value, or the value `zero` everywhere.
    fn untouched(&self, cube: &Cube, band: usize, pixels: usize, zero: bool) -> Bytes {
        let Band { dtype, nodata, .. } = cube.bands[band];
        let make = || {
            with_type!(dtype, T => {
                let fill: T = if zero { T::default() } else { fill(nodata) };
                let values = if fill == T::default() { buffers::zeros(pixels) } else { vec![fill; pixels] };
                buffers::lent(T::wrap(values))
            })
        };
        let mut kept = lock(&self.untouched);
        kept.entry((band, pixels)).or_insert_with(make).clone()
    }
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
        Ok(Global { scan: Scan::start(Self::NAME, cube.clone(), bands)?, columns, untouched: Mutex::default() })
    }

    fn scan(cube: &Arc<Cube>, global: &Global, _: &mut (), output: &mut Chunk) -> Result<()> {
        let Some(mut tile) = global.scan.next().transpose()? else { return Ok(()) };
        let (mut layer, pixels) = (0, tile.unit.rect.pixels());
        for (i, column) in global.columns.iter().enumerate() {
            match column.checked_sub(COORDINATES.len()) {
                None => set_coordinate(cube, &tile, *column, i, output),
                Some(band) if band < cube.bands.len() => {
                    let bytes = match &mut tile.layers[layer] {
                        Finished::Pixels(pixels, valid) => {
                            let mut pixels = pixels.take();
                            fill_invalid(&mut pixels, valid, cube.bands[band].nodata);
                            buffers::lent(pixels)
                        }
                        Finished::Untouched { zero } => global.untouched(cube, band, pixels, *zero),
                    };
                    output.column(i).refer_to(&Blob::new(bytes)?);
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

/// What stands for no value: the band's nodata, else NaN, else 0.
fn fill<T: Pixel>(nodata: Option<Nodata>) -> T {
    let nan = || T::DTYPE.is_float().then(|| T::from_f64_saturating(f64::NAN));
    nodata.and_then(Nodata::cast).or_else(nan).unwrap_or_default()
}

/// Writes [`fill`] where there is no value.
fn fill_invalid(pixels: &mut Pixels, valid: &[u8], nodata: Option<Nodata>) {
    /// Most runs of so many pixels are all valid, or none of them is.
    const RUN: usize = 256;
    with_type!(pixels.dtype(), T => {
        let fill: T = fill(nodata);
        let values: &mut [T] = bytemuck::cast_slice_mut(pixels.as_bytes_mut());
        for (values, valid) in values.chunks_mut(RUN).zip(valid.chunks(RUN)) {
            match valid.iter().map(|valid| usize::from(*valid)).sum::<usize>() {
                0 => values.fill(fill),
                all if all == values.len() => {}
                _ => values.iter_mut().zip(valid).for_each(|(value, valid)| *value = if *valid != 0 { *value } else { fill }),
            }
        }
    });
}
