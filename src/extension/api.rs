//! DuckDB's table-function C API, wrapped once: everything `unsafe` about it is in this file and in `vectors.rs`.
//!
//! A callback never lets a panic or an error cross into C: both become a DuckDB error with the function's name in front.

use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use duckdb::ffi;

use super::context::{Context, Stay};
use super::texts::c_string;
pub use super::types::Type;
use super::value::Value;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::request::Caller;
use crate::store::{Files, shown};

/// The C API that the binary needs: DuckDB 1.5.6 made it stable, 2.0 has it too, older versions refuse to load it.
pub const C_API_VERSION: &str = "v1.5.6";

/// A table function. `Bind` is shared by every execution of a prepared statement, `Global` by the threads of one
/// execution, `Local` belongs to one thread.
pub trait TableFunction: 'static {
    const NAME: &'static str;
    type Bind: Send + Sync + 'static;
    type Global: Send + Sync + 'static;
    type Local: Default + Send + 'static;

    fn parameters() -> Vec<Type> {
        Vec::new()
    }
    fn named_parameters() -> Vec<(&'static str, Type)> {
        Vec::new()
    }
    fn bind(info: &BindInfo) -> Result<Self::Bind>;
    fn init(bind: &Self::Bind, info: &InitInfo) -> Result<Self::Global>;
    /// Fills `output`; a chunk left at length 0 ends the scan of this thread.
    fn scan(
        bind: &Self::Bind,
        global: &Self::Global,
        local: &mut Self::Local,
        output: &mut super::vectors::Chunk,
    ) -> Result<()>;
}

/// What a bind callback may ask and tell.
pub struct BindInfo {
    raw: ffi::duckdb_bind_info,
    context: Arc<Context>,
}

/// What is kept of a bind.
struct Bound<B> {
    bind: B,
    context: Arc<Context>,
}

/// The state of an execution; dropped in this order.
struct Running<G> {
    global: G,
    _stay: Stay,
}

impl BindInfo {
    /// The positional argument `index`.
    pub fn argument(&self, index: u64) -> Value {
        // SAFETY: DuckDB hands over an owned value; `Value` destroys it.
        unsafe { Value::from_raw(ffi::duckdb_bind_get_parameter(self.raw, index)) }
    }

    /// A named argument, NULL where the call does not give it.
    pub fn named(&self, name: &str) -> Value {
        let name = c_string(name);
        // SAFETY: `name` outlives the call; the result is null or an owned value.
        unsafe { Value::from_raw(ffi::duckdb_bind_get_named_parameter(self.raw, name.as_ptr())) }
    }

    pub fn add_column(&self, name: &str, column: &Type) {
        let name = c_string(name);
        // SAFETY: name and type are copied by the call.
        column.with(|logical| unsafe { ffi::duckdb_bind_add_result_column(self.raw, name.as_ptr(), logical) });
    }

    /// Tells the optimizer how many rows to expect.
    pub fn set_cardinality(&self, rows: u64, exact: bool) {
        // SAFETY: a plain setter on a live bind info.
        unsafe { ffi::duckdb_bind_set_cardinality(self.raw, rows, exact) }
    }

    pub fn caller(&self) -> Caller {
        Caller { database: self.context.database(), connection: self.context.connection() }
    }

    /// The session that binds.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

/// What an init callback may ask and tell.
pub struct InitInfo {
    raw: ffi::duckdb_init_info,
}

impl InitInfo {
    /// The result columns the query needs, in the order of the output chunk: indices into the columns added at bind.
    /// A count without columns asks for the row id, whose index is none of them.
    pub fn columns(&self) -> Vec<usize> {
        // SAFETY: plain getters on a live init info.
        unsafe {
            let count = ffi::duckdb_init_get_column_count(self.raw);
            (0..count).map(|i| ffi::duckdb_init_get_column_index(self.raw, i) as usize).collect()
        }
    }

