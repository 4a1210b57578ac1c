use std::f64::consts::TAU;

use geo::{Area, Coord, LineString, MultiPolygon, Polygon};
use proptest::prelude::*;

use super::*;
use crate::error::Result;
use crate::grid::Rect;

const FRACTIONAL: Rule = Rule::Fractional { least: 0.0 };
const RULES: [Rule; 3] = [FRACTIONAL, Rule::Center, Rule::AllTouched];

fn rect(col: u64, row: u64, width: u64, height: u64) -> Rect {
    Rect { col, row, width, height }
}

fn ring(points: &[(f64, f64)]) -> LineString {
    points.iter().map(|&(x, y)| Coord { x, y }).collect()
}

fn square(x: f64, y: f64, side: f64) -> Polygon {
    Polygon::new(ring(&[(x, y), (x + side, y), (x + side, y + side), (x, y + side)]), Vec::new())
}

fn zone(polygons: &[Polygon]) -> Zone {
    Zone::new(&MultiPolygon(polygons.to_vec())).unwrap()
}

/// The share of each pixel, row by row.
fn shares(zone: &Zone, rect: Rect, rule: Rule) -> Result<Vec<f64>> {
    let mut shares = vec![0.0; rect.pixels()];
    Coverage::each_row(zone, rect, rule, |row| {
        for span in row.spans() {
            let (cols, own) = match span {
                Span::Full(cols) => (cols.clone(), vec![1.0; (cols.end - cols.start) as usize]),
                Span::Part(col, own) => (col..col + own.len() as u64, own.to_vec()),
            };
            let first = ((row.row - rect.row) * rect.width + cols.start - rect.col) as usize;
            shares[first..first + own.len()].copy_from_slice(&own);
        }
        Ok(())
    })?;
    Ok(shares)
}

