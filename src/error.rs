//! The one error type of the engine.
//!
//! A message is written where the cause is known and read by a person in a SQL prompt: it says what was wrong, where,
//! and how to mend it. `extension/` adds the name of the SQL function in front.

/// Everything that can go wrong below `extension/`. Cheap to clone, since a cached failure is handed to every waiter.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// An argument of the call is wrong; raised at bind.
    #[error("{0}")]
    Argument(String),
    /// The item index cannot be read, or is no stac-geoparquet.
    #[error("{0}")]
    Items(String),
    /// A read of a store failed.
    #[error("{0}")]
    Store(String),
    /// A request over HTTP failed, `attempts` times in all.
    #[error("{message}")]
    Http { message: String, attempts: u64 },
    /// The object was replaced between two reads of it.
    #[error("{0}")]
    Changed(String),
    /// A file is not what it claims to be: not a TIFF, truncated, inconsistent.
    #[error("{0}")]
    Corrupt(String),
    /// A valid file that uses something we do not read; the message names it.
    #[error("{0}")]
    Unsupported(String),
    /// A CRS that PROJ does not accept, or a transformation that does not exist.
    #[error("{0}")]
    Crs(String),
    /// The query was dropped or interrupted; nobody is left to read the message.
    #[error("interrupted")]
    Cancelled,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What a panic said: a mistake of ours, whatever the input.
    pub fn of_panic(payload: &(dyn std::any::Any + Send)) -> Error {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
        Error::Corrupt(format!("internal error, please report it: {text}"))
    }

    /// As [`Error::within`], unless the message begins with `context` already.
    pub fn within_once(self, context: String) -> Self {
        if self.to_string().starts_with(&context) { self } else { self.within(context) }
    }

    /// How often the failed request was sent; 1 for what is not tried again.
    pub fn attempts(&self) -> u64 {
        match self {
            Error::Http { attempts, .. } => *attempts,
            _ => 1,
        }
    }

    /// The same kind of error, with `context` and a colon in front of its message.
    pub fn within(self, context: impl std::fmt::Display) -> Self {
        self.reworded(|message| format!("{context}: {message}"))
    }

    /// The same kind of error in other words.
    pub fn reworded(self, words: impl FnOnce(String) -> String) -> Self {
        match self {
            Error::Argument(m) => Error::Argument(words(m)),
            Error::Items(m) => Error::Items(words(m)),
            Error::Store(m) => Error::Store(words(m)),
            Error::Http { message, attempts } => Error::Http { message: words(message), attempts },
            Error::Changed(m) => Error::Changed(words(m)),
            Error::Corrupt(m) => Error::Corrupt(words(m)),
            Error::Unsupported(m) => Error::Unsupported(words(m)),
            Error::Crs(m) => Error::Crs(words(m)),
            Error::Cancelled => Error::Cancelled,
        }
    }
}
