//! The bands of a cube: which sample of which asset, of which type, with which nodata.

use crate::cog::{Cog, Nodata, Validity};
use crate::error::{Error, Result};
use crate::mosaic::Method;
use crate::pixels::DataType;
use crate::request::Request;
use crate::warp::Kernel;

/// One band of the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// Its column name: as the user asked for it.
    pub name: String,
    pub asset: String,
    /// Which sample of the asset, counted from 0.
    pub sample: u16,
    /// The name chooses the sample, by a number or a name; else it is the only one of a file.
    pub chosen: bool,
    /// Type of the output.
    pub dtype: DataType,
    /// Type that holds the sources' values; they are fed to the mosaic in it or in a wider one.
    pub source_dtype: DataType,
    /// What the sampled source declares, or the call.
    pub nodata: Option<Nodata>,
    /// The sampled source is stored in strips.
    pub striped: bool,
    /// How items become one pixel.
    pub method: Method,
    /// How source pixels become one of an item.
    pub kernel: Kernel,
}

impl Band {
    /// The type in which values are fed to the mosaic.
    pub fn work_dtype(&self) -> DataType {
        match self.method {
            // What a kernel computes is no value of the source.
            Method::Median if !self.kernel.keeps_values() => self.dtype,
            method => method.work_dtype(self.source_dtype, self.dtype),
        }
    }
}

/// What the stored values of a source mean.
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    /// Marks an invalid pixel.
    pub nodata: Option<Nodata>,
    /// Scale and offset to apply: STAC's, else those of GDAL's metadata.
    pub scale: Option<(f64, f64)>,
}

/// A band that was asked for, with the COG that stands for all of its sources.
pub struct Sampled<'a> {
    pub name: String,
    pub asset: String,
    /// The sample the user chose, if any.
    pub sample: Option<u16>,
    pub cog: &'a Cog,
    /// What STAC says.
    pub nodata: Option<f64>,
}

/// The types and nodata of the output, from one sampled COG per band.
///
/// # Errors
/// A band that its asset does not have; an asset of several bands without a choice; types or nodata values that do not
/// go together with each other or with the arguments.
pub fn resolve(request: &Request, sampled: Vec<Sampled>) -> Result<Vec<Band>> {
    let mut bands = Vec::with_capacity(sampled.len());
    for Sampled { name, asset, sample, cog, nodata } in sampled {
        let index = choose_sample(&name, &asset, sample, cog)?;
        let declared = declared_nodata(request, cog, index, nodata);
        bands.push(Band {
            method: request.mosaic.of(&name),
            kernel: request.resampling.of(&name),
            name,
            asset,
            sample: index,
            chosen: sample.is_some(),
            dtype: cog.dtype,
            source_dtype: cog.dtype,
            nodata: declared,
            striped: cog.levels[0].striped,
        });
    }
    let mut common = None;
    for band in &bands {
        common = Some(match common {
            None => band.source_dtype,
            Some(dtype) => band.source_dtype.promote(dtype)?,
        });
    }
    let Some(mut common) = common else { return Ok(bands) };
    if request.scale {
        common = common.promote(DataType::Float32)?;
    }
    for band in &mut bands {
        let dtype = output_dtype(request, band.method, common)?;
        check_nodata(request, band.method, common, dtype)?;
        band.dtype = dtype;
        band.source_dtype = common;
        match &request.nodata {
            Some(text) => band.nodata = Nodata::parse(text, dtype),
            // What marks a stored value may well be a scaled one.
            None if request.scale => band.nodata = Nodata::parse("nan", dtype),
            None => {}
        }
    }
    Ok(bands)
}

pub fn choose_sample(name: &str, asset: &str, sample: Option<u16>, cog: &Cog) -> Result<u16> {
    let data = cog.samples - u16::from(cog.alpha.is_some());
    match sample {
        Some(sample) if sample < cog.samples => Ok(sample),
        Some(_) => Err(Error::Argument(format!("band '{name}': asset '{asset}' has {} band(s)", cog.samples))),
        None if data <= 1 => Ok((0..cog.samples).find(|i| Some(*i) != cog.alpha).unwrap_or(0)),
        None => {
            let choices: Vec<_> = (1..=cog.samples).map(|n| format!("'{asset}:{n}'")).collect();
            Err(Error::Argument(format!("asset '{asset}' has {data} bands; choose one of {}", choices.join(", "))))
        }
    }
}

/// The nodata of one sample: the argument, else the file's, else STAC's.
pub fn declared_nodata(request: &Request, cog: &Cog, sample: u16, stac: Option<f64>) -> Option<Nodata> {
    let own = cog.nodata.get(usize::from(sample)).copied().flatten();
    marking_argument(request, cog).or(own).or_else(|| of_stac(stac, cog))
}

/// What marks invalid pixels beside the file's mask and alpha band. The file tells what is valid in one way, see
/// [`Cog::validity`]: its nodata marks nothing beside a mask, and STAC's only where the file says nothing.
pub fn marking_nodata(request: &Request, cog: &Cog, sample: u16, stac: Option<f64>) -> Option<Nodata> {
    marking_argument(request, cog).or_else(|| own_nodata(cog, sample, stac))
}

/// As [`marking_nodata`], whatever the call says.
pub fn own_nodata(cog: &Cog, sample: u16, stac: Option<f64>) -> Option<Nodata> {
    match cog.validity(sample) {
        Validity::Mask | Validity::Alpha(_) => None,
        Validity::Nodata(own) => Some(own),
        Validity::Everything => of_stac(stac, cog),
    }
}

