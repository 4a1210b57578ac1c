//! The temporal operators: relations between two spans of time.

use ::cql2::Expr;

use super::term::Term;
use super::{Resolve, refuse};
use crate::error::Result;

/// A span's first and last microsecond as SQL; both are inside, and an instant has the same twice.
type Span = (String, String);

pub(super) fn condition(name: &str, left: &Expr, right: &Expr, resolve: Resolve) -> Result<String> {
    let ((s1, e1), (s2, e2)) = (span(left, resolve)?, span(right, resolve)?);
    let sql = match name {
        "t_before" => format!("{e1} < {s2}"),
        "t_after" => format!("{s1} > {e2}"),
        "t_meets" => format!("{e1} = {s2}"),
        "t_metBy" => format!("{s1} = {e2}"),
        "t_overlaps" => format!("{s1} < {s2} AND {e1} > {s2} AND {e1} < {e2}"),
        "t_overlappedBy" => format!("{s1} > {s2} AND {s1} < {e2} AND {e1} > {e2}"),
        "t_starts" => format!("{s1} = {s2} AND {e1} < {e2}"),
        "t_startedBy" => format!("{s1} = {s2} AND {e1} > {e2}"),
        "t_during" => format!("{s1} > {s2} AND {e1} < {e2}"),
        "t_contains" => format!("{s1} < {s2} AND {e1} > {e2}"),
        "t_finishes" => format!("{s1} > {s2} AND {e1} = {e2}"),
        "t_finishedBy" => format!("{s1} < {s2} AND {e1} = {e2}"),
        "t_equals" => format!("{s1} = {s2} AND {e1} = {e2}"),
        "t_disjoint" => format!("{e1} < {s2} OR {s1} > {e2}"),
        "t_intersects" => format!("{s1} <= {e2} AND {e1} >= {s2}"),
        _ => return refuse(format!("'{name}' is not an operator of CQL2")),
    };
    Ok(format!("({sql})"))
}

fn span(expr: &Expr, resolve: Resolve) -> Result<Span> {
    let Expr::Interval { interval } = expr else { return Term::of(expr, resolve)?.span() };
    let [from, to] = interval.as_slice() else { return refuse("an interval has two ends") };
    let end = |expr: &Expr| match expr {
        Expr::Literal(text) if text == ".." => Ok(None),
        _ => Term::of(expr, resolve)?.span().map(Some),
    };
    let first = end(from)?.map_or_else(|| i64::MIN.to_string(), |(first, _)| first);
    let last = end(to)?.map_or_else(|| i64::MAX.to_string(), |(_, last)| last);
    Ok((first, last))
}
