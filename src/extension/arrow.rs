//! Buffers of ours as DuckDB vectors: DuckDB takes an Arrow array over without copying it, and releases it with the last
//! vector that points into it.

use std::ptr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use duckdb::arrow::array::{Array, ArrayRef, LargeBinaryArray, StructArray};
use duckdb::arrow::buffer::{Buffer, OffsetBuffer};
use duckdb::arrow::datatypes::{DataType, Field, Fields};
use duckdb::arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use duckdb::ffi;

use super::database;
use super::texts::take_message;
use crate::error::{Error, Result};

/// DuckDB's view of the schema of one BLOB column, and a connection, whose client context it wants beside each array.
struct Importer {
    connection: ffi::duckdb_connection,
    schema: ffi::duckdb_arrow_converted_schema,
    fields: Fields,
}

// SAFETY: DuckDB only reads the schema and the settings of the connection's context; both live as long as the process.
unsafe impl Send for Importer {}
// SAFETY: as for `Send`.
unsafe impl Sync for Importer {}

static IMPORTER: LazyLock<Result<Importer>> = LazyLock::new(Importer::new);

impl Importer {
    fn new() -> Result<Importer> {
        let fields = Fields::from(vec![Field::new("bytes", DataType::LargeBinary, false)]);
        let connection = database::connect().ok_or_else(|| failed("no connection"))?;
        let mut schema =
            FFI_ArrowSchema::try_from(&DataType::Struct(fields.clone())).map_err(|e| failed(&e.to_string()))?;
        let mut converted: ffi::duckdb_arrow_converted_schema = ptr::null_mut();
        // SAFETY: both structs are the C data interface's, and outlive the call, which copies what it needs of the schema.
        let error =
            unsafe { ffi::duckdb_schema_from_arrow(connection, ptr::from_mut(&mut schema).cast(), &mut converted) };
        // SAFETY: the error is ours.
        unsafe { outcome(error) }.map(|()| Importer { connection, schema: converted, fields })
    }
}

fn failed(why: &str) -> Error {
    Error::Argument(format!("DuckDB does not take an Arrow array over: {why}"))
}

/// # Safety
/// `error` is null or error data that the caller owns.
unsafe fn outcome(error: ffi::duckdb_error_data) -> Result<()> {
    match error.is_null() {
        true => Ok(()),
        // SAFETY: by the contract of this function.
        false => Err(failed(&unsafe { take_message(error) })),
    }
}

/// A chunk of one row and one BLOB column.
pub(super) struct Blob(ffi::duckdb_data_chunk);

impl Blob {
    /// `bytes` as DuckDB sees them.
    ///
    /// # Errors
    /// More than 4 GB, which DuckDB has no BLOBs for.
    pub(super) fn new(bytes: Bytes) -> Result<Blob> {
        let importer = IMPORTER.as_ref().map_err(Clone::clone)?;
        let offsets = OffsetBuffer::from_lengths([bytes.len()]);
        let array: ArrayRef = Arc::new(LargeBinaryArray::new(offsets, Buffer::from(bytes), None));
        let row = StructArray::new(importer.fields.clone(), vec![array], None);
        let mut array = FFI_ArrowArray::new(&row.to_data());
        let mut chunk: ffi::duckdb_data_chunk = ptr::null_mut();
        // SAFETY: `array` is the C data interface's struct, whose content DuckDB takes over; connection and schema are live.
        let error = unsafe {
            let array = ptr::from_mut(&mut array).cast();
            ffi::duckdb_data_chunk_from_arrow(importer.connection, array, importer.schema, &mut chunk)
        };
        // SAFETY: the error is ours.
        unsafe { outcome(error) }.map(|()| Blob(chunk))
    }

    /// The vector of its column, valid as long as `self`.
    pub(super) fn vector(&self) -> ffi::duckdb_vector {
        // SAFETY: the chunk has one column and lives.
        unsafe { ffi::duckdb_data_chunk_get_vector(self.0, 0) }
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        // SAFETY: owned since `new`; a vector that refers to its buffers keeps them.
        unsafe { ffi::duckdb_destroy_data_chunk(&mut self.0) }
    }
}
