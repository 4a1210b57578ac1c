"""lazycogs_read against the model: grids, periods, mosaics, kinds of file, layouts of the index."""

import duckdb
import numpy as np
import pytest
from helpers import assert_same, call, read
from model import Grid, cube, load_items
from pyproj import Transformer

UTM15 = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
GRIDS = {
    "zone 15, aligned": UTM15,
    "zone 15, 10 m, shifted": Grid((732903, 4931007, 735303, 4933507), "EPSG:32615", 10),
    "zone 16": Grid((257000, 4931000, 260500, 4934800), "EPSG:32616", 30),
    "degrees": Grid((-90.07, 44.485, -90.01, 44.535), "EPSG:4326", 0.00031),
    "web mercator": Grid((-10026500, 5542000, -10020000, 5549000), "EPSG:3857", 47),
    "laea": Grid((1160000, 2455000, 1166000, 2461000), "EPSG:5070", 37),
}


@pytest.fixture
def archive(fixtures):
    return fixtures / "archive" / "items.parquet"


@pytest.mark.parametrize("name", GRIDS)
def test_first_on_every_grid(con, archive, name):
    grid = GRIDS[name]
    if name == "laea":
        grid = place_over_archive(grid)
    found = read(con, archive, grid, "P1D", bands=["red", "nir"])
    assert_same(found, cube(load_items(archive), grid, "P1D", ["red", "nir"]))


def place_over_archive(grid):
    """The grid's size, around the place where tile A is."""
    x, y = Transformer.from_crs("EPSG:32615", grid.crs, always_xy=True).transform(735000, 4932500)
    half = (grid.bbox[2] - grid.bbox[0]) / 2
    return Grid((x - half, y - half, x + half, y + half), grid.crs, grid.resolution)


@pytest.mark.parametrize("period", [None, "P1D", "P1W", "P1M", "P1Y", "P10D", "P3W", "PT6H", "PT1H"])
def test_periods(con, archive, period):
    found = read(con, archive, UTM15, period, bands=["red"])
    assert_same(found, cube(load_items(archive), UTM15, period, ["red"]))


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_days_are_those_of_utc(con, archive, zone):
    try:
        con.execute(f"SET TimeZone = '{zone}'")
    except duckdb.Error as error:
        pytest.skip(f"this DuckDB cannot set a time zone without its icu extension: {error}")
    assert_same(read(con, archive, UTM15, "P1D", bands=["red"]), cube(load_items(archive), UTM15, "P1D", ["red"]))


@pytest.mark.parametrize("mosaic", ["first", "last", "highest", "lowest", "mean", "median", "stdev", "count"])
@pytest.mark.parametrize("sortby", [None, ["eo:cloud_cover"], ["-datetime", "id"]])
def test_mosaics(con, archive, mosaic, sortby):
    named = {"sortby": sortby} if sortby else {}
    found = read(con, archive, UTM15, "P1M", bands=["red", "scl"], mosaic=mosaic, **named)
    wanted = cube(load_items(archive), UTM15, "P1M", ["red", "scl"], mosaic, sortby)
    assert_same(found, wanted, exact=mosaic not in ("mean", "median", "stdev"))


def test_datetime_and_ids(con, archive):
    items = load_items(archive)
    may = [item for item in items if item.time.month == 5]
    found = read(con, archive, UTM15, "P1D", bands=["red"], datetime="2024-05-01/2024-05-31")
    assert_same(found, cube(may, UTM15, "P1D", ["red"]))
    some = [item.id for item in items[1:4]]
    found = read(con, archive, UTM15, "P1M", bands=["red"], ids=some)
    assert_same(found, cube([i for i in items if i.id in some], UTM15, "P1M", ["red"]))
    # The interval holds for the pixels of a step, too, not only for the steps.
    found = read(con, archive, UTM15, "P1M", bands=["red"], datetime="2024-05-10T00:00:00Z/..")
    late = [item for item in items if item.time.month > 5 or item.time.day >= 10]
    assert_same(found, cube(late, UTM15, "P1M", ["red"]))


