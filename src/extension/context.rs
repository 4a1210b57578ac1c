//! The client context: the session that a statement was bound in. Its settings, its file system, and whether its query was
//! interrupted.

use std::fmt;
use std::ops::Range;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use duckdb::ffi;

use super::sign;
use super::texts::{c_string, take_message};
use super::value::Value;
use crate::error::{Error, Result};
use crate::interrupt::Sign;
use crate::mutex::lock;
use crate::store::Files;

/// Open files that are kept for the next read of the same; to open one behind a URL costs a request.
const KEPT_FILES: usize = 64;

/// The session of a bind. DuckDB's object behind it lives as long as the connection, so it is used in two ways only: by a
/// thread on which DuckDB has called us, and by others while a [`Stay`] is held, whose end waits for them.
pub struct Context {
    raw: ffi::duckdb_client_context,
    /// As [`Files::database`].
    database: u64,
    /// How many stays there are. Read by whoever reads a file, for as long as that takes.
    stays: RwLock<usize>,
    files: Mutex<Vec<(String, OpenFile)>>,
}

// SAFETY: the handle is a heap object that holds a reference to DuckDB's ClientContext. Its settings, its file system and
// the folding of an expression are used by all threads of a query in DuckDB itself. When it is destroyed, the reference is
// not followed.
unsafe impl Send for Context {}
// SAFETY: as for `Send`.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: owned since `of_bind`.
        unsafe { ffi::duckdb_destroy_client_context(&mut self.raw) }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl Context {
    /// The context of a bind.
    ///
    /// # Safety
    /// `info` is a live bind info.
    pub unsafe fn of_bind(info: ffi::duckdb_bind_info) -> Result<Context> {
        let mut raw: ffi::duckdb_client_context = ptr::null_mut();
        // SAFETY: the call makes a handle that we own.
        unsafe { ffi::duckdb_table_function_get_client_context(info, &mut raw) };
        // SAFETY: a plain getter; the pointer is a number, see `api::register`.
        let database = unsafe { ffi::duckdb_bind_get_extra_info(info) } as u64;
        match raw.is_null() {
            true => Err(Error::Argument("DuckDB gives no client context".into())),
            false => Ok(Context { raw, database, stays: RwLock::default(), files: Mutex::default() }),
        }
    }

    /// The value of a setting as the session sees it, NULL if there is no such setting.
    pub fn setting(&self, name: &str) -> Value {
        let name = c_string(name);
        let mut scope = 0;
        // SAFETY: called at bind, see `Context`; the result is null or a value that we own.
        unsafe { Value::from_raw(ffi::duckdb_client_context_get_config_option(self.raw, name.as_ptr(), &mut scope)) }
    }

    /// Which connection of its database it is; DuckDB gives no number twice.
    pub fn connection(&self) -> u64 {
        // SAFETY: called at bind, see `Context`.
        unsafe { ffi::duckdb_client_context_get_connection_id(self.raw) }
    }

    /// What DuckDB's own file system says against opening `path` for reading, `None` if it opens it.
    pub fn open_error(&self, path: &str) -> Option<String> {
        // SAFETY: called at bind, see `Context`.
        unsafe { OpenFile::open(self.raw, path) }.err()
    }

    /// Lets other threads read files until the result is dropped. It is dropped before DuckDB's callback returns or, for a
    /// scan, with its state, which DuckDB destroys before the query ends.
    pub fn stay(self: &std::sync::Arc<Self>) -> Stay {
        *self.stays.write().unwrap_or_else(PoisonError::into_inner) += 1;
        Stay(self.clone())
    }

    fn files(&self) -> MutexGuard<'_, Vec<(String, OpenFile)>> {
        lock(&self.files)
    }
}

/// A time in which the context may be used by any thread.
pub struct Stay(std::sync::Arc<Context>);

impl Drop for Stay {
    fn drop(&mut self) {
        // Waits for every read in work: DuckDB's context may be gone when the callback is.
        let mut stays = self.0.stays.write().unwrap_or_else(PoisonError::into_inner);
        *stays -= 1;
        if *stays == 0 {
            self.0.files().clear();
        }
    }
}

