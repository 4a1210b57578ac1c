//! The rules of the kernels, written down once more in the plainest way, and images to try them on.

use super::*;
use crate::crs::{Crs, transformer};
use crate::grid::{Affine, Grid, Rect};
use crate::pixels::DataType;
use crate::warp::exact::{Source, TIE};
use crate::warp::window::Mask;

pub const POINT: [Kernel; 4] = [Kernel::Bilinear, Kernel::Cubic, Kernel::CubicSpline, Kernel::Lanczos];
pub const AREA: [Kernel; 8] =
    [Kernel::Average, Kernel::Rms, Kernel::Mode, Kernel::Min, Kernel::Max, Kernel::Med, Kernel::Q1, Kernel::Q3];

pub fn crs(code: &str) -> Crs {
    Crs::new(code).unwrap()
}

/// An image of float32 with holes, and where it lies.
#[derive(Clone)]
pub struct Image {
    pub source: Source,
    pub values: Vec<f32>,
    pub mask: Option<Vec<u8>>,
}

pub const NODATA: f32 = -99.0;

impl Image {
    /// Random numbers of 0 to 500, in the given parts of a hundred nodata and NaN; classes of 0 to 5 instead where `classes`.
    pub fn new(transform: Affine, (width, height): (u32, u32), holes: u64, classes: bool) -> Image {
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

    pub fn with_mask(mut self) -> Image {
        self.mask = Some((0..self.values.len()).map(|i| u8::from(i % 11 != 3)).collect());
        self
    }

    pub fn valid(&self, col: i64, row: i64) -> Option<f64> {
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
    pub fn spoiled(&self, mapping: &Mapping, kept: &[bool]) -> Image {
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

    pub fn window(&self, m: &Mapping) -> Vec<f32> {
        let line = |row: u32| (row * self.source.width + m.col) as usize;
        (m.row..m.row + m.height).flat_map(|r| self.values[line(r)..line(r) + m.width as usize].to_vec()).collect()
    }
}

/// A grid and its CRS.
pub type Target = (Grid, Crs);

/// The pixels `rect` by a mapping and a resampler, from the tiles that they say they need.
pub fn resampled(image: &Image, (grid, crs): &Target, kernel: Kernel, rect: Rect) -> Vec<Option<f64>> {
    let mut out = vec![None; rect.pixels()];
    let Some(mapping) = Mapping::new(grid, crs, rect, &image.source, kernel).unwrap() else { return out };
    assert!(mapping.is_resampled() && mapping.memory() > 0);
    let touched = mapping.touched.clone();
    take(&image.spoiled(&mapping, &touched), &mapping, rect, &mut out);
    out
}

pub fn take(image: &Image, mapping: &Mapping, rect: Rect, out: &mut [Option<f64>]) {
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
pub fn place(image: &Image, (grid, crs): &Target, col: f64, row: f64) -> (f64, f64) {
    let (x, y) = grid.affine().apply(col, row);
    let (x, y) = transformer(crs, &image.source.crs).unwrap().point(x, y);
    image.source.transform.inverse().unwrap().apply(x, y)
}

/// Values with their weights.
pub type Weighted = Vec<(f64, f64)>;

pub fn mean(values: &Weighted, least: f64) -> Option<f64> {
    let weights: f64 = values.iter().map(|(_, w)| w).sum();
    let sum: f64 = values.iter().map(|(v, w)| v * w).sum();
    (!values.is_empty() && weights >= least).then(|| sum / weights)
}

pub fn curve(kernel: Kernel, t: f64) -> f64 {
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
pub fn point_rule(image: &Image, kernel: Kernel, (x, y): (f64, f64), (sx, sy): (f64, f64)) -> Option<f64> {
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
pub fn under(image: &Image, a: (f64, f64), b: (f64, f64), single: bool) -> Weighted {
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

pub fn area_rule(values: &Weighted, kernel: Kernel) -> Option<f64> {
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
pub fn by_rule(image: &Image, target: &Target, kernel: Kernel, rect: Rect) -> Vec<Option<f64>> {
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
pub fn check(image: &Image, target: &Target, kernel: Kernel, about: &str) -> usize {
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

/// A grid of pixels `shrink` times as large as those of an image of 10 m at (500000, 5000000), over all its sides.
pub fn over(width: u32, height: u32, shrink: f64, by: f64) -> Grid {
    let (left, top) = (500_000.0 - 33.0 - by, 5_000_000.0 + 27.0 + by);
    let (wide, high) = (f64::from(width) * 10.0 + 80.0, f64::from(height) * 10.0 + 80.0);
    Grid::new([left, top - high, left + wide, top], 10.0 * shrink).unwrap()
}

pub const NORTH_UP: Affine = Affine { a: 10.0, b: 0.0, c: 500_000.0, d: 0.0, e: -10.0, f: 5_000_000.0 };

/// A grid in the next zone over an image of the first.
pub fn next_zone(width: u32, height: u32, shrink: f64) -> Target {
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
