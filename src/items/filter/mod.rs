//! CQL2 text or JSON to a SQL condition over the item relation.
//!
//! The `cql2` crate parses; the SQL is our own, because only we know which column a property is and of what type.
//! Semantics: OGC 21-065r2, Common Query Language (CQL2).

mod temporal;
mod term;

use ::cql2::Expr;
use geo::Geometry;
use serde_json::Value;

use self::term::{Term, aligned};
use super::fields::{Field, Kind};
use super::geometry::{self, Encoding};
use super::session::{list, literal};
use crate::error::{Error, Result};

/// Bytes of a filter, and of the parser's stack, which is enough for the worst filter of that length.
const MAX_LENGTH: usize = 16 << 10;
const STACK: usize = 256 << 20;
/// The grammar tries a parenthesis as a group, then as a list: the work doubles with each level.
const MAX_PARENTHESES: usize = 12;
/// Levels of the parsed expression, where a chain of AND or OR is one.
const MAX_TREE: usize = 128;

/// Finds the field that a property name stands for.
type Resolve<'a> = &'a dyn Fn(&str) -> Result<Field>;

/// A filter as SQL, and the shapes that an item must meet besides, which SQL cannot tell.
pub(super) fn parts(filter: &str, resolve: Resolve) -> Result<(String, Vec<Geometry>)> {
    let (mut conditions, mut shapes) = (Vec::new(), Vec::new());
    let mut open = vec![parse(filter)?];
    while let Some(expr) = open.pop() {
        match &expr {
            Expr::Operation { op, args } if op == "and" => open.extend(args.iter().rev().map(|arg| (**arg).clone())),
            Expr::Operation { op, args } if op == "s_intersects" => shapes.push(shape(args)?),
            _ => conditions.push(condition(&expr, resolve)?),
        }
    }
    let sql = if conditions.is_empty() { "true".to_owned() } else { format!("({})", conditions.join(" AND ")) };
    Ok((sql, shapes))
}

/// The shape that `s_intersects` holds against the geometry of the item.
fn shape(args: &[Box<Expr>]) -> Result<Geometry> {
    let is_place = |expr: &Expr| matches!(expr, Expr::Property { property } if property == "geometry");
    let shape = match args {
        [place, shape] | [shape, place] if is_place(place) => shape,
        _ => {
            return refuse(
                "s_intersects holds the property geometry against a shape: S_INTERSECTS(geometry, POLYGON(...))",
            );
        }
    };
    let json = match shape.as_ref() {
        Expr::Geometry(shape) => serde_json::to_string(shape).or_else(|e| refuse(format!("s_intersects: {e}")))?,
        other => return refuse(format!("s_intersects: {} is no shape", term::shown(other))),
    };
    match geometry::parse(Encoding::GeoJson, json.as_bytes()) {
        Ok(Some(shape)) if geometry::bounds(&shape).is_some() => Ok(shape),
        Ok(_) => refuse("s_intersects: the shape is empty"),
        Err(what) => refuse(format!("s_intersects: {what}")),
    }
}

/// The condition as SQL. `resolve` finds properties by name.
///
/// # Errors
/// Text that does not parse (with the place), unknown properties and functions, operands that cannot be compared.
pub(super) fn to_sql(filter: &str, resolve: Resolve) -> Result<String> {
    condition(&parse(filter)?, resolve)
}

fn refuse<T>(message: impl std::fmt::Display) -> Result<T> {
    Err(Error::Argument(format!("filter: {message}")))
}

