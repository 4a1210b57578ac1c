"""Statistics of zones, against exactextract, rasterio and numpy."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
from helpers import Sql, call, literal, read
from rasterio.features import geometry_mask
from small import LEFT, TOP, UTM, grid, index, item, raster

shapely = pytest.importorskip("shapely")
exact_extract = pytest.importorskip("exactextract").exact_extract

WIDTH, HEIGHT = 150, 120
NAMES = ["count", "sum", "mean", "min", "max", "stdev", "variance", "majority", "minority", "variety"]


def archive(tmp_path, dates=3, dtype="uint16", most=300):
    """An index of dates of noise with holes, and the paths of their files."""
    rng = np.random.default_rng(1)
    items, paths = [], []
    for n in range(dates):
        values = rng.integers(1, most, (HEIGHT, WIDTH)).astype(dtype)
        values[rng.random(values.shape) < 0.1] = 0
        paths.append(raster(tmp_path / f"{n}.tif", values, nodata=0, blocks=32))
        items.append(item(f"i{n}", {"red": paths[-1]}, (2024, 5, 3 + n, 12)))
    return index(tmp_path, items), paths


def shapes(count=40, seed=3):
    """Discs, stars, rings and pairs, some across the edges of the raster, some slivers, some on the lines of pixels."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        x, y = LEFT + rng.uniform(-50, 1550), TOP - rng.uniform(-50, 1250)
        disc = shapely.Point(x, y).buffer(rng.uniform(3, 200), quad_segs=int(rng.integers(1, 9)))
        if n % 5 == 1:
            disc = disc.difference(shapely.Point(x + 3, y).buffer(rng.uniform(1, 60)))
        if n % 5 == 2:
            disc = disc.union(shapely.Point(x + 450, y - 30).buffer(40))
        if n % 5 == 3:
            left, top = LEFT + 10 * rng.integers(0, 120), TOP - 10 * rng.integers(0, 90)
            disc = shapely.box(left, top - 10 * rng.integers(1, 30), left + 10 * rng.integers(1, 30), top)
        if n % 5 == 4:
            disc = shapely.Polygon([(x, y), (x + 700, y - 300), (x + 700.5, y - 300)])
        found.append(disc)
    return [one for one in found if not one.is_empty]


def by_value(zones):
    rows = ", ".join(f"{{id: {n}, geometry: '{zone.wkt}'}}" for n, zone in enumerate(zones))
    return Sql(f"[{rows}]")


def zonal(con, items, zones, period="P1D", resolution=10, crs=UTM, **named):
    """{(zone, time, band): the statistics}."""
    named = {"zones_crs": UTM} | named
    if isinstance(zones, list):
        con.execute(f"SET VARIABLE zones = {by_value(zones)}")
        zones = Sql("getvariable('zones')")
    extra = "".join(f", {name} := {literal(value)}" for name, value in named.items() if value is not None)
    text = f"lazycogs_zonal({literal(items)}, {literal(zones)}, '{crs}', {resolution}, {literal(period)}{extra})"
    return {row[:3]: row[3:] for row in con.execute(f"FROM {text}").fetchall()}


def of_exactextract(path, zones, names=NAMES):
    features = [
        {"type": "Feature", "properties": {"n": n}, "geometry": shapely.geometry.mapping(zone)}
        for n, zone in enumerate(zones)
    ]
    found = exact_extract(str(path), features, names, include_cols=["n"])
    return {one["properties"]["n"]: [one["properties"][name] for name in names] for one in found}


def same(found, wanted, names=NAMES):
    for name, value, other in zip(names, found, wanted):
        if value is None:
            # A sum of nothing is not 0 here.
            assert other is None or np.isnan(other) or (name == "sum" and other == 0), (name, other)
        else:
            assert np.isclose(value, other, rtol=2e-6, atol=1e-7), (name, value, other)


def share(path, zone, value):
    """The total share of a value, by shapely's areas."""
    with rasterio.open(path) as file:
        places = np.argwhere(file.read(1) == value)
    boxes = [shapely.box(LEFT + 10 * c, TOP - 10 * r - 10, LEFT + 10 * c + 10, TOP - 10 * r) for r, c in places]
    return sum(zone.intersection(box).area for box in boxes) / 100


