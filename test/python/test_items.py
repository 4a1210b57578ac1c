"""Which items a call takes, in which order and step: told by lazycogs_explain, on small archives and those of others.

The hrefs of archives made by others are replaced by one local file, since only the index matters here.
"""

import csv

import duckdb
import numpy as np
import pytest
import stac
from helpers import call
from model import Grid
from small import index, item, raster

WORLD = Grid((-180, -90, 180, 90), "EPSG:4326", 2)


@pytest.fixture
def globe(tmp_path):
    return raster(tmp_path / "globe.tif", np.ones((90, 180), "uint8"), left=-180, top=90, resolution=2, crs="EPSG:4326")


def box(west, south, east, north):
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def order(con, source, period="P1Y", grid=WORLD, **named):
    """The ids in the order of steps and, within a step, of the mosaic."""
    named = {"bands": ["data"], "chunk_size": 4096} | named
    text = call("lazycogs_explain", source, grid, period, **named)
    sql = f"SELECT item_id FROM {text} WHERE item_id IS NOT NULL ORDER BY time, read_order"
    return [row[0] for row in con.execute(sql).fetchall()]


@pytest.fixture
def archive(globe, tmp_path):
    """a and d in one day, b crosses the antimeridian, c is an interval without cloud cover, it's is a month later."""
    rows = [
        ("a", stac.utc(2023, 1, 15, 23, 59, 59, 500000), None, None, 30.0, box(0, 0, 2, 2)),
        ("b", stac.utc(2023, 1, 14, 2), None, None, 10.0, box(100, 0, 120, 10)),
        ("c", None, stac.utc(2023, 1, 10), stac.utc(2023, 1, 20), None, box(20, 20, 40, 40)),
        ("d", stac.utc(2023, 1, 15, 10), None, None, 10.0, box(0, 0, 2, 2)),
        ("it's", stac.utc(2023, 2, 15, 10), None, None, 20.0, box(0, 0, 2, 2)),
    ]
    items = []
    for name, time, start, end, cover, ring in rows:
        one = item(name, {"data": globe}, time, ring, **{"eo:cloud_cover": cover})
        one.start, one.end = start, end
        items.append(one)
    return index(tmp_path, items)


@pytest.mark.parametrize(
    "named, wanted",
    [
        ({"period": "P1D"}, "c b a d it's"),
        ({"period": "P1D", "sortby": ["eo:cloud_cover"]}, "c b d a it's"),
        ({}, "a b c d it's"),
        ({"sortby": ["eo:cloud_cover"]}, "b d it's a c"),
        ({"sortby": ["-eo:cloud_cover"]}, "a it's b d c"),
        ({"sortby": ["-properties.eo:cloud_cover", "-datetime"]}, "a it's d b c"),
        ({"sortby": ["+id"]}, "a b c d it's"),
        ({"datetime": "2023-01-12/2023-01-13"}, "c"),
        ({"datetime": "2023-01-15"}, "a c d"),
        ({"datetime": "2023-01-15T10:00:00Z"}, "c d"),
        ({"datetime": "../2023-01-14T02:00:00Z"}, "b c"),
        ({"datetime": "2023-01-15T23:59:59.5Z/.."}, "a c it's"),
        ({"datetime": "2023-02"}, "it's"),
        ({"ids": ["it's", "a"]}, "a it's"),
        ({"filter": "eo:cloud_cover < 20"}, "b d"),
        ({"filter": "properties.eo:cloud_cover < 20"}, "b d"),
        ({"filter": "id = 'it''s'"}, "it's"),
        ({"filter": "eo:cloud_cover IS NULL"}, "c"),
        ({"filter": "NOT (eo:cloud_cover >= 20)"}, "b d"),
        ({"filter": "id LIKE 'it%' OR id IN ('a', 'b')"}, "a b it's"),
        ({"filter": "eo:cloud_cover * 2 BETWEEN 19 AND 41"}, "b d it's"),
        ({"filter": "datetime >= '2023-01-15' AND datetime < TIMESTAMP('2023-02-01T00:00:00Z')"}, "a d"),
        ({"filter": '{"op": "=", "args": [{"property": "eo:cloud_cover"}, 30]}'}, "a"),
        ({"filter": "eo:cloud_cover > 5", "ids": ["a", "c"], "datetime": "2023"}, "a"),
    ],
    ids=str,
)
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_selection(con, archive, named, wanted, zone):
    if zone:
        try:
            con.execute(f"SET TimeZone = '{zone}'")
        except duckdb.Error as error:
            pytest.skip(f"this DuckDB cannot set a time zone without its icu extension: {error}")
    assert " ".join(order(con, archive, **named)) == wanted


