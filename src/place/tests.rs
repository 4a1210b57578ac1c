use super::*;

fn polygon(ring: &[(f64, f64)]) -> Geometry {
    Geometry::Polygon(Polygon::new(ring.to_vec().into(), Vec::new()))
}

fn square(west: f64, south: f64, east: f64, north: f64) -> Vec<(f64, f64)> {
    vec![(west, south), (east, south), (east, north), (west, north), (west, south)]
}

fn at(lon: f64, lat: f64) -> Area {
    Area::of_box([lon - 0.1, lat - 0.1, lon + 0.1, lat + 0.1])
}

#[test]
fn a_footprint_that_only_shares_the_box_does_not_touch_but_may_reach() {
    let triangle = polygon(&[(0.0, 0.0), (10.0, 0.0), (0.0, 10.0), (0.0, 0.0)]);
    let place = Place::new(Some([0.0, 0.0, 10.0, 10.0]), Some(triangle), None).unwrap();
    assert!(place.touches(&at(2.0, 2.0)) && place.covers(2.0, 2.0));
    assert!(!place.touches(&at(8.0, 8.0)) && !place.covers(8.0, 8.0));
    assert!(place.reaches(&at(8.0, 8.0)) && !place.reaches(&at(12.0, 8.0)));
}

#[test]
fn bbox_and_footprint_count_their_turns_by_themselves() {
    for bbox in
        [[178.6, 0.0, -178.6, 2.0], [178.6, 0.0, 181.4, 2.0], [-181.4, 0.0, -178.6, 2.0], [538.6, 0.0, 541.4, 2.0]]
    {
        for ring in [square(178.6, 0.0, 181.4, 2.0), square(-181.4, 0.0, -178.6, 2.0), square(178.6, 0.0, -178.6, 2.0)]
        {
            let place = Place::new(Some(bbox), Some(polygon(&ring)), None).unwrap();
            assert!(
                [179.0, -179.0, 181.0, -181.0].iter().all(|lon| place.touches(&at(*lon, 1.0))),
                "{bbox:?} {ring:?}"
            );
            assert!([0.0, 170.0, -170.0, 360.0].iter().all(|lon| !place.touches(&at(*lon, 1.0))), "{bbox:?} {ring:?}");
        }
    }
}

#[test]
fn a_ring_around_a_pole_is_a_cap_whatever_its_box_says() {
    let ring = [(-135.0, 80.0), (-45.0, 80.0), (45.0, 82.0), (135.0, 80.0), (-135.0, 80.0)];
    let place = Place::new(Some([-135.0, 80.0, 135.0, 82.0]), Some(polygon(&ring)), None).unwrap();
    assert!(place.touches(&at(180.0, 85.0)) && place.touches(&at(10.0, 89.5)) && !place.touches(&at(10.0, 60.0)));
}