def test_types_and_column_order(con, fixtures, archive):
    rows = con.execute(f"DESCRIBE FROM {call('lazycogs_read', archive, UTM15, bands=['nir', 'scl', 'red'])}").fetchall()
    assert [row[0] for row in rows] == ["time", "y", "x", "nir", "scl", "red"]
    assert [row[1] for row in rows] == ["TIMESTAMP", "DOUBLE", "DOUBLE", "INTEGER", "INTEGER", "INTEGER"]
    wanted = {"uint8": "INTEGER", "int8": "INTEGER", "uint16": "INTEGER", "int16": "INTEGER", "uint32": "BIGINT"}
    wanted |= {"int32": "INTEGER", "int64": "BIGINT", "uint64": "UBIGINT", "float32": "FLOAT", "float64": "DOUBLE"}
    for dtype, sql_type in wanted.items():
        one = call("lazycogs_read", fixtures / "kinds/items.parquet", KINDS_GRID, ids=[dtype])
        assert con.execute(f"DESCRIBE SELECT data FROM {one}").fetchone()[1] == sql_type, dtype


def test_default_bands_are_the_data_assets(con, archive):
    rows = con.execute(f"DESCRIBE FROM {call('lazycogs_read', archive, UTM15)}").fetchall()
    assert [row[0] for row in rows][3:] == ["red", "nir", "scl"]


KINDS_GRID = Grid((499900, 4898300, 501900, 4900100), "EPSG:32615", 10)
LOSSY = {"codec_jpeg"}
SEVERAL_BANDS = {"alpha", "multi_pixel", "multi_band", "codec_webp"}
KINDS = [
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
    "nan_float32",
    "nan_nodata_float32",
    "nan_float64",
    "nan_nodata_float64",
    "nodata_negative",
    "internal_mask",
    "alpha",
    "multi_pixel",
    "multi_band",
    "codec_none",
    "codec_deflate",
    "codec_lzw",
    "codec_zstd",
    "codec_packbits",
    "codec_lzma",
    "codec_lerc",
    "codec_lerc_deflate",
    "codec_lerc_zstd",
    "predictor2_deflate",
    "predictor2_lzw",
    "predictor2_zstd",
    "predictor3_deflate",
    "predictor3_lzw",
    "predictor3_zstd",
    "codec_webp",
    "codec_jpeg",
    "big_endian",
    "bigtiff",
    "blocks_16",
    "blocks_wide",
    "south_up",
    "rotated",
    "not_square",
    "one_pixel",
    "sparse",
]


