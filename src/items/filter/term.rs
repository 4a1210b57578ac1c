//! Operands, and how two of different types are brought together.

use ::cql2::Expr;

use super::{Resolve, condition, refuse};
use crate::error::Result;
use crate::items::fields::{Field, Kind, number_in, unless_nan};
use crate::items::session::literal;
use crate::time::Interval;

/// An operand.
pub(super) struct Term {
    pub sql: String,
    pub kind: Kind,
    /// How an error calls it.
    pub name: String,
    /// What a literal says; a literal can be converted here and now, and a wrong one refused.
    said: Option<String>,
}

impl Term {
    pub(super) fn of(expr: &Expr, resolve: Resolve) -> Result<Self> {
        let name = shown(expr);
        let constant = |sql: String, kind, said: Option<&str>| Self {
            sql,
            kind,
            name: name.clone(),
            said: said.map(str::to_owned),
        };
        Ok(match expr {
            Expr::Property { property } => {
                let Field { sql, kind } = resolve(property)?;
                Self { sql, kind, name, said: None }
            }
            Expr::Float(value) => constant(number(*value), Kind::Number, None),
            Expr::Bool(value) => constant(value.to_string(), Kind::Boolean, None),
            Expr::Literal(text) => constant(literal(text), Kind::Text, Some(text)),
            Expr::Timestamp { timestamp: text } | Expr::Date { date: text } => {
                let Expr::Literal(text) = text.as_ref() else {
                    return refuse(format!("{name} is not a literal time"));
                };
                constant(instant(text)?.to_string(), Kind::Time, Some(text))
            }
            Expr::Operation { op, args } => return operation(op, args, name, resolve),
            Expr::Null => return refuse("nothing compares with null; use IS NULL"),
            Expr::Geometry(_) | Expr::BBox { .. } => {
                return refuse("geometries cannot be compared; the bbox argument selects by place");
            }
            Expr::Array(_) | Expr::Interval { .. } => return refuse(format!("{name} cannot stand here")),
        })
    }

    /// The value, or NULL where text says NaN.
    pub(super) fn or_nan(&self) -> String {
        match self.kind {
            Kind::Json => unless_nan(&self.sql),
            _ => self.sql.clone(),
        }
    }

    pub(super) fn as_text(&self) -> Result<String> {
        match self.kind {
            // A property of NULLs is text as well as anything else.
            Kind::Text | Kind::Json | Kind::TimeText | Kind::Null => Ok(self.sql.clone()),
            _ => refuse(format!("{} is not text", self.name)),
        }
    }

    fn as_number(&self) -> Result<String> {
        match (self.kind, &self.said) {
            (Kind::Number, _) => Ok(self.sql.clone()),
            (Kind::Text, Some(text)) => match text.trim().parse::<f64>() {
                Ok(value) => Ok(number(value)),
                Err(_) => refuse(format!("{} is compared with a number", self.name)),
            },
            (Kind::Text | Kind::Json, None) => Ok(number_in(&self.sql)),
            (Kind::Null, _) => Ok(format!("TRY_CAST({} AS DOUBLE)", self.sql)),
            _ => refuse(format!("{} is not a number", self.name)),
        }
    }

    pub(super) fn as_boolean(&self) -> Result<String> {
        match (self.kind, &self.said) {
            (Kind::Boolean, _) => Ok(self.sql.clone()),
            (Kind::Text | Kind::Json | Kind::Null, None) => Ok(format!("TRY_CAST({} AS BOOLEAN)", self.sql)),
            _ => refuse(format!("{} is not true or false", self.name)),
        }
    }

    /// Microseconds since 1970.
    fn as_micros(&self) -> Result<String> {
        match (self.kind, &self.said) {
            (Kind::Time | Kind::Text, Some(text)) => Ok(instant(text)?.to_string()),
            (
                Kind::Time | Kind::TimeNanos | Kind::TimeText | Kind::Date | Kind::Text | Kind::Json | Kind::Null,
                None,
            ) => Ok(Field { sql: self.sql.clone(), kind: self.kind }.micros()),
            _ => refuse(format!("{} is not a time", self.name)),
        }
    }

