//! The SQL that finds items by their bbox. It takes too many rather than too few: which items are in the area is decided by
//! [`Place`](crate::place::Place), row by row, of those that this leaves.

use duckdb::Connection;
use duckdb::arrow::array::RecordBatch;

use super::layout::Bbox;
use super::{rows, session};
use crate::area::{Area, Margin};
use crate::error::Result;
use crate::place::{LARGEST_LATITUDE, LARGEST_LONGITUDE, largest_margin};

/// Degrees beyond which a box is looked at for itself: the margin of the largest is that of all.
const LARGE: f64 = 30.0;

/// What the boxes of an archive are like.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Boxes {
    /// Of those that do not cross the antimeridian and are not large: westernmost west and easternmost east, as they count.
    west: f64,
    east: f64,
    /// Of those that are not large.
    width: f64,
    height: f64,
    /// Some run from a larger to a smaller longitude.
    crossing: bool,
    large: bool,
    /// Some say nothing, so that the geometry decides.
    pub irregular: bool,
}

impl Boxes {
    /// Of an archive that nobody looked at.
    pub(super) const ANY: Boxes = Boxes {
        west: -LARGEST_LONGITUDE,
        east: LARGEST_LONGITUDE,
        width: LARGE,
        height: LARGE,
        crossing: true,
        large: true,
        irregular: true,
    };
}

/// A look at all boxes of `from` that meet the conditions. They are read as a whole: what they have in common is what lets the
/// condition that follows skip row groups.
pub(super) fn look(connection: &Connection, bbox: &Bbox, from: &str, conditions: &str) -> Result<Boxes> {
    let sql = look_sql(bbox, from, conditions);
    let found = session::rows(connection, &sql)?.iter().find(|batch| batch.num_rows() > 0).map(of_batch).transpose()?;
    Ok(found.unwrap_or_default())
}

fn look_sql(bbox: &Bbox, from: &str, conditions: &str) -> String {
    let [west, south, east, north] = &bbox.edges;
    // Names of our own, of which no condition knows.
    let regular = regular(["w", "s", "e", "n"]);
    let large = large(["w", "s", "e", "n"]);
    format!(
        "SELECT min(w) FILTER (r AND NOT l AND w < e), max(e) FILTER (r AND NOT l AND w < e), \
         max({width}) FILTER (r AND NOT l), max(n - s) FILTER (r AND NOT l), \
         coalesce(bool_or(r AND w > e), false), coalesce(bool_or(r AND l), false), coalesce(bool_or(NOT r), false) \
         FROM (SELECT w, s, e, n, {regular} AS r, coalesce({large}, false) AS l FROM \
         (SELECT CAST({west} AS DOUBLE) AS w, CAST({south} AS DOUBLE) AS s, CAST({east} AS DOUBLE) AS e, \
         CAST({north} AS DOUBLE) AS n FROM {from} WHERE {conditions}))",
        width = width("w", "e"),
    )
}

fn of_batch(batch: &RecordBatch) -> Result<Boxes> {
    let [west, east, width, height, crossing, large, irregular] = batch.columns() else { return Ok(Boxes::default()) };
    // An archive of no regular box has no edges.
    let number = |column| Ok(rows::double(column, 0)?.unwrap_or_default());
    let told = |column| Ok(rows::boolean(column, 0)?.unwrap_or_default());
    Ok(Boxes {
        west: number(west)?,
        east: number(east)?,
        width: number(width)?,
        height: number(height)?,
        crossing: told(crossing)?,
        large: told(large)?,
        irregular: told(irregular)?,
    })
}

/// Whether a bbox says where an item is, as [`Place`](crate::place::Place) has it. Never NULL.
fn regular([west, south, east, north]: [&str; 4]) -> String {
    format!(
        "coalesce(abs({west}) <= {LARGEST_LONGITUDE} AND abs({east}) <= {LARGEST_LONGITUDE} AND \
         {south} >= -{LARGEST_LATITUDE} AND {north} <= {LARGEST_LATITUDE} AND {south} < {north} AND {west} <> {east}, false)"
    )
}

fn large([west, south, east, north]: [&str; 4]) -> String {
    format!("({} > {LARGE} OR {north} - {south} > {LARGE})", width(west, east))
}

/// Degrees from west to east.
fn width(west: &str, east: &str) -> String {
    format!("({east} - {west} + CASE WHEN {west} > {east} THEN 360 * ceil(({west} - {east}) / 360) ELSE 0 END)")
}