@pytest.mark.parametrize("chunk_size", [None, 16, 37])
def test_exactextract(con, tmp_path, chunk_size):
    items, paths = archive(tmp_path)
    zones = shapes()
    found = zonal(con, items, zones, stats=NAMES, chunk_size=chunk_size)
    compared = 0
    for path, time in zip(paths, sorted({time for _, time, _ in found})):
        for n, wanted in of_exactextract(path, zones).items():
            values = found.get((n, time, "red"))
            if values is None:
                assert wanted[0] == 0
                continue
            for at in (NAMES.index("majority"), NAMES.index("minority")):
                if values[at] != wanted[at] and np.isclose(*(share(path, zones[n], v[at]) for v in (values, wanted))):
                    # Pixels of a symmetric zone that are alike but for what was rounded.
                    wanted[at] = values[at]
            same(values, wanted)
            compared += 1
    assert compared > 100


def test_floats_with_nan(con, tmp_path):
    values = np.random.default_rng(2).normal(0, 1, (HEIGHT, WIDTH)).astype("float32")
    values[5:9, 5:90] = np.nan
    path = raster(tmp_path / "a.tif", values)
    items, zones = index(tmp_path, [item("a", {"red": path})]), shapes(10)
    names = ["count", "sum", "mean", "min", "max", "stdev"]
    found = zonal(con, items, zones, stats=names)
    for n, wanted in of_exactextract(path, zones, names).items():
        (values,) = [row for (zone, _, _), row in found.items() if zone == n] or [None]
        if values is not None:
            same(values, wanted, names)


@pytest.mark.parametrize("pixels", ["center", "all_touched"])
def test_whole_pixels(con, tmp_path, pixels):
    items, paths = archive(tmp_path, dates=1)
    zones = [zone for n, zone in enumerate(shapes()) if n % 5 != 3]
    found = zonal(con, items, zones, stats=["count", "sum"], pixels=pixels)
    with rasterio.open(paths[0]) as file:
        values, affine = file.read(1), file.transform
    checked = 0
    for n, zone in enumerate(zones):
        inside = geometry_mask([zone], values.shape, affine, invert=True, all_touched=pixels == "all_touched") & (
            values != 0
        )
        (row,) = [row for (name, _, _), row in found.items() if name == n] or [None]
        if row is None:
            assert not inside.any()
            continue
        assert row == (inside.sum(), values[inside].sum() if inside.any() else None)
        checked += inside.any()
    assert checked > 10


def test_quantiles_are_of_the_cumulated_shares(con, tmp_path):
    path = raster(tmp_path / "a.tif", np.array([[10, 20, 30, 40]], "uint8"))
    items = index(tmp_path, [item("a", {"red": path})])
    zone = [shapely.box(LEFT + 5, TOP - 10, LEFT + 40, TOP)]
    ((count, median, p10, p50, p90),) = zonal(con, items, zone, stats=["count", "median", "p10", "p50", "p90"]).values()
    assert (count, median, p10, p50, p90) == (3.5, 30, 10, 30, 40)


def test_zones_that_tile_the_area_sum_up_to_it(con, tmp_path):
    items, paths = archive(tmp_path, dates=1)
    with rasterio.open(paths[0]) as file:
        values = file.read(1).astype("float64")
    points = [(LEFT + x, TOP - y) for x, y in np.random.default_rng(4).uniform(5, 1190, (30, 2))]
    box = shapely.box(LEFT, TOP - 1200, LEFT + 1500, TOP)
    cells = shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=box)
    zones = [cell.intersection(box) for cell in cells.geoms]
    once = None
    for named in ({}, {"chunk_size": 16}, {"chunk_size": 50}):
        found = zonal(con, items, zones, stats=["count", "sum"], **named)
        assert np.isclose(sum(row[0] for row in found.values()), (values != 0).sum(), rtol=1e-9)
        assert np.isclose(sum(row[1] for row in found.values()), values.sum(), rtol=1e-9)
        counts = {key: row[0] for key, row in found.items()}
        once = once or counts
        assert counts == once, "bit for bit"


def test_memory_and_threads_change_nothing(con, tmp_path):
    items, _ = archive(tmp_path)
    whole = zonal(con, items, shapes(), stats=["count", "min", "majority", "median"])
    con.execute("SET lazycogs_memory_budget = '1MB'")
    con.execute("SET threads = 1")
    assert zonal(con, items, shapes(), stats=["count", "min", "majority", "median"]) == whole


