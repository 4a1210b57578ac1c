//! Slices into DuckDB vectors.

use std::mem::MaybeUninit;

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
    /// The places of the first `rows` values of a fixed-width column. What DuckDB hands over is memory that nobody has written.
    ///
    /// # Safety
    /// `T` is the physical type of the column and `rows <= Chunk::capacity()`.
    pub unsafe fn values<T: Copy>(&mut self, rows: usize) -> &mut [MaybeUninit<T>] {
        // SAFETY: the data of a flat vector have room for a chunk's capacity, and are ours alone during a scan call.
        unsafe { std::slice::from_raw_parts_mut(ffi::duckdb_vector_get_data(self.raw).cast(), rows) }
    }

    /// Copies `source` into rows `at..`, cast to `To`, the physical type of the column.
    ///
    /// # Safety
    /// `To` is the physical type of the column and the rows are within the chunk.
    pub unsafe fn copy_pixels<From: Pixel, To: Copy>(&mut self, at: usize, source: &[From], cast: impl Fn(From) -> To) {
        // SAFETY: by the contract of this function.
        let target = unsafe { &mut self.values::<To>(at + source.len())[at..] };
        for (to, from) in target.iter_mut().zip(source) {
            to.write(cast(*from));
        }
    }

    /// Sets rows `at..` to NULL wherever `valid` is 0.
    pub fn set_validity(&mut self, at: usize, valid: &[u8]) {
        if !valid.contains(&0) {
            return;
        }
        // SAFETY: after ensure_validity_writable the mask holds one bit per row of the chunk's capacity.
        let mask = unsafe {
            ffi::duckdb_vector_ensure_validity_writable(self.raw);
            ffi::duckdb_vector_get_validity(self.raw)
        };
        for (row, valid) in valid.iter().enumerate().map(|(i, v)| (at + i, *v)) {
            if valid == 0 {
                // SAFETY: row < capacity, so its word exists.
                unsafe { *mask.add(row / 64) &= !(1 << (row % 64)) }
            }
        }
    }

    /// Sets the first `rows` rows to NULL.
    pub fn set_all_null(&mut self, rows: usize) {
        // SAFETY: as in `set_validity`; what is behind the last row is not looked at.
        unsafe {
            ffi::duckdb_vector_ensure_validity_writable(self.raw);
            ffi::duckdb_vector_get_validity(self.raw).write_bytes(0, rows.div_ceil(64));
        }
    }

    pub fn set_null(&mut self, row: usize) {
        self.set_validity(row, &[0]);
    }

    /// Writes one value of a fixed-width column.
    ///
    /// # Safety
    /// `T` is the physical type of the column and `row` is within the chunk.
    pub unsafe fn set<T: Copy>(&mut self, row: usize, value: T) {
        // SAFETY: by the contract of this function.
        unsafe { self.values::<T>(row + 1)[row].write(value) };
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
