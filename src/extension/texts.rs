//! Texts that go to DuckDB and come from it.

use std::ffi::{CStr, CString, c_char};

use duckdb::ffi;

/// A C string; a NUL inside, which C cannot hold, is dropped.
pub fn c_string(text: &str) -> CString {
    // Without a NUL it cannot fail.
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// Takes over a string that DuckDB allocated.
///
/// # Safety
/// `raw` is null or a NUL-terminated string to be freed with `duckdb_free`.
pub unsafe fn take_string(raw: *mut c_char) -> Option<String> {
    if raw.is_null() {
        return None;
    }
    // SAFETY: by the contract of this function; the text is copied before it is freed.
    unsafe {
        let text = CStr::from_ptr(raw).to_string_lossy().into_owned();
        ffi::duckdb_free(raw.cast());
        Some(text)
    }
}

/// The message of an error, which is destroyed.
///
/// # Safety
/// `error` is null or error data that the caller owns.
pub unsafe fn take_message(mut error: ffi::duckdb_error_data) -> String {
    if error.is_null() {
        return String::new();
    }
    // SAFETY: the message is borrowed from the error data.
    unsafe {
        let message = ffi::duckdb_error_data_message(error);
        let text = if message.is_null() { String::new() } else { borrowed(message) };
        ffi::duckdb_destroy_error_data(&mut error);
        text
    }
}

/// # Safety
/// `raw` is a NUL-terminated string.
unsafe fn borrowed(raw: *const c_char) -> String {
    // SAFETY: by the contract of this function.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}
