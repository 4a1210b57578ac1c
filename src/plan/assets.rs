//! Where the assets of a call are read from, and what messages call them.

use std::borrow::Cow;

use regex::Regex;

use crate::error::{Error, Result};
use crate::items::Asset;
use crate::request::Request;
use crate::store::{Location, Object, Options, Session, shown};

/// `item 'S2B_...' asset 'red' (https://...)`; never a signature.
pub fn asset_context(request: &Request, item: &str, key: &str, asset: &Asset) -> String {
    match asset_location(request, asset) {
        location if location.is_empty() => format!("item '{item}' asset '{key}'"),
        location => format!("item '{item}' asset '{key}' ({location})"),
    }
}

/// Where an asset is read from, as it may be shown.
pub fn asset_location(request: &Request, asset: &Asset) -> String {
    match location(request, asset) {
        Ok(location) => location.to_string(),
        Err(_) => shown::place(&asset.href),
    }
}

/// Where an asset is read from.
///
/// # Errors
/// As [`located`].
pub fn location(request: &Request, asset: &Asset) -> Result<Location> {
    located(&request.store, request.href_replace.as_ref(), request.items_base.as_deref(), asset)
}

/// Where an asset is, after `href_replace`. `base` stands for the file or URL that the item came from.
///
/// # Errors
/// An href that names nothing we can open; an asset that the item does not describe as it must.
pub fn located(
    options: &Options,
    replace: Option<&(Regex, String)>,
    base: Option<&str>,
    asset: &Asset,
) -> Result<Location> {
    if let Some(fault) = &asset.fault {
        return Err(Error::Items(fault.to_string()));
    }
    let href = match replace {
        Some((pattern, replacement)) => pattern.replace_all(&asset.href, replacement),
        None => Cow::Borrowed(&*asset.href),
    };
    options.locate(&href, options.base(base, asset.base.as_deref())?)
}

pub fn object(request: &Request, session: &Session, asset: &Asset) -> Result<Object> {
    session.object(location(request, asset)?, asset.store.as_deref())
}
