//! The fuzz targets as plain functions: libFuzzer runs them through `fuzz_targets/`, and `tests/fuzz.rs` of the project over
//! seeds and a few mutations of them, without any fuzzer. A target panics where the project has a mistake.

#![expect(clippy::expect_used, reason = "a mistake is told by a panic")]
#![expect(clippy::let_underscore_must_use, reason = "an error is as good as a result")]

mod arguments;
mod rows;
mod tiff;

use std::alloc::System;
use std::panic;
use std::sync::Once;

use cap::Cap;

/// Refuses what would pass the limit, which ends the process. What C and C++ libraries allocate is not counted.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// A function that reads hostile bytes, and what it may allocate beside a multiple of the input.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    /// Whether inputs are TIFFs; else they are text, see `seeds/`.
    pub reads_tiffs: bool,
    run: fn(&[u8]),
    memory: usize,
}

const MIB: usize = 1 << 20;
/// Bytes that may be allocated for each byte of the input.
const MEMORY_PER_BYTE: usize = 64;

pub const TARGETS: [Target; 7] = [
    Target { name: "header", reads_tiffs: true, run: tiff::header, memory: 16 * MIB },
    // LZMA streams ask for a dictionary of their own choice, up to 128 MiB.
    Target { name: "tiles", reads_tiffs: true, run: tiff::tiles, memory: 160 * MIB },
    Target { name: "rows", reads_tiffs: false, run: rows::rows, memory: 16 * MIB },
    Target { name: "filter", reads_tiffs: false, run: rows::filter, memory: 64 * MIB },
    Target { name: "arguments", reads_tiffs: false, run: arguments::arguments, memory: 64 * MIB },
    Target { name: "crs", reads_tiffs: false, run: arguments::crs, memory: 16 * MIB },
    Target { name: "mapping", reads_tiffs: true, run: tiff::mapping, memory: 16 * MIB },
];

/// What shows a panic needs memory of its own.
fn lift_limit_in_panics() {
    let shown = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _ = ALLOCATOR.set_limit(usize::MAX);
        shown(info);
    }));
}

static PANICS: Once = Once::new();

impl Target {
    /// Runs the target within its bound on memory.
    pub fn run(&self, data: &[u8]) {
        PANICS.call_once(lift_limit_in_panics);
        let allowance = self.memory + data.len() * MEMORY_PER_BYTE;
        let _ = ALLOCATOR.set_limit(ALLOCATOR.allocated() + allowance);
        (self.run)(data);
        let _ = ALLOCATOR.set_limit(usize::MAX);
    }
}
