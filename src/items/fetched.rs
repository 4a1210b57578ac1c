//! Files of items that are read elsewhere than where they come from.

use std::path::PathBuf;

/// A file of items: where it is read, and the path or URL that hrefs are relative to.
#[derive(Debug)]
pub struct Fetched {
    pub path: String,
    pub origin: String,
    _file: Option<Temporary>,
}

impl Fetched {
    /// A file of this machine, and how it was named.
    pub(super) fn here(path: String, origin: String) -> Fetched {
        Fetched { path, origin, _file: None }
    }

    /// The copy of what is behind a URL.
    pub(super) fn copied(path: String, origin: String, file: Temporary) -> Fetched {
        Fetched { path, origin, _file: Some(file) }
    }
}

/// A file that is removed with its last user.
#[derive(Debug)]
pub(super) struct Temporary(pub PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        #[expect(
            clippy::let_underscore_must_use,
            reason = "nobody is left to tell; the system clears its folder of temporary files"
        )]
        let _ = std::fs::remove_file(&self.0);
    }
}