    pub fn set_max_threads(&self, threads: usize) {
        // SAFETY: a plain setter on a live init info.
        unsafe { ffi::duckdb_init_set_max_threads(self.raw, threads.max(1) as u64) }
    }
}

/// Registers `F` on a connection of a database, which gets the number `database`.
///
/// # Safety
/// `connection` is open; the C API table is initialised.
pub unsafe fn register<F: TableFunction>(connection: ffi::duckdb_connection, database: usize) -> Result<()> {
    // SAFETY: the function object is created, filled and destroyed here; names and types are copied by DuckDB.
    unsafe {
        let mut function = ffi::duckdb_create_table_function();
        let name = c_string(F::NAME);
        ffi::duckdb_table_function_set_name(function, name.as_ptr());
        for parameter in F::parameters() {
            parameter.with(|t| ffi::duckdb_table_function_add_parameter(function, t));
        }
        for (name, parameter) in F::named_parameters() {
            let name = c_string(name);
            parameter.with(|t| ffi::duckdb_table_function_add_named_parameter(function, name.as_ptr(), t));
        }
        ffi::duckdb_table_function_set_extra_info(function, ptr::without_provenance_mut(database), None);
        ffi::duckdb_table_function_set_bind(function, Some(bind_callback::<F>));
        ffi::duckdb_table_function_set_init(function, Some(init_callback::<F>));
        ffi::duckdb_table_function_set_local_init(function, Some(local_init_callback::<F>));
        ffi::duckdb_table_function_set_function(function, Some(scan_callback::<F>));
        ffi::duckdb_table_function_supports_projection_pushdown(function, true);
        let state = ffi::duckdb_register_table_function(connection, function);
        ffi::duckdb_destroy_table_function(&mut function);
        if state == ffi::DuckDBSuccess {
            Ok(())
        } else {
            Err(Error::Argument(format!("DuckDB refused to register {}", F::NAME)))
        }
    }
}

unsafe extern "C" fn bind_callback<F: TableFunction>(raw: ffi::duckdb_bind_info) {
    let bound = guarded(|| {
        // SAFETY: `raw` is live for the length of this call.
        let context = Arc::new(unsafe { Context::of_bind(raw) }?);
        let _stay = context.stay();
        let info = BindInfo { raw, context: context.clone() };
        let bind = interrupt::watched(context.clone(), || F::bind(&info))?;
        Ok(Bound { bind, context })
    });
    match bound {
        // SAFETY: the box is handed over with the destructor of its own type.
        Ok(bound) => unsafe {
            let data = Box::into_raw(Box::new(bound)).cast();
            ffi::duckdb_bind_set_bind_data(raw, data, Some(drop_box::<Bound<F::Bind>>))
        },
        // SAFETY: `raw` is live; the message is copied.
        Err(message) => unsafe { ffi::duckdb_bind_set_error(raw, c_message::<F>(&message).as_ptr()) },
    }
}

unsafe extern "C" fn init_callback<F: TableFunction>(raw: ffi::duckdb_init_info) {
    // SAFETY: DuckDB returns the pointer that `bind_callback` set, alive while the statement is.
    let bound = unsafe { &*ffi::duckdb_init_get_bind_data(raw).cast::<Bound<F::Bind>>() };
    let running = guarded(|| {
        let stay = bound.context.stay();
        let global = interrupt::watched(bound.context.clone(), || F::init(&bound.bind, &InitInfo { raw }))?;
        Ok(Running { global, _stay: stay })
    });
    match running {
        // SAFETY: as in `bind_callback`.
        Ok(running) => unsafe {
            let data = Box::into_raw(Box::new(running)).cast();
            ffi::duckdb_init_set_init_data(raw, data, Some(drop_box::<Running<F::Global>>))
        },
        // SAFETY: as in `bind_callback`.
        Err(message) => unsafe { ffi::duckdb_init_set_error(raw, c_message::<F>(&message).as_ptr()) },
    }
}

unsafe extern "C" fn local_init_callback<F: TableFunction>(raw: ffi::duckdb_init_info) {
    let local = Box::new(F::Local::default());
    // SAFETY: as in `bind_callback`.
    unsafe { ffi::duckdb_init_set_init_data(raw, Box::into_raw(local).cast(), Some(drop_box::<F::Local>)) }
}

unsafe extern "C" fn scan_callback<F: TableFunction>(raw: ffi::duckdb_function_info, output: ffi::duckdb_data_chunk) {
    // SAFETY: the three pointers were set by the callbacks above and outlive the scan; a local state belongs to the
    // one thread that DuckDB calls us on, so it may be borrowed mutably.
    let (bound, running, local) = unsafe {
        (
            &*ffi::duckdb_function_get_bind_data(raw).cast::<Bound<F::Bind>>(),
            &*ffi::duckdb_function_get_init_data(raw).cast::<Running<F::Global>>(),
            &mut *ffi::duckdb_function_get_local_init_data(raw).cast::<F::Local>(),
        )
    };
    // SAFETY: `output` is valid and ours alone for the length of this call.
    let mut chunk = unsafe { super::vectors::Chunk::new(output) };
    let scan = || F::scan(&bound.bind, &running.global, local, &mut chunk);
    if let Err(message) = guarded(|| interrupt::watched(bound.context.clone(), scan)) {
        // SAFETY: `raw` is live; the message is copied.
        unsafe { ffi::duckdb_function_set_error(raw, c_message::<F>(&message).as_ptr()) }
    }
}

unsafe extern "C" fn drop_box<T>(raw: *mut c_void) {
    // SAFETY: `raw` came from `Box::into_raw` of a `Box<T>`, and is handed back once.
    let drop_it = || drop(unsafe { Box::from_raw(raw.cast::<T>()) });
    #[expect(clippy::let_underscore_must_use, reason = "a panic must not reach C, and there is nobody to tell")]
    let _ = catch_unwind(AssertUnwindSafe(drop_it));
}

/// Runs a callback; an error or a panic becomes its message.
fn guarded<T>(body: impl FnOnce() -> Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(payload) => Err(Error::of_panic(payload.as_ref()).to_string()),
    }
}

fn c_message<F: TableFunction>(message: &str) -> CString {
    c_string(&format!("{}: {}", F::NAME, shown::message(message)))
}
