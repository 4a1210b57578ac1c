//! `lazycogs_search`: the items that a STAC API finds.

use std::sync::{Arc, Mutex};
use std::vec::IntoIter;

use url::Url;

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::arguments::{self, edges};
use super::named::{given, integer, text, texts};
use super::rows::{self, Cell};
use super::settings::Settings;
use super::value::Value;
use super::vectors::Chunk;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::mutex::lock;
use crate::request::{Caller, OnError};
use crate::scan::progress::Progress;
use crate::scan::{Failure, Recording, Running};
use crate::search::{Client, Cursor, Filter, Missing, PAGE_SIZE, Place, Row, Search, boxes, shape};
use crate::store::{self, Keys, Location, Session};
use crate::time::Interval;

pub struct Find;

const COLUMNS: [(&str, Type); 10] = [
    ("id", Type::VARCHAR),
    ("collection", Type::VARCHAR),
    ("stac_version", Type::VARCHAR),
    ("datetime", Type::TIMESTAMPTZ),
    ("start_datetime", Type::TIMESTAMPTZ),
    ("end_datetime", Type::TIMESTAMPTZ),
    ("geometry", Type::BLOB),
    ("bbox", Type::BBOX),
    ("assets", Type::Json),
    ("properties", Type::Json),
];

const LARGEST_PAGE: i64 = 10_000;

pub struct Bind {
    search: Search,
    api: Api,
    errors: OnError,
}

/// An API and who asks it: what a bind keeps, and every run begins anew.
pub struct Api {
    pub url: Url,
    headers: Vec<(String, String)>,
    bearer_token: Option<String>,
    store: store::Options,
    pub caller: Caller,
    pub progress: bool,
}

pub struct Global {
    columns: Vec<usize>,
    state: Mutex<State>,
    recording: Recording,
    running: Running,
}

struct State {
    cursor: Cursor,
    ready: IntoIter<Row>,
}

impl TableFunction for Find {
    const NAME: &'static str = "lazycogs_search";
    type Bind = Bind;
    type Global = Global;
    type Local = ();

    fn parameters() -> Vec<Type> {
        vec![Type::VARCHAR]
    }

    fn named_parameters() -> Vec<(&'static str, Type)> {
        let mut named = vec![
            ("collections", Type::ANY),
            ("bbox", Type::ANY),
            ("intersects", Type::VARCHAR),
            ("datetime", Type::VARCHAR),
            ("filter", Type::VARCHAR),
            ("ids", Type::ANY),
            ("max_items", Type::BIGINT),
            ("limit", Type::BIGINT),
            ("page_size", Type::BIGINT),
            ("errors", Type::VARCHAR),
        ];
        named.extend(Api::named());
        named
    }

    fn bind(info: &BindInfo) -> Result<Bind> {
        let api = Api::read(info)?;
        let search = Search {
            url: api.url.clone(),
            collections: names(info, "collections")?,
            place: place(info)?,
            datetime: text(info, "datetime")?.map(|text| Interval::parse(&text)).transpose()?,
            filter: text(info, "filter")?.map(|filter| Filter::parse(&filter)).transpose()?,
            ids: names(info, "ids")?,
            most: most(info)?,
            page_size: integer(info, "page_size", 1, LARGEST_PAGE)?.map_or(PAGE_SIZE, |n| n as u64),
        };
        for (name, column) in &COLUMNS {
            info.add_column(name, column);
        }
        Ok(Bind { search, api, errors: arguments::on_error(info)? })
    }

    fn init(bind: &Bind, info: &InitInfo) -> Result<Global> {
        info.set_max_threads(1);
        let client = bind.api.client()?;
        let running = bind.api.running(Self::NAME, &client)?;
        let cursor = Cursor::new(bind.search.clone(), client, bind.errors == OnError::Ignore);
        let state = Mutex::new(State { cursor, ready: Vec::new().into_iter() });
        Ok(Global { columns: info.columns(), state, recording: Recording::start(bind.api.caller), running })
    }

    /// Gives what is there before it asks for more: who wants a few items waits for one page.
    fn scan(_: &Bind, global: &Global, _: &mut (), output: &mut Chunk) -> Result<()> {
        let mut state = lock(&global.state);
        while state.ready.len() == 0 {
            let Some(batch) = interrupt::wait(state.cursor.next())?? else {
                global.running.end();
                break;
            };
            batch.missing.into_iter().for_each(|missing| global.recording.failures().record(failure(missing)));
            global.running.progress().tiles_done(batch.rows.len() as u64);
            if let Some(total) = state.cursor.total() {
                global.running.progress().set_total(total);
            }
            state.ready = batch.rows.into_iter();
        }
        let cells: Vec<Vec<Cell>> = state.ready.by_ref().take(Chunk::capacity()).map(cells).collect();
        // SAFETY: `cells` gives the columns of COLUMNS in their order and types.
        unsafe { rows::write(&cells, &global.columns, output) };
        Ok(())
    }
}

