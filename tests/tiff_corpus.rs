//! Every TIFF of the shared corpus, made by others, against what GDAL reads from it.
//!
//! The corpus is found through `LAZYCOGS_TEST_DATA`, else at `../shared/data` beside the project; without it the test says
//! so and passes. Expected values are rasterio's (`EXPECTED.json` of the corpus).

#![expect(clippy::expect_used, clippy::panic, reason = "a test tells by a panic what is wrong")]

use std::path::PathBuf;

use bytes::Bytes;
use futures::executor::block_on;
use lazycogs::cog::{self, Cog, CogCrs, Level, Nodata, decode_tile, fill_sparse};
use lazycogs::crs::{Crs, LONLAT, transformer};
use lazycogs::error::{Error, Result};
use lazycogs::grid::Affine;
use lazycogs::pixels::{Pixel, Pixels};
use lazycogs::with_pixels;
use serde_json::Value;

fn corpus() -> Option<(PathBuf, serde_json::Map<String, Value>)> {
    let root = match std::env::var_os("LAZYCOGS_TEST_DATA") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    let Ok(text) = std::fs::read_to_string(root.join("EXPECTED.json")) else {
        eprintln!("skipped: no corpus in {} (set LAZYCOGS_TEST_DATA)", root.display());
        return None;
    };
    match serde_json::from_str(&text).expect("EXPECTED.json is JSON") {
        Value::Object(files) => Some((root, files)),
        other => panic!("EXPECTED.json is no object: {other}"),
    }
}

/// What a whole band looks like.
#[derive(Debug, Default, Clone, PartialEq)]
struct Band {
    crc32: u32,
    valid: u64,
    mean: f64,
}

/// One decoded level, sample by sample in row-major order.
struct Decoded {
    samples: Vec<Pixels>,
}

fn decode_level(file: &Bytes, level: &Level, nodata: Option<Nodata>) -> Result<Decoded> {
    let len = level.width as usize * level.height as usize;
    let mut samples = vec![Pixels::zeros(level.dtype, len); usize::from(level.samples)];
    let per_tile = usize::from(level.samples_per_tile());
    let mut tile = Pixels::zeros(level.dtype, 0);
    for plane in 0..samples.len() / per_tile {
        for row in 0..level.tiles_down() {
            for col in 0..level.tiles_across() {
                let index = level.tile_index(plane as u16, row, col);
                match level.tile_range(index) {
                    None => fill_sparse(level, index, nodata, &mut tile),
                    Some(range) => {
                        let bytes = file.slice(range.start as usize..(range.end as usize).min(file.len()));
                        decode_tile(level, index, &bytes, &mut tile)?;
                    }
                }
                assert_eq!(tile.len(), level.rows_len(level.tile_rows(index)));
                for s in 0..per_tile {
                    place(level, &tile, (row, col), s, &mut samples[plane * per_tile + s]);
                }
            }
        }
    }
    Ok(Decoded { samples })
}

/// Copies sample `s` of a tile to its place in the level.
fn place(level: &Level, tile: &Pixels, (row, col): (u32, u32), s: usize, out: &mut Pixels) {
    let (tile_width, width) = (level.tile_width as usize, level.width as usize);
    let (top, left) = (row as usize * level.tile_height as usize, col as usize * tile_width);
    let (rows, cols) = ((level.height as usize - top).min(level.tile_height as usize), (width - left).min(tile_width));
    let per_tile = usize::from(level.samples_per_tile());
    with_pixels!(out, out => {
        let tile = Pixel::slice(tile).expect("tile and level have one type");
        for y in 0..rows {
            let from = &tile[y * tile_width * per_tile..][..cols * per_tile];
            let to = &mut out[(top + y) * width + left..][..cols];
            to.iter_mut().zip(from.iter().skip(s).step_by(per_tile)).for_each(|(to, from)| *to = *from);
        }
    });
}

/// Summarizes a band; what is valid follows GDAL's order: internal mask, else nodata, else alpha.
fn summarize(cog: &Cog, decoded: &Decoded, sample: usize, mask: Option<&[u8]>) -> Band {
    let values = &decoded.samples[sample];
    let alpha = cog.alpha_for(sample as u16).map(|a| &decoded.samples[usize::from(a)]);
    let alpha: Option<Vec<bool>> = alpha.map(|a| with_pixels!(a, a => a.iter().map(|v| v.to_f64() != 0.0).collect()));
    let alpha = alpha.as_deref();
    let (valid, mean) = with_pixels!(values, values => statistics(values, cog.nodata[sample], mask, alpha));
    Band { crc32: libdeflater::crc32(values.as_bytes()), valid, mean }
}

/// The number of valid pixels, and the mean of those that are not NaN.
fn statistics<T: Pixel>(
    values: &[T],
    nodata: Option<Nodata>,
    mask: Option<&[u8]>,
    alpha: Option<&[bool]>,
) -> (u64, f64) {
    let valid = |i: usize| match (mask, nodata, alpha) {
        (Some(mask), ..) => mask[i] != 0,
        (None, Some(nodata), _) => !nodata.matches(values[i]),
        (None, None, Some(alpha)) => alpha[i],
        (None, None, None) => true,
    };
    let (mut count, mut sum, mut finite) = (0, 0.0, 0u64);
    for (i, value) in values.iter().enumerate().filter(|(i, _)| valid(*i)) {
        count += 1;
        if !values[i].is_nan() {
            sum += value.to_f64();
            finite += 1;
        }
    }
    (count, if finite > 0 { sum / finite as f64 } else { 0.0 })
}

