//! The private DuckDB: an in-memory database that reads item indexes, and nothing of the user's. The process has one, and for
//! the moment another where a file brought the first one down.
//!
//! A connection to the user's own database would keep its file locked after they close it.

use std::ops::Deref;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard};

use duckdb::arrow::array::RecordBatch;
use duckdb::{Connection, ffi};

use crate::error::{Error, Result};
use crate::mutex::lock;

/// - the first three: an extension such as httpfs is used if the user has installed it, and nothing is fetched if not;
/// - geometry stays WKB as it lies in the file, also where its GeoParquet metadata are incomplete;
/// - times written without a zone are UTC;
/// - late materialization of a top-N over a struct's field fails inside DuckDB 2.0.0 and would take the database along.
const SETTINGS: [&str; 6] = [
    "SET GLOBAL autoload_known_extensions = true",
    "SET GLOBAL autoinstall_known_extensions = false",
    "SET GLOBAL allow_community_extensions = false",
    "SET GLOBAL enable_geoparquet_conversion = false",
    "SET GLOBAL TimeZone = 'UTC'",
    "SET GLOBAL disabled_optimizers = 'late_materialization'",
];

/// The database that queries share.
static SHARED: Mutex<Option<Arc<Database>>> = Mutex::new(None);

/// An in-memory DuckDB, closed with its last user.
#[derive(Debug)]
pub(super) struct Database {
    raw: ffi::duckdb_database,
    /// That opened it.
    process: u32,
}

// SAFETY: a duckdb_database may be used from any thread; it is closed once, when nobody has it any more.
unsafe impl Send for Database {}
// SAFETY: as for `Send`.
unsafe impl Sync for Database {}

impl Drop for Database {
    fn drop(&mut self) {
        // Closing what the parent process opened would wait for threads that do not exist here.
        if self.is_of_this_process() {
            // SAFETY: owned, and open since `open`; a connection that is left keeps what it needs.
            unsafe { ffi::duckdb_close(&mut self.raw) };
        }
    }
}

/// A connection to a private database, which it keeps open.
pub(super) struct Private {
    connection: Connection,
    database: Arc<Database>,
}

impl Private {
    pub(super) fn database(&self) -> &Arc<Database> {
        &self.database
    }
}

impl Deref for Private {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Has `body` query the shared database, which then works with `threads` threads.
///
/// A file can bring DuckDB to an error that makes a database useless to everybody. So if something failed, and the database does
/// not work any more, nobody gets it again, and `body` runs once more in one of its own: it fails there if the fault is its own,
/// and what another query has brought about does not concern it.
///
/// # Errors
/// Those of `body`; a database that cannot be opened.
pub(super) fn run<T>(threads: usize, body: impl Fn(Private) -> Result<T>) -> Result<T> {
    let database = current()?;
    match database.connect(threads).and_then(&body) {
        Err(_) if retired(&database) => body(Database::alone(threads)?),
        result => result,
    }
}

/// Whether the database is of no use any more; it is not given to anybody from then on.
pub(super) fn retired(database: &Arc<Database>) -> bool {
    if database.works() {
        return false;
    }
    let mut shared = shared();
    if shared.as_ref().is_some_and(|current| Arc::ptr_eq(current, database)) {
        *shared = None;
    }
    true
}

fn shared() -> MutexGuard<'static, Option<Arc<Database>>> {
    lock(&SHARED)
}

fn current() -> Result<Arc<Database>> {
    let mut shared = shared();
    match &*shared {
        Some(database) if database.is_of_this_process() => Ok(database.clone()),
        _ => Ok(shared.insert(Database::open()?).clone()),
    }
}

impl Database {
    fn open() -> Result<Arc<Database>> {
        let mut raw: ffi::duckdb_database = ptr::null_mut();
        // SAFETY: a null path asks for an in-memory database; the handle is valid once the call has succeeded.
        if unsafe { ffi::duckdb_open(ptr::null(), &mut raw) } != ffi::DuckDBSuccess {
            return Err(Error::Items("cannot open a private in-memory DuckDB".into()));
        }
        let database = Arc::new(Database { raw, process: std::process::id() });
        let connection = database.connection()?;
        for setting in SETTINGS {
            // A build without the ICU extension has no TimeZone: there, times without a zone are UTC already.
            match connection.execute_batch(setting) {
                Err(error) if !setting.contains("TimeZone") => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(database)
    }

    /// A connection to a database that nobody else uses.
    pub(super) fn alone(threads: usize) -> Result<Private> {
        Database::open()?.connect(threads)
    }

    /// For the C API, as long as `self` is there.
    pub(super) fn raw(&self) -> ffi::duckdb_database {
        self.raw
    }

    /// After a fork the threads of the parent's database are gone.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }

    pub(super) fn connection(&self) -> Result<Connection> {
        // SAFETY: the database is open as long as `self`, and not closed by the connection.
        unsafe { Connection::open_from_raw(self.raw) }.map_err(failed)
    }

    fn connect(self: &Arc<Self>, threads: usize) -> Result<Private> {
        let connection = self.connection()?;
        connection.execute_batch(&format!("SET GLOBAL threads = {}", threads.max(1))).map_err(failed)?;
        Ok(Private { connection, database: self.clone() })
    }

    /// Asks the database itself.
    fn works(&self) -> bool {
        self.connection().is_ok_and(|connection| connection.execute_batch("SELECT 1").is_ok())
    }
}

/// What DuckDB said, in the words of a person who has never seen our SQL.
pub(super) fn failed(error: duckdb::Error) -> Error {
    let text = match error {
        duckdb::Error::DuckDBFailure(_, Some(message)) => message,
        other => other.to_string(),
    };
    // The query that follows is ours, not the user's.
    let text = text.split("\n\nLINE ").next().unwrap_or(&text);
    let text = text.split("\n\nStack Trace").next().unwrap_or(text).trim();
    Error::Items(text.to_owned())
}

/// All rows of a query that returns few.
pub(super) fn rows(connection: &Connection, sql: &str) -> Result<Vec<RecordBatch>> {
    let mut statement = connection.prepare(sql).map_err(failed)?;
    statement.stream_arrow([]).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// `"name"`.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`.
pub(super) fn literal(text: &str) -> String {
    // DuckDB's text cannot hold a NUL, so nothing that contains one can be equal to it.
    format!("'{}'", text.replace('\0', "\u{fffd}").replace('\'', "''"))
}

/// `['a', 'b']`.
pub(super) fn list(texts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let literals: Vec<String> = texts.into_iter().map(|text| literal(text.as_ref())).collect();
    format!("[{}]", literals.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(identifier("a\"b'c"), "\"a\"\"b'c\"");
        assert_eq!(literal("it's\0"), "'it''s\u{fffd}'");
        assert_eq!(list(["a", "b'"]), "['a', 'b''']");
        assert_eq!(list([""; 0]), "[]");
    }

    #[test]
    fn our_own_sql_is_left_out_of_a_message() {
        let said = "Binder Error: no such column\n\nLINE 1: SELECT x FROM y\n       ^".to_owned();
        let error = duckdb::Error::DuckDBFailure(ffi::Error::new(1), Some(said));
        assert_eq!(failed(error), Error::Items("Binder Error: no such column".into()));
    }
}