def test_zones_in_longitude_and_latitude(con, tmp_path):
    """An edge is straight where it was drawn: its image on the UTM grid is a curve."""
    items, paths = archive(tmp_path, dates=1)
    to = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    x0, y0 = to.transform(LEFT + 100, TOP - 1100)
    x1, y1 = to.transform(LEFT + 1400, TOP - 100)
    ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    dense = [
        (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t)
        for a, b in zip(ring, ring[1:])
        for t in np.linspace(0, 1, 500, endpoint=False)
    ]
    back = pyproj.Transformer.from_crs("EPSG:4326", UTM, always_xy=True)
    image = shapely.Polygon([back.transform(*point) for point in dense])
    found = zonal(con, items, [shapely.Polygon(ring)], stats=NAMES, zones_crs=None)
    ((_, values),) = found.items()
    same(values, of_exactextract(paths[0], [image])[0])


def test_the_grid_is_that_of_the_pixels(con, tmp_path):
    """Landsat's pixels begin at odd multiples of 15 metres: a grid on multiples of 30 would cut each of them."""
    values = np.arange(60 * 60).reshape(60, 60).astype("uint16")
    path = raster(tmp_path / "a.tif", values, left=LEFT + 15, top=TOP + 15, resolution=30)
    items = index(tmp_path, [item("a", {"red": path})])
    zones = [shapely.Point(LEFT + 700, TOP - 800).buffer(300), shapely.box(LEFT + 15, TOP - 15, LEFT + 45, TOP + 15)]
    found = zonal(con, items, zones, resolution=30, stats=["count", "sum"])
    wanted = of_exactextract(path, zones, ["count", "sum"])
    for (n, _, _), row in found.items():
        same(row, wanted[n], ["count", "sum"])
    assert found[1, next(iter(found))[1], "red"] == (1, 0)
    box = [LEFT, TOP - 900, LEFT + 900, TOP]
    cut = zonal(con, items, zones, resolution=30, stats=["count"], bbox=[float(v) for v in box])
    assert cut and all(row[0] <= wanted[n][0] + 1e-9 for (n, _, _), row in cut.items())