/// Reads CQL2 text or JSON.
///
/// # Errors
/// What is neither, and what is too long or too deep.
pub fn parse(filter: &str) -> Result<Expr> {
    if filter.len() > MAX_LENGTH {
        return refuse(format!("longer than {MAX_LENGTH} bytes; use ids := [...] for long lists of items"));
    }
    if filter.trim_start().starts_with('{') {
        let json: Value = serde_json::from_str(filter).or_else(|e| refuse(format!("does not parse as JSON: {e}")))?;
        return Expr::try_from(older(json))
            .or_else(|_| refuse(format!("is JSON, but not CQL2 JSON such as {}", EXAMPLE_JSON)));
    }
    check_parentheses(filter)?;
    // The parser recurses with the length of a chain such as `a OR b OR c`, more than the stack of a caller may hold.
    let parsed = std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(STACK);
        parser.spawn_scoped(scope, || parse_text(filter)).map(|thread| thread.join())
    });
    match parsed {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => refuse("the parser failed on it"),
        Err(error) => refuse(format!("cannot start a thread to parse it: {error}")),
    }
}

/// Names of operators in drafts of CQL2, and what became of them.
const OLDER: [(&str, &str); 8] = [
    ("eq", "="),
    ("neq", "<>"),
    ("lt", "<"),
    ("lte", "<="),
    ("gt", ">"),
    ("gte", ">="),
    ("intersects", "s_intersects"),
    ("isnull", "isNull"),
];

/// JSON of a draft as JSON of the standard: `{"op": "lte", ...}` and, older still, `{"lte": [...]}`.
fn older(json: Value) -> Value {
    let renamed =
        |op: &str| OLDER.iter().find(|(old, _)| op.eq_ignore_ascii_case(old)).map(|(_, new)| (*new).to_owned());
    match json {
        Value::Object(mut members) => {
            if let Some(name) = members.get("op").and_then(Value::as_str).and_then(renamed) {
                members.insert("op".to_owned(), name.into());
            }
            let only = members.iter().next().filter(|_| members.len() == 1);
            let bare = only.and_then(|(op, args)| {
                let known = renamed(op).or_else(|| ["and", "or", "not"].contains(&op.as_str()).then(|| op.clone()))?;
                let args = if args.is_array() { args.clone() } else { Value::Array(vec![args.clone()]) };
                Some([("op".to_owned(), known.into()), ("args".to_owned(), args)])
            });
            if let Some(members_of_today) = bare {
                members = members_of_today.into_iter().collect();
            }
            Value::Object(members.into_iter().map(|(name, value)| (name, older(value))).collect())
        }
        Value::Array(elements) => Value::Array(elements.into_iter().map(older).collect()),
        plain => plain,
    }
}

fn parse_text(filter: &str) -> Result<Expr> {
    match ::cql2::parse_text(filter) {
        Ok(expr) if is_deeper_than(&expr, MAX_TREE) => {
            refuse(format!("more than {MAX_TREE} operations inside each other"))
        }
        Ok(expr) => Ok(expr),
        Err(error) => refuse(format!("does not parse as CQL2 text\n{error}")),
    }
}

fn is_deeper_than(expr: &Expr, depth: usize) -> bool {
    match expr {
        _ if depth == 0 => true,
        Expr::Operation { args, .. } | Expr::Array(args) | Expr::Interval { interval: args } => {
            args.iter().any(|arg| is_deeper_than(arg, depth - 1))
        }
        _ => false,
    }
}

const EXAMPLE_JSON: &str = r#"{"op": "<", "args": [{"property": "eo:cloud_cover"}, 20]}"#;

fn check_parentheses(filter: &str) -> Result<()> {
    let (mut depth, mut quote) = (0usize, None);
    for c in filter.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_PARENTHESES {
            return refuse(format!("more than {MAX_PARENTHESES} parentheses inside each other"));
        }
    }
    Ok(())
}