fn mask_of(file: &Bytes, level: &Level) -> Result<Option<Vec<u8>>> {
    let Some(mask) = &level.mask else { return Ok(None) };
    match decode_level(file, mask, None)?.samples.remove(0) {
        Pixels::UInt8(values) => Ok(Some(values)),
        other => panic!("a mask of {}", other.dtype()),
    }
}

fn bands(file: &Bytes, cog: &Cog, level: usize, samples: usize) -> Result<Vec<Band>> {
    let level = &cog.levels[level];
    let decoded = decode_level(file, level, cog.nodata[0])?;
    let mask = mask_of(file, level)?;
    Ok((0..samples).map(|s| summarize(cog, &decoded, s, mask.as_deref())).collect())
}

fn expected_band(value: &Value) -> Band {
    Band {
        crc32: value["crc32"].as_u64().unwrap_or(0) as u32,
        valid: value["valid"].as_u64().unwrap_or(0),
        mean: value["mean"].as_f64().unwrap_or(0.0),
    }
}

/// What was compared and found equal.
#[derive(Debug, Default)]
struct Tally {
    exact: usize,
    bands: usize,
    overviews: usize,
    lossy: usize,
    striped: usize,
    refused: usize,
    broken: usize,
    transforms: usize,
    crs: usize,
    scales: usize,
}

