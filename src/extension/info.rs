//! `lazycogs_info`: the cube as a whole, one row per band.

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::arguments;
use super::rows::{Cell, Once};
use super::vectors::Chunk;
use crate::error::Result;
use crate::items::Item;
use crate::plan::Cube;
use crate::request::Request;
use crate::scan::{Failure, Recording};

pub struct Info;

const COLUMNS: [(&str, Type); 22] = [
    ("band", Type::VARCHAR),
    ("asset", Type::VARCHAR),
    ("dtype", Type::VARCHAR),
    ("nodata", Type::DOUBLE),
    ("crs", Type::VARCHAR),
    ("resolution", Type::DOUBLE),
    ("xmin", Type::DOUBLE),
    ("ymin", Type::DOUBLE),
    ("xmax", Type::DOUBLE),
    ("ymax", Type::DOUBLE),
    ("width", Type::BIGINT),
    ("height", Type::BIGINT),
    ("chunk_size", Type::BIGINT),
    ("chunks", Type::BIGINT),
    ("mosaic", Type::VARCHAR),
    ("steps", Type::BIGINT),
    ("first_time", Type::TIMESTAMP),
    ("last_time", Type::TIMESTAMP),
    ("items", Type::BIGINT),
    ("bytes", Type::BIGINT),
    ("layout", Type::VARCHAR),
    ("warning", Type::VARCHAR),
];

impl TableFunction for Info {
    const NAME: &'static str = "lazycogs_info";
    type Bind = Cube;
    type Global = Once;
    type Local = ();

    fn parameters() -> Vec<Type> {
        arguments::positional()
    }

    fn named_parameters() -> Vec<(&'static str, Type)> {
        arguments::named()
    }

    fn bind(info: &BindInfo) -> Result<Cube> {
        let cube = Cube::bind(Request { allow_empty: true, ..arguments::request(info)? })?;
        for (name, column) in &COLUMNS {
            info.add_column(name, column);
        }
        info.set_cardinality(cube.bands.len() as u64, true);
        Ok(cube)
    }

    fn init(cube: &Cube, info: &InitInfo) -> Result<Once> {
        let recording = Recording::of(cube);
        Ok(Once::new(info, describe(cube, &recording)?))
    }

    fn scan(_: &Cube, global: &Once, _: &mut (), output: &mut Chunk) -> Result<()> {
        // SAFETY: `describe` gives the columns of COLUMNS in their order and types.
        unsafe { global.emit(output) };
        Ok(())
    }
}

fn describe(cube: &Cube, recording: &Recording) -> Result<Vec<Vec<Cell>>> {
    let mut left_out = |item: &Item| recording.failures().record(Failure::of_item(item));
    let summary = cube.summary(&|| true, &mut left_out)?;
    let grid = cube.request.grid;
    let (xmax, ymin) = grid.affine().apply(grid.width as f64, grid.height as f64);
    let cells = |band: &crate::plan::Band| {
        let values = cube.target.pixels().saturating_mul(summary.steps);
        vec![
            band.name.clone().into(),
            band.asset.clone().into(),
            band.dtype.name().into(),
            band.nodata.map(|n| n.to_f64()).into(),
            cube.crs().definition().into(),
            grid.resolution.into(),
            grid.xmin.into(),
            ymin.into(),
            xmax.into(),
            grid.ymax.into(),
            grid.width.into(),
            grid.height.into(),
            cube.target.side().into(),
            cube.target.len().into(),
            band.method.name().into(),
            summary.steps.into(),
            summary.first.map_or(Cell::Null, Cell::Timestamp),
            summary.last.map_or(Cell::Null, Cell::Timestamp),
            summary.items.into(),
            values.saturating_mul(band.dtype.size() as u64).into(),
            (if band.striped { "striped" } else { "tiled" }).into(),
            cube.warnings.get(&band.asset).cloned().into(),
        ]
    };
    Ok(cube.bands.iter().map(cells).collect())
}
