//! Each kernel against its rule, written down once more in the plainest way.

use proptest::prelude::*;

use super::*;
use crate::crs::{Crs, transformer, way_back};
use crate::grid::{Affine, Grid, Rect};
use crate::pixels::DataType;
use crate::warp::exact::{Source, TIE};
use crate::warp::window::Mask;

const POINT: [Kernel; 4] = [Kernel::Bilinear, Kernel::Cubic, Kernel::CubicSpline, Kernel::Lanczos];
const AREA: [Kernel; 8] =
    [Kernel::Average, Kernel::Rms, Kernel::Mode, Kernel::Min, Kernel::Max, Kernel::Med, Kernel::Q1, Kernel::Q3];

fn crs(code: &str) -> Crs {
    Crs::new(code).unwrap()
}

/// An image of float32 with holes, and where it lies.
#[derive(Clone)]
struct Image {
    source: Source,
    values: Vec<f32>,
    mask: Option<Vec<u8>>,
}

const NODATA: f32 = -99.0;

impl Image {
    /// Random numbers of 0 to 500, in the given parts of a hundred nodata and NaN; classes of 0 to 5 instead where `classes`.
    fn new(transform: Affine, (width, height): (u32, u32), holes: u64, classes: bool) -> Image {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 11
        };
        let value = |_| match random() % 100 {
            hole if hole < holes / 2 => f32::NAN,
            hole if hole < holes => NODATA,
            _ if classes => (random() % 6) as f32,
            _ => (random() % 500_000) as f32 / 1000.0,
        };
        let values = (0..width * height).map(value).collect();
        let source = Source { crs: crs("EPSG:32632"), transform, width, height, tile: (16, 8) };
        Image { source, values, mask: None }
    }

    fn with_mask(mut self) -> Image {
        self.mask = Some((0..self.values.len()).map(|i| u8::from(i % 11 != 3)).collect());
        self
    }

    fn valid(&self, col: i64, row: i64) -> Option<f64> {
        let (width, height) = (i64::from(self.source.width), i64::from(self.source.height));
        if col < 0 || row < 0 || col >= width || row >= height {
            return None;
        }
        let at = (row * width + col) as usize;
        let hidden = self.mask.as_ref().is_some_and(|mask| mask[at] == 0);
        let value = self.values[at];
        (!hidden && !value.is_nan() && value != NODATA).then_some(value.into())
    }

    /// The same image with rubbish in the tiles that are not `kept` of those under a mapping.
    fn spoiled(&self, mapping: &Mapping, kept: &[bool]) -> Image {
        let (tw, th) = self.source.tile;
        let across = (mapping.col + mapping.width - 1) / tw - mapping.col / tw + 1;
        let mut image = self.clone();
        for row in mapping.row..mapping.row + mapping.height {
            for col in mapping.col..mapping.col + mapping.width {
                let tile = (row / th - mapping.row / th) * across + col / tw - mapping.col / tw;
                if !kept[tile as usize] {
                    let rubbish = [f32::INFINITY, f32::NAN, 1e9][((row + col) % 3) as usize];
                    image.values[(row * self.source.width + col) as usize] = rubbish;
                }
            }
        }
        image
    }

    fn window(&self, m: &Mapping) -> Vec<f32> {
        let line = |row: u32| (row * self.source.width + m.col) as usize;
        (m.row..m.row + m.height).flat_map(|r| self.values[line(r)..line(r) + m.width as usize].to_vec()).collect()
    }
}

/// A grid and its CRS.
type Target = (Grid, Crs);

/// The pixels `rect` by a mapping and a resampler, from the tiles that they say they need.
fn resampled(image: &Image, (grid, crs): &Target, kernel: Kernel, rect: Rect) -> Vec<Option<f64>> {
    let mut out = vec![None; rect.pixels()];
    let Some(mapping) = Mapping::new(grid, crs, rect, &image.source, kernel).unwrap() else { return out };
    assert!(mapping.is_resampled() && mapping.memory() > 0);
    let touched = mapping.touched.clone();
    take(&image.spoiled(&mapping, &touched), &mapping, rect, &mut out);
    out
}

fn take(image: &Image, mapping: &Mapping, rect: Rect, out: &mut [Option<f64>]) {
    let values = image.window(mapping);
    // The mask is that of the whole image, which is larger than the window.
    let mask = image.mask.as_ref().map(|mask| Mask { values: mask, col: 0, row: 0, width: image.source.width });
    let window = Window { values: &values, mask, col: mapping.col, row: mapping.row, width: mapping.width };
    let nodata = Nodata::parse(&NODATA.to_string(), DataType::Float32);
    let mut resampler = Resampler::new(mapping, window, nodata);
    let width = mapping.rect.width as usize;
    let (mut values, mut valid) = (vec![0.0; width], vec![9; width]);
    for row in 0..mapping.rect.height as usize {
        // In two spans, as where a part of the row is settled.
        for span in [0..width / 3, width / 3..width] {
            resampler.row(row, span.clone(), &mut values[span.clone()], &mut valid[span]);
        }
        let start = mapping.start_of(rect, row);
        for i in 0..width {
            assert!(valid[i] <= 1);
            out[start + i] = (valid[i] == 1).then_some(values[i]);
        }
    }
}

