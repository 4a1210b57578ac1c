//! Each kernel against its rule.

use proptest::prelude::*;

use super::model::*;
use super::*;
use crate::crs::{transformer, way_back};
use crate::grid::{Affine, Grid, Rect};
use crate::warp::exact::Source;

const SHRINKS: [f64; 8] = [0.4, 1.0, 1.02, 1.3, 1.9, 2.0, 2.02, 3.5];

#[test]
fn parallel_grids_follow_the_rules() {
    for shrink in SHRINKS {
        for (holes, masked) in [(0, false), (8, false), (8, true), (95, false)] {
            let image = Image::new(NORTH_UP, (41, 33), holes, false);
            let image = if masked { image.with_mask() } else { image };
            let target = (over(41, 33, shrink, 1.7), image.source.crs.clone());
            let classes = Image { values: image.values.iter().map(|v| (v / 100.0).round()).collect(), ..image.clone() };
            for kernel in POINT.into_iter().chain(AREA).chain([Kernel::Sum]) {
                assert!(
                    check(&image, &target, kernel, &format!("shrink {shrink}, {holes} % holes, mask: {masked}")) > 0
                );
                assert!(check(&classes, &target, kernel, &format!("classes, shrink {shrink}, {holes} % holes")) > 0);
            }
        }
    }
}

#[test]
fn one_row_one_column_and_south_up_follow_the_rules() {
    let south_up = Affine { e: 10.0, f: 5_000_000.0 - 330.0, ..NORTH_UP };
    let flat = Affine { a: 17.0, e: -6.0, ..NORTH_UP };
    let cases = [(NORTH_UP, (41, 1)), (NORTH_UP, (1, 33)), (NORTH_UP, (1, 1)), (south_up, (41, 33)), (flat, (30, 41))];
    for (transform, (width, height)) in cases {
        for shrink in [0.4, 1.0, 1.3, 3.5] {
            for holes in [0, 8] {
                let image = Image::new(transform, (width, height), if width * height == 1 { 0 } else { holes }, false);
                let target = (over(41, 33, shrink, 0.9), image.source.crs.clone());
                for kernel in POINT.into_iter().chain(AREA).chain([Kernel::Sum]) {
                    if kernel.is_point() && width.min(height) == 1 {
                        let mapping = Mapping::new(&target.0, &target.1, target.0.rect(), &image.source, kernel);
                        assert!(mapping.unwrap().is_none_or(|mapping| !mapping.is_resampled()), "the nearest pixel");
                        continue;
                    }
                    assert!(
                        check(&image, &target, kernel, &format!("{width} x {height}, {shrink}, {holes} % holes")) > 0
                    );
                }
            }
        }
    }
}

#[test]
fn turned_grids_follow_the_rules() {
    for shrink in SHRINKS {
        for (holes, masked) in [(0, false), (8, true), (95, false)] {
            let image = Image::new(NORTH_UP, (81, 63), holes, false);
            let image = if masked { image.with_mask() } else { image };
            let target = next_zone(81, 63, shrink);
            for kernel in POINT.into_iter().chain(AREA) {
                assert!(
                    check(&image, &target, kernel, &format!("shrink {shrink}, {holes} % holes, mask: {masked}")) > 0
                );
            }
        }
    }
}

#[test]
fn longitudes_run_round() {
    // Counted from 0, where the grid counts from -180; and a grid that is not parallel, across the antimeridian.
    let transform = Affine { a: 0.5, b: 0.0, c: 100.0, d: 0.0, e: -0.5, f: 30.0 };
    let mut image = Image::new(transform, (300, 120), 8, false);
    image.source.crs = crs("EPSG:4326");
    let grids = [
        ("EPSG:4326", [-200.0, -40.0, -110.0, 10.0], 0.7),
        ("EPSG:32601", [-300_000.0, 100_000.0, 1_200_000.0, 1_100_000.0], 40_000.0),
    ];
    for (code, bbox, resolution) in grids {
        let target = (Grid::new(bbox, resolution).unwrap(), crs(code));
        let rect = target.0.rect();
        for kernel in POINT.into_iter().chain(AREA) {
            let got = resampled(&image, &target, kernel, rect);
            let turned = Image {
                source: Source {
                    transform: Affine { c: -260.0, ..transform },
                    crs: crs("EPSG:4326"),
                    ..image.source.clone()
                },
                ..image.clone()
            };
            let expected = match code {
                "EPSG:4326" => by_rule(&turned, &target, kernel, rect),
                _ => {
                    let model = Positive { image: &image, target: &target };
                    model.by_rule(kernel, rect)
                }
            };
            let wrong = got.iter().zip(&expected).filter(|(a, b)| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() > 5e-4,
                (a, b) => a != b,
            });
            assert_eq!(wrong.count(), 0, "{code}, {}", kernel.name());
            assert!(got.iter().filter(|v| v.is_some()).count() > 200);
        }
    }
}