impl Api {
    /// The named arguments that tell who asks.
    pub fn named() -> Vec<(&'static str, Type)> {
        vec![("headers", Type::map(Type::VARCHAR, Type::VARCHAR)), ("bearer_token", Type::VARCHAR)]
    }

    /// Reads the URL and who asks.
    ///
    /// # Errors
    /// What is no http URL, and what cannot be a header.
    pub fn read(info: &BindInfo) -> Result<Api> {
        let settings = Settings::read(info)?;
        let given_url = info.argument(0).text().ok_or_else(|| Error::Argument(format!("url is NULL; {URL}")))?;
        let Location::Http(url) = Location::resolve(given_url.trim(), None)? else {
            return Err(Error::Argument(format!("url '{}' is no http(s) URL; {URL}", store::shown::place(&given_url))));
        };
        let headers = match given(info, "headers") {
            Some(map) => map
                .text_map()
                .ok_or_else(|| Error::Argument("headers must be a MAP of text to text, without NULL".into()))?,
            None => Vec::new(),
        };
        let bearer_token = text(info, "bearer_token")?;
        // What cannot be a header is told before a query runs.
        Keys::new(&url, &headers, bearer_token.as_deref())?;
        let store = arguments::store_options(info, &settings)?;
        Ok(Api { url, headers, bearer_token, store, caller: info.caller(), progress: settings.progress })
    }

    /// A client of its own for each run.
    pub fn client(&self) -> Result<Client> {
        let keys = Keys::new(&self.url, &self.headers, self.bearer_token.as_deref())?;
        Ok(Client::new(Session::new(self.store.clone()), keys))
    }

    /// Lists the run of a function; what it counts as tiles are the rows that came.
    pub fn running(&self, function: &'static str, client: &Client) -> Result<Running> {
        let progress = Progress::of(function, self.caller.database, client.session().traffic().clone(), 1);
        Running::of(Arc::new(progress), self.progress)
    }
}

const URL: &str = "give the landing page of a STAC API, such as 'https://earth-search.aws.element84.com/v1'";

/// # Errors
/// An empty list, which APIs take for no condition.
fn names(info: &BindInfo, name: &str) -> Result<Vec<String>> {
    match texts(info, name)? {
        Some(names) if names.is_empty() => {
            Err(Error::Argument(format!("{name} is an empty list; leave it out to search without it")))
        }
        names => Ok(names.unwrap_or_default()),
    }
}

fn place(info: &BindInfo) -> Result<Place> {
    match (given(info, "bbox"), text(info, "intersects")?) {
        (Some(_), Some(_)) => Err(Error::Argument("bbox and intersects are both given; a search takes one".into())),
        (Some(bbox), None) => Ok(Place::Boxes(boxes(box_of(&bbox)?)?)),
        (None, Some(geojson)) => Ok(Place::Shape(shape(&geojson)?)),
        (None, None) => Ok(Place::Anywhere),
    }
}

/// Four numbers, or six with the heights between, which no search heeds.
fn box_of(value: &Value) -> Result<[f64; 4]> {
    const FORM: &str =
        "bbox must be four numbers, [west, south, east, north] in degrees, or a STRUCT of xmin, ymin, xmax, ymax";
    let numbers = value.list().and_then(|list| list.iter().map(Value::number).collect::<Option<Vec<f64>>>());
    match numbers.as_deref() {
        Some(&[west, south, _, east, north, _]) => Ok([west, south, east, north]),
        _ => edges(value, FORM),
    }
}

/// `limit` is the name in STAC, but a word of SQL that stands in quotes only.
fn most(info: &BindInfo) -> Result<Option<u64>> {
    let [most, limit] = [integer(info, "max_items", 1, i64::MAX)?, integer(info, "limit", 1, i64::MAX)?];
    if most.is_some() && limit.is_some() {
        return Err(Error::Argument("max_items and limit are the same; give one".into()));
    }
    Ok(most.or(limit).map(|n| n as u64))
}

fn failure(missing: Missing) -> Failure {
    let Missing { item, url, message } = missing;
    Failure { item, asset: String::new(), href: url, message: store::shown::message(&message), attempts: 1 }
}

fn cells(row: Row) -> Vec<Cell> {
    let [datetime, start, end] = row.times.map(|time| time.map_or(Cell::Null, Cell::Timestamp));
    vec![
        row.id.into(),
        row.collection.into(),
        row.stac_version.into(),
        datetime,
        start,
        end,
        row.geometry.map_or(Cell::Null, Cell::Blob),
        Cell::Bbox(row.bbox),
        row.assets.into(),
        row.properties.into(),
    ]
}
