//! The only code that knows DuckDB's table-function API.

mod api;
mod arguments;
mod arrow;
mod by_band;
mod chunks;
mod collections;
mod context;
mod database;
mod explain;
mod info;
mod named;
mod read;
mod rows;
mod search;
mod settings;
mod sign;
mod stats;
mod store;
mod texts;
mod types;
mod value;
mod vectors;
mod zonal;

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use duckdb::ffi;

use crate::error::{Error, Result};

/// Registers settings and functions. DuckDB calls this through the entry point at LOAD.
///
/// # Safety
/// `info` and `access` are what DuckDB hands to an extension's entry point.
pub unsafe fn load(info: ffi::duckdb_extension_info, access: *const ffi::duckdb_extension_access) -> bool {
    // SAFETY: both pointers are valid for the length of the call; a false return after set_error fails the LOAD.
    unsafe {
        match std::panic::catch_unwind(|| register_all(info, access)) {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => report(info, access, &error.to_string()),
            Err(payload) => report(info, access, &Error::of_panic(payload.as_ref()).to_string()),
        }
    }
}

unsafe fn report(info: ffi::duckdb_extension_info, access: *const ffi::duckdb_extension_access, text: &str) -> bool {
    // SAFETY: as in `load`; the text is copied.
    unsafe {
        if let Some(set_error) = (*access).set_error {
            set_error(info, texts::c_string(&format!("lazycogs: {text}")).as_ptr());
        }
    }
    false
}

unsafe fn register_all(info: ffi::duckdb_extension_info, access: *const ffi::duckdb_extension_access) -> Result<bool> {
    // SAFETY: as in `load`. The connection is opened on DuckDB's own database object and closed before we return: one
    // that stayed open would keep the user's file locked.
    unsafe {
        let ready = ffi::duckdb_rs_extension_api_init(info, access, api::C_API_VERSION)
            .map_err(|e| Error::Argument(e.to_owned()))?;
        let Some(get_database) = (*access).get_database.filter(|_| ready) else { return Ok(false) };
        let database = get_database(info);
        if database.is_null() {
            return Ok(false);
        }
        let mut connection: ffi::duckdb_connection = ptr::null_mut();
        if ffi::duckdb_connect(*database, &mut connection) != ffi::DuckDBSuccess {
            return Err(Error::Argument("cannot connect to the database to register functions".into()));
        }
        let registered = register_on(connection);
        ffi::duckdb_disconnect(&mut connection);
        registered.map(|()| true)
    }
}

unsafe fn register_on(connection: ffi::duckdb_connection) -> Result<()> {
    /// DuckDB loads an extension once into each database.
    static DATABASES: AtomicUsize = AtomicUsize::new(1);
    let database = DATABASES.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the connection is open and the API table is initialised.
    unsafe {
        settings::register(connection);
        api::register::<read::Read>(connection, database)?;
        api::register::<chunks::ReadChunks>(connection, database)?;
        api::register::<zonal::Zonal>(connection, database)?;
        api::register::<explain::Explain>(connection, database)?;
        api::register::<info::Info>(connection, database)?;
        api::register::<store::Store>(connection, database)?;
        api::register::<search::Find>(connection, database)?;
        api::register::<collections::List>(connection, database)?;
        api::register::<stats::CacheStats>(connection, database)?;
        api::register::<stats::Failures>(connection, database)?;
        api::register::<stats::Progress>(connection, database)?;
        api::register::<stats::Version>(connection, database)
    }
}
