//! Tables of a private database, which the database has as long as somebody reads them.

use std::ffi::CString;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use duckdb::ffi;

use super::session::{Database, Private, failed};
use crate::error::{Error, Result};

/// Dropped with its last owner.
#[derive(Debug)]
pub(super) struct Table {
    pub name: String,
    database: Arc<Database>,
}

impl Table {
    fn new(connection: &Private) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("items_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { name, database: connection.database().clone() }
    }

    /// Whether it is there for a connection.
    pub(super) fn is_in(&self, connection: &Private) -> bool {
        Arc::ptr_eq(&self.database, connection.database())
    }

    /// The result of a query, in its order.
    pub(super) fn create(connection: &Private, query: &str) -> Result<Self> {
        let table = Self::new(connection);
        connection.execute_batch(&format!("CREATE TABLE {} AS {query}", table.name)).map_err(failed)?;
        Ok(table)
    }

    /// A table without rows; `columns` are names and types in SQL.
    pub(super) fn empty(connection: &Private, columns: &str) -> Result<Self> {
        let table = Self::new(connection);
        connection.execute_batch(&format!("CREATE TABLE {} ({columns})", table.name)).map_err(failed)?;
        Ok(table)
    }

    /// The elements of a STRUCT[] value, one row each, one column per field. A statement over the value would be planned over a
    /// copy of all that is in it; so DuckDB sees the type alone, and the rows go one by one.
    ///
    /// # Safety
    /// `list` is a live duckdb_value of that type.
    pub(super) unsafe fn from_value(connection: &Private, list: ffi::duckdb_value) -> Result<Self> {
        let table = Self::new(connection);
        // SAFETY: by the contract of this function; the type of a value is borrowed from it, that of its elements is owned, and so is
        // what is made of it. No element is read for an empty list. An index is below the size.
        unsafe {
            let mut element = ffi::duckdb_list_type_child_type(ffi::duckdb_get_value_type(list));
            let columns = ffi::duckdb_struct_type_child_count(element);
            let none = Value(ffi::duckdb_create_list_value(element, NonNull::dangling().as_ptr(), 0));
            ffi::duckdb_destroy_logical_type(&mut element);
            table.create_like(&none)?;
            let mut rows = Appender::new(&table)?;
            for row in 0..ffi::duckdb_get_list_size(list) {
                rows.append_members(&Value(ffi::duckdb_get_list_child(list, row)), columns)?;
            }
            rows.end()?;
        }
        Ok(table)
    }

    /// Creates the table with a column for each field of the elements of `list`.
    fn create_like(&self, list: &Value) -> Result<()> {
        let sql = format!("CREATE TABLE {} AS SELECT unnest($1, max_depth := 2)", self.name);
        let sql = CString::new(sql).map_err(|e| Error::Items(e.to_string()))?;
        let connection = Connection::new(&self.database)?;
        // SAFETY: every handle is created, checked and destroyed here; binding copies the value.
        unsafe {
            let mut statement = ptr::null_mut();
            let mut result: ffi::duckdb_result = mem::zeroed();
            let ok = |state| state == ffi::DuckDBSuccess;
            let done = !list.0.is_null()
                && ok(ffi::duckdb_prepare(connection.0, sql.as_ptr(), &mut statement))
                && ok(ffi::duckdb_bind_value(statement, 1, list.0))
                && ok(ffi::duckdb_execute_prepared(statement, &mut result));
            let message =
                text(ffi::duckdb_result_error(&mut result)).or_else(|| text(ffi::duckdb_prepare_error(statement)));
            ffi::duckdb_destroy_result(&mut result);
            ffi::duckdb_destroy_prepare(&mut statement);
            if done { Ok(()) } else { Err(unreadable(message)) }
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.database.is_of_this_process() {
            #[expect(
                clippy::let_underscore_must_use,
                reason = "nobody is left to tell; the table costs memory as long as the database is there, no more"
            )]
            let _ = self.database.connection().and_then(|connection| {
                connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", self.name)).map_err(failed)
            });
        }
    }
}

fn unreadable(message: Option<String>) -> Error {
    Error::Items(message.unwrap_or_else(|| "the item rows cannot be read".into()))
}

/// # Safety
/// `message` is null or a text that lives for the moment.
unsafe fn text(message: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: by the contract of this function.
    (!message.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(message) }.to_string_lossy().into_owned())
}

/// An owned value, or null.
struct Value(ffi::duckdb_value);

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: null, or owned.
        unsafe { ffi::duckdb_destroy_value(&mut self.0) }
    }
}

/// A connection as the C API has it.
struct Connection(ffi::duckdb_connection);

impl Connection {
    fn new(database: &Database) -> Result<Self> {
        let mut connection = ptr::null_mut();
        // SAFETY: the database is open, since somebody has it.
        match unsafe { ffi::duckdb_connect(database.raw(), &mut connection) } {
            ffi::DuckDBSuccess => Ok(Self(connection)),
            _ => Err(Error::Items("cannot connect to the private DuckDB".into())),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: connected in `new`.
        unsafe { ffi::duckdb_disconnect(&mut self.0) }
    }
}

/// Adds rows to a table. No statement is planned over what they hold.
pub(super) struct Appender<'a> {
    raw: ffi::duckdb_appender,
    /// Rows of text that wait for the appender.
    chunk: ffi::duckdb_data_chunk,
    rows: usize,
    bytes: usize,
    _connection: Connection,
    _table: &'a Table,
}

