//! The sign of an interrupt. The stable C API has none, but some functions of DuckDB look for one while they are evaluated,
//! and `duckdb_expression_fold` evaluates an expression in a client context: an interrupted one makes it fail.
//!
//! Such an expression must count as constant, or it is not folded. `list_reduce` looks for interrupts in DuckDB 2.0;
//! `sleep_ms` does in 1.5.6, where a lambda within a lambda hides that it is no constant. The expressions are bound once per
//! process, in a database that does nothing else, as arguments of a function that keeps them; all they hold is constants and
//! functions that are part of DuckDB. Where none of them gives a sign, there is none, and a wait ends when what it waits for does.

use std::ffi::CString;
use std::ptr;
use std::sync::{LazyLock, Mutex};

use duckdb::ffi;

use super::database;
use super::texts::take_message;
use super::types::Type;

use crate::mutex::lock;

const EXPRESSIONS: [&str; 2] = [
    "list_reduce([1, 2], lambda a, b: a + b)",
    "list_transform([1, 2], lambda x: list_reduce([x, 2], lambda y, z: sleep_ms(0)))",
];

struct Expression(ffi::duckdb_expression);

// SAFETY: a bound expression is only read when it is evaluated, as DuckDB's own threads do with those of a plan.
unsafe impl Send for Expression {}
// SAFETY: as for `Send`.
unsafe impl Sync for Expression {}

impl Drop for Expression {
    fn drop(&mut self) {
        // SAFETY: owned since `keep`.
        unsafe { ffi::duckdb_destroy_expression(&mut self.0) }
    }
}

/// Kept as long as the process, as the database is in which they were bound.
static KEPT: LazyLock<Vec<Expression>> = LazyLock::new(|| EXPRESSIONS.iter().filter_map(|sql| bound(sql)).collect());
/// What [`keep`] was given last.
static GIVEN: Mutex<Option<Expression>> = Mutex::new(None);

/// Whether the query of a client context was interrupted.
///
/// # Safety
/// The context lives.
pub unsafe fn interrupted(context: ffi::duckdb_client_context) -> bool {
    KEPT.iter().any(|expression| {
        let mut value: ffi::duckdb_value = ptr::null_mut();
        // SAFETY: both handles live; the value and the error are ours.
        unsafe {
            let error = ffi::duckdb_expression_fold(context, expression.0, &mut value);
            ffi::duckdb_destroy_value(&mut value);
            take_message(error).contains("INTERRUPT")
        }
    })
}

/// `sql` as a bound expression, if DuckDB knows its functions and takes it for a constant. Whatever else stands against it
/// means the same: this one gives no sign.
fn bound(sql: &str) -> Option<Expression> {
    let statement = CString::new(format!("SELECT lazycogs_keep({sql})")).ok()?;
    let given = || lock(&GIVEN).take();
    let mut connection = database::connect()?;
    // SAFETY: the connection is open; it and the statement are used and destroyed here.
    unsafe {
        register_keep(connection);
        let mut prepared: ffi::duckdb_prepared_statement = ptr::null_mut();
        ffi::duckdb_prepare(connection, statement.as_ptr(), &mut prepared);
        ffi::duckdb_destroy_prepare(&mut prepared);
        ffi::duckdb_disconnect(&mut connection);
        given().filter(|expression| ffi::duckdb_expression_is_foldable(expression.0))
    }
}

/// Registers `lazycogs_keep(ANY)`; a second time does nothing.
///
/// # Safety
/// `connection` is open.
unsafe fn register_keep(connection: ffi::duckdb_connection) {
    // SAFETY: the function object is created, filled and destroyed here; name and types are copied.
    unsafe {
        let mut function = ffi::duckdb_create_scalar_function();
        ffi::duckdb_scalar_function_set_name(function, c"lazycogs_keep".as_ptr());
        Type::ANY.with(|t| ffi::duckdb_scalar_function_add_parameter(function, t));
        Type::BOOLEAN.with(|t| ffi::duckdb_scalar_function_set_return_type(function, t));
        // Otherwise DuckDB 2.0 replaces a constant argument by its value, to see whether it is NULL.
        ffi::duckdb_scalar_function_set_special_handling(function);
        ffi::duckdb_scalar_function_set_bind(function, Some(keep));
        ffi::duckdb_scalar_function_set_function(function, Some(never_called));
        ffi::duckdb_register_scalar_function(connection, function);
        ffi::duckdb_destroy_scalar_function(&mut function);
    }
}

unsafe extern "C" fn keep(info: ffi::duckdb_bind_info) {
    // SAFETY: the argument is a copy that we own.
    let argument = unsafe { ffi::duckdb_scalar_function_bind_get_argument(info, 0) };
    if !argument.is_null() {
        *lock(&GIVEN) = Some(Expression(argument));
    }
}

/// The statement is bound, not executed.
unsafe extern "C" fn never_called(_: ffi::duckdb_function_info, _: ffi::duckdb_data_chunk, _: ffi::duckdb_vector) {}