/// Longitudes of 0 to 360.
struct Positive<'a> {
    image: &'a Image,
    target: &'a Target,
}

impl Positive<'_> {
    fn place(&self, col: f64, row: f64) -> (f64, f64) {
        let (x, y) = self.target.0.affine().apply(col, row);
        let (x, y) = transformer(&self.target.1, &self.image.source.crs).unwrap().point(x, y);
        self.image.source.transform.inverse().unwrap().apply(x.rem_euclid(360.0), y)
    }

    fn by_rule(&self, kernel: Kernel, rect: Rect) -> Vec<Option<f64>> {
        let scale = Kernel::scale(&self.target.0, &self.target.1, &self.image.source).unwrap();
        let pixels = (0..rect.pixels() as u64).map(|i| ((i % rect.width) as f64, (i / rect.width) as f64));
        let pixel = |(col, row): (f64, f64)| match kernel.is_point() {
            true => point_rule(self.image, kernel, self.place(col + 0.5, row + 0.5), scale),
            false => {
                let (a, b) = (self.place(col, row), self.place(col + 1.0, row + 1.0));
                area_rule(&under(self.image, a, b, true), kernel)
            }
        };
        pixels.map(pixel).collect()
    }
}

/// The part of a polygon to the left of a line from a to b.
fn left_of(polygon: &[(f64, f64)], a: (f64, f64), b: (f64, f64)) -> Vec<(f64, f64)> {
    let side = |p: (f64, f64)| (b.0 - a.0) * (p.1 - a.1) - (b.1 - a.1) * (p.0 - a.0);
    let mut out = Vec::new();
    for (i, to) in polygon.iter().enumerate() {
        let from = polygon[(i + polygon.len() - 1) % polygon.len()];
        let (s, t) = (side(from), side(*to));
        if s * t < 0.0 {
            out.push((from.0 + (to.0 - from.0) * s / (s - t), from.1 + (to.1 - from.1) * s / (s - t)));
        }
        if t >= 0.0 {
            out.push(*to);
        }
    }
    out
}

fn polygon_area(p: &[(f64, f64)]) -> f64 {
    (0..p.len()).map(|i| p[i].0 * p[(i + 1) % p.len()].1 - p[(i + 1) % p.len()].0 * p[i].1).sum::<f64>().abs() / 2.0
}

