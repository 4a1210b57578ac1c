"""Where an item is: margins, turns, and what its metadata and its file say about it."""

import json
import struct
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stac
from helpers import assert_same, call, read
from model import Grid, cube, load_items
from pyproj import Transformer
from small import index, item, raster

LONLAT = "OGC:CRS84"


def ring(west, south, east, north):
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def corners(path):
    """The footprint of a raster, drawn straight through its four corners."""
    return stac.outline(path, steps=1)


def count(con, items, grid, band="data", **named):
    """Valid pixels of a call."""
    return con.execute(f"SELECT count({band}) FROM {call('lazycogs_read', items, grid, None, **named)}").fetchone()[0]


def rewrite(con, source, target, replace):
    con.execute("SET enable_geoparquet_conversion = false")
    con.execute(f"COPY (SELECT * {replace} FROM '{source}') TO '{target}'")
    return target


@pytest.fixture(autouse=True, params=["small", "large"])
def size(request, monkeypatch):
    """Of more than a mebibyte all boxes are looked at first, of a smaller one none: the answer is the same."""
    plain = stac.write

    def padded(path, items, **layout):
        plain(path, items, **layout)
        rows = pq.ParquetFile(path).read()
        padding = np.random.default_rng(1).bytes(1 << 20)
        parts = [padding[n :: len(items)] for n in range(len(items))]
        pq.write_table(
            rows.append_column("padding", pa.array(parts)).replace_schema_metadata(rows.schema.metadata), path
        )

    if request.param == "large":
        monkeypatch.setattr(stac, "write", padded)


# -- margins: the answer does not depend on the size of the area -----------------------------------------------------


@pytest.mark.parametrize(
    "crs, left, top, side",
    [
        ("EPSG:5070", -1_500_000, 2_900_000, 150_000),
        ("EPSG:32633", 400_000, 6_700_000, 110_000),
        ("EPSG:32633", 200_000, 9_000_000, 110_000),
        ("EPSG:5070", -2_300_000, 3_100_000, 4_000_000),
        ("EPSG:3031", -900_000, 800_000, 1_500_000),
    ],
)
@pytest.mark.parametrize("bbox", ["struct", "list", None])
def test_an_edge_that_bulges_is_found_by_one_pixel(con, tmp_path, crs, left, top, side, bbox):
    """Each pixel of the border, asked for alone, is what it is in the whole."""
    pixels, resolution = 32, side / 32
    path = raster(tmp_path / "a.tif", np.full((pixels, pixels), 7, "uint8"), left, top, resolution, crs)
    items = index(tmp_path, [item("a", {"data": path}, footprint=corners(path))], bbox=bbox)
    for col, row in [(0, 0), (15, 0), (16, 31), (0, 16), (31, 15), (31, 31), (8, 0), (24, 31)]:
        x, y = left + col * resolution, top - row * resolution
        assert count(con, items, Grid((x, y - resolution, x + resolution, y), crs, resolution)) == 1, (col, row)


def test_a_margin_is_no_licence(con, tmp_path):
    """What is clearly elsewhere is not asked for."""
    path = raster(tmp_path / "a.tif", np.full((32, 32), 7, "uint8"), 400_000, 6_700_000, 3437.5, "EPSG:32633")
    items = index(tmp_path, [item("a", {"data": path}, footprint=corners(path))])
    with pytest.raises(duckdb.Error, match="no item matches"):
        count(con, items, Grid((520_000, 6_600_000, 530_000, 6_610_000), "EPSG:32633", 1000))


