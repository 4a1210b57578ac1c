//! `lazycogs_explain`: the reads that a call would make.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::arguments;
use super::named;
use super::rows::{self, Cell};
use super::vectors::Chunk;
use super::zonal;
use crate::error::Result;
use crate::interrupt;
use crate::mutex::lock;
use crate::plan::{Cube, Units};
use crate::request::Request;
use crate::scan::explain::{Row, rows as plan_rows};
use crate::scan::{Failure, Recording, Running};

pub struct Explain;

const PLAN: [(&str, Type); 12] = [
    ("time", Type::TIMESTAMP),
    ("time_index", Type::BIGINT),
    ("chunk_row", Type::BIGINT),
    ("chunk_col", Type::BIGINT),
    ("chunk_height", Type::BIGINT),
    ("chunk_width", Type::BIGINT),
    ("band", Type::VARCHAR),
    ("item_id", Type::VARCHAR),
    ("href", Type::VARCHAR),
    ("read_order", Type::BIGINT),
    ("warning", Type::VARCHAR),
    ("masks", Type::BOOLEAN),
];

const HEADERS: [(&str, Type); 12] = [
    ("overview_level", Type::BIGINT),
    ("overview_resolution", Type::DOUBLE),
    ("window_col", Type::BIGINT),
    ("window_row", Type::BIGINT),
    ("window_width", Type::BIGINT),
    ("window_height", Type::BIGINT),
    ("tiles", Type::BIGINT),
    ("requests", Type::BIGINT),
    ("bytes", Type::BIGINT),
    ("cached", Type::BIGINT),
    ("requests_now", Type::BIGINT),
    ("bytes_now", Type::BIGINT),
];

pub struct Bind {
    cube: Arc<Cube>,
    headers: bool,
}

pub struct Global {
    columns: Vec<usize>,
    assets: Vec<String>,
    state: Mutex<State>,
    recording: Recording,
    running: Running,
}

struct State {
    units: Units,
    ready: VecDeque<Row>,
}

impl TableFunction for Explain {
    const NAME: &'static str = "lazycogs_explain";
    type Bind = Bind;
    type Global = Global;
    type Local = ();

    fn parameters() -> Vec<Type> {
        arguments::positional()
    }

    fn named_parameters() -> Vec<(&'static str, Type)> {
        let mut named = arguments::named();
        named.extend(zonal::of_zones());
        named.extend([("zones", Type::ANY), ("headers", Type::BOOLEAN)]);
        named
    }

    fn bind(info: &BindInfo) -> Result<Bind> {
        let headers = named::boolean(info, "headers")?.unwrap_or(false);
        let cube = match named::given(info, "zones") {
            Some(zones) => zonal::cube(info, zones, arguments::bbox_or_null(info)?, true)?.0,
            None => Arc::new(Cube::bind(Request { allow_empty: true, ..arguments::request(info)? })?),
        };
        for (name, column) in PLAN.iter().chain(HEADERS.iter().filter(|_| headers)) {
            info.add_column(name, column);
        }
        Ok(Bind { cube, headers })
    }

    fn init(bind: &Bind, info: &InitInfo) -> Result<Global> {
        let assets = bind.cube.assets(0..bind.cube.bands.len());
        let units = Units::new(bind.cube.clone(), &assets)?;
        let state = Mutex::new(State { units, ready: VecDeque::new() });
        info.set_max_threads(1);
        let running = Running::start(Self::NAME, &bind.cube)?;
        Ok(Global { columns: info.columns(), assets, state, recording: Recording::of(&bind.cube), running })
    }

    fn scan(bind: &Bind, global: &Global, _: &mut (), output: &mut Chunk) -> Result<()> {
        let mut state = lock(&global.state);
        while state.ready.len() < Chunk::capacity() {
            let unit = interrupt::wait(state.units.next())?;
            for item in state.units.take_left_out() {
                global.recording.failures().record(Failure::of_item(&item));
            }
            let Some(unit) = unit.transpose()? else {
                global.running.end();
                break;
            };
            state.ready.extend(plan_rows(&bind.cube, &global.assets, unit, bind.headers, global.recording.failures())?);
            global.running.progress().tile_done();
        }
        let rows = state.ready.len().min(Chunk::capacity());
        let cells: Vec<Vec<Cell>> = state.ready.drain(..rows).map(cells).collect();
        // SAFETY: `cells` gives the columns of PLAN and HEADERS in their order and types.
        unsafe { rows::write(&cells, &global.columns, output) };
        Ok(())
    }
}

fn cells(row: Row) -> Vec<Cell> {
    let header = row.header.as_ref();
    let window = header.and_then(|h| h.window.as_ref());
    vec![
        Cell::Timestamp(row.time),
        row.time_index.into(),
        row.chunk_row.into(),
        row.chunk_col.into(),
        row.chunk_height.into(),
        row.chunk_width.into(),
        row.band.clone().into(),
        row.item_id.clone().into(),
        row.href.clone().into(),
        row.read_order.into(),
        row.warning.clone().into(),
        Cell::Boolean(row.masks),
        header.map(|h| h.overview_level).into(),
        header.map(|h| h.overview_resolution).into(),
        window.map(|w| w.col).into(),
        window.map(|w| w.row).into(),
        window.map(|w| w.width).into(),
        window.map(|w| w.height).into(),
        window.map(|w| w.tiles).into(),
        window.map(|w| w.requests).into(),
        window.map(|w| w.bytes).into(),
        window.map(|w| w.cached).into(),
        window.map(|w| w.requests_now).into(),
        window.map(|w| w.bytes_now).into(),
    ]
}
