//! The bands of a cube: which sample of which asset, of which type, with which nodata.

use crate::cog::{Cog, Nodata};
use crate::error::{Error, Result};
use crate::mosaic::Method;
use crate::pixels::DataType;
use crate::request::Request;

/// One band of the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// Its column name: as the user asked for it.
    pub name: String,
    pub asset: String,
    /// Which sample of the asset, counted from 0.
    pub sample: u16,
    /// Type of the output.
    pub dtype: DataType,
    /// Type that holds the sources' values; they are fed to the mosaic in it or in a wider one.
    pub source_dtype: DataType,
    /// What the sampled source declares, or the call.
    pub nodata: Option<Nodata>,
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
        bands.push(Band { name, asset, sample: index, dtype: cog.dtype, source_dtype: cog.dtype, nodata: declared });
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
    let dtype = output_dtype(request, common)?;
    check_nodata(request, common, dtype)?;
    for band in &mut bands {
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

fn choose_sample(name: &str, asset: &str, sample: Option<u16>, cog: &Cog) -> Result<u16> {
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

/// The nodata of one sample: the argument, else the file's, else STAC's. An argument that can mark no pixel of the source
/// (-9999 among unsigned integers; NaN, which is never data) only says what the output is filled with.
pub fn declared_nodata(request: &Request, cog: &Cog, sample: u16, stac: Option<f64>) -> Option<Nodata> {
    let argument = request.nodata.as_ref().and_then(|text| Nodata::parse(text, cog.dtype));
    if let Some(nodata) = argument.filter(|n| !n.to_f64().is_nan()) {
        return Some(nodata);
    }
    let own = cog.nodata.get(usize::from(sample)).copied().flatten();
    own.or_else(|| stac.and_then(|value| Nodata::parse(&value.to_string(), cog.dtype)))
}

fn output_dtype(request: &Request, common: DataType) -> Result<DataType> {
    match request.dtype {
        Some(dtype) if request.mosaic.needs_float() && !dtype.is_float() => Err(Error::Argument(format!(
            "mosaic '{}' gives fractions, which dtype '{dtype}' cannot hold; use float32 or float64",
            request.mosaic.name()
        ))),
        Some(dtype) if request.scale && request.mosaic != Method::Count && !dtype.is_float() => Err(Error::Argument(
            format!("scale := true gives fractions, which dtype '{dtype}' cannot hold; use float32 or float64"),
        )),
        Some(dtype) => Ok(dtype),
        None => Ok(request.mosaic.output_dtype(common)),
    }
}

fn check_nodata(request: &Request, common: DataType, dtype: DataType) -> Result<()> {
    let Some(text) = &request.nodata else { return Ok(()) };
    // A count is never missing: nodata only marks pixels of the sources.
    if request.mosaic == Method::Count || Nodata::parse(text, dtype).is_some() {
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