def test_every_kind_is_tested(fixtures):
    assert sorted(KINDS) == sorted(item.id for item in load_items(fixtures / "kinds/items.parquet"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "grid", [KINDS_GRID, Grid((499900, 4898300, 501900, 4900100), "EPSG:32615", 23)], ids=["10m", "23m"]
)
def test_kinds_of_file(con, fixtures, kind, grid):
    index = fixtures / "kinds" / "items.parquet"
    item = [item for item in load_items(index) if item.id == kind]
    band = "data:1" if kind in SEVERAL_BANDS else "data"
    found = read(con, index, grid, "P1D", ids=[kind], bands=[band])
    wanted = cube(item, grid, "P1D", [band])
    if kind in LOSSY:
        (bands,), (expected,) = found.values(), wanted.values()
        both = expected[band].valid & ~expected[band].doubt
        assert (~np.ma.getmaskarray(bands[band]))[both].all()
        assert abs(bands[band].data[both].astype(int) - expected[band].values[both]).max() <= 2
        return
    assert_same(found, wanted)


def test_a_file_with_several_bands_asks_which(con, fixtures):
    text = call("lazycogs_read", fixtures / "kinds/items.parquet", KINDS_GRID, ids=["multi_pixel"], bands=["data"])
    with pytest.raises(duckdb.Error, match="3 bands.*data:1.*data:2.*data:3"):
        con.execute(f"DESCRIBE FROM {text}")


@pytest.mark.parametrize("band", ["data:1", "data:2", "data:3"])
@pytest.mark.parametrize("kind", ["multi_pixel", "multi_band", "alpha"])
def test_bands_of_one_file(con, fixtures, kind, band):
    index = fixtures / "kinds" / "items.parquet"
    item = [item for item in load_items(index) if item.id == kind]
    found = read(con, index, KINDS_GRID, "P1D", ids=[kind], bands=[band])
    assert_same(found, cube(item, KINDS_GRID, "P1D", [band]))


LAYOUTS = [
    "bbox_list",
    "bbox_z",
    "bbox_absent",
    "geometry_geojson",
    "geometry_absent",
    "assets_map",
    "assets_json",
    "datetime_timestamp",
    "datetime_varchar",
    "properties_nested",
    "row_groups",
    "start_end",
]


@pytest.mark.parametrize("layout", [*(f"{name}.parquet" for name in LAYOUTS), "parts/*.parquet", "hive"])
def test_layouts_of_the_index(con, fixtures, archive, layout):
    grid = Grid(UTM15.bbox, UTM15.crs, 50)
    found = read(con, fixtures / "layouts" / layout, grid, "P1D", bands=["red"], sortby=["eo:cloud_cover"])
    assert_same(found, cube(load_items(archive), grid, "P1D", ["red"], sortby=["eo:cloud_cover"]))


def test_a_list_of_files(con, fixtures, archive):
    files = [str(fixtures / "layouts" / "parts" / f"{n}.parquet") for n in (0, 1)]
    assert_same(read(con, files, UTM15, "P1D", bands=["red"]), cube(load_items(archive), UTM15, "P1D", ["red"]))


def test_items_by_value(con, archive, over_http):
    """Items that live in a table: as a variable, with hrefs that need no file to be relative to."""
    con.execute(f"CREATE TABLE items AS FROM '{over_http}'")
    con.execute("SET VARIABLE items = (SELECT list(i) FROM items i)")
    text = call("lazycogs_read", "ITEMS", UTM15, "P1M", bands=["red"]).replace("'ITEMS'", "getvariable('items')")
    found = con.execute(f"SELECT count(*), count(red), sum(red) FROM {text}").fetchone()
    from_file = call("lazycogs_read", archive, UTM15, "P1M", bands=["red"])
    assert found == con.execute(f"SELECT count(*), count(red), sum(red) FROM {from_file}").fetchone()
    assert found[2] > 0


@pytest.mark.parametrize("number", ["FLOAT", "DECIMAL(12, 6)"])
def test_bbox_of_another_number_type(con, archive, over_http, number):
    edges = ", ".join(f"{edge} {number}" for edge in ("xmin", "ymin", "xmax", "ymax"))
    con.execute(f"CREATE TABLE items AS SELECT * REPLACE (bbox::STRUCT({edges}) AS bbox) FROM '{over_http}'")
    con.execute("SET VARIABLE items = (SELECT list(i) FROM items i)")
    text = call("lazycogs_read", "ITEMS", UTM15, "P1M", bands=["red"]).replace("'ITEMS'", "getvariable('items')")
    from_file = call("lazycogs_read", archive, UTM15, "P1M", bands=["red"])
    found = con.execute(f"SELECT count(*), sum(red) FROM {text}").fetchone()
    assert found == con.execute(f"SELECT count(*), sum(red) FROM {from_file}").fetchone()


@pytest.mark.parametrize(
    "text",
    ["eo:cloud_cover < 20", '{"op": "<", "args": [{"property": "eo:cloud_cover"}, 20]}'],
    ids=["text", "json"],
)
def test_filter(con, archive, text):
    clear = [item for item in load_items(archive) if item.properties["eo:cloud_cover"] < 20]
    assert 0 < len(clear) < 8
    found = read(con, archive, UTM15, "P1D", bands=["red"], filter=text)
    assert_same(found, cube(clear, UTM15, "P1D", ["red"]))


@pytest.mark.parametrize("dtype, sql_type", [("uint16", "USMALLINT"), ("int64", "BIGINT"), ("float64", "DOUBLE")])
def test_an_explicit_type_is_honoured(con, archive, dtype, sql_type):
    text = call("lazycogs_read", archive, UTM15, "P1D", bands=["red"], dtype=dtype)
    assert con.execute(f"DESCRIBE SELECT red FROM {text}").fetchone()[1] == sql_type
    found = read(con, archive, UTM15, "P1D", bands=["red"], dtype=dtype)
    assert_same(found, cube(load_items(archive), UTM15, "P1D", ["red"]))


FUNCTIONS = ["read", "read_chunks", "explain", "info", "store", "cache_stats", "version", "progress", "failures"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_columns_that_nobody_wrote(con, archive, function):
    """A count needs no column, a constant none, and there is no row id: what asks for one is told so."""
    text = {"store": f"lazycogs_store('{archive}')"}.get(function, f"lazycogs_{function}()")
    if function in ("read", "read_chunks", "explain", "info"):
        text = call(f"lazycogs_{function}", archive, UTM15, "P1M", bands=["red"])
    rows = len(con.execute(f"FROM {text}").fetchall())
    assert rows > 0 or function in ("progress", "failures")
    assert con.execute(f"SELECT count(*) FROM {text}").fetchone() == (rows,)
    assert con.execute(f"SELECT 1 FROM {text}").fetchall() == [(1,)] * rows
    for asked in ("rowid", "count(rowid)", "*, rowid", "min(rowid), count(*)"):
        with pytest.raises(duckdb.BinderException, match="rowid"):
            con.execute(f"SELECT {asked} FROM {text}")
