//! Named arguments by their types.

use super::api::BindInfo;
use super::value::{Data, Value};
use crate::error::{Error, Result};

/// The value of an argument that is given and not NULL.
pub fn given(bind: &BindInfo, name: &str) -> Option<Value> {
    Some(bind.named(name)).filter(|v| !v.is_null())
}

/// A text.
pub fn text(bind: &BindInfo, name: &str) -> Result<Option<String>> {
    match given(bind, name).map(|v| v.read()) {
        None => Ok(None),
        Some(Data::Text(text)) => Ok(Some(text)),
        Some(other) => Err(Error::Argument(format!("{name} is {other}; it must be text"))),
    }
}

/// A named argument that is true or false.
pub fn boolean(bind: &BindInfo, name: &str) -> Result<Option<bool>> {
    match given(bind, name).map(|v| v.read()) {
        None => Ok(None),
        Some(Data::Boolean(value)) => Ok(Some(value)),
        Some(other) => Err(Error::Argument(format!("{name} is {other}; it must be true or false"))),
    }
}

/// A text as a list of one, or a list of texts.
pub fn texts(bind: &BindInfo, name: &str) -> Result<Option<Vec<String>>> {
    let Some(value) = given(bind, name) else { return Ok(None) };
    let wrong = |found: Data| {
        let found = match found {
            Data::Boolean(value) => format!("the BOOLEAN {value}"),
            Data::Number(_, number) => format!("the number {number}"),
            other => other.to_string(),
        };
        Error::Argument(format!("{name} must be a text or a list of texts without NULL; it is, or holds, {found}"))
    };
    // Read once: DuckDB 1.5 makes a number that was read another one.
    let text = |value: Data| value.name().map(str::to_owned).ok_or_else(|| wrong(value));
    match value.read() {
        Data::List(list) => list.iter().map(|value| text(value.read())).collect::<Result<_>>().map(Some),
        one => text(one).map(|text| Some(vec![text])),
    }
}

/// A whole number between two bounds, both included.
pub fn integer(bind: &BindInfo, name: &str, least: i64, most: i64) -> Result<Option<i64>> {
    let Some(value) = given(bind, name) else { return Ok(None) };
    let value = value.read();
    match value.integer() {
        Some(n) if (least..=most).contains(&n) => Ok(Some(n)),
        _ if most == i64::MAX => {
            Err(Error::Argument(format!("{name} is {value}; it must be a whole number, at least {least}")))
        }
        _ => Err(Error::Argument(format!("{name} is {value}; it must be a whole number from {least} to {most}"))),
    }
}

/// A number.
pub fn number(bind: &BindInfo, name: &str) -> Result<Option<f64>> {
    let Some(value) = given(bind, name) else { return Ok(None) };
    match value.read() {
        Data::Number(number, _) if number.is_finite() => Ok(Some(number)),
        other => Err(Error::Argument(format!("{name} is {other}; it must be a number"))),
    }
}

/// A number as a list of one, or a list of numbers.
pub fn numbers(bind: &BindInfo, name: &str) -> Result<Option<Vec<f64>>> {
    let Some(value) = given(bind, name) else { return Ok(None) };
    let wrong = |found: Data| {
        Error::Argument(format!("{name} must be a number or a list of numbers without NULL; it is, or holds, {found}"))
    };
    let number = |value: Data| match value {
        Data::Number(number, _) if !number.is_nan() => Ok(number),
        other => Err(wrong(other)),
    };
    match value.read() {
        Data::List(list) if list.is_empty() => Err(Error::Argument(format!("{name} is an empty list"))),
        Data::List(list) => list.iter().map(|value| number(value.read())).collect::<Result<_>>().map(Some),
        one => number(one).map(|number| Some(vec![number])),
    }
}
