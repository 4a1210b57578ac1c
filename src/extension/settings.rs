//! `SET lazycogs_*`.

use duckdb::ffi;

use super::api::{BindInfo, Type, c_string};
use super::context::Context;
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
        let integer = |name: &str, least: i64, most: i64| match context.setting(name).and_then(|v| v.integer()) {
            Some(value) if (least..=most).contains(&value) => Ok(value),
            Some(value) => Err(Error::Argument(format!(
                "the setting {name} is {value}; it must be a whole number from {least} to {most}"
            ))),
            None => Err(Error::Argument(format!("the setting {name} is not a number from {least} to {most}"))),
        };
        let size = |name: &str| {
            let text = text_of(context, name);
            parse_bytes(&text)
                .ok_or_else(|| Error::Argument(format!("the setting {name} is '{text}'; use a size such as '256MB'")))
        };
        Ok(Settings {
            max_concurrent_reads: integer(MAX_CONCURRENT_READS, 1, 4096)?,
            memory_budget: memory_budget(context, size)?.max(1),
            cache_size: size(CACHE_SIZE)?,
            max_pixels: integer(MAX_PIXELS, 0, 1 << 62)? as u64,
            http_timeout: integer(HTTP_TIMEOUT, 1, 86_400)? as u64,
            max_retries: integer(MAX_RETRIES, 0, 1000)? as usize,
            duckdb_io: duckdb_io(context)?,
            progress: context.setting(PROGRESS).and_then(|v| v.boolean()).unwrap_or(false),
            threads: context.setting("threads").and_then(|v| v.cast_text()?.parse().ok()).unwrap_or(1).max(1),
            access: access(context),
        })
    }
}

/// What stands for the default of `lazycogs_memory_budget`.
const AUTOMATIC: &str = "auto";

/// A setting as text; empty where it is NULL.
fn text_of(context: &Context, name: &str) -> String {
    context.setting(name).filter(|v| !v.is_null()).and_then(|v| v.cast_text()).unwrap_or_default()
}

fn memory_budget(context: &Context, size: impl Fn(&str) -> Result<u64>) -> Result<u64> {
    const USUAL: u64 = 256_000_000;
    if !text_of(context, MEMORY_BUDGET).trim().eq_ignore_ascii_case(AUTOMATIC) {
        return size(MEMORY_BUDGET);
    }
    // DuckDB writes its own limit; one that we cannot read, as that of a machine without a limit, bounds nothing.
    Ok(parse_bytes(&text_of(context, "memory_limit")).map_or(USUAL, |limit| USUAL.min(limit / 4)))
}

fn duckdb_io(context: &Context) -> Result<bool> {
    let text = text_of(context, IO);
    match text.as_str() {
        "object_store" => Ok(false),
        "duckdb" => Ok(true),
        _ => Err(Error::Argument(format!("the setting {IO} is '{text}'; use 'object_store' or 'duckdb'"))),
    }
}

fn access(context: &Context) -> Access {
    let list = |name: &str| {
        let values = context.setting(name).and_then(|v| v.list()).unwrap_or_default();
        values.iter().filter_map(|v| v.text()).collect()
    };
    let external = context.setting("enable_external_access").and_then(|v| v.boolean()).unwrap_or(true);
    let only = || Allowed { directories: list("allowed_directories"), paths: list("allowed_paths") };
    // The value of disabled_filesystems is not to be had: only what DuckDB says when it is asked for a file.
    let refusal = context.open_error("lazycogs").unwrap_or_default();
    Access { only: (!external).then(only), no_files: refusal.contains("LocalFileSystem has been disabled") }
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
    use super::parse_bytes;

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