/// An expression that is true or false.
fn condition(expr: &Expr, resolve: Resolve) -> Result<String> {
    let Expr::Operation { op, args } = expr else {
        return match expr {
            Expr::Bool(value) => Ok(value.to_string()),
            Expr::Property { .. } => Term::of(expr, resolve)?.as_boolean(),
            _ => refuse(format!("{} is not a condition", term::shown(expr))),
        };
    };
    let args: Vec<&Expr> = args.iter().map(AsRef::as_ref).collect();
    match (op.as_str(), args.as_slice()) {
        ("and" | "or", conditions) if !conditions.is_empty() => {
            let conditions: Vec<String> = conditions.iter().map(|e| condition(e, resolve)).collect::<Result<_>>()?;
            Ok(format!("({})", conditions.join(if op == "and" { " AND " } else { " OR " })))
        }
        ("not", [inner]) => Ok(format!("(NOT {})", condition(inner, resolve)?)),
        ("=" | "<>" | "<" | "<=" | ">" | ">=", [left, right]) => {
            let [left, right] = aligned([Term::of(left, resolve)?, Term::of(right, resolve)?])?;
            Ok(format!("({left} {op} {right})"))
        }
        ("between", [value, low, high]) => {
            let [value, low, high] =
                aligned([Term::of(value, resolve)?, Term::of(low, resolve)?, Term::of(high, resolve)?])?;
            Ok(format!("({value} BETWEEN {low} AND {high})"))
        }
        ("isNull", [value]) => Ok(format!("({} IS NULL)", Term::of(value, resolve)?.or_nan())),
        ("like", [value, pattern]) => {
            let (value, pattern) = (Term::of(value, resolve)?.as_text()?, Term::of(pattern, resolve)?.as_text()?);
            Ok(format!("({value} LIKE {pattern} ESCAPE '\\')"))
        }
        ("in", [value, Expr::Array(elements)]) => is_in(value, elements, resolve),
        ("a_equals" | "a_contains" | "a_containedBy" | "a_overlaps", [left, right]) => {
            let (left, right) = (text_list(left, resolve)?, text_list(right, resolve)?);
            Ok(match op.as_str() {
                "a_contains" => format!("list_has_all({left}, {right})"),
                "a_containedBy" => format!("list_has_all({right}, {left})"),
                "a_overlaps" => format!("list_has_any({left}, {right})"),
                _ => format!("({left} = {right})"),
            })
        }
        (name, [left, right]) if name.starts_with("t_") => temporal::condition(name, left, right, resolve),
        (name, _) if name.starts_with("s_") => refuse(format!(
            "{name}: of the spatial operators only s_intersects is supported, by itself or joined to the rest with AND"
        )),
        (name, args) => refuse(format!("'{name}' with {} argument(s) is not a condition of CQL2", args.len())),
    }
}

fn is_in(value: &Expr, elements: &[Box<Expr>], resolve: Resolve) -> Result<String> {
    if elements.is_empty() {
        return refuse("IN needs at least one value");
    }
    let mut terms = vec![Term::of(value, resolve)?];
    for element in elements {
        terms.push(Term::of(element, resolve)?);
    }
    let terms = term::aligned_all(terms)?;
    let (value, elements) = terms.split_first().map_or(("NULL", &[] as &[String]), |(v, rest)| (v.as_str(), rest));
    Ok(format!("({value} IN ({}))", elements.join(", ")))
}

/// An operand of an array operator, as VARCHAR[].
fn text_list(expr: &Expr, resolve: Resolve) -> Result<String> {
    if let Expr::Array(elements) = expr {
        let texts: Option<Vec<String>> = elements.iter().map(|e| term::plain_text(e)).collect();
        return texts.map_or_else(|| refuse("a list in an array operator holds plain values"), |texts| Ok(list(texts)));
    }
    let term = Term::of(expr, resolve)?;
    match term.kind {
        Kind::List | Kind::Null => Ok(format!("CAST({} AS VARCHAR[])", term.sql)),
        Kind::Json => Ok(format!("TRY(from_json({}, {}))", term.sql, literal("[\"VARCHAR\"]"))),
        _ => refuse(format!("{} is not a list", term.name)),
    }
}

#[cfg(test)]
mod tests;