impl Sign for Context {
    fn interrupted(&self) -> bool {
        // SAFETY: asked by the thread that DuckDB has called us on, see `interrupt`.
        unsafe { sign::interrupted(self.raw) }
    }
}

impl Files for Context {
    fn database(&self) -> u64 {
        self.database
    }

    fn read(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let stays = self.stays.read().unwrap_or_else(PoisonError::into_inner);
        if *stays == 0 {
            return Err(Error::Cancelled);
        }
        let mut files = self.files();
        let kept = files.iter().position(|(name, _)| name == path).map(|at| files.swap_remove(at).1);
        drop(files);
        // SAFETY: `stays` is held, so the context lives.
        let opened = kept.map_or_else(|| unsafe { OpenFile::open(self.raw, path) }, Ok);
        let mut file = opened.map_err(Error::Store)?;
        let bytes = file.read(range).map_err(Error::Store)?;
        let mut files = self.files();
        if files.len() == KEPT_FILES {
            files.remove(0);
        }
        files.push((path.to_owned(), file));
        Ok(bytes)
    }
}

/// A file open for reading, used by one thread at a time: it has a position.
struct OpenFile {
    raw: ffi::duckdb_file_handle,
}

// SAFETY: DuckDB hands its file handles from thread to thread, too; `&mut self` keeps them apart.
unsafe impl Send for OpenFile {}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: owned since `open`. The destruction closes, too, and throws what nobody here can catch where that fails: what
        // has been closed is closed again without harm, and what cannot be closed is left to leak.
        unsafe {
            if ffi::duckdb_file_handle_close(self.raw) == ffi::DuckDBSuccess {
                ffi::duckdb_destroy_file_handle(&mut self.raw);
            }
        }
    }
}

impl OpenFile {
    /// Opens `path`, or gives what DuckDB says against it.
    ///
    /// # Safety
    /// The context lives.
    unsafe fn open(context: ffi::duckdb_client_context, path: &str) -> Result<OpenFile, String> {
        let path = c_string(path);
        // SAFETY: every handle but that of the file is created, used and destroyed here. The file system is a handle of our
        // own: it keeps the last error, which must not be that of another thread.
        unsafe {
            let mut files = ffi::duckdb_client_context_get_file_system(context);
            let mut options = ffi::duckdb_create_file_open_options();
            ffi::duckdb_file_open_options_set_flag(options, ffi::duckdb_file_flag_DUCKDB_FILE_FLAG_READ, true);
            let mut raw: ffi::duckdb_file_handle = ptr::null_mut();
            let state = ffi::duckdb_file_system_open(files, path.as_ptr(), options, &mut raw);
            let opened = match state == ffi::DuckDBSuccess && !raw.is_null() {
                true => Ok(OpenFile { raw }),
                false => Err(take_message(ffi::duckdb_file_system_error_data(files))),
            };
            ffi::duckdb_destroy_file_open_options(&mut options);
            ffi::duckdb_destroy_file_system(&mut files);
            opened
        }
    }

    /// The bytes of `range` as far as the file goes.
    fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>, String> {
        // SAFETY: the handle is live and ours alone; the buffer has room for what is asked for.
        unsafe {
            let size = u64::try_from(ffi::duckdb_file_handle_size(self.raw)).map_err(|_| self.error())?;
            let end = range.end.min(size);
            let start = range.start.min(end);
            let mut bytes = vec![0; (end - start) as usize];
            if ffi::duckdb_file_handle_seek(self.raw, start as i64) != ffi::DuckDBSuccess {
                return Err(self.error());
            }
            let mut done = 0;
            while done < bytes.len() {
                let rest = &mut bytes[done..];
                let got = ffi::duckdb_file_handle_read(self.raw, rest.as_mut_ptr().cast(), rest.len() as i64);
                match usize::try_from(got) {
                    Ok(0) => {
                        return Err(format!("the file ends at byte {}, but has {size} bytes", start + done as u64));
                    }
                    Ok(n) => done += n.min(rest.len()),
                    Err(_) => return Err(self.error()),
                }
            }
            Ok(bytes)
        }
    }

    fn error(&self) -> String {
        // SAFETY: the handle is live.
        unsafe { take_message(ffi::duckdb_file_handle_error_data(self.raw)) }
    }
}
