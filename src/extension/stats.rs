//! `lazycogs_cache_stats`, `lazycogs_failures`, `lazycogs_progress` and `lazycogs_version`: relations without arguments.

use std::sync::Arc;

use super::api::{BindInfo, C_API_VERSION, InitInfo, TableFunction, Type};
use super::rows::{Cell, Once};
use super::vectors::Chunk;
use crate::buffers;
use crate::cog::headers;
use crate::error::Result;
use crate::request::Caller;
use crate::scan::{Failure, bytes_held, failures_of, progress};
use crate::store::counters::COUNTERS;

macro_rules! relation {
    ($(#[$doc:meta])* $name:ident, $sql:literal, [$(($column:literal, $kind:expr)),* $(,)?], $rows:expr $(,)?) => {
        $(#[$doc])*
        pub struct $name;

        impl TableFunction for $name {
            const NAME: &'static str = $sql;
            type Bind = Caller;
            type Global = Once;
            type Local = ();

            fn bind(info: &BindInfo) -> Result<Caller> {
                $(info.add_column($column, &$kind);)*
                Ok(info.caller())
            }

            fn init(caller: &Caller, info: &InitInfo) -> Result<Once> {
                let rows: fn(&Caller) -> Vec<Vec<Cell>> = $rows;
                Ok(Once::new(info, rows(caller)))
            }

            fn scan(_: &Caller, global: &Once, _: &mut (), output: &mut Chunk) -> Result<()> {
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
    |_| {
        let counted = COUNTERS.snapshot().into_iter().chain(held());
        counted.map(|(name, meaning, n)| vec![name.into(), n.into(), meaning.into()]).collect()
    }
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
    /// The items that the last query of this connection could not read.
    Failures,
    "lazycogs_failures",
    [
        ("item_id", Type::VARCHAR),
        ("asset", Type::VARCHAR),
        ("href", Type::VARCHAR),
        ("message", Type::VARCHAR),
        ("attempts", Type::BIGINT),
    ],
    |caller| {
        let (listed, others) = failures_of(caller);
        let cells = |f: Arc<Failure>| {
            let texts = [&f.item, &f.asset, &f.href, &f.message].map(|text| text.clone().into());
            texts.into_iter().chain([f.attempts.into()]).collect()
        };
        let others = (others > 0).then(|| {
            let message = format!("and {others} more failures, for which the list has no room");
            vec![Cell::Null, Cell::Null, Cell::Null, message.into(), Cell::Null]
        });
        listed.into_iter().map(cells).chain(others).collect()
    }
);

relation!(
    /// The scans that run now in this database, the oldest first. NULL is what is not known, or not yet.
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
    |caller| progress::running(caller.database).into_iter().map(state).collect()
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
    |_| {
        vec![vec![
            env!("CARGO_PKG_VERSION").into(),
            C_API_VERSION.into(),
            crate::crs::proj_version().into(),
            format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH).into(),
        ]]
    }
);
