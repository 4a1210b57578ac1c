//! STAC items, as far as a read needs them.

use std::sync::Arc;

use crate::place::Place;
use crate::store::Hints;

/// One STAC item that a selection matched.
#[derive(Debug, Clone)]
pub struct Item {
    pub id: Arc<str>,
    /// Position in the stream. Within a step that is the order of the mosaic: `sortby`, then file order.
    pub order: u64,
    /// Microseconds since 1970-01-01T00:00Z: `datetime`, else `start_datetime`.
    pub time: i64,
    /// Start of the step the item falls into, in the same unit.
    pub step: i64,
    pub place: Place,
    /// One entry per requested asset key, in that order; `None` where the item lacks the asset.
    pub assets: Vec<Option<Asset>>,
}

impl Item {
    /// Bytes of memory that it takes, as far as it does not share them with its neighbours.
    pub fn memory(&self) -> usize {
        let assets = self.assets.iter().flatten().map(|asset| {
            let bands = asset.nodata.len() * size_of::<Option<f64>>()
                + asset.scale_offset.len() * size_of::<Option<(f64, f64)>>();
            asset.href.len() + bands
        });
        let assets = self.assets.len() * size_of::<Option<Asset>>() + assets.sum::<usize>();
        size_of::<Item>() + self.id.len() + self.place.memory() + assets
    }
}

/// One asset of an item.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asset {
    /// As the item gives it; relative hrefs are resolved against `base` when they are opened.
    pub href: Arc<str>,
    /// The file or URL that the item came from.
    pub base: Option<Arc<str>>,
    /// STAC `nodata` of each band (`bands`, `raster:bands`, else the asset's own). One entry if the asset does not list
    /// its bands, none if nothing is said.
    pub nodata: Vec<Option<f64>>,
    /// STAC `scale` and `offset` of each band, where either is given; as many entries as for `nodata`.
    pub scale_offset: Vec<Option<(f64, f64)>>,
    /// `proj:code`, `proj:epsg`, `proj:wkt2` or `proj:projjson` of the asset, else of the item: a definition for PROJ.
    pub crs: Option<Arc<str>>,
    /// What the Storage Extension says about the store of the href.
    pub store: Option<Arc<Hints>>,
}

/// The item that stands for a selection when a query is bound.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstItem {
    pub id: String,
    pub place: Option<Place>,
    /// All assets that have an href, in the item's own order.
    pub assets: Vec<FirstAsset>,
}

/// An asset with what describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstAsset {
    pub key: String,
    pub roles: Vec<String>,
    /// The media type, `type` in STAC.
    pub media_type: Option<String>,
    pub asset: Asset,
}

impl FirstAsset {
    /// Whether the item says that this is something other than a TIFF.
    fn is_no_tiff(&self) -> bool {
        self.media_type.as_deref().is_some_and(|media| !media.to_ascii_lowercase().contains("tiff"))
    }

    fn is_data(&self) -> bool {
        let tiff = self.media_type.as_deref().is_some_and(|media| media.to_ascii_lowercase().contains("image/tiff"));
        tiff || self.roles.iter().any(|role| role == "data")
    }
}

/// The asset keys that a query reads unless it names bands: those with the role `data` or of type `image/tiff`, else
/// all; never one that says it is no TIFF. Order of the item.
pub fn default_bands(first: &FirstItem) -> Vec<String> {
    let readable = || first.assets.iter().filter(|asset| !asset.is_no_tiff());
    let keys = |assets: Vec<&FirstAsset>| assets.iter().map(|asset| asset.key.clone()).collect::<Vec<_>>();
    match readable().any(FirstAsset::is_data) {
        true => keys(readable().filter(|asset| asset.is_data()).collect()),
        false => keys(readable().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(key: &str, media_type: Option<&str>, role: Option<&str>) -> FirstAsset {
        let roles = role.into_iter().map(str::to_owned).collect();
        FirstAsset { key: key.into(), roles, media_type: media_type.map(str::to_owned), asset: Asset::default() }
    }

    fn bands(assets: Vec<FirstAsset>) -> Vec<String> {
        default_bands(&FirstItem { id: "x".into(), place: None, assets })
    }

    #[test]
    fn data_assets_in_their_order_and_no_jp2() {
        let assets = vec![
            asset("red", Some("image/tiff; application=geotiff"), None),
            asset("thumbnail", Some("image/jpeg"), Some("thumbnail")),
            asset("blue", None, Some("data")),
            asset("blue-jp2", Some("image/jp2"), Some("data")),
            asset("info", None, None),
        ];
        assert_eq!(bands(assets), ["red", "blue"]);
    }

    #[test]
    fn all_that_could_be_a_tiff_where_nothing_says_data() {
        let assets = vec![asset("b", None, None), asset("a", None, Some("visual")), asset("c", Some("text/xml"), None)];
        assert_eq!(bands(assets), ["b", "a"]);
        assert_eq!(bands(vec![]), [""; 0]);
    }
}