#[test]
fn turned_totals_are_kept() {
    for shrink in [0.4, 1.3, 3.5] {
        let image = Image::new(NORTH_UP, (41, 33), 8, false);
        let target = next_zone(41, 33, shrink);
        let rect = target.0.rect();
        let back = way_back(&target.1, &image.source.crs).unwrap();
        let to_grid = target.0.affine().inverse().unwrap();
        let mut expected: Vec<Option<f64>> = vec![None; rect.pixels()];
        for (row, col) in (0..33).flat_map(|r| (0..41).map(move |c| (r, c))) {
            let Some(value) = image.valid(col, row) else { continue };
            let quad = [(0, 0), (0, 1), (1, 1), (1, 0)].map(|(dc, dr)| {
                let (x, y) = NORTH_UP.apply((col + dc) as f64, (row + dr) as f64);
                let (x, y) = back.point(x, y);
                to_grid.apply(x, y)
            });
            for (i, expected) in expected.iter_mut().enumerate() {
                let (x, y) = ((i as u64 % rect.width) as f64, (i as u64 / rect.width) as f64);
                let near = quad.iter().any(|p| (p.0 - x).abs() < 5.0 && (p.1 - y).abs() < 5.0);
                let cell = [(x, y), (x + 1.0, y), (x + 1.0, y + 1.0), (x, y + 1.0)];
                let mut part = if near { quad.to_vec() } else { Vec::new() };
                for side in 0..4 {
                    part = left_of(&part, cell[side], cell[(side + 1) % 4]);
                }
                if polygon_area(&part) > 1e-12 {
                    *expected.get_or_insert(0.0) += value * polygon_area(&part) / polygon_area(&quad);
                }
            }
        }
        let got = resampled(&image, &target, Kernel::Sum, rect);
        for (got, expected) in got.iter().zip(&expected) {
            match (got, expected) {
                (Some(a), Some(b)) => assert!((a - b).abs() < 1e-4, "{a} {b}"),
                (a, b) => assert!(a.or(*b).is_some_and(|v| v < 1e-3) || a == b, "{a:?} {b:?}"),
            }
        }
        let total: f64 = image.values.iter().filter(|v| **v >= 0.0).map(|v| f64::from(*v)).sum();
        let kept: f64 = got.iter().flatten().sum();
        assert!((total - kept).abs() < total * 1e-6, "{total} {kept}");
    }
}

#[test]
fn the_scale_is_that_of_the_level() {
    let image = Image::new(NORTH_UP, (40, 30), 0, false);
    let own = image.source.crs.clone();
    let grid = Grid::new([0.0, 0.0, 1000.0, 1000.0], 20.0).unwrap();
    assert_eq!(Kernel::scale(&grid, &own, &image.source).unwrap(), (0.5, 0.5));
    let turned = Source { transform: Affine { a: 6.0, b: 8.0, d: 8.0, e: -6.0, ..NORTH_UP }, ..image.source.clone() };
    assert_eq!(Kernel::scale(&grid, &own, &turned).unwrap(), (0.5, 0.5));
    let (x, y) = Kernel::scale(&grid, &crs("EPSG:32633"), &image.source).unwrap();
    assert!((x - 0.5).abs() < 0.01 && (x - y).abs() < 1e-6 && x != 0.5, "{x} {y}");
    // The centre of the Earth's map has no image in the zone at its edge.
    let earth = Affine { a: 1.0, b: 0.0, c: -180.0, d: 0.0, e: -1.0, f: 90.0 };
    let earth = Source { crs: crs("EPSG:4326"), transform: earth, width: 360, height: 180, tile: (16, 16) };
    let zone = Grid::new([400_000.0, 0.0, 600_000.0, 200_000.0], 1000.0).unwrap();
    let (x, y) = Kernel::scale(&zone, &crs("EPSG:32601"), &earth).unwrap();
    assert!((x - 111.0).abs() < 1.0 && (y - 110.5).abs() < 1.0, "{x} {y}");
}

#[test]
fn departures_from_gdal() {
    let row = |values: &[f32]| {
        let mut image = Image::new(NORTH_UP, (values.len() as u32, 1), 0, false);
        image.values = values.to_vec();
        image
    };
    // Boxes of three pixels, from a pixel before the image on. GDAL counts the border pixels twice: 13.33 and 36.67.
    let grid = Grid::new([499_990.0, 4_999_990.0, 500_050.0, 5_000_000.0], 30.0).unwrap();
    let grid = Grid { height: 1, ..grid };
    let image = row(&[10.0, 20.0, 30.0, 40.0]);
    let got = resampled(&image, &(grid, image.source.crs.clone()), Kernel::Average, grid.rect());
    assert_eq!(got, [Some(15.0), Some(35.0)]);
    // 7 covers two thirds of the box; GDAL from 3.11 on says 3, which it met first, since it meets 7 only once.
    let grid = Grid::new([500_005.0, 4_999_985.0, 500_020.0, 5_000_000.0], 15.0).unwrap();
    let image = row(&[3.0, 7.0]);
    let got = resampled(&image, &(grid, image.source.crs.clone()), Kernel::Mode, grid.rect());
    assert_eq!(got, [Some(7.0)]);
    // Of equal weights the smallest value.
    let image = row(&[9.0, 4.0]);
    let grid = Grid::new([500_000.0, 4_999_980.0, 500_020.0, 5_000_000.0], 20.0).unwrap();
    let got = resampled(&image, &(grid, image.source.crs.clone()), Kernel::Mode, grid.rect());
    assert_eq!(got, [Some(4.0)]);
    // A valid result that equals the nodata stays valid.
    let image = row(&[-100.0, -98.0]);
    let got = resampled(&image, &(grid, image.source.crs.clone()), Kernel::Average, grid.rect());
    assert_eq!(got, [Some(-99.0)]);
    assert_eq!(super::super::kernel::point::Curve::Spline.at(2.5), 0.0);
}

