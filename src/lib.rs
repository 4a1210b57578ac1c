//! lazycogs: a DuckDB extension that reads archives of STAC items and Cloud Optimized GeoTIFFs as one raster cube.
//! `docs/architecture.md` shows how the rooms fit together.

pub mod area;
mod buffers;
pub mod cog;
pub mod crs;
pub mod error;
mod extension;
pub mod extent;
pub mod grid;
pub mod interrupt;
pub mod items;
pub mod mask;
pub mod mosaic;
mod mutex;
pub mod pixels;
pub mod place;
pub mod plan;
pub mod request;
pub mod runtime;
pub mod scan;
pub mod search;
pub mod store;
pub mod time;
pub mod warp;
pub mod zones;

use duckdb::ffi;

/// The entry point that DuckDB calls at LOAD.
///
/// # Safety
/// Only DuckDB calls it, with what it hands to extensions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lazycogs_init_c_api(
    info: ffi::duckdb_extension_info,
    access: *const ffi::duckdb_extension_access,
) -> bool {
    // SAFETY: by the contract of this function.
    unsafe { extension::load(info, access) }
}
