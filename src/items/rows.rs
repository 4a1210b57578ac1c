//! Columns of an Arrow batch, read without panics: a column that is not what was asked for reads as NULL.

use duckdb::Connection;
use duckdb::arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch,
    StringArray,
};

use super::session;
use crate::error::Result;

/// Every text that is not NULL, row after row.
pub(super) fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let mut texts = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            texts.extend(batch.columns().iter().filter_map(|column| text(column, row)).map(str::to_owned));
        }
    }
    texts
}

/// [`texts`] of a query that returns few rows.
pub(super) fn query_texts(connection: &Connection, sql: &str) -> Result<Vec<String>> {
    Ok(texts(&session::rows(connection, sql)?))
}

pub(super) fn text(column: &ArrayRef, row: usize) -> Option<&str> {
    let column = column.as_any().downcast_ref::<StringArray>()?;
    column.is_valid(row).then(|| column.value(row))
}

pub(super) fn bytes(column: &ArrayRef, row: usize) -> Option<&[u8]> {
    match column.as_any().downcast_ref::<BinaryArray>() {
        Some(column) => column.is_valid(row).then(|| column.value(row)),
        None => text(column, row).map(str::as_bytes),
    }
}

pub(super) fn integer(column: &ArrayRef, row: usize) -> Option<i64> {
    let column = column.as_any().downcast_ref::<Int64Array>()?;
    column.is_valid(row).then(|| column.value(row))
}

/// A DOUBLE or FLOAT.
pub(super) fn double(column: &ArrayRef, row: usize) -> Option<f64> {
    if let Some(column) = column.as_any().downcast_ref::<Float32Array>() {
        return column.is_valid(row).then(|| f64::from(column.value(row)));
    }
    let column = column.as_any().downcast_ref::<Float64Array>()?;
    column.is_valid(row).then(|| column.value(row))
}

pub(super) fn boolean(column: &ArrayRef, row: usize) -> Option<bool> {
    let column = column.as_any().downcast_ref::<BooleanArray>()?;
    column.is_valid(row).then(|| column.value(row))
}

/// The elements of a VARCHAR[].
pub(super) fn text_list(column: &ArrayRef, row: usize) -> Option<Vec<Option<String>>> {
    let column = column.as_any().downcast_ref::<ListArray>()?;
    if !column.is_valid(row) {
        return None;
    }
    let elements = column.value(row);
    Some((0..elements.len()).map(|i| text(&elements, i).map(str::to_owned)).collect())
}

/// How many elements a list has; none where it is NULL.
pub(super) fn list_length(column: &ArrayRef, row: usize) -> usize {
    let Some(column) = column.as_any().downcast_ref::<ListArray>() else { return 0 };
    if column.is_valid(row) { column.value_length(row).max(0) as usize } else { 0 }
}

/// One element of a VARCHAR[].
pub(super) fn text_element(column: &ArrayRef, row: usize, index: usize) -> Option<&str> {
    let column = column.as_any().downcast_ref::<ListArray>()?;
    let (start, end) = (*column.value_offsets().get(row)?, *column.value_offsets().get(row + 1)?);
    let at = usize::try_from(start).ok()?.checked_add(index)?;
    (column.is_valid(row) && at < usize::try_from(end).ok()?).then(|| text(column.values(), at))?
}
