//! Coordinate reference systems and transformations, by PROJ.
//!
//! A [`Crs`] is only a definition that PROJ has accepted, with what we need to know of it, and is shared freely. x is easting or
//! longitude and y northing or latitude, always; heights are left out.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex};

use proj_sys as ffi;

use crate::error::{Error, Result};
use crate::mutex::lock;

pub mod parts;
mod proj;
mod sealed;
mod transformer;

pub use transformer::{Lease, caution, transformer, way_back};

/// A CRS that PROJ accepts.
#[derive(Debug, Clone)]
pub struct Crs {
    definition: Arc<str>,
    is_geographic: bool,
    /// Metres or radians in one unit of its coordinates.
    unit: f64,
    unit_name: Arc<str>,
    body: Arc<str>,
    datum: Option<Arc<str>>,
}

impl PartialEq for Crs {
    fn eq(&self, other: &Crs) -> bool {
        self.definition == other.definition
    }
}

impl Eq for Crs {}

impl Hash for Crs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.hash(state);
    }
}

/// Longitude and latitude on the Earth, in degrees, in this order.
pub static LONLAT: LazyLock<Crs> = LazyLock::new(|| Crs {
    definition: "OGC:CRS84".into(),
    is_geographic: true,
    unit: 1f64.to_radians(),
    unit_name: "degree".into(),
    body: EARTH.into(),
    datum: Some("World Geodetic System 1984 ensemble".into()),
});

/// What PROJ calls it.
const EARTH: &str = "Earth";

type Pair = (Crs, Crs);

/// What every thread would find out anew: which definitions are good, and which pairs are the same CRS. Bounded, since
/// a long session may see any number of definitions.
static KNOWN: LazyLock<Mutex<HashMap<Arc<str>, Result<Crs>>>> = LazyLock::new(Mutex::default);
static SAME: LazyLock<Mutex<HashMap<Pair, bool>>> = LazyLock::new(Mutex::default);
const KNOWN_LIMIT: usize = 4096;
/// Bytes of a definition. PROJJSON of a compound CRS with a transformation takes some 10 KiB.
const LONGEST: usize = 64 << 10;

impl Crs {
    /// Checks `definition` (an authority code, WKT, PROJJSON or a PROJ string).
    ///
    /// # Errors
    /// PROJ's own reason where it does not accept the definition, or where it is not a CRS; a CRS without map coordinates.
    pub fn new(definition: &str) -> Result<Crs> {
        if let Some(known) = lock(&KNOWN).get(definition) {
            return known.clone();
        }
        if definition.len() > LONGEST {
            return Err(Error::Crs(format!("a CRS of {} bytes: none is longer than {LONGEST}", definition.len())));
        }
        let result = proj::with(|proj| {
            let facts = proj.facts(&proj.horizontal(definition)?, definition)?;
            Ok(Crs {
                definition: definition.trim().into(),
                is_geographic: facts.is_geographic,
                unit: facts.unit,
                unit_name: facts.unit_name.into(),
                body: facts.body.into(),
                datum: facts.datum.map(Into::into),
            })
        });
        let mut known = lock(&KNOWN);
        if known.len() >= KNOWN_LIMIT {
            known.clear();
        }
        known.insert(definition.into(), result.clone());
        result
    }

    /// The text it was made from.
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// Its coordinates are longitude and latitude.
    pub fn is_geographic(&self) -> bool {
        self.is_geographic
    }

    /// Metres in one unit of a projected CRS, radians in one of a geographic CRS.
    pub fn unit(&self) -> f64 {
        self.unit
    }

    /// What PROJ calls that unit: `metre`, `degree`, `US survey foot`.
    pub fn unit_name(&self) -> &str {
        &self.unit_name
    }

    /// The celestial body, as PROJ calls it.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The name of its datum; `None` where it is declared unknown.
    pub fn datum(&self) -> Option<&str> {
        self.datum.as_deref()
    }

    /// After how many units the same place comes again along x: 360 where x is a longitude in degrees.
    pub fn turn(&self) -> Option<f64> {
        // To the nearest billionth: definitions give their units with some 15 digits.
        self.is_geographic.then(|| (std::f64::consts::TAU / self.unit * 1e9).round() / 1e9)
    }

    /// Longitude and latitude as items of the same celestial body are written in.
    ///
    /// # Errors
    /// PROJ cannot derive them.
    pub fn lonlat(&self) -> Result<Crs> {
        if self.body() == EARTH { Ok(LONLAT.clone()) } else { self.own_lonlat() }
    }

