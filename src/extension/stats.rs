//! `lazycogs_cache_stats`, `lazycogs_failures`, `lazycogs_progress` and `lazycogs_version`: relations without arguments.

use super::api::{BindInfo, InitInfo, TableFunction, Type};
use super::rows::{Cell, Once};
use super::vectors::Chunk;
use crate::buffers;
use crate::cog::headers;
use crate::error::Result;
use crate::scan::{bytes_held, last_failures, progress};
use crate::store::counters::COUNTERS;

macro_rules! relation {
    ($(#[$doc:meta])* $name:ident, $sql:literal, [$(($column:literal, $kind:expr)),* $(,)?], $rows:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl TableFunction for $name {
            const NAME: &'static str = $sql;
            type Bind = ();
            type Global = Once;
            type Local = ();

            fn bind(info: &BindInfo) -> Result<()> {
                $(info.add_column($column, &$kind);)*
                Ok(())
            }

            fn init(_: &(), info: &InitInfo) -> Result<Once> {
                Ok(Once::new(info, $rows))
            }

            fn scan(_: &(), global: &Once, _: &mut (), output: &mut Chunk) -> Result<()> {
                // SAFETY: the rows are made of the columns that bind registers, in their order and types.
                unsafe { global.emit(output) };
                Ok(())
            }
        }
    };
}

relation!(
    /// Counters since the extension was loaded, and what the caches hold now.
    CacheStats,
    "lazycogs_cache_stats",
    [("counter", Type::VARCHAR), ("value", Type::BIGINT), ("meaning", Type::VARCHAR)],
    COUNTERS
        .snapshot()
        .into_iter()
        .chain(held())
        .map(|(name, meaning, n)| vec![name.into(), n.into(), meaning.into()])
        .collect()
);

/// What the process keeps for later queries, at this moment.
fn held() -> [(&'static str, &'static str, u64); 3] {
    [
        ("header_bytes_held", "bytes of COG headers in the cache now", headers::bytes_held()),
        ("tile_bytes_held", "bytes of decoded tiles in the cache now", bytes_held()),
        ("buffer_bytes_held", "bytes of buffers kept for the next taker now", buffers::held()),
    ]
}

relation!(
    /// The items that the last query could not read.
    Failures,
    "lazycogs_failures",
    [
        ("item_id", Type::VARCHAR),
        ("asset", Type::VARCHAR),
        ("href", Type::VARCHAR),
        ("message", Type::VARCHAR),
        ("attempts", Type::BIGINT),
    ],
    last_failures()
        .into_iter()
        .map(|f| vec![f.item.into(), f.asset.into(), f.href.into(), f.message.into(), f.attempts.into()])
        .collect()
);

relation!(
    /// The scans that run now, the oldest first. NULL is what is not known, or not yet.
    Progress,
    "lazycogs_progress",
    [
        ("function", Type::VARCHAR),
        ("started", Type::TIMESTAMP),
        ("steps_done", Type::BIGINT),
        ("steps", Type::BIGINT),
        ("tiles_done", Type::BIGINT),
        ("tiles", Type::BIGINT),
        ("requests", Type::BIGINT),
        ("bytes", Type::BIGINT),
        ("seconds", Type::DOUBLE),
        ("seconds_left", Type::DOUBLE),
    ],
    progress::running().into_iter().map(state).collect()
);

fn state(state: progress::State) -> Vec<Cell> {
    vec![
        state.function.into(),
        Cell::Timestamp(state.started),
        state.steps_done.into(),
        state.steps.into(),
        state.tiles_done.into(),
        state.tiles.into(),
        state.requests.into(),
        state.bytes.into(),
        state.seconds.into(),
        state.seconds_left.into(),
    ]
}

relation!(
    /// Version and build.
    Version,
    "lazycogs_version",
    [("version", Type::VARCHAR), ("c_api", Type::VARCHAR), ("proj", Type::VARCHAR), ("platform", Type::VARCHAR)],
    vec![vec![
        env!("CARGO_PKG_VERSION").into(),
        super::C_API_VERSION.into(),
        crate::crs::proj_version().into(),
        format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH).into(),
    ]]
);