/// Where a fractional grid position lies in the image.
fn place(image: &Image, (grid, crs): &Target, col: f64, row: f64) -> (f64, f64) {
    let (x, y) = grid.affine().apply(col, row);
    let (x, y) = transformer(crs, &image.source.crs).unwrap().point(x, y);
    image.source.transform.inverse().unwrap().apply(x, y)
}

/// Values with their weights.
type Weighted = Vec<(f64, f64)>;

fn mean(values: &Weighted, least: f64) -> Option<f64> {
    let weights: f64 = values.iter().map(|(_, w)| w).sum();
    let sum: f64 = values.iter().map(|(v, w)| v * w).sum();
    (!values.is_empty() && weights >= least).then(|| sum / weights)
}

fn curve(kernel: Kernel, t: f64) -> f64 {
    let (t, pi) = (t.abs(), std::f64::consts::PI);
    let sinc = |t: f64| if t == 0.0 { 1.0 } else { (pi * t).sin() / (pi * t) };
    let cube = |t: f64| t.max(0.0).powi(3);
    match kernel {
        Kernel::Bilinear => (1.0 - t).max(0.0),
        Kernel::Cubic if t < 1.0 => 1.5 * t.powi(3) - 2.5 * t.powi(2) + 1.0,
        Kernel::Cubic if t < 2.0 => -0.5 * t.powi(3) + 2.5 * t.powi(2) - 4.0 * t + 2.0,
        Kernel::CubicSpline => (cube(2.0 - t) - 4.0 * cube(1.0 - t)) / 6.0,
        Kernel::Lanczos if t < 3.0 => sinc(t) * sinc(t / 3.0),
        _ => 0.0,
    }
}

/// A point kernel at scale `s`.
fn point_rule(image: &Image, kernel: Kernel, (x, y): (f64, f64), (sx, sy): (f64, f64)) -> Option<f64> {
    let floor = |v: f64| v.floor() as i64;
    image.valid(floor(x + TIE), floor(y + TIE))?;
    let short = sx > 0.5 + 1e-9 && sy > 0.5 + 1e-9;
    let (sx, sy) = if short { (1.0, 1.0) } else { (sx.min(1.0), sy.min(1.0)) };
    let radius = [(Kernel::Bilinear, 1.0), (Kernel::Lanczos, 3.0)];
    let radius = radius.iter().find(|(k, _)| *k == kernel).map_or(2.0, |(_, r)| *r);
    let (i, j) = ((x - 0.5).floor(), (y - 0.5).floor());
    let (rx, ry) = ((radius / sx).ceil() as i64, (radius / sy).ceil() as i64);
    let mut all = Vec::new();
    let mut count = 0;
    for row in 1 - ry..=ry {
        for col in 1 - rx..=rx {
            count += 1;
            let weight =
                curve(kernel, (i + col as f64 + 0.5 - x) * sx) * curve(kernel, (j + row as f64 + 0.5 - y) * sy);
            all.extend(image.valid(i as i64 + col, j as i64 + row).map(|value| (value, weight)));
        }
    }
    if short && kernel == Kernel::Cubic && all.len() < count {
        return point_rule(image, Kernel::Bilinear, (x, y), (1.0, 1.0));
    }
    mean(&all, if short && kernel == Kernel::Bilinear { 1e-5 } else { 1e-6 })
}

/// The valid pixels under a box.
fn under(image: &Image, a: (f64, f64), b: (f64, f64), single: bool) -> Weighted {
    let axis = |a: f64, b: f64, size: u32| {
        let (low, high) = (a.min(b), a.max(b));
        let first = (low + 1e-10).floor();
        let end = ((high - 1e-10).ceil()).max(first + 1.0).min(size.into());
        let (first, low, high) = (first.max(0.0), low.max(0.0), high.min(size.into()));
        let alone = single && end - first == 1.0;
        let weight = move |i: f64| if alone { 1.0 } else { high.min(i + 1.0) - low.max(i) };
        (first as i64..end as i64).map(|i| (i, weight(i as f64))).collect::<Vec<_>>()
    };
    let cols = axis(a.0, b.0, image.source.width);
    let rows = axis(a.1, b.1, image.source.height);
    let pixels = rows.iter().flat_map(|r| cols.iter().map(move |c| (c, r)));
    pixels.filter_map(|((c, wx), (r, wy))| Some((image.valid(*c, *r)?, wx * wy))).collect()
}

