//! Arguments about bands: a choice for each of them, and the one that hides pixels of the others.

use super::api::BindInfo;
use super::named::{given, number, numbers, text};
use super::value::{Data, Value};
use crate::error::{Error, Result};
use crate::mask::Rule;
use crate::request::{Choice, MaskBand};

/// What stands for all bands that are not named.
const REST: &str = "*";

/// A name for all bands, or a MAP or STRUCT from the names of bands to names; `'*'` is the rest of them, else they have
/// `usual`.
///
/// # Errors
/// A name that `parse` does not know; a map without entries, or with a band twice.
pub fn choice<T: Copy>(
    bind: &BindInfo,
    argument: &str,
    usual: T,
    parse: impl Fn(&str) -> Result<T>,
) -> Result<Choice<T>> {
    let Some(value) = given(bind, argument) else { return Ok(Choice::all(usual)) };
    let wrong = |found: &Data| {
        Error::Argument(format!(
            "{argument} must be a name, or a map from bands to names such as MAP {{'scl': 'first', '*': 'median'}}; it is, or \
             holds, {found}"
        ))
    };
    let name = |value: Data| match value {
        Data::Text(name) => parse(&name),
        other => Err(wrong(&other)),
    };
    let entries: Vec<(String, Data)> = match value.read() {
        Data::Map(entries) => {
            let entry = |(band, choice): &(Value, Value)| match band.read() {
                Data::Text(band) => Ok((band, choice.read())),
                other => Err(wrong(&other)),
            };
            entries.iter().map(entry).collect::<Result<_>>()?
        }
        Data::Struct(fields) => fields.iter().map(|(band, choice)| (band.clone(), choice.read())).collect(),
        one => return name(one).map(Choice::all),
    };
    if entries.is_empty() {
        return Err(Error::Argument(format!("{argument} is a map that names no band")));
    }
    let mut chosen = Choice::all(usual);
    for (band, choice) in entries {
        let choice = name(choice)?;
        if band == REST {
            chosen.rest = choice;
        } else if chosen.named.iter().any(|(other, _)| *other == band) {
            return Err(Error::Argument(format!("{argument} names band '{band}' twice")));
        } else {
            chosen.named.push((band, choice));
        }
    }
    Ok(chosen)
}

/// `mask_band`, and what its values mean.
///
/// # Errors
/// One without the other; numbers that are no bits; a negative distance.
pub fn mask(bind: &BindInfo) -> Result<Option<MaskBand>> {
    let rule = Rule {
        values: numbers(bind, "mask_values")?,
        keep: numbers(bind, "mask_keep")?,
        bits: numbers(bind, "mask_bits")?.map(|bits| bits.into_iter().map(bit).collect()).transpose()?,
        above: number(bind, "mask_above")?,
        below: number(bind, "mask_below")?,
        grow: number(bind, "mask_grow")?.unwrap_or(0.0),
    };
    if rule.grow < 0.0 {
        return Err(Error::Argument(format!(
            "mask_grow is {}; it must be a distance in the units of the mask's CRS, 0 or more",
            rule.grow
        )));
    }
    match text(bind, "mask_band")? {
        Some(band) if rule.is_empty() => Err(Error::Argument(format!(
            "mask_band '{band}' says nothing without one of mask_values (these hide), mask_keep (all others hide), mask_bits, \
             mask_above and mask_below"
        ))),
        Some(band) => Ok(Some(MaskBand { band, rule })),
        None if rule.is_empty() && given(bind, "mask_grow").is_none() => Ok(None),
        None => Err(Error::Argument(format!("mask_band is missing: {rule} says what the values of a mask mean"))),
    }
}

fn bit(number: f64) -> Result<u32> {
    /// Of the widest type.
    const MOST: f64 = 63.0;
    if number.fract() == 0.0 && (0.0..=MOST).contains(&number) {
        Ok(number as u32)
    } else {
        Err(Error::Argument(format!("mask_bits holds {number}; bits are whole numbers from 0, the lowest, to {MOST}")))
    }
}