/// The argument, unless it can mark no pixel of the source (-9999 among unsigned integers; NaN, which is never data): then it
/// only says what the output is filled with.
fn marking_argument(request: &Request, cog: &Cog) -> Option<Nodata> {
    let argument = request.nodata.as_ref().and_then(|text| Nodata::parse(text, cog.dtype));
    argument.filter(|n| !n.to_f64().is_nan())
}

fn of_stac(nodata: Option<f64>, cog: &Cog) -> Option<Nodata> {
    Nodata::parse(&nodata?.to_string(), cog.dtype)
}

fn output_dtype(request: &Request, method: Method, common: DataType) -> Result<DataType> {
    match request.dtype {
        Some(dtype) if method.needs_float() && !dtype.is_float() => Err(Error::Argument(format!(
            "mosaic '{}' gives fractions, which dtype '{dtype}' cannot hold; use float32 or float64",
            method.name()
        ))),
        Some(dtype) if request.scale && method != Method::Count && !dtype.is_float() => Err(Error::Argument(format!(
            "scale := true gives fractions, which dtype '{dtype}' cannot hold; use float32 or float64"
        ))),
        Some(dtype) => Ok(dtype),
        None => Ok(method.output_dtype(common)),
    }
}

fn check_nodata(request: &Request, method: Method, common: DataType, dtype: DataType) -> Result<()> {
    let Some(text) = &request.nodata else { return Ok(()) };
    // A count is never missing: nodata only marks pixels of the sources.
    if method == Method::Count || Nodata::parse(text, dtype).is_some() {
        return Ok(());
    }
    if request.dtype.is_some() {
        return Err(Error::Argument(format!("nodata {text} is not a value of dtype '{dtype}'")));
    }
    let holds = |d: &DataType| common.fits_in(*d) && Nodata::parse(text, *d).is_some();
    let wider = DataType::ALL.into_iter().find(holds).unwrap_or(DataType::Float64);
    Err(Error::Argument(format!(
        "nodata {text} is not a value of '{dtype}', the type of the sources; pass dtype := '{wider}' as well"
    )))
}

/// Type and nodata of one source of a band.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    pub dtype: DataType,
    pub nodata: Option<Nodata>,
}

/// Checks that the values of a later source fit a band as it was resolved.
///
/// # Errors
/// As [`super::Cube::check_source`]; the message says what to pass.
pub fn check_source(request: &Request, band: &Band, source: Source) -> Result<()> {
    let first = Source { dtype: band.source_dtype, nodata: band.nodata };
    let fits = request.dtype.is_some() || source.dtype.fits_in(first.dtype);
    // A count is never missing.
    let needs_fill = request.blobs && request.nodata.is_none() && !request.scale && band.method != Method::Count;
    let clashes = needs_fill && clash(source.nodata, first.nodata);
    if fits && !clashes {
        return Ok(());
    }
    let common = source.dtype.promote(first.dtype).unwrap_or(DataType::Float64);
    let wider = format!("its type {} does not fit into {}, which the first item has", source.dtype, first.dtype);
    if !clashes {
        return Err(Error::Argument(format!("{wider}; pass dtype := '{common}'")));
    }
    let (fill, dtype) = common_fill([first, source], request.dtype.unwrap_or(band.method.output_dtype(common)));
    let show = |n: Option<Nodata>| n.map_or("none".into(), |n| n.to_f64().to_string());
    let other = format!("its nodata {} is not {}, which the first item has", show(source.nodata), show(first.nodata));
    let why = if fits { other } else { format!("{wider}, and {other}") };
    Err(Error::Argument(format!(
        "{why}; pass nodata := {fill}, dtype := '{dtype}' to mark missing pixels by one value: each source keeps its own nodata"
    )))
}

/// Two different values. A source without nodata has no invalid values, and validity is kept beside the values.
fn clash(a: Option<Nodata>, b: Option<Nodata>) -> bool {
    let (Some(a), Some(b)) = (a.map(Nodata::to_f64), b.map(Nodata::to_f64)) else { return false };
    a != b && !(a.is_nan() && b.is_nan())
}

/// A value, as SQL, and a type for the output of sources whose nodata differ, so that each keeps its own: an argument overrides
/// what a source declares unless the source cannot hold it.
fn common_fill(sources: [Source; 2], at_least: DataType) -> (String, DataType) {
    const CANDIDATES: [&str; 4] = ["-9999", "-99999", "-9999999999", "nan"];
    let spares = |text: &str| {
        sources.iter().all(|source| match Nodata::parse(text, source.dtype).map(Nodata::to_f64) {
            None => true,
            Some(value) => value.is_nan() || source.nodata.is_some_and(|own| own.to_f64() == value),
        })
    };
    let declared = sources.iter().filter_map(|source| Some(source.nodata?.to_f64().to_string()));
    let holder = |text: &str| {
        DataType::ALL.into_iter().find(|dtype| at_least.fits_in(*dtype) && Nodata::parse(text, *dtype).is_some())
    };
    let found = declared
        .chain(CANDIDATES.map(str::to_owned))
        .filter(|text| spares(text))
        .find_map(|text| Some((holder(&text)?, text)));
    match found {
        Some((dtype, text)) if text.eq_ignore_ascii_case("nan") => ("'NaN'".to_owned(), dtype),
        Some((dtype, text)) => (text, dtype),
        None => ("'NaN'".to_owned(), DataType::Float64),
    }
}
