//! The private DuckDB: one in-memory database per process that reads item indexes, and nothing of the user's.
//!
//! A connection to the user's own database would keep its file locked after they close it.

use std::ffi::CString;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use duckdb::arrow::array::RecordBatch;
use duckdb::{Connection, ffi};

use crate::error::{Error, Result};

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

static SHARED: Mutex<Option<Session>> = Mutex::new(None);

/// The database, by the process that opened it: after a fork its threads are gone.
struct Session {
    process: u32,
    database: Database,
    connection: Connection,
}

#[derive(Clone, Copy)]
struct Database(ffi::duckdb_database);

// SAFETY: a duckdb_database may be used from any thread; this one is never closed, so the handle cannot dangle.
unsafe impl Send for Database {}

/// A new connection to the private database, which then works with `threads` threads.
pub(super) fn connect(threads: usize) -> Result<Connection> {
    let mut shared = shared();
    let session = current(&mut shared)?;
    let connection = session.connection.try_clone().map_err(failed)?;
    connection.execute_batch(&format!("SET GLOBAL threads = {}", threads.max(1))).map_err(failed)?;
    Ok(connection)
}

/// The private database, never closed.
pub(crate) fn private_database() -> Result<ffi::duckdb_database> {
    Ok(current(&mut shared())?.database.0)
}

fn shared() -> MutexGuard<'static, Option<Session>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn current(shared: &mut Option<Session>) -> Result<&Session> {
    let process = std::process::id();
    if shared.as_ref().is_none_or(|session| session.process != process) {
        // Closing what the parent process opened would wait for threads that do not exist here.
        mem::forget(shared.take());
        *shared = Some(open(process)?);
    }
    shared.as_ref().ok_or_else(|| Error::Items("the private DuckDB did not open".into()))
}

fn open(process: u32) -> Result<Session> {
    let mut raw: ffi::duckdb_database = ptr::null_mut();
    // SAFETY: a null path asks for an in-memory database; the handle is valid once the call has succeeded, and is never
    // closed.
    let connection = unsafe {
        if ffi::duckdb_open(ptr::null(), &mut raw) != ffi::DuckDBSuccess {
            return Err(Error::Items("cannot open a private in-memory DuckDB".into()));
        }
        Connection::open_from_raw(raw).map_err(failed)?
    };
    for setting in SETTINGS {
        // A build without the ICU extension has no TimeZone: there, times without a zone are UTC already.
        match connection.execute_batch(setting) {
            Err(error) if !setting.contains("TimeZone") => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(Session { process, database: Database(raw), connection })
}

/// What DuckDB said, in the words of a person who has never seen our SQL.
pub(super) fn failed(error: duckdb::Error) -> Error {
    let text = match error {
        duckdb::Error::DuckDBFailure(_, Some(message)) => message,
        other => other.to_string(),
    };
    if text.contains("INTERNAL Error") || text.contains("FATAL Error") {
        // Such an error invalidates the database; the next query gets a fresh one. Whoever holds the lock is opening one.
        if let Ok(mut shared) = SHARED.try_lock() {
            mem::forget(shared.take());
        }
    }
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

/// A table of the private database, dropped with its last owner.
#[derive(Debug)]
pub(super) struct Table {
    pub name: String,
}

impl Table {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self { name: format!("items_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// The result of a query, in its order.
    pub(super) fn create(connection: &Connection, query: &str) -> Result<Self> {
        let table = Self::new();
        connection.execute_batch(&format!("CREATE TABLE {} AS {query}", table.name)).map_err(failed)?;
        Ok(table)
    }

    /// The elements of a STRUCT[] value, one row each, one column per field.
    ///
    /// # Safety
    /// `value` is a live duckdb_value.
    pub(super) unsafe fn from_value(value: ffi::duckdb_value) -> Result<Self> {
        let table = Self::new();
        let sql = format!("CREATE TABLE {} AS SELECT unnest($1, max_depth := 2)", table.name);
        let sql = CString::new(sql).map_err(|e| Error::Items(e.to_string()))?;
        let database = current(&mut shared())?.database;
        // SAFETY: every handle is created, checked and destroyed here; binding copies the value.
        unsafe {
            let mut connection = ptr::null_mut();
            let mut statement = ptr::null_mut();
            let mut result: ffi::duckdb_result = mem::zeroed();
            let ok = |state| state == ffi::DuckDBSuccess;
            let done = ok(ffi::duckdb_connect(database.0, &mut connection))
                && ok(ffi::duckdb_prepare(connection, sql.as_ptr(), &mut statement))
                && ok(ffi::duckdb_bind_value(statement, 1, value))
                && ok(ffi::duckdb_execute_prepared(statement, &mut result));
            let messages = [ffi::duckdb_result_error(&mut result), ffi::duckdb_prepare_error(statement)];
            let message =
                messages.iter().find(|m| !m.is_null()).map(|&m| std::ffi::CStr::from_ptr(m).to_string_lossy());
            let message = message.map(|m| m.into_owned());
            ffi::duckdb_destroy_result(&mut result);
            ffi::duckdb_destroy_prepare(&mut statement);
            ffi::duckdb_disconnect(&mut connection);
            match done {
                true => Ok(table),
                false => Err(Error::Items(message.unwrap_or_else(|| "the item rows cannot be read".into()))),
            }
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut shared = shared();
        if let Some(session) = shared.as_mut().filter(|session| session.process == std::process::id()) {
            // Nobody is left to tell; the table costs memory, no more.
            let _ = session.connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", self.name));
        }
    }
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
