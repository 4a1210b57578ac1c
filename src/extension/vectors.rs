//! Slices into DuckDB vectors.

use std::mem::MaybeUninit;
use std::ops::Range;

use duckdb::ffi;

use super::arrow::Blob;
use crate::pixels::Pixel;

/// The output chunk of one scan call.
pub struct Chunk {
    raw: ffi::duckdb_data_chunk,
}

/// One column of a chunk, written by row.
pub struct Column {
    raw: ffi::duckdb_vector,
}

impl Chunk {
    /// # Safety
    /// `raw` is a valid chunk that nobody else uses while this lives.
    pub unsafe fn new(raw: ffi::duckdb_data_chunk) -> Chunk {
        Chunk { raw }
    }

    /// Rows that one chunk holds at most.
    pub fn capacity() -> usize {
        // SAFETY: a constant of DuckDB.
        unsafe { ffi::duckdb_vector_size() as usize }
    }

    pub fn set_len(&mut self, rows: usize) {
        debug_assert!(rows <= Self::capacity());
        // SAFETY: the chunk is valid while this lives, and holds so many rows.
        unsafe { ffi::duckdb_data_chunk_set_size(self.raw, rows as u64) }
    }

    /// Output column `index`; the caller writes values of the type it registered.
    pub fn column(&mut self, index: usize) -> Column {
        // SAFETY: the vector belongs to the chunk, which outlives every use within a scan call.
        Column { raw: unsafe { ffi::duckdb_data_chunk_get_vector(self.raw, index as u64) } }
    }
}

impl Column {
    /// The places of `rows` of a fixed-width column. What DuckDB hands over is memory that nobody has written.
    ///
    /// # Safety
    /// `T` is the physical type of the column and `rows.end <= Chunk::capacity()`.
    pub unsafe fn values<T: Copy>(&mut self, rows: &Range<usize>) -> &mut [MaybeUninit<T>] {
        // SAFETY: the data of a flat vector have room for a chunk's capacity, and are ours alone during a scan call.
        unsafe {
            let data = ffi::duckdb_vector_get_data(self.raw).cast::<MaybeUninit<T>>();
            std::slice::from_raw_parts_mut(data.add(rows.start), rows.len())
        }
    }

    /// Copies `source` into `rows`, as many, cast to `To`, the physical type of the column.
    ///
    /// # Safety
    /// As for [`Column::values`], of `To`.
    pub unsafe fn copy_pixels<From: Pixel, To: Copy>(
        &mut self,
        rows: &Range<usize>,
        source: &[From],
        cast: impl Fn(From) -> To,
    ) {
        // SAFETY: by the contract of this function.
        for (to, from) in unsafe { self.values::<To>(rows) }.iter_mut().zip(source) {
            to.write(cast(*from));
        }
    }

    /// Sets rows `at..` to NULL wherever `valid` is 0.
    pub fn set_validity(&mut self, at: usize, valid: &[u8]) {
        if valid.contains(&0) {
            self.clear(valid.iter().enumerate().filter(|(_, valid)| **valid == 0).map(|(i, _)| at + i));
        }
    }

    pub fn set_null(&mut self, rows: &Range<usize>) {
        self.clear(rows.clone());
    }

    /// Sets rows within the chunk to NULL.
    fn clear(&mut self, rows: impl Iterator<Item = usize>) {
        // SAFETY: after ensure_validity_writable the mask holds one bit per row of the chunk's capacity.
        let mask = unsafe {
            ffi::duckdb_vector_ensure_validity_writable(self.raw);
            ffi::duckdb_vector_get_validity(self.raw)
        };
        for row in rows {
            debug_assert!(row < Chunk::capacity());
            // SAFETY: row < capacity, so its word exists.
            unsafe { *mask.add(row / 64) &= !(1 << (row % 64)) }
        }
    }

    /// Writes one value of a fixed-width column.
    ///
    /// # Safety
    /// `T` is the physical type of the column and `row` is within the chunk.
    pub unsafe fn set<T: Copy>(&mut self, row: usize, value: T) {
        // SAFETY: by the contract of this function.
        unsafe { self.values::<T>(&(row..row + 1))[0].write(value) };
    }

    /// The member `index` of a STRUCT column.
    ///
    /// # Safety
    /// The column is a STRUCT with so many members.
    pub unsafe fn member(&mut self, index: usize) -> Column {
        // SAFETY: by the contract of this function; the child lives as long as the vector.
        Column { raw: unsafe { ffi::duckdb_struct_vector_get_child(self.raw, index as u64) } }
    }

    /// Makes the column what a chunk of one row holds, without a copy.
    pub fn refer_to(&mut self, blob: &Blob) {
        // SAFETY: both vectors live, and are BLOBs; the column keeps what it refers to.
        unsafe { ffi::duckdb_vector_reference_vector(self.raw, blob.vector()) }
    }

    /// Writes text or bytes into a VARCHAR or BLOB column.
    pub fn set_bytes(&mut self, row: usize, bytes: &[u8]) {
        // SAFETY: DuckDB copies the bytes into the vector's own heap.
        unsafe {
            ffi::duckdb_vector_assign_string_element_len(
                self.raw,
                row as u64,
                bytes.as_ptr().cast(),
                bytes.len() as u64,
            )
        }
    }
}
