//! `lazycogs_read`: one row per pixel.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::arguments;
use super::vectors::{Chunk, Column};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::mutex::lock;
use crate::pixels::{DataType, Pixel, Pixels};
use crate::plan::Cube;
use crate::runtime;
use crate::scan::{Finished, Scan, Tile};
use crate::with_type;

pub struct Read;

/// Columns before the bands.
const COORDINATES: [(&str, Type); 3] = [("time", Type::TIMESTAMP), ("y", Type::DOUBLE), ("x", Type::DOUBLE)];
/// Pixels that a thread takes at a time: enough that taking costs nothing, few enough that threads share a tile.
const SLICE: usize = 1 << 16;
/// Rows of a tile that are kept until the next one is there: with [`PATIENCE`] they last longer than a request may take with
/// all its retries at the default settings.
const RESERVE: usize = 1 << 13;
/// How long a thread waits for a tile before DuckDB gets a row and with it the chance to end the query. A client that runs
/// tasks on its own thread looks for Ctrl-C once in 50 chunks.
const PATIENCE: Duration = Duration::from_millis(20);

pub struct Bind {
    cube: Arc<Cube>,
    columns: Vec<SqlType>,
}

/// How a pixel type appears in SQL.
#[derive(Clone, Copy)]
enum SqlType {
    Native(DataType),
    Integer,
    Bigint,
}

pub struct Global {
    scan: Scan,
    /// For each output column: which column of the function, and for bands their position in the tile.
    outputs: Vec<Output>,
    /// What is left of the tile at work, without its last rows. The lock is fair: a thread that cannot get it in time
    /// must not wait for ever while another comes back again and again.
    current: tokio::sync::Mutex<Option<Slice>>,
    /// The last rows of that tile.
    reserve: Mutex<Option<Slice>>,
}

#[derive(Clone, Copy)]
enum Output {
    Time,
    Y,
    X,
    Band {
        column: usize,
        layer: usize,
    },
    /// Asked for by a count of rows.
    Nothing,
}

/// Pixels `start..end` of a tile.
struct Slice {
    tile: Arc<Tile>,
    start: usize,
    end: usize,
}

#[derive(Default)]
pub struct Local {
    slice: Option<Slice>,
}

impl TableFunction for Read {
    const NAME: &'static str = "lazycogs_read";
    type Bind = Bind;
    type Global = Global;
    type Local = Local;

    fn parameters() -> Vec<Type> {
        arguments::positional()
    }

    fn named_parameters() -> Vec<(&'static str, Type)> {
        arguments::named()
    }

    fn bind(info: &BindInfo) -> Result<Bind> {
        let cube = Arc::new(arguments::cube(info, Self::NAME, &COORDINATES, false)?);
        for (name, column) in &COORDINATES {
            info.add_column(name, column);
        }
        let exact = cube.request.dtype.is_some();
        let columns: Vec<_> = cube.bands.iter().map(|b| sql_type(b.dtype, exact)).collect();
        for (band, column) in cube.bands.iter().zip(&columns) {
            info.add_column(&band.name, &duckdb_type(*column));
        }
        info.set_cardinality(cube.target.pixels().saturating_mul(cube.likely_steps()), false);
        Ok(Bind { cube, columns })
    }

    fn init(bind: &Bind, info: &InitInfo) -> Result<Global> {
        let mut bands = Vec::new();
        let outputs = info.columns().into_iter().map(|column| match column {
            0 => Output::Time,
            1 => Output::Y,
            2 => Output::X,
            _ => match column.checked_sub(COORDINATES.len()).filter(|band| *band < bind.columns.len()) {
                Some(column) => {
                    bands.push(column);
                    Output::Band { column, layer: bands.len() - 1 }
                }
                None => Output::Nothing,
            },
        });
        let outputs = outputs.collect();
        info.set_max_threads(bind.cube.request.threads);
        Ok(Global {
            scan: Scan::start(Self::NAME, bind.cube.clone(), bands)?,
            outputs,
            current: Default::default(),
            reserve: Mutex::default(),
        })
    }

