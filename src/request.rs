//! What the user asked for: typed, validated, without any I/O.

use regex::Regex;

use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::items::Selection;
use crate::mask;
use crate::mosaic::Method;
use crate::pixels::DataType;
use crate::store;
use crate::warp::Kernel;

/// What to do about an item that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    Raise,
    Ignore,
}

/// Whose call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller {
    /// A number for each database of the process that has loaded the extension.
    pub database: u64,
    /// That of the connection, among those of its database.
    pub connection: u64,
}

/// A choice for each band.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice<T> {
    /// By the names of bands.
    pub named: Vec<(String, T)>,
    /// Of all others.
    pub rest: T,
}

impl<T: Copy> Choice<T> {
    pub fn all(choice: T) -> Choice<T> {
        Choice { named: Vec::new(), rest: choice }
    }

    pub fn of(&self, band: &str) -> T {
        self.named.iter().find(|(name, _)| name == band).map_or(self.rest, |(_, choice)| *choice)
    }

    /// # Errors
    /// A name that is none of the bands'. `argument` is what the choice is called.
    pub fn check(&self, argument: &str, bands: &[String]) -> Result<()> {
        match self.named.iter().find(|(name, _)| !bands.contains(name)) {
            Some((name, _)) => Err(Error::Argument(format!(
                "{argument} names '{name}', which is no band of this call; there are: {} ('*' is all others)",
                bands.join(", ")
            ))),
            None => Ok(()),
        }
    }
}

/// A band of each item that hides pixels of the others.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskBand {
    /// An asset, with `:n` for one band of many.
    pub band: String,
    pub rule: mask::Rule,
}

/// One call of a reader.
pub struct Request {
    /// As the user wrote it.
    pub bbox: [f64; 4],
    pub grid: Grid,
    pub crs: Crs,
    pub selection: Selection,
    /// Asset keys, with `:n` for one band of many; `None` for the data assets of the first item.
    pub bands: Option<Vec<String>>,
    pub mosaic: Choice<Method>,
    pub resampling: Choice<Kernel>,
    /// Read overviews where they are fine enough.
    pub overviews: bool,
    pub mask: Option<MaskBand>,
    pub dtype: Option<DataType>,
    /// As the user wrote it: it is read in the terms of each band's type.
    pub nodata: Option<String>,
    /// Apply scale and offset: values become floating-point numbers.
    pub scale: bool,
    pub errors: OnError,
    /// A selection without items is no error.
    pub allow_empty: bool,
    /// The output marks missing pixels by a value.
    pub blobs: bool,
    /// Side of the output tile in pixels.
    pub chunk_size: Option<u64>,
    pub store: store::Options,
    /// Applied to every href before it is opened.
    pub href_replace: Option<(Regex, String)>,
    /// What relative hrefs belong to, if not to the file or URL that their item came from.
    pub items_base: Option<String>,
    /// Compute threads.
    pub threads: usize,
    /// Bytes that work in flight may take.
    pub memory_budget: u64,
    /// Bytes of decoded tiles that are kept, for the whole process.
    pub cache_size: u64,
    /// Count the steps ahead, and draw a bar where there is a terminal.
    pub progress: bool,
    pub caller: Caller,
}