    /// The first and last microsecond: a date is a whole day.
    pub(super) fn span(&self) -> Result<(String, String)> {
        match (self.kind, &self.said) {
            (Kind::Time | Kind::Text, Some(text)) => {
                let (first, last) = span(text)?;
                Ok((first.to_string(), last.to_string()))
            }
            (Kind::Date, None) => {
                let first = self.as_micros()?;
                Ok((first.clone(), format!("({first} + {})", crate::time::DAY - 1)))
            }
            _ => self.as_micros().map(|time| (time.clone(), time)),
        }
    }
}

fn operation(op: &str, args: &[Box<Expr>], name: String, resolve: Resolve) -> Result<Term> {
    let term = |sql: String, kind: Kind| Ok(Term { sql, kind, name: name.clone(), said: None });
    let numbers = || args.iter().map(|arg| Term::of(arg, resolve)?.as_number()).collect::<Result<Vec<_>>>();
    match (op, args) {
        ("casei", [arg]) => term(format!("lower({})", Term::of(arg, resolve)?.as_text()?), Kind::Text),
        ("accenti", [arg]) => term(format!("strip_accents({})", Term::of(arg, resolve)?.as_text()?), Kind::Text),
        ("+" | "-" | "*" | "/" | "%", [_, _, ..]) => {
            term(format!("({})", numbers()?.join(&format!(" {op} "))), Kind::Number)
        }
        ("^", [_, _]) => term(format!("power({})", numbers()?.join(", ")), Kind::Number),
        ("div", [_, _]) => term(format!("trunc({})", numbers()?.join(" / ")), Kind::Number),
        _ => {
            let whole = Expr::Operation { op: op.to_owned(), args: args.to_vec() };
            term(condition(&whole, resolve)?, Kind::Boolean)
        }
    }
}

/// A number as SQL: whole numbers stay whole, so that they meet integer columns and hive partitions as integers.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        format!("{value:.0}")
    } else if value.is_finite() {
        format!("{value:e}")
    } else {
        format!("CAST('{value}' AS DOUBLE)")
    }
}

fn instant(text: &str) -> Result<i64> {
    span(text).map(|(first, _)| first)
}

fn span(text: &str) -> Result<(i64, i64)> {
    match Interval::parse(text) {
        Ok(Interval { start: Some(start), end: Some(end) }) if !text.contains('/') => Ok((start, end - 1)),
        _ => refuse(format!("'{text}' is not a time; use RFC 3339, such as 2024-05-01T12:00:00Z")),
    }
}

/// Operands of one comparison, all as the same type.
pub(super) fn aligned<const N: usize>(terms: [Term; N]) -> Result<[String; N]> {
    let aligned = aligned_all(terms.into())?;
    aligned.try_into().or_else(|_| refuse("operands were lost"))
}

/// Times win over numbers, numbers over truth values, and text is what remains.
pub(super) fn aligned_all(terms: Vec<Term>) -> Result<Vec<String>> {
    let any = |kinds: &[Kind]| terms.iter().any(|term| kinds.contains(&term.kind));
    let convert = if any(&[Kind::Time, Kind::TimeNanos, Kind::TimeText, Kind::Date]) {
        Term::as_micros
    } else if any(&[Kind::Number]) {
        Term::as_number
    } else if any(&[Kind::Boolean]) {
        Term::as_boolean
    } else {
        Term::as_text
    };
    terms.iter().map(convert).collect()
}

/// The text of a plain literal.
pub(super) fn plain_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(text) => Some(text.clone()),
        Expr::Float(value) => Some(number(*value)),
        Expr::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// An expression in the user's own notation.
pub(super) fn shown(expr: &Expr) -> String {
    match expr {
        Expr::Property { property } => format!("'{property}'"),
        _ => expr.to_text().unwrap_or_else(|_| "an operand".to_owned()),
    }
}
