"""Where a file's pixels lie: what GDAL and strangers write into GeoKeys, against pyproj on the CRS that was meant."""

import json
import math
import random
import warnings

import duckdb
import geotiff
import numpy as np
import pyproj
import pytest
import rasterio
import stac
from pyproj import CRS, Transformer
from pyproj.database import query_crs_info
from pyproj.enums import PJType

LONLAT = geotiff.LONLAT
METHOD, BASE, PROJECTION, PROJECTED, UNIT = 3075, 2048, 3074, 3072, 3076


@pytest.fixture(scope="module")
def session(extension):
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD '{extension}'")
        yield connection


def corner_at(crs, lon, lat):
    return Transformer.from_crs(LONLAT, geotiff.flat(crs), always_xy=True).transform(lon, lat)


def a_metre(crs):
    """Units of `crs` in about a metre."""
    crs = geotiff.flat(crs)
    unit = crs.axis_info[0].unit_conversion_factor
    return (math.radians(1e-5) if crs.is_geographic else 1.0) / unit


def raster(folder, crs, lon, lat, keys=None):
    """(file, crs, corner, pixel): pixels of a metre at a place, written by GDAL or with `keys`."""
    corner, pixel = corner_at(crs, lon, lat), a_metre(crs)
    path = folder / f"{len(list(folder.iterdir()))}.tif"
    if keys is None:
        wkt = CRS(crs).to_wkt("WKT2_2019")
        geotiff.written(path, rasterio.crs.CRS.from_wkt(wkt), corner, pixel)
    else:
        geotiff.keyed(path, keys, corner, pixel)
    return path, crs, corner, pixel


def check(session, tmp_path, crs, lon, lat, keys=None, target=LONLAT):
    found = raster(tmp_path, crs, lon, lat, keys)
    index = geotiff.index(tmp_path / "items.parquet", {"a": found})
    assert geotiff.misplaced(session, index, "a", *found[1:], target=target) == 0


# Projections that GeoTIFF spells out, over geographic CRSs that it names; compound CRSs.
@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [
        ("ESRI:102013", 5, 50),  # ED50
        ("ESRI:102014", 5, 50),
        ("ESRI:102015", -55, -15),  # SAD69
        ("ESRI:102033", -55, -15),
        ("ESRI:102008", -95, 40),
        ("EPSG:7415", 5.2, 52.1),
        ("EPSG:7405", -1.5, 53),
        ("EPSG:3826", 121, 24),
        ("EPSG:27572", 2.5, 47),
        ("EPSG:4807", 2.5, 47),
    ],
)
def test_what_gdal_writes(session, tmp_path, crs, lon, lat):
    whole = CRS(crs)
    # GDAL names a compound CRS by code only where it is given by code.
    crs = CRS.from_wkt(whole.to_wkt()) if whole.is_compound else whole
    check(session, tmp_path, crs, lon, lat)
    check(session, tmp_path / "..", crs, lon, lat, target="EPSG:3857")


ALBERS = {1024: 1, PROJECTED: 32767, METHOD: 11, UNIT: 9001, 3078: 30.0, 3079: 45.0}
UTM = {1024: 1, PROJECTED: 32767, UNIT: 9001}


def albers(base, lon, lat):
    parameters = CRS.from_proj4(f"+proj=aea +lat_1=30 +lat_2=45 +lat_0={lat} +lon_0={lon} +type=crs").to_json_dict()
    return CRS.from_json_dict(parameters | {"base_crs": CRS(base).to_json_dict()})


def utm(base, zone, south):
    parameters = CRS(f"EPSG:{32600 + 100 * south + zone}").to_json_dict()
    parameters.pop("id")
    return CRS.from_json_dict(parameters | {"base_crs": CRS(base).to_json_dict()})


@pytest.mark.parametrize(
    ("code", "lon", "lat"),
    [
        (4618, -55, -15),
        (4267, -95, 38),
        (4277, -2, 53),
        (4230, 5, 50),
        (4301, 139, 36),
        (4236, 121, 24),
        (4322, 10, 45),
    ],
)
def test_a_base_by_code(session, tmp_path, code, lon, lat):
    keys = ALBERS | {BASE: code, 3080: float(lon), 3081: float(lat)}
    check(session, tmp_path, albers(f"EPSG:{code}", lon, lat), lon, lat, keys)
    zone = (lon + 180) // 6 + 1
    keys = UTM | {BASE: code, PROJECTION: 16000 + 100 * (lat < 0) + zone}
    check(session, tmp_path, utm(f"EPSG:{code}", zone, lat < 0), lon, lat, keys)