def test_items_across_the_antimeridian(con, globe, tmp_path):
    crossing = item("crossing", {"data": globe}, footprint=box(170, 0, 180, 10))
    plain = index(tmp_path, [crossing, item("west", {"data": globe}, footprint=box(-170, 0, -160, 10))], geometry=None)
    source = tmp_path / "crossing.parquet"
    con.execute(
        "COPY (SELECT * REPLACE (CASE id WHEN 'crossing' THEN {xmin: 170.0::DOUBLE, ymin: 0.0::DOUBLE, "
        "xmax: -170.0::DOUBLE, ymax: 10.0::DOUBLE} ELSE bbox END AS bbox) "
        f"FROM '{plain}') TO '{source}'"
    )
    for west, wanted in ((172, ["crossing"]), (-179, ["crossing"]), (-168, ["west"]), (0, [])):
        grid = Grid((west, 2, west + 4, 6), "EPSG:4326", 1)
        assert order(con, source, grid=grid) == wanted
        if not wanted:
            with pytest.raises(duckdb.Error, match="no item matches"):
                con.execute(f"FROM {call('lazycogs_read', source, grid)}").fetchall()


@pytest.mark.parametrize("threads", [1, 8])
def test_ties_keep_the_order_of_the_file(con, globe, tmp_path, threads):
    con.execute(f"SET threads = {threads}")
    draw = np.random.default_rng(1)
    names = [str(n) for n in draw.permutation(3000)]
    items = [item(name, {"data": globe}, footprint=box(0, 0, 2, 2), level=n % 3) for n, name in enumerate(names)]
    source = index(tmp_path, items, row_group_size=200)
    assert order(con, source) == names
    assert order(con, source, sortby=["-level"]) == [*names[2::3], *names[1::3], *names[0::3]]


def test_files_of_different_schemas_in_the_order_given(con, globe, tmp_path):
    place = box(0, 0, 2, 2)
    two = [item(f"b{n}", {"data": globe}, footprint=place, cloudy=float(n)) for n in (1, 2)]
    b = index(tmp_path / "b", two)
    a = index(tmp_path / "a", [item("a1", {"data": globe, "extra": globe}, footprint=place, platform="x")])
    assert order(con, [b, a]) == ["b1", "b2", "a1"]
    assert order(con, f"{tmp_path}/*/items.parquet") == ["a1", "b1", "b2"], "a glob is in the order of names"
    assert order(con, [b, a], sortby=["-cloudy"]) == ["b2", "b1", "a1"]
    assert order(con, [b, a], bands=["extra"]) == ["a1"]


def test_bare_dates(con, globe, tmp_path):
    source = index(tmp_path, [item("a", {"data": globe}, (2023, 1, 15), box(0, 0, 2, 2))], datetime="varchar")
    con.execute(f"COPY (SELECT * REPLACE ('2023-01-15' AS datetime) FROM '{source}') TO '{tmp_path}/bare.parquet'")
    assert order(con, tmp_path / "bare.parquet", "P1D") == ["a"]
    for period in (None, "PT1H"):
        with pytest.raises(duckdb.Error, match="item 'a' has a date without a time"):
            order(con, tmp_path / "bare.parquet", period)


# -- archives of others ----------------------------------------------------------------------------------------------


def manifest(shared_data):
    with open(shared_data / "STAC_MANIFEST.csv") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    return [row for row in rows.values() if row["kind"] != "Collection"]


def test_every_archive_of_others_gives_all_its_items(con, shared_data, globe):
    """parquet of four writers, item collections, single items, ndjson: as many ids as the file has."""
    found, wanted = {}, {}
    for row in manifest(shared_data):
        path = shared_data / row["file"]
        wanted[row["file"]] = int(row["distinct_ids"])
        text = call("lazycogs_info", path, WORLD, "P1Y", href_replace=["^.*$", str(globe)])
        try:
            found[row["file"]] = con.execute(f"SELECT max(items) FROM {text}").fetchone()[0]
        except duckdb.Error as error:
            found[row["file"]] = str(error).split("\nLINE")[0]
    wrong = {name: (found[name], wanted[name]) for name in wanted if found[name] != wanted[name]}
    assert not wrong
    assert len(wanted) >= 38


def test_a_collection_is_no_archive(con, shared_data):
    path = shared_data / "stac/catalogs/noaa-cdr-ocean-heat-content/collection.json"
    with pytest.raises(duckdb.Error, match="collection.json"):
        order(con, path)