def test_masks_kernels_scale_and_mosaics(con, tmp_path):
    """What is counted is what lazycogs_read gives."""
    rng = np.random.default_rng(7)
    items = []
    for n in range(4):
        red = raster(tmp_path / f"r{n}.tif", rng.integers(1, 4000, (HEIGHT, WIDTH)).astype("uint16"), blocks=32)
        scl = rng.choice([4, 8, 9], (HEIGHT // 2, WIDTH // 2)).astype("uint8")
        scl = raster(tmp_path / f"s{n}.tif", scl, resolution=20, blocks=32)
        items.append(item(f"i{n}", {"red": red, "scl": scl}, (2024, 5, 3, 12, n)))
    items, zones = index(tmp_path, items), shapes(12)
    where = grid(WIDTH, HEIGHT)
    for named in (
        {"mosaic": "median", "mask_band": "scl", "mask_keep": [4], "mask_grow": 15},
        {"mosaic": "mean", "resampling": "cubic"},
        {"mosaic": "last", "mask_band": "scl", "mask_values": [9]},
        {"mosaic": "count", "mask_band": "scl", "mask_keep": [8]},
        {"bands": ["red", "scl"], "mosaic": Sql("MAP {'scl': 'first', '*': 'highest'}")},
    ):
        named = {"bands": ["red"]} | named
        (step,) = read(con, items, where, **named).values()
        for band in named["bands"]:
            path = tmp_path / "model.tif"
            values = step[band].astype("float64")
            raster(path, np.ma.filled(values, np.nan), dtype="float64")
            wanted = of_exactextract(path, zones, NAMES[:7])
            found = zonal(con, items, zones, stats=NAMES[:7], bbox=list(map(float, where.bbox)), **named)
            for (n, _, name), row in found.items():
                if name == band:
                    same(row, wanted[n], NAMES[:7])


def test_a_zone_has_rows_where_an_item_touches_it(con, tmp_path):
    near = raster(tmp_path / "a.tif", np.zeros((10, 10), "uint8"), nodata=0)
    far = raster(tmp_path / "b.tif", np.ones((10, 10), "uint8"), left=LEFT + 5000)
    items = index(tmp_path, [item("a", {"red": near}, (2024, 5, 3)), item("b", {"red": far}, (2024, 5, 4))])
    zones = [
        shapely.box(LEFT + 10, TOP - 50, LEFT + 50, TOP - 10),
        shapely.box(LEFT + 5010, TOP - 50, LEFT + 5050, TOP - 10),
        shapely.box(LEFT + 2010, TOP - 50, LEFT + 2050, TOP - 10),
        shapely.Polygon(),
    ]
    found = {(n, time.day): row for (n, time, _), row in zonal(con, items, zones, stats=["count", "mean"]).items()}
    assert found == {(0, 3): (0, None), (1, 4): (16, 1), (3, 3): (0, None), (3, 4): (0, None)}


def test_rows_do_not_depend_on_tiles_or_on_pixels_that_count(con, tmp_path):
    """An item that touches the bounding box alone; zones smaller than a pixel; one beside the box; nothing at all."""
    corner = raster(tmp_path / "a.tif", np.ones((20, 20), "uint8"), left=LEFT + 750)
    items = index(tmp_path, [item("a", {"red": corner})])
    triangle = shapely.Polygon([(LEFT, TOP), (LEFT, TOP - 1000), (LEFT + 1000, TOP - 1000)])
    for size in (None, 16, 32):
        found = zonal(con, items, [triangle], stats=["count"], chunk_size=size)
        assert list(found.values()) == [(0,)], size
    small = shapely.box(LEFT + 801, TOP - 24, LEFT + 804, TOP - 21)
    for named in ({"pixels": "center"}, {"min_coverage": 0.5}):
        assert list(zonal(con, items, [small], stats=["count"], **named).values()) == [(0,)]
        found = zonal(con, items, [small, small.buffer(30)], stats=["count"], **named)
        assert found[0, next(iter(found))[1], "red"] == (0,) and len(found) == 2
    box = [float(v) for v in (LEFT + 750, TOP - 100, LEFT + 850, TOP)]
    far = shapely.box(LEFT + 3000, TOP - 50, LEFT + 3050, TOP)
    found = zonal(con, items, [shapely.Polygon(), far, small], stats=["count"], bbox=box)
    assert sorted(name for name, _, _ in found) == [0, 2]
    assert list(zonal(con, items, [shapely.Polygon()], stats=["count"], bbox=box).values()) == [(0,)]


def forms(tmp_path, zones):
    """The same zones written in every way."""
    lonlat = pyproj.Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)
    turned = [shapely.transform(zone, lonlat.transform, interleaved=False) for zone in zones]
    wkb, ids = [shapely.to_wkb(zone) for zone in zones], list(range(len(zones)))
    crs = json.loads(pyproj.CRS(UTM).to_json())
    column = {"encoding": "WKB", "geometry_types": [], "crs": crs}
    geo = {"version": "1.0.0", "primary_column": "outline", "columns": {"outline": column}}
    table = pa.table({"id": ids, "outline": pa.array(wkb, pa.binary())})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), tmp_path / "geo.parquet")
    yield str(tmp_path / "geo.parquet"), None
    pq.write_table(pa.table({"id": ids, "geom": pa.array(wkb, pa.binary())}), tmp_path / "wkb.parquet")
    yield str(tmp_path / "wkb.parquet"), UTM
    pq.write_table(pa.table({"id": ids, "wkt": [zone.wkt for zone in zones]}), tmp_path / "wkt.parquet")
    yield str(tmp_path / "wkt.parquet"), UTM
    ewkb = [shapely.to_wkb(shapely.set_srid(zone, 32633), include_srid=True) for zone in zones]
    pq.write_table(pa.table({"id": ids, "geometry": pa.array(ewkb, pa.binary())}), tmp_path / "ewkb.parquet")
    yield str(tmp_path / "ewkb.parquet"), None
    features = [
        {"type": "Feature", "id": n, "properties": {"name": f"p{n}"}, "geometry": shapely.geometry.mapping(zone)}
        for n, zone in enumerate(turned)
    ]
    (tmp_path / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    yield str(tmp_path / "zones.geojson"), None
    text = [json.dumps(shapely.geometry.mapping(zone)) for zone in turned]
    pq.write_table(pa.table({"id": ids, "geometry": text}), tmp_path / "json.parquet")
    yield str(tmp_path / "json.parquet"), None
    values = ", ".join(f"{{id: {n}, geometry: unhex('{zone.hex()}')}}" for n, zone in zip(ids, wkb))
    yield Sql(f"[{values}]"), UTM


def test_every_form(con, tmp_path):
    items, _ = archive(tmp_path, dates=1)
    # In longitude and latitude an edge of 700 metres is another one, and a sliver another zone.
    zones = [zone for n, zone in enumerate(shapes(9)) if n % 5 != 4]
    wanted = zonal(con, items, zones, stats=["count", "mean"])
    checked = 0
    for source, crs in forms(tmp_path, zones):
        if isinstance(source, Sql):
            con.execute(f"SET VARIABLE zones = {source}")
            source = Sql("getvariable('zones')")
        found = zonal(con, items, source, stats=["count", "mean"], zones_crs=crs)
        assert found.keys() == wanted.keys(), source
        for key, row in found.items():
            assert np.allclose(row, wanted[key], rtol=1e-3), (source, key)
        checked += 1
    assert checked == 7


def test_ids(con, tmp_path):
    items, _ = archive(tmp_path, dates=1)
    for _source, _ in forms(tmp_path, shapes(4)):
        pass
    found = zonal(con, items, str(tmp_path / "zones.geojson"), zone_id="name", zones_crs=None)
    assert {name for name, _, _ in found} == {"p0", "p1", "p2", "p3"}
    text = (tmp_path / "zones.geojson").read_text().replace('"id": 1', '"id": "001"')
    (tmp_path / "padded.geojson").write_text(text)
    found = zonal(con, items, str(tmp_path / "padded.geojson"), zones_crs=None)
    assert {name for name, _, _ in found} == {"0", "001", "2", "3"}, "text stays text"
    pq.write_table(
        pa.table({"code": ["x", "x", None], "wkt": [zone.wkt for zone in shapes(3)]}), tmp_path / "codes.parquet"
    )
    text = f"lazycogs_zonal('{items}', '{tmp_path}/codes.parquet', '{UTM}', 10, 'P1D', zones_crs := '{UTM}'"
    assert con.execute(f"SELECT zone_id FROM {text}, zone_id := 'code')").fetchall() == [("x",), ("x",), (None,)]
    assert con.execute(f"SELECT zone_id FROM {text})").fetchall() == [(1,), (2,), (3,)]


BOW = "POLYGON ((500100 5199900, 500300 5199700, 500300 5199900, 500100 5199700, 500100 5199900))"
GOOD = "POLYGON ((500100 5199900, 500300 5199900, 500300 5199700, 500100 5199700, 500100 5199900))"


def test_invalid_zones_are_named_or_skipped(con, tmp_path):
    items, _ = archive(tmp_path, dates=1)
    rows = f"[{{id: 'good', geometry: '{GOOD}'}}, {{id: 'bow', geometry: '{BOW}'}}]"
    con.execute(f"SET VARIABLE zones = {rows}")
    with pytest.raises(Exception, match="lazycogs_zonal: zone 'bow'"):
        zonal(con, items, Sql("getvariable('zones')"))
    found = zonal(con, items, Sql("getvariable('zones')"), errors="ignore")
    assert {name for name, _, _ in found} == {"good"}
    ((name, message),) = con.execute("SELECT item_id, message FROM lazycogs_failures()").fetchall()
    assert name == "zone 'bow'" and message
    rows = rows.replace("'good'", "NULL").replace("'bow'", "NULL")
    con.execute(f"SET VARIABLE zones = {rows}")
    assert len(zonal(con, items, Sql("getvariable('zones')"), errors="ignore")) == 1, "names need not differ"
    con.execute(f"SET VARIABLE zones = [{{id: 'bow', geometry: '{BOW}'}}]")
    with pytest.raises(Exception, match="lazycogs_zonal: zone 'bow'"):
        zonal(con, items, Sql("getvariable('zones')"), errors="ignore")


WRONG = [
    ("[{id: 1, geometry: 'POINT (500100 5199900)'}]", {}, "zone 1.*lazycogs_sample"),
    ("[{id: 1, geometry: 'LINESTRING (1 2, 3 4)'}]", {}, "zone 1.*lazycogs_sample"),
    ("[{id: 1, geometry: 'POLYGON ((1 2, NaN 4, 1 2))'}]", {}, "zone 1"),
    ("[{id: 1, geometry: 'no geometry'}]", {}, "zone 1: geometry 'no geometry' is not WKT"),
    ("[{id: 1, area: 2.5}]", {}, "zones: .*has no column 'geometry'; there are 'id', 'area'"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"zone_id": "code"}, "has no column 'code'; there are 'id', 'geometry'"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"stats": ["means"]}, "unknown statistic 'means'; use one of count"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"stats": ["p101"]}, "unknown statistic 'p101'"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"stats": ["mean", "mean"]}, "stats names 'mean' twice"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"stats": Sql("[]::VARCHAR[]")}, "stats is an empty list"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"pixels": "half"}, "half"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"min_coverage": 2}, "min_coverage 2"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"zones_crs": "EPSG:0"}, "EPSG:0"),
    ("[{id: 1, geometry: NULL::VARCHAR}]", {}, "none of them has an area"),
    ("[]::STRUCT(id INT, geometry VARCHAR)[]", {}, "zones is an empty list"),
    ("'nothing.parquet'", {}, "nothing.parquet"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"zones_crs": None}, "zone 1 has coordinates.*pass zones_crs"),
    (f"[{{id: 1, geometry: '{GOOD}'}}]", {"resolution": -10}, "resolution -10 is not a positive number"),
    (
        f"[{{id: 1, geometry: 'SRID=32633;{GOOD}'}}, {{id: 2, geometry: 'SRID=4326;{GOOD}'}}]",
        {"zones_crs": None},
        "zone 2 has the SRID 4326, one before it 32633",
    ),
    (f"[NULL, {{id: 1, geometry: '{GOOD}'}}]", {}, "zones holds a NULL"),
    ("42", {}, "zones must be a path or URL"),
]