@pytest.mark.parametrize(
    ("code", "lon", "lat"), [(4269, -95, 38), (4283, 145, -30), (4301, 139, 36), (4267, -95, 38), (4230, 5, 50)]
)
@pytest.mark.parametrize("target", [LONLAT, "EPSG:4326"])
def test_a_datum_alone_names_its_crs(session, tmp_path, code, lon, lat, target):
    """By its code or by its name, over the same pixels as by the CRS's code: another choice is a metre off."""
    crs = CRS(f"EPSG:{code}")
    axes = {2057: crs.ellipsoid.semi_major_metre, 2059: crs.ellipsoid.inverse_flattening}
    citation = f"GCS Name = unnamed|Datum = {crs.datum.name}|Ellipsoid = x|Primem = Greenwich|"
    for keys in [{2050: code + 2000}, {2049: citation} | axes]:
        check(session, tmp_path, crs, lon, lat, {1024: 2, BASE: 32767} | keys, target)


@pytest.mark.parametrize(
    ("code", "keys"),
    [
        (5070, ALBERS | {BASE: 4269, 3078: 29.5, 3079: 45.5, 3080: -96.0, 3081: 23.0}),
        (26915, UTM | {BASE: 4269, PROJECTION: 16015}),
        (26915, UTM | {BASE: 32767, 2050: 6269, PROJECTION: 16015}),
    ],
)
@pytest.mark.parametrize("target", [LONLAT, "EPSG:4326"])
def test_a_crs_of_the_dataset_that_is_spelled_out(session, tmp_path, code, keys, target):
    check(session, tmp_path, f"EPSG:{code}", -95, 38, keys, target)


def test_nad83_spelled_out_lies_at_one_place(session, tmp_path):
    """In grids of each kind of degrees; PROJ has several transformations between them, a metre apart."""
    keys = ALBERS | {BASE: 4269, 3080: -96.0, 3081: 23.0}
    (tmp_path / "files").mkdir()
    found = raster(tmp_path / "files", albers("EPSG:4269", -96, 23), -122, 45, keys)
    index = geotiff.index(tmp_path / "items.parquet", {"a": found})
    assert geotiff.misplaced(session, index, "a", *found[1:], target="EPSG:4326") == 0
    box, grids = [-122.0001, 44.9995, -121.9995, 45.0001], ["EPSG:4326", "EPSG:4269", LONLAT]
    sql = "SELECT list(data ORDER BY y DESC, x) FROM lazycogs_read(?, ?, ?, 1e-5, NULL)"
    pixels = [session.execute(sql, [str(index), box, grid]).fetchone()[0] for grid in grids]
    assert pixels[0] == pixels[1] == pixels[2] and len(set(pixels[0])) > 100


def in_unit(crs, name, factor):
    """`crs` with another unit of its axes."""
    definition = CRS(crs).to_json_dict()
    definition.pop("id")
    kind = "AngularUnit" if CRS(crs).is_geographic else "LinearUnit"
    for axis in definition["coordinate_system"]["axis"]:
        axis["unit"] = {"type": kind, "name": name, "conversion_factor": factor}
    return CRS.from_json_dict(definition)


FOOT, SURVEY_FOOT, GRAD = 0.3048, 12 / 39.37, math.pi / 200


@pytest.mark.parametrize(
    ("code", "keys", "factor", "lon", "lat"),
    [
        (2225, {UNIT: 9001}, 1.0, -122, 40.5),
        (26943, {UNIT: 9002}, FOOT, -120.5, 37.5),
        (26943, {UNIT: 9003}, SURVEY_FOOT, -120.5, 37.5),
        (32630, {UNIT: 32767, 3077: 0.3048}, FOOT, -3, 50),
        (27700, {UNIT: 9036}, 1000.0, -2, 53),
    ],
)
def test_a_linear_unit_that_contradicts_the_code(session, tmp_path, code, keys, factor, lon, lat):
    """As GDAL has it, the key counts, and the false origin stays where it is."""
    keys = {1024: 1, PROJECTED: code} | keys
    crs = in_unit(f"EPSG:{code}", "unit", factor)
    path, _, corner, _ = raster(tmp_path, crs, lon, lat, keys)
    with rasterio.open(path) as file:
        theirs = Transformer.from_crs(file.crs.to_wkt(), LONLAT, always_xy=True).transform(*corner)
    assert np.allclose(theirs, (lon, lat), rtol=0, atol=1e-6), "GDAL reads it otherwise"
    check(session, tmp_path, crs, lon, lat, keys)


