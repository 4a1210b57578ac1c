//! `lazycogs_zonal`: one row per zone, step and band, with the statistics of the pixels that the zone covers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use geo::CoordsIter;

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::arguments::{self, Place};
use super::named::{number, text, texts};
use super::rows::{self, Cell};
use super::value::Value;
use super::vectors::Chunk;
use crate::crs::{Crs, LONLAT};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::interrupt;
use crate::items::{Id, Raw, Shapes};
use crate::mutex::lock;
use crate::plan::{Cube, ZoneSet, Zoned};
use crate::request::{OnError, Request};
use crate::scan::{Zonal as Scan, ZoneRow};
use crate::store::Session;
use crate::zones::{Rule, Shape, Stat};

pub struct Zonal;

const USUAL: [&str; 5] = ["count", "mean", "min", "max", "stdev"];

pub struct Bind {
    cube: Arc<Cube>,
    zoned: Arc<Zoned>,
    ids: Vec<Id>,
    stats: Vec<Stat>,
}

pub struct Global {
    columns: Vec<usize>,
    state: Mutex<State>,
}

struct State {
    scan: Scan,
    ready: VecDeque<ZoneRow>,
}

/// The named arguments that say what zones are.
pub fn of_zones() -> [(&'static str, Type); 4] {
    [
        ("zone_id", Type::VARCHAR),
        ("zones_crs", Type::VARCHAR),
        ("pixels", Type::VARCHAR),
        ("min_coverage", Type::DOUBLE),
    ]
}

impl TableFunction for Zonal {
    const NAME: &'static str = "lazycogs_zonal";
    type Bind = Bind;
    type Global = Global;
    type Local = ();

    fn parameters() -> Vec<Type> {
        arguments::positional()
    }

    fn named_parameters() -> Vec<(&'static str, Type)> {
        let mut named = arguments::named();
        named.extend(of_zones());
        named.extend([("bbox", Type::ANY), ("stats", Type::ANY)]);
        named
    }

    fn bind(info: &BindInfo) -> Result<Bind> {
        let names = texts(info, "stats")?.unwrap_or_else(|| USUAL.map(str::to_owned).to_vec());
        let stats = stats_of(&names)?;
        let (cube, set) = cube(info, info.argument(1), arguments::named_bbox(info)?, false)?;
        let Some(zoned) = cube.zoned.clone() else { return Err(Error::Argument("zones is NULL".into())) };
        info.add_column("zone_id", if set.numbered { &Type::BIGINT } else { &Type::VARCHAR });
        info.add_column("time", &Type::TIMESTAMP);
        info.add_column("band", &Type::VARCHAR);
        for name in &names {
            info.add_column(name, &Type::DOUBLE);
        }
        let rows = (zoned.len() as u64).saturating_mul(cube.bands.len() as u64).saturating_mul(cube.likely_steps());
        info.set_cardinality(rows, false);
        Ok(Bind { cube, zoned, ids: set.ids, stats })
    }

    fn init(bind: &Bind, info: &InitInfo) -> Result<Global> {
        // Its own threads do the work.
        info.set_max_threads(1);
        let scan = Scan::start(Self::NAME, bind.cube.clone(), bind.zoned.clone(), bind.stats.clone())?;
        Ok(Global { columns: info.columns(), state: Mutex::new(State { scan, ready: VecDeque::new() }) })
    }

    fn scan(bind: &Bind, global: &Global, _: &mut (), output: &mut Chunk) -> Result<()> {
        let mut state = lock(&global.state);
        while state.ready.is_empty() {
            match state.scan.next_step().transpose()? {
                Some(rows) => state.ready.extend(rows),
                None => return Ok(()),
            }
        }
        let count = state.ready.len().min(Chunk::capacity());
        let cells: Vec<Vec<Cell>> = state.ready.drain(..count).map(|row| cells(bind, row)).collect();
        // SAFETY: `cells` gives the columns of bind in their order and types.
        unsafe { rows::write(&cells, &global.columns, output) };
        Ok(())
    }
}

fn cells(bind: &Bind, row: ZoneRow) -> Vec<Cell> {
    let id = match bind.ids.get(row.zone) {
        Some(Id::Number(number)) => Cell::Bigint(*number),
        Some(Id::Text(text)) => text.clone().into(),
        Some(Id::Missing) | None => Cell::Null,
    };
    let band = bind.cube.bands.get(row.band).map(|band| band.name.clone());
    let values = row.values.into_iter().map(Cell::from);
    [id, Cell::Timestamp(row.time), band.into()].into_iter().chain(values).collect()
}

fn stats_of(names: &[String]) -> Result<Vec<Stat>> {
    if names.is_empty() {
        return Err(Error::Argument("stats is an empty list; leave it out for count, mean, min, max and stdev".into()));
    }
    if let Some((_, name)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
        return Err(Error::Argument(format!("stats names '{name}' twice")));
    }
    names.iter().map(|name| Stat::parse(name)).collect()
}

/// The cube of a call over `zones`, and these. `bbox` is the output grid's, where it is given.
///
/// # Errors
/// As [`arguments::request`] and [`Cube::bind_over`]; zones that cannot be read.
pub fn cube(info: &BindInfo, zones: Value, bbox: Option<[f64; 4]>, allow_empty: bool) -> Result<(Arc<Cube>, ZoneSet)> {
    let crs = arguments::crs(info)?;
    let resolution = arguments::resolution(info)?;
    if !(resolution > 0.0 && resolution.is_finite()) {
        return Err(Error::Argument(format!("resolution {resolution} is not a positive number of crs units")));
    }
    let set = zone_set(info, zones)?;
    let bind = |bbox: [f64; 4], grid: Grid| {
        let request = arguments::request_at(info, Place { bbox, grid })?;
        let allow_empty = allow_empty || request.allow_empty;
        Cube::bind_over(Request { allow_empty, ..request }, Some(&set))
    };
    if let Some(bbox) = bbox {
        let cube = bind(bbox, Grid::new(bbox, resolution)?)?;
        return Ok((Arc::new(cube), set));
    }
    let grid = set.grid(&crs, resolution, (0.0, 0.0))?;
    let cube = bind(bbox_of(&grid), grid)?;
    // Pixels of the sources are not cut where the output may have the same.
    let native = cube.native.filter(|origin| !is_on_lines(&grid, *origin));
    let Some(origin) = native else { return Ok((Arc::new(cube), set)) };
    let grid = set.grid(&crs, resolution, origin)?;
    let cube = bind(bbox_of(&grid), grid)?;
    Ok((Arc::new(cube), set))
}

fn bbox_of(grid: &Grid) -> [f64; 4] {
    let (xmax, ymin) = grid.affine().apply(grid.width as f64, grid.height as f64);
    [grid.xmin, ymin, xmax, grid.ymax]
}

/// Whether a corner of pixels lies on lines of the grid.
fn is_on_lines(grid: &Grid, (x, y): (f64, f64)) -> bool {
    let off = |at: f64| (at / grid.resolution - (at / grid.resolution).round()).abs();
    off(x - grid.xmin) < 1e-6 && off(y - grid.ymax) < 1e-6
}

fn zone_set(info: &BindInfo, zones: Value) -> Result<ZoneSet> {
    let (least, how) = (number(info, "min_coverage")?, text(info, "pixels")?);
    let rule = Rule::parse(how.as_deref().unwrap_or("fractional"), least.unwrap_or(0.0))?;
    let (options, threads) = arguments::store(info)?;
    let source = arguments::table(zones, "zones")?.reachable(&Session::new(options), threads)?;
    let id = text(info, "zone_id")?;
    let shapes = interrupt::apart(move || Shapes::read(&source, id.as_deref(), threads, "zones"))?;
    let given = text(info, "zones_crs")?.map(|text| Crs::new(&text)).transpose()?;
    let ignored = arguments::on_error(info)? == OnError::Ignore;
    let (mut ids, mut read, mut srid) = (Vec::new(), Vec::new(), None);
    for (id, raw) in shapes.rows {
        let shape = match raw {
            Raw::Wkb(bytes) => Shape::from_wkb(&bytes),
            Raw::Text(text) => Shape::from_text(&text),
            Raw::Missing => Ok(Shape::default()),
        };
        match shape {
            Ok(shape) => {
                if let (Some(one), Some(other), None) = (srid, shape.srid, &given)
                    && one != other
                {
                    return Err(Error::Argument(format!(
                        "zone {id} has the SRID {other}, one before it {one}; bring them to one CRS"
                    )));
                }
                srid = srid.or(shape.srid);
                ids.push(id);
                read.push(Ok(shape));
            }
            Err(error) if ignored => {
                ids.push(id);
                read.push(Err(error));
            }
            Err(error) => return Err(error.within(format!("zone {id}"))),
        }
    }
    if ids.is_empty() {
        return Err(Error::Argument("zones has no rows".into()));
    }
    let declared = srid.map(|srid| Crs::new(&format!("EPSG:{srid}"))).transpose()?;
    let crs = given.or(declared).or(shapes.crs);
    if crs.is_none() {
        check_degrees(ids.iter().zip(&read))?;
    }
    let crs = crs.unwrap_or_else(|| LONLAT.clone());
    Ok(ZoneSet::new(ids, shapes.numbered, read, crs, rule))
}

/// # Errors
/// Coordinates that are no longitudes and latitudes, which zones have where nothing says otherwise.
fn check_degrees<'z>(mut zones: impl Iterator<Item = (&'z Id, &'z Result<Shape>)>) -> Result<()> {
    let is_far = |shape: &Shape| shape.polygons.coords_iter().any(|at| at.x.abs() > 720.0 || at.y.abs() > 90.0 + 1e-9);
    match zones.find(|(_, shape)| shape.as_ref().is_ok_and(is_far)) {
        Some((id, _)) => Err(Error::Argument(format!(
            "zone {id} has coordinates that are no longitude and latitude, and nothing says in which CRS it is; pass zones_crs := \
             'EPSG:...'"
        ))),
        None => Ok(()),
    }
}
