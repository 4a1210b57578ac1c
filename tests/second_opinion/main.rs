//! What async-tiff makes of every TIFF at hand, beside what we make of it: headers and decoded tiles must be equal.
//!
//! The files are the demo's; where `make test` has run, the fixtures and the seeds of the fuzz targets; and the corpus of files
//! made by others, which is found as in `tiff_corpus.rs`. async-tiff trusts its files, so its panics are caught and its memory
//! is bounded, and where it gives up on a file or a tile there is no second opinion. `KNOWN` says where it is wrong.

mod comparison;
mod theirs;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use comparison::{Tally, compare};

/// Where the two differ: the end of the file's path, what differs, and why it is async-tiff that is wrong.
const KNOWN: &[(&str, &str, &str)] = &[
    ("tif/async-tiff__miniswhite-1c-1b.tiff", "level 0, tile", ROWS_OF_BITS),
    ("tif/async-tiff__palette-1c-1b.tiff", "level 0, tile", ROWS_OF_BITS),
    ("tif/gdal__oddsize1bit.tif", "level 0, tile", ROWS_OF_BITS),
    ("tif/gdal__test_with_mask_1bit_and_ovr.tif", "level 0, mask, tile", ROWS_OF_BITS),
    ("tif/gdal__test_with_mask_1bit_and_ovr.tif", "level 1, mask, tile", ROWS_OF_BITS),
    ("tif/python-rasterstats__dataset_mask.tif", "level 0, mask, tile", ROWS_OF_BITS),
    (
        "tif/gdal__WGS_1984_Web_Mercator_Auxiliary_Sphere.tif",
        "EPSG code",
        "its code is of the geographic CRS that a WKT is based on",
    ),
    ("tif/gdal__epsg_2853_with_us_feet.tif", "EPSG code", "another key says that the unit is not that of the code"),
    ("tif/landsat__LC08_L2SR_099120_20191129_20201016_02_T2_QA_PIXEL.TIF", "EPSG code", USER_DEFINED),
    ("tif/landsat__LC08_L2SR_099120_20191129_20201016_02_T2_SR_B2.TIF", "EPSG code", USER_DEFINED),
];
const ROWS_OF_BITS: &str = "rows of bits begin at a byte each, which it overlooks where the width is no multiple of 8";
const USER_DEFINED: &str = "it does not look for the code of a CRS that is spelled out";

/// Every TIFF below a folder, in order.
fn tiffs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_tiff =
        |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tif") || e.eq_ignore_ascii_case("tiff"));
    let below = |path: PathBuf| if path.is_dir() { tiffs(&path) } else { vec![path] };
    let mut found: Vec<_> =
        entries.flatten().flat_map(|entry| below(entry.path())).filter(|path| is_tiff(path)).collect();
    found.sort();
    found
}

#[test]
fn async_tiff_reads_the_same() {
    theirs::hide_panics();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::env::var_os("LAZYCOGS_TEST_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let has_corpus = corpus.join("EXPECTED.json").is_file();
    if !has_corpus {
        eprintln!("skipped: no corpus in {} (set LAZYCOGS_TEST_DATA)", corpus.display());
    }
    let folders = [root.join("examples/demo"), root.join("build/fixtures"), root.join("build/fuzz"), corpus];
    let (mut tally, mut wrong, mut unused) = (Tally::default(), Vec::new(), Vec::new());
    for path in folders.iter().flat_map(|folder| tiffs(folder)) {
        let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let known: Vec<_> = KNOWN.iter().filter(|(name, ..)| path.ends_with(name)).collect();
        let differences = compare(&Bytes::from(file), &mut tally);
        let is_known = |difference: &str| known.iter().any(|(_, what, _)| difference.starts_with(what));
        wrong.extend(differences.iter().filter(|d| !is_known(d)).map(|d| format!("{}: {d}", path.display())));
        let stale = known.iter().filter(|(_, what, _)| !differences.iter().any(|d| d.starts_with(what)));
        unused.extend(stale.map(|(name, what, _)| format!("{name}: {what}")));
    }
    eprintln!("{tally:?}");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(unused.is_empty(), "known differences that are none:\n{}", unused.join("\n"));
    // What the demo has, and the corpus.
    let least = match has_corpus {
        true => [9000, 4600, 160],
        false => [150, 0, 20],
    };
    let enough = [tally.tiles, tally.strips, tally.codes].iter().zip(least).all(|(found, least)| *found >= least);
    assert!(enough, "less was compared than {least:?}: {tally:?}");
}
