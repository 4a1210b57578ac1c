//! A database of our own, for what the C API does only with one: in memory, of one thread, and no file is ever read in it.

use std::ptr;
use std::sync::LazyLock;

use duckdb::ffi;

/// Never closed: what was made with it may live as long as the process.
static DATABASE: LazyLock<Option<Database>> = LazyLock::new(open);

struct Database(ffi::duckdb_database);

// SAFETY: a duckdb_database may be used from any thread; this one is never closed, so the handle cannot dangle.
unsafe impl Send for Database {}
// SAFETY: as for `Send`.
unsafe impl Sync for Database {}

fn open() -> Option<Database> {
    let (mut raw, mut config): (ffi::duckdb_database, ffi::duckdb_config) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the config is created and destroyed here; a null path asks for an in-memory database, whose handle is valid once
    // the call has succeeded.
    unsafe {
        if ffi::duckdb_create_config(&mut config) != ffi::DuckDBSuccess {
            return None;
        }
        ffi::duckdb_set_config(config, c"threads".as_ptr(), c"1".as_ptr());
        let opened = ffi::duckdb_open_ext(ptr::null(), &mut raw, config, ptr::null_mut());
        ffi::duckdb_destroy_config(&mut config);
        (opened == ffi::DuckDBSuccess).then_some(Database(raw))
    }
}

/// A new connection, which the caller closes, or keeps as long as the process; `None` if DuckDB gives none.
pub(super) fn connect() -> Option<ffi::duckdb_connection> {
    let database = DATABASE.as_ref()?;
    let mut connection: ffi::duckdb_connection = ptr::null_mut();
    // SAFETY: the database is never closed; the handle is valid once the call has succeeded.
    let state = unsafe { ffi::duckdb_connect(database.0, &mut connection) };
    (state == ffi::DuckDBSuccess).then_some(connection)
}
