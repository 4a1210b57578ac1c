//! Columns of an Arrow batch, read without panics: a column that is not what was asked for is an error.

use duckdb::Connection;
use duckdb::arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch,
    StringArray,
};
use duckdb::arrow::datatypes::DataType;

use super::session;
use crate::error::{Error, Result};

/// Every text that is not NULL, row after row.
pub(super) fn texts(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            for column in batch.columns() {
                texts.extend(text(column, row)?.map(str::to_owned));
            }
        }
    }
    Ok(texts)
}

/// [`texts`] of a query that returns few rows.
pub(super) fn query_texts(connection: &Connection, sql: &str) -> Result<Vec<String>> {
    texts(&session::rows(connection, sql)?)
}

/// The column as what it must be: anything else is a mistake of ours, in which a fact would be lost.
fn cast<T: 'static>(column: &ArrayRef) -> Result<&T> {
    let found = || Error::Items(format!("internal error, please report it: a column of type {}", column.data_type()));
    column.as_any().downcast_ref::<T>().ok_or_else(found)
}

pub(super) fn text(column: &ArrayRef, row: usize) -> Result<Option<&str>> {
    if column.data_type() == &DataType::Null {
        return Ok(None);
    }
    let column = cast::<StringArray>(column)?;
    Ok(column.is_valid(row).then(|| column.value(row)))
}

/// Of a BLOB or of text.
pub(super) fn bytes(column: &ArrayRef, row: usize) -> Result<Option<&[u8]>> {
    match column.as_any().downcast_ref::<BinaryArray>() {
        Some(column) => Ok(column.is_valid(row).then(|| column.value(row))),
        None => Ok(text(column, row)?.map(str::as_bytes)),
    }
}

pub(super) fn integer(column: &ArrayRef, row: usize) -> Result<Option<i64>> {
    let column = cast::<Int64Array>(column)?;
    Ok(column.is_valid(row).then(|| column.value(row)))
}

/// A DOUBLE or FLOAT.
pub(super) fn double(column: &ArrayRef, row: usize) -> Result<Option<f64>> {
    if let Some(column) = column.as_any().downcast_ref::<Float32Array>() {
        return Ok(column.is_valid(row).then(|| f64::from(column.value(row))));
    }
    let column = cast::<Float64Array>(column)?;
    Ok(column.is_valid(row).then(|| column.value(row)))
}

pub(super) fn boolean(column: &ArrayRef, row: usize) -> Result<Option<bool>> {
    let column = cast::<BooleanArray>(column)?;
    Ok(column.is_valid(row).then(|| column.value(row)))
}

/// The elements of a VARCHAR[].
pub(super) fn text_list(column: &ArrayRef, row: usize) -> Result<Vec<Option<String>>> {
    let column = cast::<ListArray>(column)?;
    if !column.is_valid(row) {
        return Ok(Vec::new());
    }
    let elements = column.value(row);
    (0..elements.len()).map(|i| Ok(text(&elements, i)?.map(str::to_owned))).collect()
}

/// The elements of a VARCHAR[], as they lie; none where it is NULL.
pub(super) fn text_elements(column: &ArrayRef, row: usize) -> Result<Vec<Option<&str>>> {
    let column = cast::<ListArray>(column)?;
    match (column.is_valid(row), column.value_offsets().get(row..=row + 1)) {
        (true, Some(&[start, end])) => {
            let within = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
            within.map(|at| text(column.values(), at)).collect()
        }
        _ => Ok(Vec::new()),
    }
}