#[test]
fn one_value_fills_a_window() {
    let image = Image::new(NORTH_UP, (20, 20), 0, false);
    let grid = over(20, 20, 1.3, 0.0);
    let mapping = Mapping::new(&grid, &image.source.crs, grid.rect(), &image.source, Kernel::Average).unwrap().unwrap();
    let window = Window { values: &[7u8][..], mask: None, col: mapping.col, row: mapping.row, width: 0 };
    let width = mapping.rect.width as usize;
    let (mut values, mut valid) = (vec![0.0; width], vec![0; width]);
    Resampler::new(&mapping, window, None).row(1, 0..width, &mut values, &mut valid);
    assert!(values.iter().zip(&valid).all(|(v, ok)| (v - 7.0).abs() < 1e-12 && *ok == 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Cut anywhere, from the tiles that are said to be touched alone, the parts are those of the whole, bit for bit. And of the tiles
    /// that are said to be open come all pixels that are not settled.
    #[test]
    fn parts_are_those_of_the_whole(
        kernel in (0..13usize).prop_map(|i| POINT.into_iter().chain(AREA).chain([Kernel::Sum]).nth(i).unwrap()),
        shrink in 0.3f64..6.0, by in 0.0f64..30.0, turned: bool, south_up: bool, masked: bool,
        holes in prop_oneof![Just(0u64), Just(8), Just(60)],
        (left, top, wide, high) in (0.0f64..1.0, 0.0f64..1.0, 0.0f64..1.0, 0.0f64..1.0),
        settled in 1usize..9,
    ) {
        let affine = if south_up { Affine { e: 10.0, f: 4_999_200.0, ..NORTH_UP } } else { NORTH_UP };
        let image = Image::new(affine, (110, 80), holes, kernel == Kernel::Mode);
        let image = if masked { image.with_mask() } else { image };
        let target = if turned { next_zone(110, 80, shrink) } else { (over(110, 80, shrink, by), image.source.crs.clone()) };
        let all = target.0.rect();
        let whole = resampled(&image, &target, kernel, all);
        let part = |start: f64, length: f64, size: u64| {
            let first = (start * size as f64) as u64;
            (first, 1 + (length * (size - first - 1) as f64) as u64)
        };
        let ((col, width), (row, height)) = (part(left, wide, all.width), part(top, high, all.height));
        let rect = Rect { col, row, width, height };
        let got = resampled(&image, &target, kernel, rect);
        let bits = |v: &Option<f64>| v.map(f64::to_bits);
        for (i, got) in got.iter().enumerate() {
            let at = (row + i as u64 / width) * all.width + col + i as u64 % width;
            prop_assert_eq!(bits(got), bits(&whole[at as usize]), "pixel {} of {:?}", i, rect);
        }
        let Some(mapping) = Mapping::new(&target.0, &target.1, rect, &image.source, kernel).unwrap() else { return Ok(()) };
        let marks: Vec<u8> = (0..rect.pixels()).map(|i| u8::from(i / (3 * settled) % settled != 0)).collect();
        let open = mapping.open_tiles(rect, image.source.tile, &marks);
        let touched = mapping.touched.iter().zip(&open).all(|(touched, open)| *touched || !open);
        prop_assert!(touched, "a tile is open that is not touched");
        let mut out = vec![None; rect.pixels()];
        take(&image.spoiled(&mapping, &open), &mapping, rect, &mut out);
        for (i, got) in got.iter().enumerate().filter(|(i, _)| marks[*i] == 0) {
            prop_assert_eq!(bits(got), bits(&out[i]), "open pixel {} of {:?}", i, rect);
        }
    }
}