@pytest.mark.parametrize("zones, named, message", WRONG)
def test_wrong_arguments(con, tmp_path, zones, named, message):
    items, _ = archive(tmp_path, dates=1)
    con.execute(f"SET VARIABLE zones = {zones}")
    with pytest.raises(Exception, match=message):
        zonal(con, items, Sql("getvariable('zones')"), **named)


def test_zones_that_no_item_meets(con, tmp_path):
    items, _ = archive(tmp_path, dates=1)
    zones = [shapely.box(LEFT + 90000, TOP, LEFT + 90100, TOP + 100)]
    with pytest.raises(Exception, match="no item matches"):
        zonal(con, items, zones)
    assert zonal(con, items, zones, allow_empty=True) == {}


def test_explain_lists_what_zones_need(con, tmp_path):
    """Tiles of the source that no zone touches are in no plan, and none is read."""
    con.execute("SET lazycogs_cache_size = '0MB'")
    items, _ = archive(tmp_path, dates=2)
    zones = [
        shapely.box(LEFT + 13, TOP - 47, LEFT + 55, TOP - 11),
        shapely.box(LEFT + 1200, TOP - 1100, LEFT + 1250, TOP - 1000),
    ]
    con.execute(f"SET VARIABLE zones = {by_value(zones)}")
    text = call("lazycogs_explain", items, grid(1, 1), headers=True, zones=Sql("getvariable('zones')"), zones_crs=UTM)
    text = text.replace(grid(1, 1).args, f"NULL, '{UTM}', 10")
    rows = con.execute(f"SELECT time_index, chunk_row, chunk_col, tiles FROM {text}").fetchall()
    assert sum(tiles for *_, tiles in rows) == 2 * 2
    sql = "SELECT value FROM lazycogs_cache_stats() WHERE counter = 'tiles_decoded'"
    before = con.execute(sql).fetchone()[0]
    zonal(con, items, zones)
    assert con.execute(sql).fetchone()[0] - before == 2 * 2


