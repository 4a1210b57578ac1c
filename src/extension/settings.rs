//! `SET lazycogs_*`.

use std::ops::RangeInclusive;

use duckdb::ffi;

use super::api::{BindInfo, Type};
use super::context::Context;
use super::texts::c_string;
use super::value::Data;
use crate::error::{Error, Result};
use crate::store::{Access, Allowed};

/// One setting: its name, its default and what it does.
struct Setting {
    name: &'static str,
    default: Default,
    description: &'static str,
}

enum Default {
    Boolean(bool),
    Integer(i64),
    Text(&'static str),
}

const MAX_CONCURRENT_READS: &str = "lazycogs_max_concurrent_reads";
const MEMORY_BUDGET: &str = "lazycogs_memory_budget";
const CACHE_SIZE: &str = "lazycogs_cache_size";
const HTTP_TIMEOUT: &str = "lazycogs_http_timeout";
const MAX_RETRIES: &str = "lazycogs_max_retries";

const MAX_PIXELS: &str = "lazycogs_max_pixels";

/// As many as an argument may ask for.
pub const MOST_READS: i64 = 4096;
/// A day. Sums of timeouts stay far from what a clock can hold.
const LONGEST_TIMEOUT: i64 = 86_400;
const MOST_RETRIES: i64 = 1000;

const IO: &str = "lazycogs_io";
const PROGRESS: &str = "lazycogs_progress";

const SETTINGS: [Setting; 8] = [
    Setting {
        name: MAX_CONCURRENT_READS,
        default: Default::Integer(64),
        description: "lazycogs: requests in flight for one query, where the call does not say max_concurrent_reads",
    },
    Setting {
        name: MEMORY_BUDGET,
        default: Default::Text(AUTOMATIC),
        description: "lazycogs: memory that the tiles in work of one query may take, such as '1GB'; 'auto' is 256 MB, but no more than a quarter of memory_limit",
    },
    Setting {
        name: CACHE_SIZE,
        default: Default::Text("64MB"),
        description: "lazycogs: memory that decoded tiles kept for later queries may take, for the whole process; '0' keeps none",
    },
    Setting {
        name: HTTP_TIMEOUT,
        default: Default::Integer(30),
        description: "lazycogs: longest time for one request, in seconds",
    },
    Setting {
        name: IO,
        default: Default::Text("object_store"),
        description: "lazycogs: what reads COGs: 'object_store', or 'duckdb' for DuckDB's own file systems with their secrets",
    },
    Setting {
        name: PROGRESS,
        default: Default::Boolean(false),
        description: "lazycogs: count the steps ahead for lazycogs_progress(), and draw a bar on stderr if that is a terminal",
    },
    Setting {
        name: MAX_PIXELS,
        default: Default::Integer(4_000_000_000),
        description: "lazycogs: the most pixels that a grid may have, a step and band; 0 sets no limit",
    },
    Setting {
        name: MAX_RETRIES,
        default: Default::Integer(4),
        description: "lazycogs: further attempts after a request that failed for a passing reason",
    },
];

/// The settings of a session.
pub struct Settings {
    pub max_concurrent_reads: i64,
    pub memory_budget: u64,
    pub cache_size: u64,
    /// Of one step and band; 0 is no limit.
    pub max_pixels: u64,
    pub http_timeout: u64,
    pub max_retries: usize,
    pub progress: bool,
    /// COGs are read through DuckDB's file systems.
    pub duckdb_io: bool,
    /// DuckDB's own `threads`.
    pub threads: usize,
    /// What DuckDB's own settings let a query open.
    pub access: Access,
}

impl Settings {
    /// Reads the settings as the session of a bind sees them.
    ///
    /// # Errors
    /// A setting that has no sense.
    pub fn read(bind: &BindInfo) -> Result<Settings> {
        let context = bind.context();
        let integer = |name: &str, range| integer(name, &context.setting(name).read(), range);
        Ok(Settings {
            max_concurrent_reads: integer(MAX_CONCURRENT_READS, 1..=MOST_READS)?,
            memory_budget: memory_budget(
                &context.setting(MEMORY_BUDGET).read(),
                &context.setting("memory_limit").read(),
            )?,
            cache_size: size(CACHE_SIZE, &context.setting(CACHE_SIZE).read())?,
            max_pixels: integer(MAX_PIXELS, 0..=i64::MAX)? as u64,
            http_timeout: integer(HTTP_TIMEOUT, 1..=LONGEST_TIMEOUT)? as u64,
            max_retries: integer(MAX_RETRIES, 0..=MOST_RETRIES)? as usize,
            duckdb_io: duckdb_io(&context.setting(IO).read())?,
            progress: boolean(PROGRESS, &context.setting(PROGRESS).read())?,
            threads: integer("threads", 1..=i64::MAX)? as usize,
            access: access(context),
        })
    }
}

fn wrong(name: &str, value: &Data, right: impl std::fmt::Display) -> Error {
    Error::Argument(format!("the setting {name} is {value}; {right}, or RESET {name}"))
}

fn integer(name: &str, value: &Data, range: RangeInclusive<i64>) -> Result<i64> {
    let right = || match (range.start(), range.end()) {
        (least, &i64::MAX) => format!("it must be at least {least}"),
        (least, most) => format!("it must be a whole number from {least} to {most}"),
    };
    value.integer().filter(|n| range.contains(n)).ok_or_else(|| wrong(name, value, right()))
}

fn boolean(name: &str, value: &Data) -> Result<bool> {
    if let Data::Boolean(value) = value { Ok(*value) } else { Err(wrong(name, value, "use true or false")) }
}

fn size(name: &str, value: &Data) -> Result<u64> {
    let bytes = if let Data::Text(text) = value { parse_bytes(text) } else { None };
    bytes.ok_or_else(|| wrong(name, value, "use a size such as '256MB'"))
}

/// What stands for the default of `lazycogs_memory_budget`.
const AUTOMATIC: &str = "auto";

fn memory_budget(own: &Data, limit: &Data) -> Result<u64> {
    const USUAL: u64 = 256_000_000;
    if !matches!(own, Data::Text(text) if text.trim().eq_ignore_ascii_case(AUTOMATIC)) {
        return Ok(size(MEMORY_BUDGET, own)?.max(1));
    }
    // DuckDB writes its own limit; one that we cannot read, as that of a machine without a limit, bounds nothing.
    let limit = if let Data::Text(text) = limit { parse_bytes(text) } else { None };
    Ok(limit.map_or(USUAL, |limit| USUAL.min(limit / 4)).max(1))
}

fn duckdb_io(value: &Data) -> Result<bool> {
    match value {
        Data::Text(text) if text == "object_store" => Ok(false),
        Data::Text(text) if text == "duckdb" => Ok(true),
        other => Err(wrong(IO, other, "use 'object_store' or 'duckdb'")),
    }
}

/// What DuckDB's own settings let a query open. What cannot be read permits nothing.
fn access(context: &Context) -> Access {
    let list = |name: &str| texts(&context.setting(name).read());
    let only = || Allowed { directories: list("allowed_directories"), paths: list("allowed_paths") };
    let external = is_on(&context.setting("enable_external_access").read());
    // The value of disabled_filesystems is not to be had: only what DuckDB says when it is asked for a file. That it opens one
    // of this name is no refusal.
    let refused = context.open_error("lazycogs").is_some_and(|why| why.contains("LocalFileSystem has been disabled"));
    Access { only: (!external).then(only), no_files: refused }
}

fn is_on(value: &Data) -> bool {
    matches!(value, Data::Boolean(true))
}

/// The texts of a list, without whatever else may be in it.
fn texts(value: &Data) -> Vec<String> {
    if let Data::List(list) = value { list.iter().filter_map(|v| v.text()).collect() } else { Vec::new() }
}

/// `256MB`, `1.5 GiB`, `1000000` as bytes, as DuckDB reads sizes: K, M, G and T by 1000, KiB and so on by 1024.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (text[..unit_at].parse::<f64>().ok()?, text[unit_at..].trim().to_ascii_lowercase());
    let factor = match unit.as_str() {
        "" | "b" | "byte" | "bytes" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * factor;
    (0.0..1e18).contains(&bytes).then_some(bytes as u64)
}

/// Registers the settings.
///
/// # Safety
/// `connection` is open; the C API table is initialised.
pub unsafe fn register(connection: ffi::duckdb_connection) {
    for setting in &SETTINGS {
        // SAFETY: option and value are created, filled and destroyed here; names and types are copied. Registering fails
        // only where an earlier LOAD has registered the option already, which is what we want.
        unsafe {
            let mut option = ffi::duckdb_create_config_option();
            ffi::duckdb_config_option_set_name(option, c_string(setting.name).as_ptr());
            ffi::duckdb_config_option_set_description(option, c_string(setting.description).as_ptr());
            let (kind, mut default) = match setting.default {
                Default::Boolean(value) => (Type::BOOLEAN, ffi::duckdb_create_bool(value)),
                Default::Integer(value) => (Type::BIGINT, ffi::duckdb_create_int64(value)),
                Default::Text(text) => (Type::VARCHAR, ffi::duckdb_create_varchar(c_string(text).as_ptr())),
            };
            kind.with(|t| ffi::duckdb_config_option_set_type(option, t));
            ffi::duckdb_config_option_set_default_value(option, default);
            ffi::duckdb_destroy_value(&mut default);
            ffi::duckdb_register_config_option(connection, option);
            ffi::duckdb_destroy_config_option(&mut option);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_that_cannot_be_read_is_none() {
        assert!(is_on(&Data::Boolean(true)));
        for off in
            [Data::Boolean(false), Data::Null, Data::Text("true".into()), Data::Number(1.0, "1".into()), Data::Other]
        {
            assert!(!is_on(&off), "{off}");
        }
        assert!(texts(&Data::Null).is_empty() && texts(&Data::Text("/".into())).is_empty());
    }

    #[test]
    fn a_setting_without_sense_is_named() {
        let text = |result: Result<u64>| result.unwrap_err().to_string();
        let null = text(size(MEMORY_BUDGET, &Data::Null));
        assert_eq!(
            null,
            "the setting lazycogs_memory_budget is NULL; use a size such as '256MB', or RESET lazycogs_memory_budget"
        );
        assert!(integer(MAX_RETRIES, &Data::Null, 0..=9).unwrap_err().to_string().contains("from 0 to 9"));
        assert!(boolean(PROGRESS, &Data::Null).is_err() && duckdb_io(&Data::Null).is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("256MB"), Some(256_000_000));
        assert_eq!(parse_bytes("1.5 GiB"), Some(1_610_612_736));
        assert_eq!(parse_bytes("4096"), Some(4096));
        assert_eq!(parse_bytes("0"), Some(0));
        for bad in ["", "MB", "-1MB", "12 parsecs"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}