/// Where the boxes of items that may touch the area are; `None` if that is everywhere. Each edge is compared with a constant
/// where the archive allows it, which DuckDB holds against the statistics of a row group.
pub(super) fn condition(bbox: &Bbox, area: &Area, boxes: &Boxes) -> Option<String> {
    let margin = margin(area, boxes);
    let [west, south, east, north] = area.bounds();
    let (south, north) = (south - margin.y, north + margin.y);
    let (west, east) = (west - margin.x, east + margin.x);
    let all_around = east - west >= 360.0;
    if all_around && south <= -90.0 && north >= 90.0 {
        return None;
    }
    let [w, s, e, n] = &bbox.edges;
    let mut terms = vec![format!("{s} <= {north:e} AND {n} >= {south:e}")];
    if !all_around {
        terms.push(match boxes.crossing {
            true => {
                format!("{w} - {west:e} - 360 * floor(({w} - {west:e}) / 360) <= {widened:e}", widened = east - west)
                    + &format!(" OR {w} - {west:e} - 360 * floor(({w} - {west:e}) / 360) + {} >= 360", width(w, e))
            }
            false => {
                let turned = Area::of_box([west, south, east, north]).turns(boxes.west, boxes.east);
                let turned = turned.map(|turn| format!("{w} <= {:e} AND {e} >= {:e}", east - turn, west - turn));
                any(turned.collect())
            }
        });
    }
    let near = terms.into_iter().map(|term| format!("({term})")).collect::<Vec<_>>().join(" AND ");
    let edges = [w, s, e, n].map(String::as_str);
    let mut apart = Vec::new();
    if boxes.irregular {
        apart.push(format!("NOT {}", regular(edges)));
    }
    if boxes.large {
        apart.push(large(edges));
    }
    if apart.is_empty() { Some(near) } else { Some(format!("(({near}) OR {})", apart.join(" OR "))) }
}

/// The largest margin of a box that is not large and comes near to the area.
fn margin(area: &Area, boxes: &Boxes) -> Margin {
    let [_, south, _, north] = area.bounds();
    let mut reach = 0.0;
    // The margin grows with the latitude, and reaches latitudes that are farther away.
    for _ in 0..8 {
        let latitudes = [south - reach, north + reach].map(|v: f64| v.clamp(-90.0, 90.0));
        let margin = largest_margin(boxes.width, boxes.height, latitudes);
        if margin.y + boxes.height <= reach {
            return margin;
        }
        reach = margin.y + boxes.height;
    }
    largest_margin(boxes.width, boxes.height, [-90.0, 90.0])
}

fn any(conditions: Vec<String>) -> String {
    if conditions.is_empty() { "false".to_owned() } else { conditions.join(" OR ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bbox() -> Bbox {
        Bbox { edges: ["w", "s", "e", "n"].map(str::to_owned), pruning: true }
    }

    const TILES: Boxes =
        Boxes { west: -180.0, east: 180.0, width: 1.0, height: 1.0, crossing: false, large: false, irregular: false };

    #[test]
    fn each_edge_is_compared_with_a_constant_where_boxes_are_small_and_count_in_one_way() {
        let condition = condition(&bbox(), &Area::of_box([10.0, 40.0, 11.0, 41.0]), &TILES).unwrap();
        assert_eq!(condition.matches(" AND ").count(), 3);
        assert!(!condition.contains("OR") && !condition.contains("CASE"), "{condition}");
    }

    #[test]
    fn an_archive_of_another_turn_is_asked_in_its_own() {
        let boxes = Boxes { west: 180.0, east: 539.5, ..TILES };
        let condition = condition(&bbox(), &Area::of_box([10.0, 40.0, 11.0, 41.0]), &boxes).unwrap();
        assert!(condition.contains("w <= 3.71") && !condition.contains("OR"), "{condition}");
    }

    #[test]
    fn odd_boxes_are_looked_at_besides() {
        let area = Area::of_box([10.0, 40.0, 11.0, 41.0]);
        let with = |boxes| condition(&bbox(), &area, &boxes).unwrap();
        assert!(with(Boxes { irregular: true, ..TILES }).contains("OR NOT coalesce("));
        assert!(with(Boxes { large: true, ..TILES }).contains("> 30"));
        assert!(with(Boxes { crossing: true, ..TILES }).contains("floor("));
        assert_eq!(condition(&bbox(), &Area::EARTH, &TILES), None);
    }
}
