//! The band that hides pixels of all others.

use super::bands::choose_sample;
use crate::cog::Cog;
use crate::error::{Error, Result};
use crate::mask::Rule;

/// Which sample of which asset, and what its values mean.
#[derive(Debug, Clone)]
pub struct Mask {
    /// As the user asked for it.
    pub name: String,
    pub asset: String,
    /// The sample that the name chooses; else it is the only one of a file.
    sample: Option<u16>,
    pub rule: Rule,
}

impl Mask {
    /// # Errors
    /// A sampled COG without that band, or whose values have not the bits of the rule.
    pub fn new(name: &str, asset: &str, sample: Option<u16>, rule: Rule, cog: &Cog) -> Result<Mask> {
        let mask = Mask { name: name.to_owned(), asset: asset.to_owned(), sample, rule };
        mask.sample_of(cog)?;
        Ok(mask)
    }

    /// The error of an item without it.
    pub fn lacking(&self) -> Error {
        Error::Items(format!("the item has no such asset, which mask_band := '{}' asks for", self.name))
    }

    /// The sample in one COG, counted from 0.
    ///
    /// # Errors
    /// As for [`Mask::new`].
    pub fn sample_of(&self, cog: &Cog) -> Result<u16> {
        self.rule.check(&self.name, cog.dtype)?;
        choose_sample(&self.name, &self.asset, self.sample, cog)
    }
}