    fn scan(bind: &Bind, global: &Global, local: &mut Local, output: &mut Chunk) -> Result<()> {
        let mut filled = 0;
        while filled < Chunk::capacity() {
            if local.slice.as_ref().is_none_or(|s| s.start == s.end) {
                local.slice = global.next(filled > 0)?;
            }
            let Some(slice) = &mut local.slice else { break };
            let rows = (slice.end - slice.start).min(Chunk::capacity() - filled);
            write(bind, global, slice, filled..filled + rows, output)?;
            slice.start += rows;
            filled += rows;
        }
        output.set_len(filled);
        Ok(())
    }
}

/// Writes the first pixels of a slice as `rows` of the output.
fn write(bind: &Bind, global: &Global, slice: &Slice, rows: Range<usize>, output: &mut Chunk) -> Result<()> {
    for (i, what) in global.outputs.iter().enumerate() {
        let mut column = output.column(i);
        // SAFETY: each column is written in the type that bind registered for it, `rows` of it.
        unsafe {
            match *what {
                Output::Time => column.values(&rows).fill(MaybeUninit::new(slice.tile.unit.time)),
                Output::Y => fill_y(bind, slice, column.values(&rows)),
                Output::X => fill_x(bind, slice, column.values(&rows)),
                Output::Band { column: band, layer } => {
                    fill_band(bind.columns[band], slice, layer, &rows, &mut column)?
                }
                Output::Nothing => {}
            }
        }
    }
    Ok(())
}

impl Slice {
    /// Its first pixels, at most `most` of them; `None` if that is none.
    fn split(&mut self, most: usize) -> Option<Slice> {
        let start = self.start;
        self.start = self.end.min(start + most);
        (start < self.start).then(|| Slice { tile: self.tile.clone(), start, end: self.start })
    }
}

impl Global {
    /// The next pixels for a thread; `None` at the end, or where it is not to wait and there are none yet: small tiles share a chunk.
    fn next(&self, only_what_is_here: bool) -> Result<Option<Slice>> {
        match only_what_is_here {
            true => self.advance().now_or_never().unwrap_or(Ok(None)),
            false => self.take(),
        }
    }

    /// The next pixels for a thread; `None` at the end.
    ///
    /// Nothing tells an extension that its query was interrupted: DuckDB looks between two chunks, and an empty chunk
    /// would end the scan. So the last rows of a tile are kept until the next tile is there, and while it is not they are
    /// handed out one by one.
    fn take(&self) -> Result<Option<Slice>> {
        let io = runtime::io()?;
        loop {
            match io.block_on(async { tokio::time::timeout(PATIENCE, self.advance()).await }) {
                Ok(next) => return next,
                Err(_) => {
                    interrupt::check()?;
                    if let Some(row) = self.reserve().as_mut().and_then(|rows| rows.split(1)) {
                        return Ok(Some(row));
                    }
                }
            }
        }
    }

    /// As [`Global::take`], for as long as it may take. A call that is given up takes nothing.
    async fn advance(&self) -> Result<Option<Slice>> {
        let mut current = self.current.lock().await;
        loop {
            if let Some(slice) = current.as_mut().and_then(|rest| rest.split(SLICE)) {
                return Ok(Some(slice));
            }
            let kept = match self.scan.receive().await.transpose()? {
                None => return Ok(self.reserve().take().and_then(|mut rows| rows.split(RESERVE))),
                Some(tile) => {
                    let mut whole = Slice { start: 0, end: tile.unit.rect.pixels(), tile: Arc::new(tile) };
                    *current = whole.split(whole.end.saturating_sub(RESERVE));
                    self.reserve().replace(whole)
                }
            };
            if let Some(rows) = kept.and_then(|mut rows| rows.split(RESERVE)) {
                return Ok(Some(rows));
            }
        }
    }

    fn reserve(&self) -> MutexGuard<'_, Option<Slice>> {
        lock(&self.reserve)
    }
}

/// 8- and 16-bit integers as INTEGER and 32-bit unsigned ones as BIGINT, so that arithmetic on them does not overflow;
/// everything else, and what the call asks for by name, as itself.
fn sql_type(dtype: DataType, exact: bool) -> SqlType {
    match dtype {
        DataType::UInt8 | DataType::Int8 | DataType::UInt16 | DataType::Int16 if !exact => SqlType::Integer,
        DataType::UInt32 if !exact => SqlType::Bigint,
        other => SqlType::Native(other),
    }
}

