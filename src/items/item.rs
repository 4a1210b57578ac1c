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
    /// Why the item belongs to no step or place; it has no assets then.
    pub fault: Option<Arc<str>>,
}

impl Item {
    /// Bytes of memory that it takes, as far as it does not share them with its neighbours.
    pub fn memory(&self) -> usize {
        let assets = self.assets.iter().flatten().map(|asset| {
            let bands = [&asset.nodata, &asset.scale, &asset.offset].map(PerBand::memory);
            asset.href.len() + bands.iter().sum::<usize>()
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
    /// What STAC says of its bands: in `bands` or `raster:bands`, else on the asset, else on the item.
    pub nodata: PerBand,
    pub scale: PerBand,
    pub offset: PerBand,
    /// `proj:code`, `proj:epsg`, `proj:wkt2` or `proj:projjson` of the asset, else of the item: a definition for PROJ.
    pub crs: Option<Arc<str>>,
    /// What the Storage Extension says about the store of the href.
    pub store: Option<Arc<Hints>>,
    /// Why it cannot be read, whatever is behind the href: what the item says of it is damaged.
    pub fault: Option<Arc<str>>,
}

impl Asset {
    /// An asset that cannot be read.
    pub(super) fn faulty(fault: String) -> Self {
        Self { fault: Some(fault.into()), ..Self::default() }
    }

    /// STAC `scale` and `offset` of a band, where either is given.
    pub fn scale_offset_of(&self, sample: u16) -> Option<(f64, f64)> {
        match (self.scale.of(sample), self.offset.of(sample)) {
            (None, None) => None,
            (scale, offset) => Some((scale.unwrap_or(1.0), offset.unwrap_or(0.0))),
        }
    }
}

/// A number for each band, or for all that have none of their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PerBand {
    bands: Vec<Option<f64>>,
    pub(super) all: Option<f64>,
}

impl PerBand {
    /// That of one band, counted from 0.
    pub fn of(&self, sample: u16) -> Option<f64> {
        self.bands.get(usize::from(sample)).copied().flatten().or(self.all)
    }

    fn memory(&self) -> usize {
        self.bands.capacity() * size_of::<Option<f64>>()
    }

    /// Notes what a band says, if it says anything.
    pub(super) fn set(&mut self, index: usize, value: Option<f64>) {
        if value.is_none() {
            return;
        }
        if self.bands.len() <= index {
            self.bands.resize(index + 1, None);
        }
        if let Some(band) = self.bands.get_mut(index) {
            *band = value;
        }
    }

    /// This, and for all other bands what `further` says for all.
    pub(super) fn or(&self, further: &PerBand) -> PerBand {
        PerBand { bands: self.bands.clone(), all: self.all.or(further.all) }
    }
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
    /// What its bands are called, in their order.
    pub bands: Vec<Named>,
    pub asset: Asset,
}

/// What a band is called.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Named {
    pub name: Option<String>,
    /// Such as `red` or `nir`.
    pub common_name: Option<String>,
}

impl FirstAsset {
    /// Whether the item says that this is something other than a TIFF.
    fn is_no_tiff(&self) -> bool {
        self.media_type.as_deref().is_some_and(|media| !media.to_ascii_lowercase().contains("tiff"))
    }

    fn is_data(&self) -> bool {
        let tiff = self.media_type.as_deref().is_some_and(|media| media.to_ascii_lowercase().contains("image/tiff"));
        // Of what could not be read at all it is not known, and the read shall say so.
        let unknown = self.asset.fault.is_some() && self.media_type.is_none() && self.roles.is_empty();
        tiff || unknown || self.roles.iter().any(|role| role == "data")
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
        FirstAsset {
            key: key.into(),
            roles,
            media_type: media_type.map(str::to_owned),
            bands: vec![],
            asset: Asset::default(),
        }
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