def test_hive_partitions(con, shared_data, globe):
    named = {"bands": ["B04"], "href_replace": ["^.*$", str(globe)]}
    folder = shared_data / "stac" / "derived" / "s2_hive"
    assert len(order(con, folder, **named)) == 100
    assert len(order(con, folder, filter="month = 3", **named)) == 3
    assert len(order(con, folder, filter="month IN (3, 4) AND year = 2024", **named)) == 15
    assert len(order(con, folder, filter="month > 11", hive_partitioning=True, **named)) == 2
    with pytest.raises(duckdb.Error, match="'month'"):
        order(con, folder, filter="month = 3", hive_partitioning=False, **named)


LAYOUTS = {
    "bbox_list": "* REPLACE ([bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax] AS bbox)",
    "bbox_of_six": "* REPLACE ([bbox.xmin, bbox.ymin, -5, bbox.xmax, bbox.ymax, 99.0] AS bbox)",
    "bbox_array": "* REPLACE ([bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax]::DOUBLE[4] AS bbox)",
    "bbox_json": "* REPLACE (to_json([bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax]) AS bbox)",
    "bbox_null": "* REPLACE (CASE WHEN hash(id) % 2 = 0 THEN bbox END AS bbox)",
    "bbox_absent": "* EXCLUDE (bbox)",
    "geometry_native": "* REPLACE (ST_GeomFromWKB(geometry) AS geometry)",
    "geometry_absent": "* EXCLUDE (geometry)",
    "assets_json": "* REPLACE (to_json(assets) AS assets)",
    "assets_text": "* REPLACE (to_json(assets)::VARCHAR AS assets)",
    "assets_map": "* REPLACE (MAP {'B04': {href: assets.B04.href}, 'B08': {href: assets.B08.href}} AS assets)",
    "time_text": "* REPLACE (strftime(datetime AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ') AS datetime)",
    "time_plain": "* REPLACE ((datetime AT TIME ZONE 'UTC')::TIMESTAMP AS datetime)",
    "time_ns": "* REPLACE ((datetime AT TIME ZONE 'UTC')::TIMESTAMP_NS AS datetime)",
    "start_only": "* REPLACE (NULL::TIMESTAMPTZ AS datetime), datetime AS start_datetime, datetime AS end_datetime",
    "properties": 'id, assets, bbox, geometry, {datetime: datetime, "eo:cloud_cover": "eo:cloud_cover"} AS properties',
    "properties_json": "id, assets, bbox, geometry, to_json({datetime: strftime(datetime AT TIME ZONE 'UTC', "
    '\'%Y-%m-%dT%H:%M:%S.%fZ\'), "eo:cloud_cover": "eo:cloud_cover"}) AS properties',
}


@pytest.mark.parametrize("by_value", [False, True], ids=["file", "by value"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(con, shared_data, globe, tmp_path, layout, by_value):
    """A real archive in other clothes: the same ids in the same order, all of them and those of a small box."""
    original = shared_data / "stac/geoparquet/rustac__100-sentinel-2-items.parquet"
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_geoparquet_conversion = false")
    rows = f"SELECT {LAYOUTS[layout]} FROM '{original}'"
    try:
        con.execute(f"COPY ({rows}) TO '{tmp_path}/other.parquet'")
    except duckdb.Error as error:
        pytest.skip(f"this DuckDB cannot write it: {error}")
    named = {"bands": ["B04"], "href_replace": ["^.*$", str(globe)]}
    small = Grid((-105.1, 39, -104.8, 40), "EPSG:4326", 0.1)
    for grid in (WORLD, small):
        for extra in ({}, {"sortby": ["-eo:cloud_cover"]}, {"filter": "eo:cloud_cover < 30"}):
            wanted = order(con, original, "P1D", grid, **named, **extra)
            if by_value:
                con.execute(f"SET VARIABLE items = (SELECT list(i) FROM ({rows}) i)")
                text = call("lazycogs_explain", "ITEMS", grid, "P1D", chunk_size=4096, **named, **extra)
                text = text.replace("'ITEMS'", "getvariable('items')")
                sql = f"SELECT item_id FROM {text} WHERE item_id IS NOT NULL ORDER BY time, read_order"
                found = [row[0] for row in con.execute(sql).fetchall()]
            else:
                found = order(con, tmp_path / "other.parquet", "P1D", grid, **named, **extra)
            assert found == wanted
            assert wanted