/// Rows are written when they are so many, or hold so much text: the appender would keep them until there are 200,000.
const MOST_ROWS: usize = 2048;
const MOST_BYTES: usize = 4 << 20;

impl<'a> Appender<'a> {
    pub(super) fn new(table: &'a Table) -> Result<Self> {
        let connection = Connection::new(&table.database)?;
        let name = CString::new(table.name.as_str()).map_err(|e| Error::Items(e.to_string()))?;
        let mut raw = ptr::null_mut();
        // SAFETY: connected; the name lives as long as the call, which has the default schema for a null one.
        let state = unsafe { ffi::duckdb_appender_create(connection.0, ptr::null(), name.as_ptr(), &mut raw) };
        let made = Self { raw, chunk: ptr::null_mut(), rows: 0, bytes: 0, _connection: connection, _table: table };
        made.checked(state)?;
        Ok(made)
    }

    fn checked(&self, state: ffi::duckdb_state) -> Result<()> {
        match state {
            ffi::DuckDBSuccess => Ok(()),
            // SAFETY: of a null appender there is no message, of another one it lives as long as that.
            _ => Err(unreadable(unsafe { text(ffi::duckdb_appender_error(self.raw)) })),
        }
    }

    /// The members of a STRUCT as the columns of a row; of a NULL all are NULL.
    fn append_members(&mut self, item: &Value, columns: u64) -> Result<()> {
        for column in 0..columns {
            // SAFETY: the value is a live STRUCT with so many members, or NULL, of which members are null; the appender has a column for
            // each, and copies what it gets.
            let state = unsafe {
                let member = Value(ffi::duckdb_get_struct_child(item.0, column));
                match member.0.is_null() {
                    true => ffi::duckdb_append_null(self.raw),
                    false => ffi::duckdb_append_value(self.raw, member.0),
                }
            };
            self.checked(state)?;
        }
        // SAFETY: a live appender.
        self.checked(unsafe { ffi::duckdb_appender_end_row(self.raw) })?;
        self.rows += 1;
        if self.rows == MOST_ROWS { self.flush() } else { Ok(()) }
    }

    /// A row of texts, for columns that are stored as text.
    pub(super) fn append_texts(&mut self, texts: &[Option<&str>]) -> Result<()> {
        self.begin_chunk()?;
        for (column, text) in texts.iter().enumerate() {
            // SAFETY: the chunk has a column of text for each, and room for MOST_ROWS rows; texts are copied.
            unsafe {
                let vector = ffi::duckdb_data_chunk_get_vector(self.chunk, column as u64);
                match text {
                    Some(text) => ffi::duckdb_vector_assign_string_element_len(
                        vector,
                        self.rows as u64,
                        text.as_ptr().cast(),
                        text.len() as u64,
                    ),
                    None => {
                        ffi::duckdb_vector_ensure_validity_writable(vector);
                        let validity = ffi::duckdb_vector_get_validity(vector);
                        ffi::duckdb_validity_set_row_invalid(validity, self.rows as u64);
                    }
                }
            }
            self.bytes += text.map_or(0, str::len);
        }
        self.rows += 1;
        if self.rows == MOST_ROWS || self.bytes >= MOST_BYTES { self.flush() } else { Ok(()) }
    }

    /// A chunk of the columns' own types, so that none is cast.
    fn begin_chunk(&mut self) -> Result<()> {
        if !self.chunk.is_null() {
            return Ok(());
        }
        // SAFETY: a live appender; types are owned, and the chunk copies them.
        unsafe {
            let count = ffi::duckdb_appender_column_count(self.raw);
            let mut types: Vec<_> = (0..count).map(|n| ffi::duckdb_appender_column_type(self.raw, n)).collect();
            self.chunk = ffi::duckdb_create_data_chunk(types.as_mut_ptr(), count);
            types.iter_mut().for_each(|column| ffi::duckdb_destroy_logical_type(column));
        }
        if self.chunk.is_null() { Err(unreadable(None)) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        // SAFETY: a live appender, and a chunk of its columns with so many rows, or null.
        unsafe {
            if !self.chunk.is_null() {
                ffi::duckdb_data_chunk_set_size(self.chunk, self.rows as u64);
                self.checked(ffi::duckdb_append_data_chunk(self.raw, self.chunk))?;
                ffi::duckdb_data_chunk_reset(self.chunk);
            }
            (self.rows, self.bytes) = (0, 0);
            self.checked(ffi::duckdb_appender_flush(self.raw))
        }
    }

    /// Writes what is left.
    pub(super) fn end(mut self) -> Result<()> {
        self.flush()
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        // SAFETY: null, or made by this appender; what was not flushed is of a table that nobody gets.
        unsafe {
            if !self.chunk.is_null() {
                ffi::duckdb_destroy_data_chunk(&mut self.chunk);
            }
            ffi::duckdb_appender_destroy(&mut self.raw);
        }
    }
}
