//! A COG whose place on the Earth is known.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Cog, CogCrs, Level};
use crate::crs::Crs;
use crate::error::{Error, Result};
use crate::grid::Affine;
use crate::store::{Object, Version};

/// A COG whose place on the Earth is known.
#[derive(Debug)]
pub struct Opened {
    /// Tells one opened COG from another as long as the process lives.
    pub id: u64,
    pub cog: Cog,
    pub crs: Crs,
    /// Pixel corner of the full resolution to CRS.
    pub transform: Affine,
    version: Version,
}

impl Opened {
    /// Pixel corner of `level` to CRS.
    pub fn level_transform(&self, level: usize) -> Affine {
        let (full, level) = (&self.cog.levels[0], &self.cog.levels[level]);
        let scale = |full: u32, level: u32| f64::from(full) / f64::from(level.max(1));
        self.transform.scaled(scale(full.width, level.width), scale(full.height, level.height))
    }

    pub fn level(&self, level: usize) -> &Level {
        &self.cog.levels[level]
    }

    /// Makes later reads of `object` fail where it is no longer the version whose header this is.
    pub fn pin(&self, object: &Object) {
        object.expect(self.version.clone());
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Finds out where the pixels of `cog` lie.
pub(crate) fn place(cog: Cog, stac_crs: Option<&str>, version: Version) -> Result<Opened> {
    let (transform, definition) = match (cog.georeference(), stac_crs, cog.transform) {
        (Ok((transform, definition)), _, _) => (transform, definition.to_owned()),
        (Err(Error::Crs(_)), Some(stac), Some(transform)) => (transform, stac.to_owned()),
        (Err(Error::Crs(why)), None, _) => {
            return Err(Error::Crs(format!("{why}, and the item has no proj:code, proj:wkt2 or proj:projjson")));
        }
        (Err(e), _, _) => return Err(e),
    };
    let crs = match (Crs::new(&definition), stac_crs) {
        (Ok(crs), _) => crs,
        // PROJ may refuse what odd geokeys say where the item says it well.
        (Err(_), Some(stac)) if matches!(cog.crs, CogCrs::Definition(_)) => Crs::new(stac)?,
        (Err(e), _) => return Err(e),
    };
    Ok(Opened { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), cog, crs, transform, version })
}
