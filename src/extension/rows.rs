//! Small relations, written cell by cell.

use std::sync::Mutex;

use super::api::InitInfo;
use super::vectors::{Chunk, Column};

use crate::mutex::lock;

/// One cell.
#[derive(Debug, Clone)]
pub enum Cell {
    Null,
    Text(String),
    Bigint(i64),
    Double(f64),
    Timestamp(i64),
    Boolean(bool),
    Blob(Vec<u8>),
    /// A STRUCT of four doubles, or NULL.
    Bbox(Option<[f64; 4]>),
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Cell {
        Cell::Text(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Cell {
        Cell::Bigint(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Boolean(value)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Cell {
        Cell::Double(value)
    }
}

impl Cell {
    /// # Safety
    /// The column has the type of this cell, or the cell is NULL.
    unsafe fn write(&self, column: &mut Column, row: usize) {
        // SAFETY: by the contract of this function.
        unsafe {
            match self {
                Cell::Null => column.set_null(&(row..row + 1)),
                Cell::Text(text) => column.set_bytes(row, text.as_bytes()),
                Cell::Bigint(value) | Cell::Timestamp(value) => column.set(row, *value),
                Cell::Double(value) => column.set(row, *value),
                Cell::Boolean(value) => column.set(row, *value),
                Cell::Blob(bytes) => column.set_bytes(row, bytes),
                Cell::Bbox(edges) => {
                    for index in 0..4 {
                        let mut member = column.member(index);
                        match edges {
                            Some(edges) => member.set(row, edges[index]),
                            None => member.set_null(&(row..row + 1)),
                        }
                    }
                    if edges.is_none() {
                        column.set_null(&(row..row + 1));
                    }
                }
            }
        }
    }
}

/// Writes `rows`, of which only `columns` are asked for, into `output`. There are no more rows than the chunk holds.
///
/// # Safety
/// The cells of every row have the types that bind registered for the columns.
pub unsafe fn write(rows: &[Vec<Cell>], columns: &[usize], output: &mut Chunk) {
    for (i, column) in columns.iter().enumerate() {
        let mut out = output.column(i);
        for (row, cells) in rows.iter().enumerate() {
            if let Some(cell) = cells.get(*column) {
                // SAFETY: the types are those of the columns, and there is room for every row: the contract of this function.
                unsafe { cell.write(&mut out, row) };
            }
        }
    }
    output.set_len(rows.len());
}

/// A relation that is known when its scan begins.
pub struct Once {
    columns: Vec<usize>,
    rows: Mutex<Vec<Vec<Cell>>>,
}

impl Once {
    pub fn new(info: &InitInfo, rows: Vec<Vec<Cell>>) -> Once {
        Once { columns: info.columns(), rows: Mutex::new(rows) }
    }

    /// Writes the next rows; none when all have been written.
    ///
    /// # Safety
    /// The cells of every row have the types that bind registered for the columns.
    pub unsafe fn emit(&self, output: &mut Chunk) {
        let mut rows = lock(&self.rows);
        let count = rows.len().min(Chunk::capacity());
        let part: Vec<_> = rows.drain(..count).collect();
        // SAFETY: as the caller promises.
        unsafe { write(&part, &self.columns, output) };
    }
}