def test_a_state_plane_projection_in_feet(session, tmp_path):
    keys = {1024: 1, PROJECTED: 32767, PROJECTION: 10401, BASE: 4267, UNIT: 9003}
    check(session, tmp_path, "EPSG:26741", -122, 40.5, keys)


@pytest.mark.parametrize(
    ("keys", "factor"),
    [
        ({2054: 9103}, math.pi / 10800),
        ({2054: 9104}, math.pi / 648000),
        ({2054: 9105}, GRAD),
        ({2054: 9106}, GRAD),
        ({2055: 0.001}, 0.001),
        ({2054: 32767, 2055: 0.001}, 0.001),
    ],
)
@pytest.mark.parametrize("base", [{2050: 6326}, {2057: 6378137.0, 2059: 298.257223563}, {2050: 6267}])
def test_angles_in_other_units(session, tmp_path, keys, factor, base):
    crs = in_unit("EPSG:4267" if base.get(2050) == 6267 else "EPSG:4326", "unit", factor)
    check(session, tmp_path, crs, -100.3, 40.2, {1024: 2, BASE: 32767} | base | keys)


def test_angles_that_gdal_writes(session, tmp_path):
    for name, factor in [("grad", GRAD), ("arc-second", math.pi / 648000), ("odd", 0.01)]:
        check(session, tmp_path, in_unit("EPSG:4326", name, factor), -100.3, 40.2)


BOUND = "+proj=longlat +ellps=intl +towgs84=-87,-98,-121 +type=crs"


@pytest.mark.parametrize("crs", [BOUND, "EPSG:9518", "EPSG:4979", in_unit("EPSG:4326", "grad", GRAD), "EPSG:4258"])
def test_rasters_that_come_round(session, tmp_path, crs):
    """A raster counted from 0 to a whole turn, one degree a pixel, read west of Greenwich."""
    turn = round(2 * math.pi / geotiff.flat(crs).axis_info[0].unit_conversion_factor, 6)
    width, height, pixel = 360, 180, turn / 360
    path = tmp_path / "world.tif"
    numbers = np.arange(width * height, dtype="int32").reshape(height, width)
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": "int32", "tiled": True}
    wkt = rasterio.crs.CRS.from_wkt(CRS(crs).to_wkt("WKT2_2019"))
    transform = rasterio.Affine(pixel, 0, 0, 0, -pixel, turn / 4)
    with rasterio.open(path, "w", crs=wkt, transform=transform, blockxsize=64, blockysize=64, **profile) as file:
        file.write(numbers, 1)
    world = [(-180, -90), (180, -90), (180, 90), (-180, 90), (-180, -90)]
    index = tmp_path / "items.parquet"
    stac.write(index, [stac.Item("a", stac.utc(2024, 5, 3), {"data": str(path)}, world)])
    for west in [-120, 60, 170, -181.5]:
        sql = "FROM lazycogs_read(?, ?, ?, 0.7, NULL, bands := ['data'])"
        rows = session.execute(sql, [str(index), [west, 10.1, west + 21, 24.1], LONLAT]).fetchnumpy()
        x, y = Transformer.from_crs(LONLAT, geotiff.flat(crs), always_xy=True).transform(rows["x"], rows["y"])
        col, row = (np.asarray(x) % turn) / pixel, (turn / 4 - np.asarray(y)) / pixel
        sure = (np.abs(col - np.round(col)) > 1e-3) & (np.abs(row - np.round(row)) > 1e-3)
        wanted = np.floor(row) * width + np.floor(col)
        data = np.ma.asarray(rows["data"]).filled(-1)
        assert (data == wanted)[sure].all() and sure.sum() > 300


@pytest.mark.parametrize(
    ("crs", "sphere"),
    [("IAU_2015:49910", 3396190), ("IAU_2015:30110", 1737400), ("IAU_2015:19910", None)],
)
def test_other_bodies(session, tmp_path, crs, sphere):
    """Longitude and latitude are those of the body of the grid's CRS."""
    lonlat = CRS(crs).geodetic_crs
    corner = Transformer.from_crs(lonlat, crs, always_xy=True).transform(12.3, 4.5)
    path = geotiff.written(tmp_path / "a.tif", rasterio.crs.CRS.from_wkt(CRS(crs).to_wkt()), corner, 100.0)
    index = tmp_path / "items.parquet"
    stac.write(index, [stac.Item("a", stac.utc(2024, 5, 3), {"data": str(path)}, geotiff.box([12, 13], [4, 5]))])
    radians = f"+proj=longlat +R={sphere} +type=crs" if sphere else lonlat.to_wkt()
    for target in [crs, lonlat.to_wkt(), radians]:
        assert geotiff.misplaced(session, index, "a", crs, corner, 100.0, target=target) == 0


