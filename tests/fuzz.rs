//! The fuzz targets without a fuzzer: every seed, and some mutations of each, the same ones at every run. Seeds are the texts
//! of `fuzz/seeds` and the TIFFs of the demo; where `make test` has run, also those of `fuzz/make_seeds.py` and the fixtures.
//! `LAZYCOGS_FUZZ_RUNS` asks for more mutations. `make fuzz` runs the same targets for long, led by coverage.

#![expect(clippy::expect_used, clippy::panic, reason = "a test tells by a panic what is wrong")]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use targets::{TARGETS, Target};

/// Larger seeds are left out.
const MAX_SEED: u64 = 64 * 1024;
/// No input of such a size may take longer.
const SLOW: Duration = Duration::from_secs(5);
/// Mutations of all seeds of one target together, unless more are asked for.
const RUNS: usize = 20_000;
/// The same where PROJ reads every one of them.
const SLOW_RUNS: usize = 100;

fn files(folder: &Path, extension: Option<&str>) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path, extension),
            false
                if extension.is_none() || path.extension().is_some_and(|e| Some(e) == extension.map(AsRef::as_ref)) =>
            {
                vec![path]
            }
            false => Vec::new(),
        })
        .collect();
    found.sort();
    found
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = files(&root.join("fuzz/seeds").join(target.name), None);
    if target.reads_tiffs {
        paths.extend(
            ["examples/demo", "build/fuzz", "build/fixtures"]
                .iter()
                .flat_map(|folder| files(&root.join(folder), Some("tif"))),
        );
    }
    let small = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|file| file.len() <= MAX_SEED);
    paths.iter().filter(|path| small(path)).map(|path| std::fs::read(path).expect("a seed can be read")).collect()
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len);
        start..start + self.below((len - start).min(64) + 1)
    }
}

/// A copy of `seed` with up to eight changes: bytes set, bits turned, pieces cut, doubled, or taken from `other`. Half of them
/// are near the front, where headers are.
fn mutated(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + random.below(8) {
        let len = if random.below(2) == 0 { bytes.len().min(512) } else { bytes.len() };
        if len == 0 {
            break;
        }
        let at = random.below(len);
        match random.below(8) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'\'', b'"', b'\n'][random.below(8)],
            3 | 4 => bytes[at] = random.below(256) as u8,
            5 => drop(bytes.drain(random.range(len))),
            6 => {
                let piece = bytes[random.range(len)].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let piece = other[random.range(other.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Runs one input; one that fails is kept as a file, for `make fuzz` or a debugger.
fn run(target: &Target, input: &[u8], what: &str) {
    let started = Instant::now();
    let outcome = catch_unwind(|| target.run(input));
    let elapsed = started.elapsed();
    if outcome.is_err() || elapsed > SLOW {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
        let written = std::fs::write(&kept, input);
        panic!("{}, {what}: failed after {elapsed:?}; the input is {} ({written:?})", target.name, kept.display());
    }
}

/// The bound on memory is that of the process: one target runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn check(name: &str) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "no seeds");
    let runs = std::env::var("LAZYCOGS_FUZZ_RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok())
        .unwrap_or(if name == "crs" { SLOW_RUNS } else { RUNS });
    for (i, seed) in seeds.iter().enumerate() {
        run(target, seed, &format!("seed {i}"));
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for n in 0..runs {
        let (seed, other) = (&seeds[n % seeds.len()], &seeds[random.below(seeds.len())]);
        run(target, &mutated(seed, other, &mut random), &format!("mutation {n}"));
    }
}

#[test]
fn headers() {
    check("header");
}

#[test]
fn tiles() {
    check("tiles");
}

#[test]
fn mappings() {
    check("mapping");
}

#[test]
fn rows() {
    check("rows");
}

#[test]
fn filters() {
    check("filter");
}

#[test]
fn arguments() {
    check("arguments");
}

#[test]
fn crss() {
    check("crs");
}
