//! PROJ without files: definitions of CRSs come from strangers, and `+init=` and `+nadgrids=` name any file there is.

use std::ffi::{c_char, c_int, c_longlong, c_ulonglong, c_void};
use std::ptr;

use proj_sys as ffi;

type Proj = *mut ffi::PJ_CONTEXT;
type File = *mut ffi::PROJ_FILE_HANDLE;
type Text = *const c_char;
type User = *mut c_void;

/// A file system without files. What is compiled into PROJ, its database above all, does not pass through it.
pub static NO_FILES: ffi::PROJ_FILE_API = ffi::PROJ_FILE_API {
    version: 1,
    open_cbk: Some(open),
    read_cbk: Some(read),
    write_cbk: Some(write),
    seek_cbk: Some(seek),
    tell_cbk: Some(tell),
    close_cbk: Some(close),
    exists_cbk: Some(refuse),
    mkdir_cbk: Some(refuse),
    unlink_cbk: Some(refuse),
    rename_cbk: Some(rename),
};

extern "C" fn open(_: Proj, _: Text, _: ffi::PROJ_OPEN_ACCESS, _: User) -> File {
    ptr::null_mut()
}

extern "C" fn read(_: Proj, _: File, _: *mut c_void, _: usize, _: User) -> usize {
    0
}

extern "C" fn write(_: Proj, _: File, _: *const c_void, _: usize, _: User) -> usize {
    0
}

extern "C" fn seek(_: Proj, _: File, _: c_longlong, _: c_int, _: User) -> c_int {
    0
}

extern "C" fn tell(_: Proj, _: File, _: User) -> c_ulonglong {
    0
}

extern "C" fn close(_: Proj, _: File, _: User) {}

extern "C" fn refuse(_: Proj, _: Text, _: User) -> c_int {
    0
}

extern "C" fn rename(_: Proj, _: Text, _: Text, _: User) -> c_int {
    0
}
