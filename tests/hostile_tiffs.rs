//! Damaged copies of the corpus' tiled files, of every codec: an error or pixels, but no panic and no memory that only a
//! header claims. Without the corpus (see `tiff_corpus.rs`) there is nothing to damage, and the test says so.

#![expect(clippy::expect_used, reason = "a test tells by a panic what is wrong")]

use std::panic::catch_unwind;
use std::path::PathBuf;

use bytes::Bytes;
use futures::executor::block_on;
use lazycogs::cog::{MAX_TILE_BYTES, decode_tile, open};
use lazycogs::pixels::Pixels;
use lazycogs::store::ByteSource;

/// Copies made of each file.
const COPIES: u64 = 150;
/// Larger files are left out, to keep the test short.
const MAX_FILE: usize = 120_000;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let root = match std::env::var_os("LAZYCOGS_TEST_DATA") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    let Ok(folder) = std::fs::read_dir(root.join("tif")) else {
        eprintln!("skipped: no corpus in {} (set LAZYCOGS_TEST_DATA)", root.display());
        return Vec::new();
    };
    let mut files = Vec::new();
    for path in folder.flatten().map(|entry| entry.path()) {
        let bytes = std::fs::read(&path).expect("a file of the corpus can be read");
        if bytes.len() <= MAX_FILE && block_on(open(&Bytes::copy_from_slice(&bytes))).is_ok() {
            files.push((path.display().to_string(), bytes));
        }
    }
    files.sort();
    files
}

/// Overwrites up to eight bytes and may cut the end off; half of the damage is near the front, where the header is.
fn damage(original: &[u8], seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    let mut bytes = original.to_vec();
    for _ in 0..1 + random(8) {
        let within = if random(2) == 0 { bytes.len().min(1024) } else { bytes.len() };
        let at = random(within);
        bytes[at] = match random(3) {
            0 => 0xff,
            1 => bytes[at] ^ 1 << random(8),
            _ => random(256) as u8,
        };
    }
    if random(4) == 0 {
        bytes.truncate(random(original.len()));
    }
    Bytes::from(bytes)
}

/// Opens a file and decodes its first tiles; how many decoded.
#[expect(clippy::let_underscore_must_use, reason = "an error is as good as a place")]
fn read(file: &Bytes) -> usize {
    let Ok(cog) = block_on(open(file)) else { return 0 };
    let _ = cog.georeference();
    let mut out = Pixels::zeros(cog.dtype, 0);
    let mut decoded = 0;
    for level in cog.levels.iter().flat_map(|l| std::iter::once(l).chain(l.mask.as_deref())) {
        for (index, range) in (0..12).filter_map(|index| Some((index, level.tile_range(index)?))) {
            let bytes = block_on(ByteSource::read(file, range)).expect("memory can be read");
            decoded += usize::from(decode_tile(level, index, &bytes, &mut out).is_ok());
        }
    }
    decoded
}

/// The most address space that this process ever had, in bytes; 0 where the system does not tell.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) * 1024
}

#[test]
fn damaged_files_neither_panic_nor_allocate_what_they_claim() {
    let files = corpus();
    let (mut decoded, before) = (0, peak_memory());
    for (name, original) in &files {
        for seed in 0..COPIES {
            let file = damage(original, seed);
            match catch_unwind(|| read(&file)) {
                Ok(tiles) => decoded += tiles,
                Err(_) => panic!("{name}, damage {seed}: panicked"),
            }
        }
    }
    let grown = peak_memory() - before;
    eprintln!("{} files, {decoded} tiles decoded all the same, {} MiB of address space", files.len(), grown >> 20);
    // A tile, the decoder's copy of it, and what threads of the decoders reserve.
    assert!(grown < 4 * MAX_TILE_BYTES, "{grown} bytes");
    assert!(files.is_empty() || files.len() >= 40 && decoded > 10_000, "{} files, {decoded} tiles", files.len());
}
