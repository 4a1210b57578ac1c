//! Where files lie, by their headers.

use crate::cog::opened::Opened;
use crate::error::Result;
use crate::place::Outline;

/// Where the pixels of a COG lie.
///
/// # Errors
/// No transformation to longitude and latitude.
pub fn outline_of(opened: &Opened) -> Result<Outline> {
    let (width, height) = (f64::from(opened.level(0).width), f64::from(opened.level(0).height));
    Outline::of(&opened.transform, width, height, &opened.crs)
}

/// Whether two COGs have their pixels at the same places.
pub fn lies_where(one: &Opened, other: &Opened) -> bool {
    let size = |opened: &Opened| (opened.level(0).width, opened.level(0).height);
    one.crs == other.crs && one.transform == other.transform && size(one) == size(other)
}
