//! `lazycogs_collections`: what a STAC API has.

use std::sync::Mutex;
use std::vec::IntoIter;

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::rows::{self, Cell};
use super::search::Api;
use super::vectors::Chunk;
use crate::error::Result;
use crate::interrupt;
use crate::mutex::lock;
use crate::scan::Running;
use crate::search::{CollectionRow, Collections};

pub struct List;

const COLUMNS: [(&str, Type); 7] = [
    ("id", Type::VARCHAR),
    ("title", Type::VARCHAR),
    ("description", Type::VARCHAR),
    ("bbox", Type::BBOX),
    ("start_datetime", Type::TIMESTAMPTZ),
    ("end_datetime", Type::TIMESTAMPTZ),
    ("item_assets", Type::Json),
];

pub struct Global {
    columns: Vec<usize>,
    state: Mutex<State>,
    running: Running,
}

struct State {
    collections: Collections,
    ready: IntoIter<CollectionRow>,
}

impl TableFunction for List {
    const NAME: &'static str = "lazycogs_collections";
    type Bind = Api;
    type Global = Global;
    type Local = ();

    fn parameters() -> Vec<Type> {
        vec![Type::VARCHAR]
    }

    fn named_parameters() -> Vec<(&'static str, Type)> {
        Api::named()
    }

    fn bind(info: &BindInfo) -> Result<Api> {
        let api = Api::read(info)?;
        for (name, column) in &COLUMNS {
            info.add_column(name, column);
        }
        Ok(api)
    }

    fn init(api: &Api, info: &InitInfo) -> Result<Global> {
        info.set_max_threads(1);
        let client = api.client()?;
        let running = api.running(Self::NAME, &client)?;
        let collections = Collections::new(client, api.url.clone());
        Ok(Global {
            columns: info.columns(),
            state: Mutex::new(State { collections, ready: Vec::new().into_iter() }),
            running,
        })
    }

    fn scan(_: &Api, global: &Global, _: &mut (), output: &mut Chunk) -> Result<()> {
        let mut state = lock(&global.state);
        while state.ready.len() == 0 {
            let Some(page) = interrupt::wait(state.collections.next())?? else {
                global.running.end();
                break;
            };
            global.running.progress().tiles_done(page.len() as u64);
            state.ready = page.into_iter();
        }
        let cells: Vec<Vec<Cell>> = state.ready.by_ref().take(Chunk::capacity()).map(cells).collect();
        // SAFETY: `cells` gives the columns of COLUMNS in their order and types.
        unsafe { rows::write(&cells, &global.columns, output) };
        Ok(())
    }
}

fn cells(row: CollectionRow) -> Vec<Cell> {
    let [start, end] = row.times.map(|time| time.map_or(Cell::Null, Cell::Timestamp));
    vec![
        row.id.into(),
        row.title.into(),
        row.description.into(),
        Cell::Bbox(row.bbox),
        start,
        end,
        row.item_assets.into(),
    ]
}