fn area_rule(values: &Weighted, kernel: Kernel) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().map(|(v, _)| *v).collect();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q: f64| Some(sorted[((q * sorted.len() as f64).ceil() - 1.0) as usize]);
    if sorted.is_empty() {
        return None;
    }
    match kernel {
        Kernel::Average => mean(values, 0.0),
        Kernel::Rms => mean(&values.iter().map(|(v, w)| (v * v, *w)).collect(), 0.0).map(f64::sqrt),
        Kernel::Min => sorted.first().copied(),
        Kernel::Max => sorted.last().copied(),
        Kernel::Q1 => quantile(0.25),
        Kernel::Med => quantile(0.5),
        Kernel::Q3 => quantile(0.75),
        Kernel::Mode => {
            let total = |v: f64| values.iter().filter(|(w, _)| *w == v).map(|(_, w)| w).sum::<f64>();
            let most = sorted.iter().map(|v| total(*v)).fold(0.0, f64::max);
            sorted.iter().copied().find(|v| total(*v) >= most - 1e-7)
        }
        _ => Some(values.iter().map(|(v, w)| v * w).sum()),
    }
}

/// What the rules say of the pixels `rect`.
fn by_rule(image: &Image, target: &Target, kernel: Kernel, rect: Rect) -> Vec<Option<f64>> {
    let scale = Kernel::scale(&target.0, &target.1, &image.source).unwrap();
    let pixels = (0..rect.pixels() as u64).map(|i| (rect.col + i % rect.width, rect.row + i / rect.width));
    let pixel = |(col, row): (u64, u64)| {
        let (col, row) = (col as f64, row as f64);
        if kernel.is_point() {
            return point_rule(image, kernel, place(image, target, col + 0.5, row + 0.5), scale);
        }
        let corners = [place(image, target, col, row), place(image, target, col + 1.0, row + 1.0)];
        area_rule(&under(image, corners[0], corners[1], kernel != Kernel::Sum), kernel)
    };
    pixels.map(pixel).collect()
}

/// Compares all pixels; how many of them are valid.
#[track_caller]
fn check(image: &Image, target: &Target, kernel: Kernel, about: &str) -> usize {
    let rect = target.0.rect();
    let (got, expected) = (resampled(image, target, kernel, rect), by_rule(image, target, kernel, rect));
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        let same = match (got, expected) {
            (Some(a), Some(b)) => (a - b).abs() <= 5e-4_f64.min(1e-6 * b.abs().max(500.0)),
            (a, b) => a == b,
        };
        let at = (i as u64 % rect.width, i as u64 / rect.width);
        assert!(same, "{about}, {}: {got:?} at {at:?}, not {expected:?}", kernel.name());
    }
    expected.iter().filter(|v| v.is_some()).count()
}

const SHRINKS: [f64; 8] = [0.4, 1.0, 1.02, 1.3, 1.9, 2.0, 2.02, 3.5];

/// A grid of pixels `shrink` times as large as those of an image of 10 m at (500000, 5000000), over all its sides.
fn over(width: u32, height: u32, shrink: f64, by: f64) -> Grid {
    let (left, top) = (500_000.0 - 33.0 - by, 5_000_000.0 + 27.0 + by);
    let (wide, high) = (f64::from(width) * 10.0 + 80.0, f64::from(height) * 10.0 + 80.0);
    Grid::new([left, top - high, left + wide, top], 10.0 * shrink).unwrap()
}

const NORTH_UP: Affine = Affine { a: 10.0, b: 0.0, c: 500_000.0, d: 0.0, e: -10.0, f: 5_000_000.0 };

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
                    // A coarse grid may have no centre within a single row.
                    let valid =
                        check(&image, &target, kernel, &format!("{width} x {height}, {shrink}, {holes} % holes"));
                    assert!(valid > 0 || (shrink > 1.0 && kernel.is_point() && width.min(height) == 1));
                }
            }
        }
    }
}

/// A grid in the next zone over an image of the first.
fn next_zone(width: u32, height: u32, shrink: f64) -> Target {
    let zone = crs("EPSG:32633");
    let corners = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)].map(|(u, v)| {
        let (x, y) = NORTH_UP.apply(u * f64::from(width), v * f64::from(height));
        transformer(&crs("EPSG:32632"), &zone).unwrap().point(x, y)
    });
    let low = corners.iter().fold((f64::INFINITY, f64::INFINITY), |a, p| (a.0.min(p.0), a.1.min(p.1)));
    let high = corners.iter().fold((f64::NEG_INFINITY, f64::NEG_INFINITY), |a, p| (a.0.max(p.0), a.1.max(p.1)));
    let bbox = [low.0.round() - 33.0, low.1.round() - 41.0, high.0.round() + 47.0, high.1.round() + 29.0];
    (Grid::new(bbox, 10.0 * shrink).unwrap(), zone)
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