#[test]
fn a_square_has_its_closed_form() {
    let found = shares(&zone(&[square(0.25, 0.5, 2.0)]), rect(0, 0, 4, 3), FRACTIONAL).unwrap();
    let (cols, rows) = ([0.75, 1.0, 0.25, 0.0], [0.5, 1.0, 0.5]);
    let expected: Vec<f64> = rows.iter().flat_map(|row| cols.map(|col| col * row)).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_inside_takes_no_memory_and_is_one_run() {
    let zone = zone(&[square(0.5, 0.5, 10_000.0)]);
    let coverage = Coverage::of(&zone, rect(0, 0, 10_001, 10_001), FRACTIONAL).unwrap();
    assert!(coverage.memory() < 3_000_000, "{}", coverage.memory());
    let spans: Vec<Span> = coverage.rows().nth(7).unwrap().spans().collect();
    assert_eq!(spans, [Span::Part(0, &[0.5]), Span::Full(1..10_000), Span::Part(10_000, &[0.5])]);
}

#[test]
fn holes_parts_and_directions() {
    let outer = ring(&[(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]);
    let hole = ring(&[(1.0, 1.0), (3.0, 1.0), (3.0, 3.0), (1.0, 3.0)]);
    let turned = |ring: &LineString| LineString::new(ring.0.iter().rev().copied().collect());
    for (outer, hole) in [(outer.clone(), hole.clone()), (turned(&outer), hole.clone()), (outer.clone(), turned(&hole))]
    {
        let with_island = [Polygon::new(outer, vec![hole]), square(1.5, 1.5, 1.0)];
        let found = shares(&zone(&with_island), rect(0, 0, 4, 4), FRACTIONAL).unwrap();
        assert_eq!(found[..8], [1.0, 1.0, 1.0, 1.0, 1.0, 0.25, 0.25, 1.0]);
    }
}

#[test]
fn what_is_empty_covers_nothing() {
    let flat = Polygon::new(ring(&[(1.0, 1.0), (5.0, 1.0), (1.0, 1.0)]), Vec::new());
    for zone in [Zone::default(), zone(&[]), zone(&[Polygon::new(ring(&[]), Vec::new())]), zone(&[flat])] {
        assert!(Coverage::of(&zone, rect(0, 0, 9, 9), FRACTIONAL).unwrap().is_empty());
    }
    assert_eq!(Zone::default().rect(rect(0, 0, 9, 9)), None);
    assert_eq!(zone(&[square(20.0, 0.0, 3.0)]).rect(rect(0, 0, 9, 9)), None);
    assert_eq!(zone(&[square(-2.5, 3.5, 5.0)]).rect(rect(0, 0, 9, 7)), Some(rect(0, 3, 3, 4)));
}

#[test]
fn invalid_polygons_are_told() {
    let bow_tie = Polygon::new(ring(&[(0.0, 0.0), (4.0, 4.0), (4.0, 0.0), (0.0, 4.0)]), Vec::new());
    let hole_outside =
        Polygon::new(square(0.0, 0.0, 2.0).exterior().clone(), vec![square(2.0, 2.0, 2.0).exterior().clone()]);
    for polygons in [vec![bow_tie], vec![square(0.0, 0.0, 2.0), square(1.0, 1.0, 2.0)], vec![hole_outside]] {
        for rule in RULES {
            let message = shares(&zone(&polygons), rect(0, 0, 5, 5), rule).unwrap_err().to_string();
            assert!(message.contains("not valid") && message.contains("column"), "{message}");
        }
    }
}

#[test]
fn a_pixel_below_the_least_share_does_not_count() {
    let zone = zone(&[square(0.25, 0.0, 2.0)]);
    let found = shares(&zone, rect(0, 0, 3, 1), Rule::parse("fractional", 0.5).unwrap()).unwrap();
    assert_eq!(found, [0.75, 1.0, 0.0]);
    assert!(
        Rule::parse("center", 0.5).unwrap_err().to_string().contains("min_coverage 0.5 needs pixels := 'fractional'")
    );
    assert!(Rule::parse("fractional", f64::NAN).is_err() && Rule::parse("fractional", 1.5).is_err());
    assert!(Rule::parse("centre", 0.0).unwrap_err().to_string().contains("fractional, center, all_touched"));
}

#[test]
fn what_touches_in_a_side_or_a_corner_does_not_count() {
    let found = shares(&zone(&[square(1.0, 1.0, 1.0)]), rect(0, 0, 3, 3), Rule::AllTouched).unwrap();
    assert_eq!(found, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    let needle = Polygon::new(ring(&[(0.5, 0.2), (2.5, 0.4), (0.5, 0.2)]), Vec::new());
    assert_eq!(shares(&zone(&[needle]), rect(0, 0, 4, 1), Rule::AllTouched).unwrap(), [1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn of_zones_that_meet_in_a_centre_one_has_the_pixel() {
    let halves = [[(0.0, 0.0), (1.5, 0.0), (1.5, 3.0), (0.0, 3.0)], [(1.5, 0.0), (3.0, 0.0), (3.0, 3.0), (1.5, 3.0)]];
    let [left, right] = halves
        .map(|half| shares(&zone(&[Polygon::new(ring(&half), Vec::new())]), rect(0, 0, 3, 3), Rule::Center).unwrap());
    assert_eq!((left[1], right[1]), (1.0, 0.0));
    let [above, below] = halves.map(|half| {
        let turned = half.map(|(x, y)| (y, x));
        shares(&zone(&[Polygon::new(ring(&turned), Vec::new())]), rect(0, 0, 3, 3), Rule::Center).unwrap()
    });
    assert_eq!((above[4], below[4]), (0.0, 1.0));
}

#[test]
fn what_is_too_far_is_refused() {
    for x in [1e300, f64::NAN, f64::INFINITY, 2e12] {
        let far = Polygon::new(ring(&[(0.0, 0.0), (x, 0.0), (0.0, 1.0)]), Vec::new());
        assert!(Zone::new(&MultiPolygon(vec![far])).unwrap_err().to_string().contains("too far"), "{x}");
    }
}

/// A polygon around a place, valid since its corners are sorted by their angle.
fn star() -> impl Strategy<Value = Polygon> {
    let corner = (0.05f64..1.0, 0.2f64..1.0);
    (prop::collection::vec(corner, 3..40), -5.0f64..25.0, -5.0f64..20.0, 0.1f64..15.0).prop_map(
        |(corners, x, y, size)| {
            let all: f64 = corners.iter().map(|corner| corner.0).sum();
            let mut angle = 0.0;
            let points: Vec<(f64, f64)> = corners
                .iter()
                .map(|(step, length)| {
                    angle += step / all * TAU;
                    (x + size * length * angle.cos(), y + size * length * angle.sin())
                })
                .collect();
            Polygon::new(ring(&points), Vec::new())
        },
    )
}

/// Coordinates of every kind, many of them on sides of pixels and very close to them.
fn any_coordinate() -> impl Strategy<Value = f64> {
    let near_side = (-3i32..12, -2i32..3).prop_map(|(n, ulps)| f64::from(n) + f64::from(ulps) * 4e-16);
    prop_oneof![near_side, -3.0f64..12.0, -1e-300f64..1e-300, -1e12f64..1e12, any::<f64>()]
}

proptest! {
    #[test]
    fn shares_add_up_to_the_area(polygon in star()) {
        let moved: Polygon = geo::MapCoords::map_coords(&polygon, |at| Coord { x: at.x + 25.0, y: at.y + 25.0 });
        let found = shares(&zone(std::slice::from_ref(&moved)), rect(0, 0, 80, 80), FRACTIONAL).unwrap();
        let (sum, area) = (found.iter().sum::<f64>(), moved.unsigned_area());
        prop_assert!((sum - area).abs() <= 1e-12 * area.max(1.0), "{} {}", sum, area);
    }

    #[test]
    fn a_grid_may_be_cut_in_any_way(polygon in star(), width in 1u64..20, height in 1u64..15) {
        let zone = zone(&[polygon]);
        let whole = rect(0, 0, 20, 15);
        for rule in RULES {
            let expected = shares(&zone, whole, rule).unwrap();
            let cuts = (0..20).step_by(width as usize).flat_map(|col| (0..15).step_by(height as usize).map(move |row| (col, row)));
            for (col, row) in cuts {
                let part = rect(col, row, width.min(20 - col), height.min(15 - row));
                let found = shares(&zone, part, rule).unwrap();
                for (row, line) in found.chunks(part.width as usize).enumerate() {
                    let first = ((part.row + row as u64) * whole.width + part.col) as usize;
                    prop_assert_eq!(line, &expected[first..first + line.len()]);
                }
            }
        }
    }

    #[test]
    fn zones_that_tile_a_rectangle_share_each_pixel(x in 0.1f64..9.9, y in 0.1f64..7.9, sides in prop::collection::vec(0.0f64..1.0, 4)) {
        let [top, right, bottom, left] = [sides[0] * 10.0, sides[1] * 8.0, sides[2] * 10.0, sides[3] * 8.0];
        let upper = [(top, 0.0), (10.0, 0.0), (10.0, right), (10.0, 8.0)];
        let border = [upper, [(bottom, 8.0), (0.0, 8.0), (0.0, left), (0.0, 0.0)]].concat();
        for rule in [FRACTIONAL, Rule::Center] {
            let mut sum = vec![0.0; 80];
            for (i, from) in border.iter().enumerate() {
                let part = zone(&[Polygon::new(ring(&[(x, y), *from, border[(i + 1) % 8]]), Vec::new())]);
                let found = shares(&part, rect(0, 0, 10, 8), rule).unwrap();
                sum.iter_mut().zip(found).for_each(|(sum, share)| *sum += share);
            }
            prop_assert!(sum.iter().all(|share| *share == 1.0), "{:?}", sum);
        }
    }

    #[test]
    fn no_polygon_leads_to_a_panic_or_a_share_beyond_one(points in prop::collection::vec((any_coordinate(), any_coordinate()), 0..8)) {
        let polygon = Polygon::new(ring(&points), Vec::new());
        if let Ok(zone) = Zone::new(&MultiPolygon(vec![polygon])) {
            for rule in RULES {
                if let Ok(shares) = shares(&zone, rect(2, 1, 7, 9), rule) {
                    prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
                }
            }
        }
    }
}