#[test]
fn what_says_nothing_leaves_it_to_the_other() {
    let ring = square(10.0, 20.0, 11.0, 21.0);
    let nan = f64::NAN;
    for bbox in [[nan; 4], [0.0; 4], [5e5, 5e6, 6e5, 5.1e6], [10.0, f64::NEG_INFINITY, 11.0, nan]] {
        let place = Place::new(Some(bbox), Some(polygon(&ring)), None).unwrap();
        assert!(place.touches(&at(10.5, 20.5)) && !place.touches(&at(0.0, 0.0)), "{bbox:?}");
    }
    for bad in [vec![(10.0, 20.0); 4], vec![(nan, 20.0); 4], vec![(0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (0.0, 0.0)]] {
        let place = Place::new(Some([10.0, 20.0, 11.0, 21.0]), Some(polygon(&bad)), None).unwrap();
        assert!(place.touches(&at(10.9, 20.9)), "{bad:?}");
    }
    assert!(Place::new(None, None, None).is_none());
    assert!(Place::new(Some([nan; 4]), None, None).is_none());
}

#[test]
fn what_runs_beyond_a_pole_is_where_it_is_on_earth() {
    let place = |bbox| Place::new(Some(bbox), None, None);
    let beyond = place([1.0, 1.0, 100.0, 100.0]).unwrap();
    assert!(beyond.touches(&at(50.0, 89.0)) && beyond.touches(&at(2.0, 2.0)));
    assert!(place([1.0, 95.0, 100.0, 100.0]).is_none(), "nothing of it is on earth");
}

#[test]
fn a_contradiction_loses_nothing() {
    let swapped = polygon(&square(20.0, 10.0, 21.0, 11.0));
    let place = Place::new(Some([10.0, 20.0, 11.0, 21.0]), Some(swapped), None).unwrap();
    assert!(place.touches(&at(10.5, 20.5)) && place.touches(&at(20.5, 10.5)) && !place.touches(&at(10.5, 10.5)));
}

#[test]
fn margins_hold_the_edges_of_real_rasters() {
    let rasters = [
        ("EPSG:32633", [200_000.0, 9_000_000.0], 110_000.0),
        ("EPSG:32633", [400_000.0, 6_700_000.0], 110_000.0),
        ("EPSG:5070", [-1_500_000.0, 2_900_000.0], 150_000.0),
        ("EPSG:5070", [-2_300_000.0, 3_100_000.0], 4_000_000.0),
        ("EPSG:3035", [2_500_000.0, 5_400_000.0], 3_000_000.0),
        ("EPSG:3857", [0.0, 1e7], 2_000_000.0),
    ];
    for (crs, [left, top], side) in rasters {
        let affine = Affine { a: side, b: 0.0, c: left, d: 0.0, e: -side, f: top };
        let outline = Outline::of(&affine, 1.0, 1.0, &Crs::new(crs).unwrap()).unwrap();
        let ring: Vec<(f64, f64)> = (0..5).map(|i| outline.corners[i % 4]).collect();
        let place = Place::new(None, Some(polygon(&ring)), None).unwrap();
        assert!(place.encloses(&outline), "{crs} {side} {:?} {:?}", outline.area.bounds(), place.margins);
    }
}

#[test]
fn pixels_decide_in_the_margin_unless_the_footprint_is_another() {
    let pixels = |crs: &str| {
        Arc::new(Pixels::new(crs.into(), Affine { a: 1.0, b: 0.0, c: 10.0, d: 0.0, e: -1.0, f: 20.0 }, 10.0, 10.0))
    };
    let bbox = Some([10.0, 10.0, 20.0, 20.0]);
    let near = Area::of_box([20.05, 14.0, 20.06, 15.0]);
    let drawn = |pixels| Place::new(bbox, Some(polygon(&square(10.0, 10.0, 20.0, 20.0))), pixels).unwrap();
    assert!(drawn(None).touches(&near) && !drawn(Some(pixels("EPSG:4326"))).touches(&near));
    assert!(drawn(Some(pixels("EPSG:1"))).touches(&near), "a CRS that PROJ refuses tells nothing");
    let valid = Place::new(None, Some(polygon(&square(10.0, 10.0, 14.0, 20.0))), Some(pixels("EPSG:4326"))).unwrap();
    assert!(!valid.touches(&at(19.0, 15.0)) && valid.reaches(&at(19.0, 15.0)));
    assert!(Place::new(None, None, Some(pixels("EPSG:4326"))).unwrap().touches(&at(15.0, 15.0)));
    let wrong = Place::new(Some([50.0, 50.0, 60.0, 60.0]), None, Some(pixels("EPSG:4326"))).unwrap();
    assert!(!wrong.reaches(&at(15.0, 15.0)) && wrong.touches(&at(55.0, 55.0)), "metadata that contradict tell nothing");
}

#[test]
fn shares_and_cut_parts() {
    let cut = Geometry::MultiPolygon(geo::MultiPolygon(vec![
        Polygon::new(square(178.0, 0.0, 180.0, 4.0).into(), vec![]),
        Polygon::new(square(-180.0, 0.0, -178.0, 4.0).into(), vec![]),
    ]));
    let place = Place::new(None, Some(cut), None).unwrap();
    assert!((place.share_of(&Area::of_box([178.0, 0.0, 182.0, 8.0])) - 0.5).abs() < 1e-9);
    let affine = Affine { a: 1.0, b: 0.0, c: 178.0, d: 0.0, e: -1.0, f: 4.0 };
    assert!(place.encloses(&Outline::of(&affine, 4.0, 4.0, &LONLAT).unwrap()));
    assert!(!place.encloses(&Outline::of(&affine, 5.0, 4.0, &LONLAT).unwrap()));
}