def test_explain_over_zones_lists_the_mask(con, tmp_path):
    """Its window is counted in pixels of the mask, wherever the zone lies on the grid."""
    values, scl = np.ones((HEIGHT, WIDTH), "uint16"), np.full((HEIGHT // 2, WIDTH // 2), 4, "uint8")
    paths = {
        "red": raster(tmp_path / "red.tif", values, blocks=32),
        "scl": raster(tmp_path / "scl.tif", scl, resolution=20, blocks=32),
    }
    items = index(tmp_path, [item("a", paths)])
    zones = [shapely.Point(LEFT + 700, TOP - 600).buffer(95), shapely.Point(LEFT + 1200, TOP - 900).buffer(60)]
    con.execute(f"SET VARIABLE zones = {by_value(zones)}")
    named = {"bands": ["red"], "mask_band": "scl", "mask_keep": [4], "zones_crs": UTM, "headers": True}
    text = call("lazycogs_explain", items, grid(1, 1), zones=Sql("getvariable('zones')"), **named)
    text = text.replace(grid(1, 1).args, f"NULL, '{UTM}', 10")
    rows = con.execute(f"SELECT band, masks, tiles > 0 AND requests > 0 FROM {text}").fetchall()
    assert rows == [("red", False, True), ("scl", True, True)]