PROJ = {
    "transform": lambda t, w, h, b: {"proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f], "proj:shape": [h, w]},
    "bbox": lambda t, w, h, b: {"proj:bbox": list(b)},
}


@pytest.mark.parametrize("form", PROJ)
@pytest.mark.parametrize("where", ["item", "asset", "json asset"])
def test_the_outline_decides_where_it_is_known(con, tmp_path, form, where):
    """A neighbour within the margin of a footprint, but beyond its pixels, gives no step."""
    import rasterio

    path = raster(tmp_path / "a.tif", np.full((32, 32), 7, "uint8"), 400_000, 6_700_000, 3437.5, "EPSG:32633")
    with rasterio.open(path) as file:
        facts = PROJ[form](file.transform, file.width, file.height, file.bounds)
    facts["proj:code"] = "EPSG:32633"
    asset = {"href": str(path)} | (facts if where != "item" else {})
    one = stac.Item("a", stac.utc(2024, 5, 3), {"data": asset}, corners(path), facts if where == "item" else {})
    items = index(tmp_path, [one], assets="json" if where.startswith("json") else "struct")
    inside = Grid((510_000 - 1000, 6_640_000, 510_000, 6_641_000), "EPSG:32633", 1000)
    beyond = Grid((511_000, 6_640_000, 512_000, 6_641_000), "EPSG:32633", 1000)
    assert count(con, items, inside, bands=["data"]) == 1
    plain = index(tmp_path / "plain", [item("a", {"data": path}, footprint=corners(path))])
    assert steps(con, plain, beyond) == 1, "without metadata the margin counts"
    assert steps(con, items, beyond) == 0


def steps(con, items, grid):
    sql = f"SELECT count(DISTINCT time) FROM {call('lazycogs_explain', items, grid, None, bands=['data'])}"
    try:
        return con.execute(sql).fetchone()[0]
    except duckdb.Error as error:
        assert "no item matches" in str(error)
        return 0


# -- turns: every place on Earth has one answer, however its item counts ---------------------------------------------


COUNTED = {
    "-181.4": [(-181.4, -178.6)],
    "178.6": [(178.6, 181.4)],
    "538.6": [(538.6, 541.4)],
    "west > east": [(178.6, -178.6)],
    "split": [(178.6, 180), (-180, -178.6)],
    "split, 0 to 360": [(178.6, 180), (180, 181.4)],
    "not split": [(178.6, -178.6)],
}


def multipolygon(parts):
    body = b"".join(stac.wkb(ring(w, 1, e, 3)) for w, e in parts)
    return struct.pack("<BII", 1, 6, len(parts)) + body


@pytest.fixture
def crossing(tmp_path):
    return raster(tmp_path / "c.tif", np.full((40, 56), 7, "uint8"), 178.6, 3, 0.05, "EPSG:4326")


@pytest.mark.parametrize("form", ["struct", "list", "geometry", "bbox"])
@pytest.mark.parametrize("way", COUNTED)
def test_an_item_across_the_antimeridian(con, crossing, tmp_path, way, form):
    parts = COUNTED[way]
    box = (parts[0][0], parts[-1][1])
    table = pq.read_table(index(tmp_path, [item("a", {"data": crossing}, footprint=ring(0, 1, 1, 3))]))
    names = ["xmin", "ymin", "xmax", "ymax"]
    edges = [float(box[0]), 1.0, float(box[1]), 3.0]
    columns = {name: table[name] for name in table.column_names if name not in ("bbox", "geometry")}
    if form != "bbox":
        columns["geometry"] = pa.array([multipolygon(parts)])
    if form in ("struct", "bbox"):
        columns["bbox"] = pa.array([dict(zip(names, edges))])
    if form == "list":
        columns["bbox"] = pa.array([edges])
    pq.write_table(pa.table(columns), tmp_path / "counted.parquet")
    found = {}
    for name, west in {"west of it": 179.0, "east of it": -180.0, "beyond": 539.0, "negative": -181.0}.items():
        found[name] = count(con, tmp_path / "counted.parquet", Grid((west, 1.5, west + 1, 2.5), LONLAT, 0.05))
    assert found == dict.fromkeys(found, 400)
    assert count(con, tmp_path / "counted.parquet", Grid((178, 0, 182, 4), LONLAT, 0.05), chunk_size=16) == 40 * 56
    if form != "geometry" or way not in ("not split", "west > east"):
        for west in (0, 90, -170, 176):
            with pytest.raises(duckdb.Error, match="no item matches"):
                count(con, tmp_path / "counted.parquet", Grid((west, 1.5, west + 1, 2.5), LONLAT, 0.05))


@pytest.mark.parametrize("west", [-180, 0, 180])
def test_an_archive_that_counts_otherwise(con, tmp_path, west):
    """Tiles of a row around the Earth, counted from `west` on: each is found, alone, by its middle."""
    lefts = range(-180, 180, 30)
    path = {left: raster(tmp_path / f"{left}.tif", np.full((2, 2), 7), left, 10, 15, "EPSG:4326") for left in lefts}
    counted = {left: (left - west) % 360 + west for left in lefts}
    rows = [item(str(left), {"data": path[left]}, footprint=ring(at, -20, at + 30, 10)) for left, at in counted.items()]
    items = index(tmp_path, rows)
    for left in lefts:
        grid = Grid((left + 14, -1, left + 16, 1), LONLAT, 1)
        sql = f"SELECT list(DISTINCT item_id) FROM {call('lazycogs_explain', items, grid, None, bands=['data'])}"
        assert con.execute(sql).fetchone()[0] == [str(left)]
        assert count(con, items, grid) == 4


@pytest.mark.parametrize("crs, sign", [("EPSG:3031", -1), ("EPSG:3995", 1)])
@pytest.mark.parametrize("form", ["corners", "split", "bbox of corners"])
def test_a_raster_around_a_pole(con, tmp_path, crs, sign, form):
    path = raster(tmp_path / "p.tif", np.full((40, 40), 7, "uint8"), -1e6, 1.2e6, 5e4, crs)
    low = sign * 77.0
    cap = {
        "split": [(-180, low), (0, low), (180, low), (180, sign * 90), (0, sign * 90), (-180, sign * 90), (-180, low)]
    }
    one = item("a", {"data": path}, footprint=cap.get(form) or corners(path))
    items = index(tmp_path, [one], bbox="struct" if form == "bbox of corners" else None)
    for x, y in [(0, 0), (-9e5, 0), (5e5, 1.1e6), (9e5, -7e5), (-1e5, 1e5)]:
        assert count(con, items, Grid((x, y, x + 5e4, y + 5e4), crs, 5e4)) == 1, (x, y)
    lon, lat = Transformer.from_crs(crs, LONLAT, always_xy=True).transform(-5e5, -4e5)
    assert count(con, items, Grid((lon, lat, lon + 0.2, lat + 0.2), LONLAT, 0.2)) == 1


# -- tiles: what is declared does not decide which pixels exist ------------------------------------------------------


@pytest.mark.parametrize("small", ["polygon", "bbox", "both", "polygon, no bbox"])
def test_chunks_do_not_decide_which_pixels_there_are(con, tmp_path, small):
    path = raster(tmp_path / "a.tif", np.full((64, 64), 7, "uint8"))
    outline = stac.outline(path)
    lon, lat = zip(*outline)
    centre = sum(lon) / len(lon), sum(lat) / len(lat)
    half = [(centre[0] + (x - centre[0]) / 2, centre[1] + (y - centre[1]) / 2) for x, y in outline]
    source = index(tmp_path, [item("a", {"data": path}, footprint=half if small != "bbox" else outline)])
    w, s, e, n = (
        (min(lon), min(lat), max(lon), max(lat))
        if small == "polygon"
        else (min(p[0] for p in half), min(p[1] for p in half), max(p[0] for p in half), max(p[1] for p in half))
    )
    edges = f"{{xmin: {w!r}::DOUBLE, ymin: {s!r}::DOUBLE, xmax: {e!r}::DOUBLE, ymax: {n!r}::DOUBLE}}"
    replace = "EXCLUDE (bbox)" if small.endswith("no bbox") else f"REPLACE ({edges} AS bbox)"
    items = rewrite(con, source, tmp_path / "small.parquet", replace)
    grid = Grid((500_000, 5_199_360, 500_640, 5_200_000), "EPSG:32633", 10)
    assert {size: count(con, items, grid, chunk_size=size) for size in (16, 32, 64)} == dict.fromkeys(
        (16, 32, 64), 4096
    )


def narrowed(path, share=0.5):
    """The border of a raster, drawn too small around its middle."""
    outline = stac.outline(path)
    lon, lat = zip(*outline)
    x, y = sum(lon) / len(lon), sum(lat) / len(lat)
    return [(x + (a - x) * share, y + (b - y) * share) for a, b in outline]


def told_of(path, values):
    """What projection metadata say of the middle of a raster alone."""
    import rasterio

    with rasterio.open(path) as file:
        t = file.transform
    side, (rows, cols) = len(values) // 4, np.shape(values)
    middle = {"proj:transform": [t.a, t.b, t.c + side * t.a, t.d, t.e, t.f + side * t.e], "proj:code": "EPSG:32633"}
    return middle | {"proj:shape": [rows - 2 * side, cols - 2 * side]}


@pytest.fixture
def mixed(tmp_path):
    """Five items over one place of 96 x 96 pixels, of which the first lies where it says; files with holes."""
    draw = np.random.default_rng(7)
    items = []
    for n in range(5):
        # The middle of the first ones is full, so that `first` needs nothing there that comes later.
        values = draw.integers(1, 200, (64, 64), "uint8")
        values[draw.random(values.shape) < (0.5 if n else 0.8)] = 0
        values[16:48, 16:48] = n + 1
        path = raster(
            tmp_path / f"{n}.tif", values, left=500_000 + 160 * (n % 3), top=5_200_000 - 160 * (n // 2), nodata=0
        )
        footprint = None if n == 0 else narrowed(path, 0.3 + 0.1 * n)
        facts = told_of(path, values) if n in (2, 4) else {}
        items.append(item(str(n), {"data": path}, (2024, 5, 3, 12, n), footprint, **facts))
    return index(tmp_path, items)


@pytest.mark.parametrize("mosaic", ["first", "last", "highest", "lowest", "mean", "median", "stdev", "count"])
def test_items_that_say_less_than_they_have_beside_one_that_does_not(con, mixed, mosaic):
    """Their files tell which pixels there are, whatever the tiles; the oracle has never heard of tiles."""
    grid = Grid((500_000, 5_199_040, 500_960, 5_200_000), "EPSG:32633", 10)
    wanted = cube(load_items(mixed), grid, "P1D", ["data"], mosaic=mosaic)
    for size in (16, 33, 64, 96, 512):
        found = read(con, mixed, grid, bands=["data"], mosaic=mosaic, chunk_size=size)
        assert assert_same(found, wanted, exact=mosaic not in ("mean", "median", "stdev"), most_doubt=1) > 1000


def test_the_plan_with_headers_knows_where_files_are(con, mixed):
    grid = Grid((500_000, 5_199_040, 500_960, 5_200_000), "EPSG:32633", 10)
    rows = {}
    for headers in (False, True):
        text = call("lazycogs_explain", mixed, grid, bands=["data"], chunk_size=16, headers=headers)
        rows[headers] = con.execute(f"SELECT chunk_row, chunk_col, item_id FROM {text} WHERE item_id > '0'").fetchall()
    assert set(rows[False]) < set(rows[True])
    # Item 1 begins at (160, 0) metres and is 640 metres wide: columns 1 to 4 of tiles of 160 metres.
    assert {(row, col) for row, col, name in rows[True] if name == "1"} >= {
        (row, col) for row in range(4) for col in range(1, 5)
    }


def test_honest_items_cost_no_header_more(con, tmp_path):
    """`first` is content with the item in front; those behind it are not opened because there are tiles."""
    items = []
    for n in range(8):
        path = raster(tmp_path / f"{n}.tif", np.full((64, 64), n + 1, "uint8"), left=500_000 + 640 * (n % 2))
        items.append(item(str(n), {"data": path}, (2024, 5, 3, 12, n)))
    time.sleep(0.1)
    source = index(tmp_path, items)
    grid = Grid((500_000, 5_199_360, 501_280, 5_200_000), "EPSG:32633", 10)
    headers = "SELECT value FROM lazycogs_cache_stats() WHERE counter = 'header_misses'"
    before = con.execute(headers).fetchone()[0]
    text = call("lazycogs_read", source, grid, bands=["data"], chunk_size=16)
    assert con.execute(f"SELECT count(data) FROM {text}").fetchone() == (128 * 64,)
    assert con.execute(headers).fetchone()[0] - before == 2


# -- metadata that say nothing ---------------------------------------------------------------------------------------


NOTHING = {
    "null": "null",
    "NaN": "[NaN, NaN, NaN, NaN]",
    "empty": "[]",
    "text": '"here"',
    "a point": "[0, 0, 0, 0]",
    "metres": "[500000, 5199000, 501000, 5200000]",
}


@pytest.mark.parametrize("bbox", [name for name in NOTHING if name != "NaN"])
def test_a_bbox_of_nothing_in_json(con, tmp_path, bbox):
    path = raster(tmp_path / "a.tif", np.full((8, 8), 7, "uint8"))
    one = {
        "type": "Feature",
        "id": "a",
        "bbox": json.loads(NOTHING[bbox]),
        "geometry": stac.geojson(stac.outline(path)),
        "properties": {"datetime": "2024-05-03T00:00:00Z"},
        "assets": {"data": {"href": str(path)}},
    }
    lon, lat = zip(*stac.outline(path))
    good = one | {"id": "b", "bbox": [min(lon), min(lat), max(lon), max(lat)]}
    features = {"type": "FeatureCollection", "features": [one, good]}
    (tmp_path / "items.json").write_text(json.dumps(features))
    grid = Grid((500_000, 5_199_920, 500_080, 5_200_000), "EPSG:32633", 10)
    sql = f"SELECT list(item_id ORDER BY item_id) FROM {call('lazycogs_explain', tmp_path / 'items.json', grid)}"
    assert con.execute(sql).fetchone()[0] == ["a", "b"]


@pytest.mark.parametrize("edge", ["NULL", "'NaN'", "'inf'", "0"])
@pytest.mark.parametrize("form", ["struct", "list"])
def test_a_bbox_of_nothing_in_parquet(con, tmp_path, edge, form):
    path = raster(tmp_path / "a.tif", np.full((8, 8), 7, "uint8"))
    source = index(tmp_path, [item("a", {"data": path}), item("b", {"data": path})], bbox=form)
    if form == "struct":
        bad = "{" + ", ".join(f"{side}: {edge}::DOUBLE" for side in ("xmin", "ymin", "xmax", "ymax")) + "}"
    else:
        bad = "[" + ", ".join([f"{edge}::DOUBLE"] * 4) + "]"
    items = rewrite(
        con, source, tmp_path / "bad.parquet", f"REPLACE (CASE id WHEN 'a' THEN {bad} ELSE bbox END AS bbox)"
    )
    grid = Grid((500_000, 5_199_920, 500_080, 5_200_000), "EPSG:32633", 10)
    for extra in ({}, {"sortby": ["id"]}, {"ids": ["a"]}):
        assert count(con, items, grid, **extra) == 64
    sql = f"SELECT count(*) FROM {call('lazycogs_explain', items, grid)}"
    assert con.execute(sql).fetchone()[0] == 2


@pytest.mark.parametrize("told", [{"bbox": None}, {"geometry": None}, {}], ids=["geometry", "bbox", "both"])
def test_a_raster_that_runs_beyond_a_pole(con, tmp_path, told):
    """What is on earth of it counts, and may be asked for as far as the pole."""
    values = np.arange(100, dtype="uint8").reshape(10, 10)
    path = raster(tmp_path / "a.tif", values, 1, 100, 9.9, "EPSG:4326")
    ring = [(1, 1), (100, 1), (100, 100), (1, 100), (1, 1)]
    items = index(tmp_path, [item("a", {"data": path}, footprint=ring)], **told)
    grid = Grid((1, 1, 100, 90.1), "EPSG:4326", 9.9)
    sql = f"SELECT list(data ORDER BY y DESC, x) FROM {call('lazycogs_read', items, grid, bands=['data'])}"
    assert con.execute(sql).fetchone()[0] == values[1:].ravel().tolist()


@pytest.mark.parametrize("shape", ["point", "line", "elsewhere"])
def test_a_degenerate_polygon_beside_a_good_bbox(con, tmp_path, shape):
    path = raster(tmp_path / "a.tif", np.full((8, 8), 7, "uint8"))
    lon, lat = stac.outline(path)[0]
    bad = {"point": [(lon, lat)] * 4, "line": [(lon, lat), (lon, lat + 1), (lon, lat + 2), (lon, lat)]}
    bad = bad.get(shape) or [(y, x) for x, y in stac.outline(path)]
    table = pq.read_table(index(tmp_path, [item("a", {"data": path})]))
    at = table.column_names.index("geometry")
    pq.write_table(table.set_column(at, "geometry", pa.array([stac.wkb(bad)])), tmp_path / "bad.parquet")
    grid = Grid((500_040, 5_199_920, 500_080, 5_199_960), "EPSG:32633", 10)
    assert count(con, tmp_path / "bad.parquet", grid) == 16


# -- geometry in other clothes ---------------------------------------------------------------------------------------


def geo(encoding="WKB", **column):
    return {
        "geo": json.dumps(
            {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": encoding} | column}}
        )
    }


def points(ring, interleaved):
    return [list(p) if interleaved else {"x": p[0], "y": p[1]} for p in ring]


def dressed(table, form, path):
    """The columns of an index of one item, with its geometry and bounds in another form, and the metadata."""
    import rasterio
    from pyproj import CRS

    lonlat = stac.outline(path)
    columns = {name: table[name] for name in table.column_names if name not in ("bbox", "geometry")}
    with rasterio.open(path) as file:
        b = file.bounds
        projected, crs = ring(b.left, b.bottom, b.right, b.top), CRS(file.crs).to_json_dict()
    names = ("xmin", "ymin", "xmax", "ymax")
    lon, lat = zip(*lonlat)
    degrees = pa.array([dict(zip(names, map(float, (min(lon), min(lat), max(lon), max(lat)))))])
    covering = {"bbox": {name: ["cover", name] for name in names}}
    if form == "projected":
        return columns | {"geometry": pa.array([stac.wkb(projected)])}, geo(crs=crs)
    if form == "projected, covering":
        metres = pa.array([dict(zip(names, map(float, (b.left, b.bottom, b.right, b.top))))])
        covering = {"bbox": {name: ["bbox", name] for name in names}}
        return columns | {"geometry": pa.array([stac.wkb(projected)]), "bbox": metres}, geo(crs=crs, covering=covering)
    if form == "covering":
        return columns | {"geometry": pa.array([stac.wkb(lonlat)]), "cover": degrees}, geo(covering=covering)
    if form == "bbox alone":
        return columns | {"bbox": degrees}, {}
    nested = points(lonlat, "interleaved" in form)
    if form.startswith("multipolygon"):
        return columns | {"geometry": pa.array([[[nested]]])}, geo("multipolygon")
    return columns | {"geometry": pa.array([[nested]])}, geo("polygon")


FORMS = ["projected", "projected, covering", "covering", "bbox alone", "polygon", "multipolygon"]
FORMS += ["polygon interleaved", "multipolygon interleaved"]


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_geometry(con, tmp_path, form):
    path = raster(tmp_path / "a.tif", np.full((64, 64), 7, "uint8"))
    columns, metadata = dressed(pq.read_table(index(tmp_path, [item("a", {"data": path})])), form, path)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), tmp_path / "dressed.parquet")
    for left, top in [(500_000, 5_200_000), (500_630, 5_199_370)]:
        assert count(con, tmp_path / "dressed.parquet", Grid((left, top - 10, left + 10, top), "EPSG:32633", 10)) == 1
    with pytest.raises(duckdb.Error, match="no item matches"):
        count(con, tmp_path / "dressed.parquet", Grid((510_000, 5_199_000, 510_010, 5_199_010), "EPSG:32633", 10))
