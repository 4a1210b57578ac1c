//! Several items, one pixel: the mosaic methods.
//!
//! A method is one file with one type that implements [`Mosaic`], and one line in [`Method`].

mod count;
mod extreme;
mod first;
mod last;
mod median;
mod moments;
mod state;

pub use state::Mosaic;

use crate::error::{Error, Result};
use crate::pixels::{DataType, Pixel};

/// A mosaic method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    First,
    Last,
    Highest,
    Lowest,
    Mean,
    Median,
    Stdev,
    Count,
}

impl Method {
    const ALL: [(&'static str, Method); 8] = [
        ("first", Method::First),
        ("last", Method::Last),
        ("highest", Method::Highest),
        ("lowest", Method::Lowest),
        ("mean", Method::Mean),
        ("median", Method::Median),
        ("stdev", Method::Stdev),
        ("count", Method::Count),
    ];

    pub fn from_name(name: &str) -> Result<Method> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, m)| *m).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(n, _)| *n).collect();
            Error::Argument(format!("unknown mosaic '{name}'; use one of {}", names.join(", ")))
        })
    }

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, m)| *m == self).map_or("", |(n, _)| n)
    }

    /// One valid value settles a pixel: reading can stop when all are settled.
    pub fn stops_early(self) -> bool {
        matches!(self, Method::First | Method::Last)
    }

    /// Items are best taken from the last to the first.
    pub fn reverses(self) -> bool {
        self == Method::Last
    }

    /// The type of the output for sources of type `source`, where the call does not fix it.
    pub fn output_dtype(self, source: DataType) -> DataType {
        match self {
            Method::Mean | Method::Median | Method::Stdev => match source {
                DataType::Float64 => DataType::Float64,
                _ => DataType::Float32,
            },
            Method::Count => DataType::UInt16,
            _ => source,
        }
    }

    /// Whether a pixel that no item saw has the value 0.
    pub fn counts(self) -> bool {
        self == Method::Count
    }

    /// Whether the output is a fraction, which no integer type holds.
    pub fn needs_float(self) -> bool {
        matches!(self, Method::Mean | Method::Median | Method::Stdev)
    }

    /// The type in which values are fed: that of the output where the result is one of the values, that of the sources
    /// where they must be kept, float64 where they are added up.
    pub fn work_dtype(self, source: DataType, output: DataType) -> DataType {
        match self {
            Method::First | Method::Last | Method::Highest | Method::Lowest => output,
            Method::Median | Method::Count => source,
            Method::Mean | Method::Stdev => DataType::Float64,
        }
    }

    /// Whether the buffers of the state become the output.
    pub fn work_is_output(self, work: DataType, output: DataType) -> bool {
        work == output && matches!(self, Method::First | Method::Last | Method::Highest | Method::Lowest)
    }

    /// The state of a tile of `pixels` pixels. Items come from the last to the first where they are `reversed`.
    pub fn start<W: Pixel>(self, pixels: usize, reversed: bool) -> Box<dyn Mosaic<W>> {
        match self {
            Method::Last if !reversed => Box::new(last::Last::new(pixels)),
            Method::First | Method::Last => Box::new(first::First::new(pixels)),
            Method::Highest => Box::new(extreme::Extreme::highest(pixels)),
            Method::Lowest => Box::new(extreme::Extreme::lowest(pixels)),
            Method::Mean => Box::new(moments::Moments::mean(pixels)),
            Method::Stdev => Box::new(moments::Moments::stdev(pixels)),
            Method::Median => Box::new(median::Median::new(pixels)),
            Method::Count => Box::new(count::Count::new(pixels)),
        }
    }

    /// Bytes that the state of one pixel takes beside its output, for `items` items.
    pub fn state_size(self, work: DataType, items: usize) -> usize {
        match self {
            Method::First | Method::Last | Method::Highest | Method::Lowest => work.size() + 1,
            Method::Mean => 12,
            Method::Stdev => 20,
            Method::Count => 4,
            Method::Median => (work.size() + 1) * items,
        }
    }
}

/// How the items of several bands are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// From the last to the first.
    pub reverses: bool,
    /// Reading can stop when all pixels of all bands are settled.
    pub stops_early: bool,
}

impl Order {
    pub fn of(methods: impl Iterator<Item = Method> + Clone) -> Order {
        let reverses = methods.clone().all(Method::reverses);
        // `last` among others takes all items in their order.
        let stops_early = reverses || methods.clone().all(|method| method.stops_early() && !method.reverses());
        Order { reverses, stops_early }
    }
}

#[cfg(test)]
mod tests;
