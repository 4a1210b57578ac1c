//! Coverage and statistics of zones against shapely, GDAL and exactextract: what they found for 72 polygons is in
//! `expected.json`, which `test/zones_oracle.py` writes.

#![expect(clippy::expect_used, reason = "a test tells by a panic what is wrong")]

use lazycogs::grid::Rect;
use lazycogs::zones::{Coverage, Rule, Shape, Span, Stat, Summary, Zone};
use serde_json::Value;

#[derive(Clone)]
struct Case {
    name: String,
    zone: Zone,
    expected: Value,
    rect: Rect,
}

fn cases() -> Vec<Case> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("expected.json")).expect("JSON");
    assert!(cases.len() > 60);
    let case = |(i, expected): (usize, Value)| {
        let shape = Shape::from_text(&expected["geometry"].to_string()).expect("a geometry");
        let zone = Zone::new(&shape.polygons).expect("a zone");
        let size = |value: &Value| value.as_array().map_or(0, Vec::len) as u64;
        let rect = Rect { col: 0, row: 0, width: size(&expected["shares"][0]), height: size(&expected["shares"]) };
        Case { name: format!("{i} ({})", expected["kind"]), zone, expected, rect }
    };
    cases.into_iter().enumerate().map(case).collect()
}

/// The share of each pixel, by rows.
fn shares(case: &Case, rule: Rule) -> Vec<Vec<f64>> {
    let mut shares = vec![vec![0.0; case.rect.width as usize]; case.rect.height as usize];
    for row in Coverage::of(&case.zone, case.rect, rule).expect("valid").rows() {
        for span in row.spans() {
            let (first, own) = match span {
                Span::Full(cols) => (cols.start, vec![1.0; (cols.end - cols.start) as usize]),
                Span::Part(col, shares) => (col, shares.to_vec()),
            };
            shares[row.row as usize][first as usize..first as usize + own.len()].copy_from_slice(&own);
        }
    }
    shares
}

const FRACTIONAL: Rule = Rule::Fractional { least: 0.0 };

#[test]
fn shares_are_the_areas_of_intersections_of_shapely() {
    for case in cases() {
        for (row, shares) in shares(&case, FRACTIONAL).iter().enumerate() {
            for (col, share) in shares.iter().enumerate() {
                let expected = case.expected["shares"][row][col].as_f64().expect("a number");
                assert!((share - expected).abs() < 1e-12, "{}, {col} {row}: {share}, not {expected}", case.name);
            }
        }
    }
}

/// Where ours and GDAL's pixels differ: the case, column, row, and whether GDAL has the pixel.
fn differences(rule: Rule, name: &str) -> Vec<(Case, usize, usize, bool)> {
    let mut found = Vec::new();
    for case in cases() {
        let ours = shares(&case, rule);
        let burned = |row: usize| case.expected[name][row].as_str().expect("a text").chars().map(|c| c == '1');
        let pixels = ours.iter().enumerate().flat_map(|(row, shares)| {
            let both = shares.iter().map(|share| *share > 0.0).zip(burned(row)).enumerate();
            both.filter(|(_, (own, theirs))| own != theirs).map(move |(col, (_, theirs))| (col, row, theirs))
        });
        found.extend(pixels.map(|(col, row, theirs)| (case.clone(), col, row, theirs)));
    }
    found
}

#[test]
fn centres_are_those_that_gdal_burns() {
    let different: Vec<_> = differences(Rule::Center, "center").into_iter().map(|(case, ..)| case.name).collect();
    assert!(different.is_empty(), "{different:?}");
}

#[test]
fn touched_pixels_are_those_that_gdal_burns_but_for_corners() {
    for (case, col, row, theirs) in differences(Rule::AllTouched, "all_touched") {
        // Edges that run through corners of pixels touch their neighbours in a point.
        let in_a_point = case.expected["shares"][row][col].as_f64() == Some(0.0);
        assert!(case.name.contains("(\"on ") && theirs && in_a_point, "{}, {col} {row}", case.name);
    }
}

#[test]
fn statistics_are_those_of_exactextract() {
    const NAMES: [&str; 10] =
        ["count", "sum", "mean", "min", "max", "stdev", "variance", "majority", "minority", "variety"];
    let stats: Vec<Stat> = NAMES.iter().map(|name| Stat::parse(name).expect("known")).collect();
    for case in cases() {
        let mut summary = Summary::new(&stats);
        for (row, shares) in shares(&case, FRACTIONAL).iter().enumerate() {
            let values = case.expected["values"][row].as_array().expect("a row").iter();
            let values: Vec<i16> = values.map(|v| v.as_i64().expect("a number") as i16).collect();
            let valid: Vec<u8> = values.iter().map(|v| u8::from(*v != -1)).collect();
            summary.add_part(&values, &valid, shares);
        }
        for (name, found) in NAMES.iter().zip(summary.finish(&stats, 1.0)) {
            let expected = case.expected["stats"][*name].as_f64();
            // Where nothing is valid, its sum is 0 and ours is missing.
            let is_empty = found.is_none() && (expected.is_none() || *name == "sum");
            let near = |(a, b): (f64, f64)| (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-3);
            let agree = is_empty || found.zip(expected).is_some_and(near);
            assert!(agree, "{}, {name}: {found:?}, not {expected:?}", case.name);
        }
    }
}