def test_a_grid_that_counts_westward(session, tmp_path):
    """Its x grows to the west, as PROJ has it; footprints count eastward."""
    source, west = "IAU_2015:49912", "IAU_2015:49911"
    corner = Transformer.from_crs("IAU_2015:49900", source, always_xy=True).transform(-4.5, 12.3)
    path = geotiff.written(tmp_path / "a.tif", rasterio.crs.CRS.from_wkt(CRS(source).to_wkt()), corner, 100.0)
    index = tmp_path / "items.parquet"
    stac.write(
        index, [stac.Item("a", stac.utc(2024, 5, 3), {"data": str(path)}, geotiff.box([-4.6, -4.3], [12.1, 12.4]))]
    )
    assert Transformer.from_crs(source, west, always_xy=True).transform(*corner)[0] == -corner[0]
    assert geotiff.misplaced(session, index, "a", source, corner, 100.0, target=west) == 0


def test_two_bodies_in_one_call(session, tmp_path):
    moon = "IAU_2015:30110"
    path = geotiff.written(tmp_path / "a.tif", rasterio.crs.CRS.from_wkt(CRS(moon).to_wkt()), (1000, 2000), 100.0)
    index = tmp_path / "items.parquet"
    stac.write(index, [stac.Item("a", stac.utc(2024, 5, 3), {"data": str(path)}, geotiff.box([0, 1], [0, 1]))])
    for crs in ["IAU_2015:49910", "EPSG:3857"]:
        with pytest.raises(duckdb.Error, match="on Moon: one call reads one celestial body"):
            session.execute("FROM lazycogs_read(?, [0, 0, 6400, 6400], ?, 100, NULL)", [str(index), crs])


def test_a_ballpark_transformation_is_told(session, tmp_path):
    """Xian 1980 is tied to nothing that PROJ has: it takes WGS 84 for it, and so says info, and explain."""
    x, y = 500_000, 4_000_000
    path = geotiff.written(tmp_path / "a.tif", "EPSG:2382", (x, y), 1.0)
    index = geotiff.index(tmp_path / "items.parquet", {"a": (path, "EPSG:2382", (x, y), 1.0)})
    lon, lat = Transformer.from_crs("EPSG:2382", "EPSG:32650", always_xy=True).transform(x, y)
    arguments = [str(index), [lon, lat - 50, lon + 50, lat], "EPSG:32650", 1]
    for call in ["lazycogs_info(?, ?, ?, ?, NULL)", "lazycogs_explain(?, ?, ?, ?, NULL)"]:
        warnings_ = session.execute(f"SELECT DISTINCT warning FROM {call}", arguments).fetchall()
        assert "ballpark" in warnings_[0][0] and "Xian 1980" in warnings_[0][0] and len(warnings_) == 1
    headers = session.execute("SELECT warning FROM lazycogs_explain(?, ?, ?, ?, NULL, headers := true)", arguments)
    assert "ballpark" in headers.fetchone()[0]
    own = [str(index), [x, y - 50, x + 50, y], "EPSG:2382", 1]
    for function in ["lazycogs_info", "lazycogs_explain"]:
        assert session.execute(f"SELECT warning FROM {function}(?, ?, ?, ?, NULL)", own).fetchone() == (None,)


@pytest.mark.parametrize(
    ("crs", "words"),
    [
        ("EPSG:4978", "geocentric"),
        ("EPSG:5703", "vertical"),
        ('ENGCRS["x",EDATUM["y"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]', "local"),
    ],
)
def test_a_crs_without_a_map_is_refused(session, fixtures, crs, words):
    with pytest.raises(duckdb.Error, match=f"{words}.*no map coordinates"):
        session.execute("FROM lazycogs_read(?, [0, 0, 10, 10], ?, 1, NULL)", [str(fixtures / "items.parquet"), crs])