#[test]
fn every_file_of_the_corpus_reads_as_gdal_reads_it() {
    let Some((root, files)) = corpus() else { return };
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    for (name, expected) in &files {
        let Ok(bytes) = std::fs::read(root.join(name)) else {
            wrong.push(format!("{name}: cannot be read"));
            continue;
        };
        if let Err(why) = check(&Bytes::from(bytes), expected, &mut tally) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    eprintln!("{tally:?}");
    assert!(wrong.is_empty(), "{} of {} files differ:\n{}", wrong.len(), files.len(), wrong.join("\n"));
    assert!(tally.exact >= 230 && tally.bands >= 350 && tally.overviews >= 25, "{tally:?}");
    assert!(tally.lossy >= 19 && tally.striped >= 160 && tally.refused >= 10 && tally.broken >= 3, "{tally:?}");
    assert!(tally.transforms >= 150 && tally.crs >= 150 && tally.scales >= 2, "{tally:?}");
}

fn check(file: &Bytes, expected: &Value, tally: &mut Tally) -> Result<(), String> {
    let is = |trap: &str| expected["traps"].as_array().is_some_and(|traps| traps.iter().any(|t| t == trap));
    // What is not read, and never in silence: it has another meaning than a band's, or a codec that nobody uses for rasters.
    let refused = ["complex", "photometric=cmyk", "comp=fax3", "comp=jxl", "comp=44510"].into_iter().any(is);
    let cog = match (block_on(cog::open(file)), refused) {
        (Ok(cog), false) => cog,
        (Ok(_), true) => return Err("it was opened".into()),
        (Err(Error::Unsupported(_)), true) => {
            tally.refused += 1;
            return Ok(());
        }
        (Err(error), _) => return Err(format!("{error:?}")),
    };
    if cog.levels[0].striped == is("tiled") {
        return Err("tiles and strips are mistaken for each other".into());
    }
    tally.striped += usize::from(cog.levels[0].striped);
    let size = |key| expected[key].as_u64().unwrap_or(0);
    let full = &cog.levels[0];
    if (u64::from(full.width), u64::from(full.height), u64::from(cog.samples))
        != (size("width"), size("height"), size("count"))
    {
        return Err(format!("{} x {} x {}", full.width, full.height, cog.samples));
    }
    if expected["dtypes"][0] != cog.dtype.name() {
        return Err(format!("dtype {} instead of {}", cog.dtype, expected["dtypes"]));
    }
    if expected["overviews"].as_array().map_or(0, Vec::len) != cog.levels.len() - 1 {
        return Err(format!("{} overviews instead of {}", cog.levels.len() - 1, expected["overviews"]));
    }
    check_scale(&cog, expected, tally)?;
    check_georeference(&cog, expected, tally)?;
    check_pixels(file, &cog, expected, tally).map_err(|e| e.to_string())?
}

fn check_scale(cog: &Cog, expected: &Value, tally: &mut Tally) -> Result<(), String> {
    let list = |key| expected[key].as_array().cloned().unwrap_or_default();
    let scales: Vec<_> = list("scales").iter().zip(&list("offsets")).map(|(s, o)| (s.as_f64(), o.as_f64())).collect();
    for (sample, (scale, offset)) in scales.into_iter().enumerate() {
        let found = cog.scale_offset.get(sample).copied().flatten().unwrap_or((1.0, 0.0));
        if (Some(found.0), Some(found.1)) != (scale, offset) {
            return Err(format!("scale and offset {found:?} instead of {scale:?}, {offset:?}"));
        }
        tally.scales += 1;
    }
    Ok(())
}

/// Longitudes and latitudes (WGS 84, degrees) of points of a CRS.
fn to_lonlat(definition: &str, points: &[(f64, f64)]) -> Result<Vec<(f64, f64)>> {
    let lonlat = transformer(&Crs::new(definition)?, &LONLAT)?;
    Ok(points.iter().map(|(x, y)| lonlat.point(*x, *y)).collect())
}

fn check_georeference(cog: &Cog, expected: &Value, tally: &mut Tally) -> Result<(), String> {
    let numbers: Vec<f64> = expected["transform"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    let identity = expected["transform_is_identity"] == true;
    match (cog.transform, numbers.as_slice()) {
        (Some(t), [a, b, c, d, e, f, ..]) if !identity => {
            let close = [(t.a, a), (t.b, b), (t.c, c), (t.d, d), (t.e, e), (t.f, f)]
                .iter()
                .all(|(found, wanted)| (found - *wanted).abs() <= 1e-12 * wanted.abs().max(1e-3));
            if !close {
                return Err(format!("transform {t:?} instead of {numbers:?}"));
            }
            tally.transforms += 1;
        }
        (None, _) if identity => {}
        (Some(Affine { a: 1.0, b: 0.0, c: 0.0, d: 0.0, f: 0.0, .. }), _) if identity => return Ok(()),
        (t, _) => return Err(format!("transform {t:?} instead of {numbers:?}")),
    }
    let (Some(transform), Some(wkt)) = (cog.transform, expected["crs_wkt"].as_str().filter(|w| !w.is_empty())) else {
        return match &cog.crs {
            CogCrs::Missing => Ok(()),
            other if cog.transform.is_some() => Err(format!("{other:?} where GDAL finds no CRS")),
            _ => Ok(()),
        };
    };
    let CogCrs::Definition(definition) = &cog.crs else { return Err(format!("{:?} instead of {wkt}", cog.crs)) };
    let full = &cog.levels[0];
    let (width, height) = (f64::from(full.width), f64::from(full.height));
    let corners = [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height), (width / 2.0, height / 2.0)];
    let points = corners.map(|(col, row)| transform.apply(col, row));
    let found = to_lonlat(definition, &points).map_err(|e| e.to_string())?;
    let wanted = match expected["crs_epsg"].as_u64() {
        Some(code) => to_lonlat(&format!("EPSG:{code}"), &points),
        None => to_lonlat(wkt, &points),
    };
    let wanted = wanted.map_err(|e| e.to_string())?;
    for ((lon, lat), (x, y)) in found.iter().zip(&wanted) {
        let same = (lon - x).abs() < 1e-8 && (lat - y).abs() < 1e-8;
        if !same && (lon.is_finite() || x.is_finite()) {
            return Err(format!("{definition}: {lon} {lat} instead of {x} {y}"));
        }
    }
    tally.crs += 1;
    Ok(())
}

fn check_pixels(file: &Bytes, cog: &Cog, expected: &Value, tally: &mut Tally) -> Result<Result<(), String>> {
    let listed: Vec<Band> = expected["bands"].as_array().into_iter().flatten().map(expected_band).collect();
    if expected["expect"] == "must_error_on_read" {
        tally.broken += 1;
        return Ok(bands(file, cog, 0, 1).map_or(Ok(()), |_| Err("what is broken was read".into())));
    }
    let found = bands(file, cog, 0, listed.len())?;
    let overview = &expected["overview0"];
    match expected["expect"].as_str().unwrap_or_default() {
        "exact" => {
            for (i, (found, wanted)) in found.iter().zip(&listed).enumerate() {
                if (found.crc32, found.valid) != (wanted.crc32, wanted.valid) {
                    return Ok(Err(format!("band {}: {found:?} instead of {wanted:?}", i + 1)));
                }
                tally.bands += 1;
            }
            tally.exact += 1;
            if overview.is_object() {
                // GDAL counts overviews as they lie in the file, not by their size.
                let size = |l: &Level| overview["width"] == l.width && overview["height"] == l.height;
                let Some(level) = cog.levels.iter().position(size) else { return Ok(Err("no such overview".into())) };
                let (found, wanted) = (bands(file, cog, level, 1)?.remove(0), expected_band(overview));
                if (found.crc32, found.valid) != (wanted.crc32, wanted.valid) {
                    return Ok(Err(format!("overview: {found:?} instead of {wanted:?}")));
                }
                tally.overviews += 1;
            }
        }
        lossy if lossy.starts_with("lossy") => {
            for (found, wanted) in found.iter().zip(&listed) {
                if (found.mean - wanted.mean).abs() > 1.0 || found.valid != wanted.valid {
                    return Ok(Err(format!("{found:?} instead of {wanted:?}")));
                }
            }
            tally.lossy += 1;
        }
        other => return Ok(Err(format!("a file of the unknown class '{other}'"))),
    }
    Ok(Ok(()))
}