    /// Longitude and latitude in degrees on its own datum.
    ///
    /// # Errors
    /// PROJ cannot derive them.
    pub fn own_lonlat(&self) -> Result<Crs> {
        Crs::new(&proj::with(|proj| proj.own_lonlat(&proj.horizontal(&self.definition)?))?)
    }

    /// The same CRS but for the order of its axes, which we never look at.
    pub fn same_as(&self, other: &Crs) -> bool {
        if self == other {
            return true;
        }
        let pair = (self.clone(), other.clone());
        if let Some(same) = lock(&SAME).get(&pair) {
            return *same;
        }
        let same = proj::with(|proj| proj.equivalent(&self.definition, &other.definition)).unwrap_or(false);
        let mut known = lock(&SAME);
        if known.len() >= KNOWN_LIMIT {
            known.clear();
        }
        known.insert(pair, same);
        same
    }
}

/// The version of PROJ inside this library.
pub fn proj_version() -> String {
    // SAFETY: a static, NUL-terminated text.
    let info = unsafe { ffi::proj_info() };
    format!("{}.{}.{}", info.major, info.minor, info.patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_utm_to_longitude_latitude() {
        let t = transformer(&Crs::new("EPSG:32615").unwrap(), &LONLAT).unwrap();
        let (lon, lat) = t.point(500_000.0, 0.0);
        assert!((lon + 93.0).abs() < 1e-9 && lat.abs() < 1e-9, "{lon} {lat}");
    }

    #[test]
    fn axis_order_is_ignored() {
        assert!(Crs::new("EPSG:4326").unwrap().same_as(&LONLAT));
        assert!(!Crs::new("EPSG:32615").unwrap().same_as(&LONLAT));
        let t = transformer(&Crs::new("EPSG:4326").unwrap(), &Crs::new("EPSG:3857").unwrap()).unwrap();
        let (x, y) = t.point(90.0, 0.0);
        assert!((x - 10_018_754.17).abs() < 0.01 && y.abs() < 1e-6, "{x} {y}");
    }

    #[test]
    fn longitudes_come_round() {
        let turn = |definition: &str| Crs::new(definition).unwrap().turn().map(|turn| (turn * 1e9).round() / 1e9);
        assert_eq!([turn("EPSG:4326"), turn("OGC:CRS84"), turn("EPSG:4979"), LONLAT.turn()], [Some(360.0); 4]);
        // Compound, bound; NTF (Paris) counts in grads.
        assert_eq!(turn("EPSG:9518"), Some(360.0));
        assert_eq!(turn("+proj=longlat +ellps=intl +towgs84=-87,-98,-121"), Some(360.0));
        assert_eq!(turn("EPSG:4807"), Some(400.0));
        assert_eq!([turn("EPSG:32615"), turn("EPSG:3857"), turn("EPSG:7415")], [None; 3]);
    }

    #[test]
    fn heights_are_left_out() {
        let same = |a: &str, b: &str| Crs::new(a).unwrap().same_as(&Crs::new(b).unwrap());
        assert!(same("EPSG:9518", "EPSG:4326") && same("EPSG:4979", "OGC:CRS84") && same("EPSG:7415", "EPSG:28992"));
        assert!(!same("EPSG:7415", "EPSG:28991"));
    }

    #[test]
    fn what_has_no_map_coordinates_is_refused() {
        let local =
            "ENGCRS[\"x\",EDATUM[\"y\"],CS[Cartesian,2],AXIS[\"x\",east],AXIS[\"y\",north],LENGTHUNIT[\"metre\",1]]";
        for (definition, kind) in [("EPSG:4978", "geocentric"), ("EPSG:5703", "vertical"), (local, "local")] {
            let message = Crs::new(definition).unwrap_err().to_string();
            assert!(message.contains(kind) && message.contains("no map coordinates"), "{message}");
        }
    }

    #[test]
    fn each_body_has_longitudes_of_its_own() {
        let [mars, moon] = ["IAU_2015:49910", "IAU_2015:30110"].map(|code| Crs::new(code).unwrap());
        let (lon, lat) = transformer(&mars, &mars.lonlat().unwrap()).unwrap().point(3_396_190f64.to_radians(), 0.0);
        assert!((lon - 1.0).abs() < 1e-9 && lat.abs() < 1e-9, "{lon} {lat}");
        let sphere = Crs::new("+proj=longlat +R=3396190").unwrap();
        assert!(transformer(&mars, &sphere).unwrap().point(1e6, 1e6).0.is_finite());
        for other in [&moon, &LONLAT] {
            let message = transformer(&mars, other).map(|_| ()).unwrap_err().to_string();
            assert!(message.contains("on Mars") && message.contains(other.body()), "{message}");
        }
        assert_eq!(Crs::new("EPSG:32615").unwrap().lonlat().unwrap(), *LONLAT);
    }

    #[test]
    fn a_ballpark_transformation_is_told() {
        let about = |from: &str, to: &str, at: (f64, f64)| {
            caution(&Crs::new(from).unwrap(), &Crs::new(to).unwrap(), &[at]).unwrap()
        };
        // Xian 1980 is tied to nothing in the database.
        let found = about("EPSG:32650", "EPSG:4610", (500_000.0, 4_000_000.0)).unwrap();
        assert!(
            found.contains("ballpark") && found.contains("Xian 1980") && found.contains("World Geodetic"),
            "{found}"
        );
        assert_eq!(about("EPSG:32631", "EPSG:23031", (500_000.0, 5_000_000.0)), None, "ED50 has transformations");
        assert_eq!(about("EPSG:32631", "+proj=longlat +ellps=bessel", (500_000.0, 5e6)), None, "an unknown datum");
        assert_eq!(about("EPSG:2334", "EPSG:4610", (500_000.0, 4e6)), None, "one datum");
    }

    #[test]
    fn a_proj_string_is_a_crs() {
        let crs = Crs::new("+proj=sinu +R=6371007.181 +units=m").unwrap();
        let (x, _) = transformer(&LONLAT, &crs).unwrap().point(1.0, 0.0);
        assert!((x - 6_371_007.181_f64.to_radians()).abs() < 1.0, "{x}");
    }

    #[test]
    fn a_definition_of_any_length_is_not_kept() {
        let long = format!("EPSG:4326{}", " ".repeat(LONGEST));
        assert!(Crs::new(&long).unwrap_err().to_string().contains("none is longer than 65536"));
    }

    #[test]
    fn nonsense_is_named() {
        let message = Crs::new("EPSG:1").unwrap_err().to_string();
        assert!(message.starts_with("unknown CRS 'EPSG:1'") && message.contains("EPSG:32615"), "{message}");
        assert!(Crs::new("+proj=pipeline +step +proj=axisswap").is_err());
    }

    #[test]
    fn no_file_is_opened() {
        // A pipe without a writer: whoever opens it waits until there is one.
        let pipe = std::env::temp_dir().join(format!("lazycogs-crs-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()), "no pipe");
        let (sender, receiver) = std::sync::mpsc::channel();
        let path = pipe.display().to_string();
        std::thread::spawn(move || {
            let init = Crs::new(&format!("+init={path}:x")).is_err();
            let grids = Crs::new(&format!("+proj=longlat +ellps=WGS84 +nadgrids={path}"));
            let grids = grids.and_then(|crs| transformer(&crs, &LONLAT).map(|t| t.point(1.0, 2.0)));
            sender.send((init, grids)).unwrap();
        });
        let answer = receiver.recv_timeout(std::time::Duration::from_secs(20));
        std::fs::remove_file(&pipe).unwrap();
        let (init, grids) = answer.expect("PROJ waits for a file");
        assert!(init && grids.is_err(), "{grids:?}");
        let null_grid = Crs::new("+proj=merc +a=6378137 +b=6378137 +nadgrids=@null").unwrap();
        assert!(transformer(&LONLAT, &null_grid).unwrap().point(90.0, 0.0).0.is_finite(), "a grid that is no file");
    }

    #[test]
    fn copies_and_ways_back_agree_with_their_original() {
        let (grid, utm) = (Crs::new("EPSG:5070").unwrap(), Crs::new("EPSG:32616").unwrap());
        let point = (500_123.0, 2_400_456.0);
        let leases: Vec<Lease> = (0..3).map(|_| transformer(&grid, &utm).unwrap()).collect();
        let found: Vec<(f64, f64)> = leases.iter().map(|t| t.point(point.0, point.1)).collect();
        assert!(found.iter().all(|f| *f == found[0] && f.0.is_finite()), "{found:?}");
        let back = way_back(&grid, &utm).unwrap().point(found[0].0, found[0].1);
        assert!((back.0 - point.0).abs() < 1e-6 && (back.1 - point.1).abs() < 1e-6, "{back:?}");
        let own = transformer(&utm, &grid).unwrap().point(found[0].0, found[0].1);
        assert!((back.0 - own.0).abs() < 1e-6 && (back.1 - own.1).abs() < 1e-6, "{back:?} {own:?}");
    }

    #[test]
    fn a_point_without_an_image_is_infinite() {
        let t = transformer(&LONLAT, &Crs::new("+proj=ortho +lon_0=0 +lat_0=0").unwrap()).unwrap();
        assert!(t.point(180.0, 0.0).0.is_infinite());
    }
}