@pytest.mark.parametrize(
    ("crs", "bbox", "words"),
    [
        ("EPSG:4326", [44.49, -90.05, 44.52, -90.01], "latitudes end at 90"),
        ("EPSG:4807", [0, 90, 10, 120], "latitudes end at 100"),
        ("EPSG:4326", [2000, 10, 2001, 11], "longitude of 2000"),
        ("EPSG:4326", [44.49, -90.05, 44.52, -90.01], "did you swap latitude and longitude"),
        ("EPSG:32615", [500000, 5e7, 500100, 5e7 + 100], "no pixel with a place on the Earth"),
        ("ESRI:54009", [0, 2e7, 100, 2e7 + 100], "in ESRI:54009 has no pixel with a place on the Earth"),
    ],
)
def test_a_box_of_nowhere_is_refused(session, fixtures, crs, bbox, words):
    resolution = (bbox[2] - bbox[0]) / 40
    with pytest.raises(duckdb.Error, match=words):
        arguments = [str(fixtures / "items.parquet"), bbox, crs, resolution]
        session.execute("FROM lazycogs_info(?, ?, ?, ?, NULL)", arguments)


# How a CRS of the EPSG dataset is written: by its code, or spelled out with fewer and fewer codes, or in another unit.
FORMS = ["code", "base", "unit"]
UNITS = {
    False: [("foot", FOOT), ("US survey foot", SURVEY_FOOT), ("odd", 0.7)],
    True: [("grad", GRAD), ("arc-second", math.pi / 648000), ("arc-minute", math.pi / 10800), ("odd", 0.01)],
}


def spelled(crs, form, draw):
    if form == "code":
        return crs
    definition = json.loads(geotiff.flat(crs).to_json())
    for name in ["id", "usages", "scope", "area", "bbox"]:
        definition.pop(name, None)
    definition["name"] = "unnamed"
    if "conversion" in definition:
        definition["conversion"].pop("id", None)
    if form == "unit":
        name, factor = draw.choice(UNITS[crs.is_geographic])
        return in_unit(CRS.from_json_dict(definition | {"id": {"authority": "X", "code": 1}}), name, factor)
    return CRS.from_json_dict(definition)


def drawn(draw, folder, infos, count):
    """`count` rasters of CRSs drawn at random, as far as GDAL can write them and reads back what was written."""
    rasters, forms = {}, {}
    while len(rasters) < count:
        info, form = draw.choice(infos), draw.choice(FORMS)
        area = info.area_of_use
        east = area.east if area.east >= area.west else area.east + 360
        lon = area.west + (east - area.west) * draw.uniform(0.3, 0.7)
        lat = area.south + (area.north - area.south) * draw.uniform(0.3, 0.7)
        crs = spelled(CRS.from_authority(info.auth_name, info.code), form, draw)
        # Between OGC:CRS84 and NAD83 there are several within a metre, of which versions of PROJ take different ones.
        if "NAD83" in info.name and form != "code":
            continue
        try:
            corner = corner_at(crs, lon, lat)
        except pyproj.exceptions.ProjError:  # a CRS that PROJ cannot compute with
            continue
        if abs(lat) > 85 or not np.isfinite(corner).all():
            continue
        found = raster(folder, crs, lon, lat)
        # What GeoTIFF cannot say GDAL puts beside the file, where nobody looks who reads a COG.
        found[0].with_suffix(".tif.aux.xml").unlink(missing_ok=True)
        with rasterio.open(found[0]) as file:
            back = file.crs
        there = back and Transformer.from_crs(geotiff.flat(back.to_wkt(version="WKT2_2019")), LONLAT, always_xy=True)
        here = Transformer.from_crs(geotiff.flat(crs), LONLAT, always_xy=True).transform(*found[2])
        if there and np.allclose(there.transform(*found[2]), here, rtol=0, atol=1e-9):
            forms[str(len(rasters))] = f"{info.auth_name}:{info.code} ({info.name}), {form}"
            rasters[str(len(rasters))] = found
    return rasters, forms


def test_any_crs_of_the_dataset(session, tmp_path):
    kinds = [PJType.PROJECTED_CRS, PJType.GEOGRAPHIC_2D_CRS, PJType.COMPOUND_CRS]
    infos = sorted((i for i in query_crs_info("EPSG", kinds) if i.area_of_use), key=lambda info: info.code)
    folder = tmp_path / "files"
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rasters, forms = drawn(random.Random(20), folder, infos, 40)
        index = geotiff.index(tmp_path / "items.parquet", rasters)
        wrong = {forms[name]: geotiff.misplaced(session, index, name, *found[1:]) for name, found in rasters.items()}
    assert not {name: share for name, share in wrong.items() if share}, pyproj.proj_version_str