fn duckdb_type(column: SqlType) -> Type {
    match column {
        SqlType::Integer => Type::INTEGER,
        SqlType::Bigint => Type::BIGINT,
        SqlType::Native(dtype) => match dtype {
            DataType::UInt8 => Type::UTINYINT,
            DataType::Int8 => Type::TINYINT,
            DataType::UInt16 => Type::USMALLINT,
            DataType::Int16 => Type::SMALLINT,
            DataType::UInt32 => Type::UINTEGER,
            DataType::Int32 => Type::INTEGER,
            DataType::UInt64 => Type::UBIGINT,
            DataType::Int64 => Type::BIGINT,
            DataType::Float32 => Type::FLOAT,
            DataType::Float64 => Type::DOUBLE,
        },
    }
}

fn fill_y(bind: &Bind, slice: &Slice, out: &mut [MaybeUninit<f64>]) {
    let rect = slice.tile.unit.rect;
    let width = rect.width as usize;
    let mut at = slice.start;
    let mut rest = out;
    while !rest.is_empty() {
        let run = (width - at % width).min(rest.len());
        let (line, tail) = rest.split_at_mut(run);
        line.fill(MaybeUninit::new(bind.cube.request.grid.y(rect.row + (at / width) as u64)));
        (rest, at) = (tail, at + run);
    }
}

fn fill_x(bind: &Bind, slice: &Slice, out: &mut [MaybeUninit<f64>]) {
    let rect = slice.tile.unit.rect;
    let mut col = slice.start as u64 % rect.width;
    for x in out {
        x.write(bind.cube.request.grid.x(rect.col + col));
        col += 1;
        if col == rect.width {
            col = 0;
        }
    }
}

/// # Safety
/// `out` is a column of the type `column` stands for, with room for `rows`.
unsafe fn fill_band(column: SqlType, slice: &Slice, layer: usize, rows: &Range<usize>, out: &mut Column) -> Result<()> {
    let (pixels, valid) = match &slice.tile.layers[layer] {
        Finished::Pixels(pixels, valid) => (pixels, valid),
        Finished::Untouched { zero } => {
            // SAFETY: as the caller promises.
            unsafe { fill_zero(column, rows, out) };
            if !zero {
                out.set_null(rows);
            }
            return Ok(());
        }
    };
    let run = slice.start..slice.start + rows.len();
    // SAFETY: as the caller promises; a native column has the type of the tile's pixels, since both come from the band.
    unsafe {
        match (column, pixels) {
            (SqlType::Native(dtype), pixels) if dtype == pixels.dtype() => {
                crate::with_pixels!(pixels, v => out.copy_pixels(rows, &v[run.clone()], |p| p))
            }
            (SqlType::Integer, Pixels::UInt8(v)) => widen(out, rows, &v[run.clone()]),
            (SqlType::Integer, Pixels::Int8(v)) => widen(out, rows, &v[run.clone()]),
            (SqlType::Integer, Pixels::UInt16(v)) => widen(out, rows, &v[run.clone()]),
            (SqlType::Integer, Pixels::Int16(v)) => widen(out, rows, &v[run.clone()]),
            (SqlType::Bigint, Pixels::UInt32(v)) => out.copy_pixels(rows, &v[run.clone()], i64::from),
            // A column left as it came would be what the memory held before.
            (_, pixels) => {
                let why =
                    format!("internal error, please report it: pixels of type {} in another's column", pixels.dtype());
                return Err(Error::Corrupt(why));
            }
        }
    }
    out.set_validity(rows.start, &valid[run]);
    Ok(())
}

/// # Safety
/// `out` is a column of the type `column` stands for, with room for `rows`.
unsafe fn fill_zero(column: SqlType, rows: &Range<usize>, out: &mut Column) {
    // SAFETY: by the contract of this function.
    unsafe {
        match column {
            SqlType::Integer => out.values::<i32>(rows).fill(MaybeUninit::new(0)),
            SqlType::Bigint => out.values::<i64>(rows).fill(MaybeUninit::new(0)),
            SqlType::Native(dtype) => {
                with_type!(dtype, T => out.values::<T>(rows).fill(MaybeUninit::new(T::default())));
            }
        }
    }
}

/// # Safety
/// `out` is an INTEGER column with room for `rows`, which are as many as `source`.
unsafe fn widen<T: Pixel + Into<i32>>(out: &mut Column, rows: &Range<usize>, source: &[T]) {
    // SAFETY: by the contract of this function.
    unsafe { out.copy_pixels(rows, source, Into::<i32>::into) }
}
