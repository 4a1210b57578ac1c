"""From arguments to a bound cube: broken first items, different nodata, periods, areas without data, settings."""

import datetime as dt
import json
import os
import re
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
from helpers import call, literal
from small import LEFT, TOP, UTM, grid, index, item, raster, values

FUNCTIONS = ["lazycogs_read", "lazycogs_read_chunks", "lazycogs_explain", "lazycogs_info"]
READERS = FUNCTIONS[:2]


def message(con, sql):
    with pytest.raises(duckdb.Error) as error:
        con.execute(sql).fetchall()
    found = str(error.value)
    assert "lazycogs_" in found and "panicked" not in found and "INTERNAL" not in found, found
    return found.split("\nLINE")[0]


def says(found, *parts):
    missing = [part for part in parts if part not in found]
    assert not missing, f"{missing} not in: {found}"


def chunk(con, source, where, dtype, period="P1D", **named):
    rows = con.execute(f"SELECT data FROM {call('lazycogs_read_chunks', source, where, period, **named)}").fetchall()
    assert len(rows) == 1
    return np.frombuffer(rows[0][0], dtype).reshape(where.shape)


# What cannot be read, as a function of the folder; each gives the href of the first item.
def damage_missing(folder):
    return folder / "nowhere.tif"


def damage_empty_href(folder):
    return ""


def damage_scheme(folder):
    return "ftp://127.0.0.1/a.tif"


def damage_not_a_tiff(folder):
    (folder / "bad.tif").write_text("<html>404</html>")
    return folder / "bad.tif"


def damage_empty_file(folder):
    (folder / "bad.tif").write_bytes(b"")
    return folder / "bad.tif"


def damage_header_only(folder):
    path = raster(folder / "bad.tif", np.full((16, 16), 1, "uint8"))
    path.write_bytes(path.read_bytes()[:20])
    return path


def damage_no_crs(folder):
    return raster(folder / "bad.tif", np.full((16, 16), 1, "uint8"), crs=None)


def damage_codec(folder):
    path = raster(folder / "bad.tif", np.full((16, 16), 1, "uint8"))
    data = bytearray(path.read_bytes())
    # Tag 259, Compression: SHORT, one value. 34677 is Thunderscan's neighbour that nobody writes.
    at = bytes(data).index(b"\x03\x01\x03\x00\x01\x00\x00\x00")
    data[at + 8 : at + 10] = (34677).to_bytes(2, "little")
    path.write_bytes(data)
    return path


def damage_complex(folder):
    return raster(folder / "bad.tif", np.full((16, 16), 1 + 1j, "complex64"))


def damage_more_bands(folder):
    return raster(folder / "bad.tif", np.full((3, 16, 16), 1, "uint8"), photometric="minisblack")


def damage_folder(folder):
    (folder / "bad.tif").mkdir()
    return folder / "bad.tif"


DAMAGE = [value for name, value in sorted(globals().items()) if name.startswith("damage_")]
OUTLINE = [(14.9, 46.8), (15.1, 46.8), (15.1, 47.1), (14.9, 47.1), (14.9, 46.8)]


@pytest.fixture
def broken(tmp_path, request):
    """An archive whose first two items are damaged; the third reads well."""
    good = raster(tmp_path / "good.tif", np.full((16, 16), 7, "uint8"), nodata=0)
    href = request.param(tmp_path)
    items = [
        item(name, {"data": good}, (2024, 5, 3, 12, minute)) for minute, name in enumerate(["bad", "worse", "good"])
    ]
    path = index(tmp_path, items)
    table = pq.read_table(path)
    rows = table.to_pylist()
    for row in rows[:2]:
        row["assets"]["data"]["href"] = str(href)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return path


@pytest.mark.parametrize("broken", DAMAGE, indirect=True, ids=lambda kind: kind.__name__.removeprefix("damage_"))
def test_a_broken_first_item(con, broken):
    assert values(con, broken, grid(16, 16), errors="ignore") == [[7] * 256]
    failed = "SELECT item_id, asset, message <> '' FROM lazycogs_failures() ORDER BY item_id"
    assert con.execute(failed).fetchall() == [("bad", "data", True), ("worse", "data", True)]
    assert (chunk(con, broken, grid(16, 16), "uint8", bands=["data"], errors="ignore") == 7).all()
    info = call("lazycogs_info", broken, grid(16, 16), bands=["data"], errors="ignore")
    assert con.execute(f"SELECT dtype, nodata, items FROM {info}").fetchall() == [("uint8", 0.0, 3)]
    assert con.execute(failed).fetchall() == [("bad", "data", True), ("worse", "data", True)]
    plan = call("lazycogs_explain", broken, grid(16, 16), bands=["data"], errors="ignore", headers=True)
    rows = con.execute(f"SELECT item_id, tiles FROM {plan} ORDER BY read_order").fetchall()
    assert [name for name, _ in rows] == ["bad", "worse", "good"] and rows[2][1] == 1
    for function in READERS:
        found = message(con, f"FROM {call(function, broken, grid(16, 16), bands=['data'])}")
        says(found, "bad", "data")


@pytest.mark.parametrize("broken", [damage_missing], indirect=True)
def test_the_index_decides_the_bands_of_a_broken_item(con, broken):
    """Without names, too; and the broken ones need not be first in the file."""
    found = values(con, broken, grid(16, 16), errors="ignore", sortby=["-datetime"], ids=["good", "bad"])
    assert found == [[7] * 256]


@pytest.mark.parametrize("broken", [damage_missing], indirect=True)
def test_nothing_but_broken_items(con, broken):
    text = call("lazycogs_read", broken, grid(16, 16), bands=["data"], errors="ignore", ids=["bad", "worse"])
    says(message(con, f"FROM {text}"), "bad", "data", "nowhere.tif", "no item")


# Arrays with one missing pixel each, by another nodata: the model is numpy.
PAIRS = [
    ("uint8", 0, "uint8", 255),
    ("uint8", 0, "int16", -9999),
    ("int16", -9999, "int16", 0),
    ("int16", -9999, "uint8", 0),
    ("uint16", 0, "int16", -1),
    ("uint16", 65535, "uint16", 0),
    ("uint8", 255, "float32", -9999),
    ("float32", -9999, "float32", 0),
    ("int32", -9999, "int32", 0),
    ("uint32", 0, "uint32", 4294967295),
    ("float64", float("nan"), "uint8", 0),
]


def two_sources(folder, first, second):
    """Two files side by side, 16 pixels each; returns the index and what is to be seen, NaN where nothing is."""
    (one, fill_one), (two, fill_two) = first, second
    left, right = np.full((16, 16), 100, one), np.full((16, 16), 50, two)
    left[:4], right[4:8] = fill_one, fill_two
    # What is the other's nodata is a value here, if the type holds it.
    for array, own, other in ((left, fill_one, fill_two), (right, fill_two, fill_one)):
        if not np.isnan(other) and other == np.array(other).astype(array.dtype) and other != own:
            array[12:] = other
    paths = [
        raster(folder / "a.tif", left, nodata=fill_one),
        raster(folder / "b.tif", right, nodata=fill_two, left=LEFT + 160),
    ]
    seen = np.hstack([left.astype("float64"), right.astype("float64")])
    seen[:4, :16], seen[4:8, 16:] = np.nan, np.nan
    return index(folder, [item(str(i), {"data": path}) for i, path in enumerate(paths)]), seen


@pytest.mark.parametrize("one, fill_one, two, fill_two", PAIRS)
def test_different_nodata(con, tmp_path, one, fill_one, two, fill_two):
    source, seen = two_sources(tmp_path, (one, fill_one), (two, fill_two))
    where = grid(32, 16)
    wider = {}
    if not np.can_cast(two, one):
        text = f"FROM {call('lazycogs_read', source, where, bands=['data'])}"
        dtype = re.search(r"pass dtype := '(\w+)'", message(con, text))[1]
        wider = {"dtype": dtype}
        assert np.can_cast(one, dtype) and np.can_cast(two, dtype)
    (step,) = values(con, source, where, **wider)
    read = np.array([np.nan if value is None else value for value in step], "float64").reshape(16, 32)
    np.testing.assert_array_equal(read, seen)
    # The advice of chunks, followed to the letter.
    text = call("lazycogs_read_chunks", source, where, bands=["data"])
    found = message(con, f"FROM {text}")
    advice = re.search(r"pass (nodata := ('NaN'|[-\d.]+), dtype := '(\w+)')", found)
    assert advice, found
    (blob,) = con.execute(f"SELECT data FROM {text[:-1]}, {advice[1]})").fetchone()
    pixels = np.frombuffer(blob, advice[3]).reshape(16, 32)
    fill = float(advice[2].strip("'"))
    expected = np.where(np.isnan(seen), fill, seen).astype(advice[3])
    np.testing.assert_array_equal(pixels, expected)
    assert np.isnan(fill) or (seen != fill).all(), "the fill is a value, too"


def test_one_value_marks_all_where_it_can(con, tmp_path):
    source, _ = two_sources(tmp_path, ("uint8", 0), ("uint8", 255))
    found = message(con, f"FROM {call('lazycogs_read_chunks', source, grid(32, 16), bands=['data'])}")
    says(found, "nodata := -9999, dtype := 'int16'")


@pytest.mark.parametrize("mosaic", ["mean", "median", "highest"])
def test_different_nodata_in_statistics(con, tmp_path, mosaic):
    arrays = [np.array([[0, 10, 255, 30]], "uint8"), np.array([[255, 0, 20, 50]], "uint8")]
    paths = [raster(tmp_path / f"{i}.tif", array, nodata=fill) for i, (array, fill) in enumerate(zip(arrays, (0, 255)))]
    source = index(tmp_path, [item(str(i), {"data": path}) for i, path in enumerate(paths)])
    stack = np.ma.masked_array(arrays, mask=[arrays[0] == 0, arrays[1] == 255]).astype("float64")
    how = {"mean": np.ma.mean, "median": np.ma.median, "highest": np.ma.max}[mosaic]
    wanted = [None if value is np.ma.masked else float(value) for value in how(stack, axis=0)[0]]
    assert values(con, source, grid(4), mosaic=mosaic) == [wanted]
    assert wanted == [None, 5.0, 137.5, 40.0] or mosaic == "highest"
    text = call("lazycogs_read_chunks", source, grid(4), mosaic=mosaic)
    advice = re.search(r"pass (nodata := (\S+), dtype := '(\w+)')", message(con, f"FROM {text}"))
    (blob,) = con.execute(f"SELECT data FROM {text[:-1]}, {advice[1]})").fetchone()
    fill = float(advice[2].strip("',"))
    assert np.frombuffer(blob, advice[3]).tolist() == [fill if value is None else value for value in wanted]


def start_of(period, time):
    """The start of the window in plain arithmetic on the calendar."""
    n, unit = int(re.search(r"\d+", period)[0]), period[-1]
    if period.startswith("PT"):
        width = dt.timedelta(minutes=n) if unit == "M" else dt.timedelta(hours=n)
        origin = dt.datetime(2000, 1, 1)
        return origin + (time - origin) // width * width
    months = n if unit == "M" else 12 * n
    counted = ((time.year - 2000) * 12 + time.month - 1) // months * months
    return dt.datetime(2000 + counted // 12, counted % 12 + 1, 1)


TIMES = [
    (1969, 7, 20, 20, 17),
    (1987, 3, 31, 23, 59),
    (1999, 9, 30, 23, 45),
    (1999, 12, 31, 23, 59),
    (2000, 1, 1, 0, 0),
    (2004, 2, 29, 12, 30),
    (2019, 12, 31, 23, 59),
    (2023, 1, 1, 0, 0),
    (2024, 3, 31, 23, 59),
    (2024, 4, 1, 0, 0),
    (2024, 5, 3, 12, 7),
    (2024, 5, 3, 12, 44),
]


@pytest.mark.parametrize(
    "period", ["P1M", "P2M", "P3M", "P5M", "P6M", "P12M", "P1Y", "P2Y", "P10Y", "PT1M", "PT30M", "PT7M"]
)
def test_periods(con, tmp_path, period):
    path = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"), nodata=0)
    # In no order: the steps are what the query sorts by.
    order = np.random.default_rng(5).permutation(len(TIMES))
    source = index(tmp_path, [item(str(i), {"data": path}, TIMES[i]) for i in order])
    found = con.execute(f"SELECT time FROM {call('lazycogs_read', source, grid(1), period)}").fetchall()
    wanted = sorted({start_of(period, dt.datetime(*time)) for time in TIMES})
    assert [time for (time,) in found] == wanted


@pytest.mark.parametrize("period", ["P3M", "P5Y", "P1M"])
def test_periods_take_bare_dates(con, tmp_path, period):
    path = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"), nodata=0)
    feature = {
        "type": "Feature",
        "id": "a",
        "bbox": [14, 40, 16, 50],
        "geometry": None,
        "properties": {"datetime": "1998-05-03"},
        "assets": {"data": {"href": str(path)}},
    }
    (tmp_path / "items.json").write_text(json.dumps(feature))
    text = call("lazycogs_read", tmp_path / "items.json", grid(1), period)
    assert con.execute(f"SELECT time FROM {text}").fetchall() == [(start_of(period, dt.datetime(1998, 5, 3)),)]


@pytest.fixture
def source(tmp_path):
    path = raster(tmp_path / "a.tif", np.arange(256).reshape(16, 16).astype("uint8"), nodata=0)
    return index(tmp_path, [item("one", {"data": path, "other": path}, **{"eo:cloud_cover": 12.0})])


def at(source, bbox, crs, resolution, function="lazycogs_read", **named):
    extra = "".join(f", {name} := {literal(value)}" for name, value in named.items())
    return f"FROM {function}('{source}', {bbox}, '{crs}', {resolution}, 'P1D'{extra})"


# 15 E and 46.9 N, in Austria.
LON, LAT = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(LEFT + 80, TOP - 80)


def test_swapped_latitude_and_longitude(con, source):
    typed = [round(LAT - 0.01, 3), round(LON - 0.01, 3), round(LAT + 0.01, 3), round(LON + 0.01, 3)]
    found = message(con, at(source, typed, "EPSG:4326", 0.0001))
    says(found, "no item matches", str(typed), "EPSG:4326", "swap latitude and longitude")
    swapped = [typed[1], typed[0], typed[3], typed[2]]
    says(found, str(swapped))
    assert con.execute(f"SELECT count(data) > 0 {at(source, swapped, 'EPSG:4326', 0.0001)}").fetchone()[0]


def test_perhaps_swapped(con, source):
    """Where the index tells nothing: the archive has no items in either box."""
    says(message(con, at(source, "[44.49, -89.9, 44.52, -89.8]", "EPSG:4326", 0.0001)), "swap latitude and longitude?")
    assert "swap" not in message(con, at(source, "[144.49, -39.9, 144.52, -39.8]", "EPSG:4326", 0.0001))


def test_swapped_beyond_the_pole(con, source):
    for function in FUNCTIONS:
        found = message(con, at(source, "[44.49, -90.05, 44.52, -90.01]", "EPSG:4326", 0.0001, function))
        says(found, "90", "latitude")


def test_swapped_easting_and_northing(con, source):
    typed = [TOP - 160, LEFT, TOP, LEFT + 160]
    says(message(con, at(source, typed, UTM, 10)), "no item matches", str(typed), "swap x and y")


@pytest.mark.parametrize(
    "crs, unit", [("EPSG:32633", "in metres"), ("EPSG:3857", "in metres"), ("EPSG:2225", "US survey foot")]
)
def test_degrees_in_a_projected_crs(con, source, crs, unit):
    typed = [14.99, 46.89, 15.01, 46.91]
    says(message(con, at(source, typed, crs, 0.001)), "no item matches", str(typed), "looks like degrees", crs, unit)


@pytest.mark.parametrize(
    "crs, bbox, resolution",
    [
        ("+proj=ortho +lat_0=0 +lon_0=0", [2e7, 2e7, 3e7, 3e7], 1e5),
        ("+proj=geos +h=35785831 +lon_0=0", [6e6, 6e6, 7e6, 7e6], 1e5),
        ("ESRI:54009", [3e7, 3e7, 4e7, 4e7], 1e5),
    ],
)
def test_a_grid_without_any_place_on_earth(con, source, crs, bbox, resolution):
    for function in FUNCTIONS:
        says(message(con, at(source, bbox, crs, resolution, function)), "bbox", "place on the Earth")
    # A corner of the Earth is enough.
    wide = [-3e7, -3e7, 3e7, 3e7]
    assert con.execute(f"SELECT count(*) {at(source, wide, crs, 1e6)}").fetchone() == (3600,)


def test_the_footprint_decides_whether_there_is_anything(con, tmp_path):
    """The bbox of an L reaches into the area, the L does not."""
    path = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"))
    outline = [(10, 40), (20, 40), (20, 41), (11, 41), (11, 50), (10, 50), (10, 40)]
    source = index(tmp_path, [item("L", {"data": path}, footprint=outline)])
    for function in READERS:
        found = message(con, f"FROM {call(function, source, grid(4, 4), allow_empty=False)}")
        says(found, "no item matches")
        assert "there are items" not in found
        assert con.execute(f"FROM {call(function, source, grid(4, 4), allow_empty=True)}").fetchall() == []


def test_most_pixels(con, source):
    for function in FUNCTIONS:
        # [xmin, xmax, ymin, ymax].
        found = message(con, at(source, [380000, 420000, 4928000, 4984000], UTM, 10, function))
        says(found, "454800 x 456400", str(454800 * 456400), "SET lazycogs_max_pixels", "resolution", "4000000000")
        says(found, "[380000, 4928000, 420000, 4984000]", "4000 x 5600")
    con.execute("SET lazycogs_max_pixels = 255")
    says(message(con, f"FROM {call('lazycogs_read', source, grid(16, 16))}"), "256", "16 x 16", "255")
    con.execute("SET lazycogs_max_pixels = 256")
    assert len(values(con, source, grid(16, 16))[0]) == 256
    con.execute("SET lazycogs_max_pixels = 0")
    wide = at(source, [0, 0, 1000000, 9000000], UTM, 10, "lazycogs_info")
    assert con.execute(f"SELECT DISTINCT width * height {wide}").fetchall() == [(100_000 * 900_000,)]
    con.execute("RESET lazycogs_max_pixels")
    says(message(con, wide), "lazycogs_max_pixels")


ELSEWHERE = [
    {"datetime": "1999"},
    {"ids": ["nobody"]},
    {"ids": []},
    {"filter": "eo:cloud_cover > 50"},
    {},
]


@pytest.mark.parametrize("named", ELSEWHERE, ids=str)
def test_no_data_here(con, source, named):
    where = grid(4, 4) if named else grid(4, 4, left=LEFT + 100000)
    for function in READERS:
        says(message(con, f"FROM {call(function, source, where, **named)}"), "no item matches")
        text = call(function, source, where, allow_empty=True, **named)
        assert con.execute(f"FROM {text}").fetchall() == []
        full = call(function, source, grid(4, 4))
        assert con.execute(f"DESCRIBE FROM {text}").fetchall() == con.execute(f"DESCRIBE FROM {full}").fetchall()
    for more in ({}, {"allow_empty": True}, {"allow_empty": False}):
        text = call("lazycogs_info", source, where, **named, **more)
        rows = con.execute(f"SELECT band, dtype, nodata, steps, first_time, items, bytes FROM {text}").fetchall()
        assert rows == [(band, "uint8", 0.0, 0, None, 0, 0) for band in ("data", "other")]
        for headers in (False, True):
            text = call("lazycogs_explain", source, where, headers=headers, **named, **more)
            assert con.execute(f"FROM {text}").fetchall() == []
    text = call("lazycogs_read", source, where, allow_empty=True, bands="other", **named)
    assert [row[0] for row in con.execute(f"DESCRIBE FROM {text}").fetchall()] == ["time", "y", "x", "other"]


def test_the_columns_of_an_empty_answer_come_from_the_first_that_has_the_bands(con, tmp_path):
    first = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"))
    second = raster(tmp_path / "b.tif", np.full((16, 16), 7.5, "float32"))
    items = [item("one", {"a": first, "b": None}), item("two", {"a": None, "b": second}, (2024, 6, 1))]
    source = index(tmp_path, items)
    text = call("lazycogs_read", source, grid(4, 4), datetime="1999", bands=["b"], allow_empty=True)
    assert con.execute(f"DESCRIBE FROM {text}").fetchall()[3][:2] == ("b", "FLOAT")
    assert "'c'" in message(con, f"FROM {text.replace('[' + literal('b') + ']', '[' + literal('c') + ']')}")


def test_what_is_known_of_one_area_does_not_hold_for_another(con, tmp_path):
    """An old index is remembered; the look-ups that explain an empty answer must not be taken for others."""
    paths = [
        raster(tmp_path / f"{kind}.tif", np.full((16, 16), 7, kind), left=LEFT + 5000 * i)
        for i, kind in enumerate(("float32", "int16"))
    ]
    source = index(tmp_path, [item(path.stem, {"data": path}) for path in paths])
    os.utime(source, (1e9, 1e9))
    far, east = grid(4, 4, left=LEFT + 100000), grid(4, 4, left=LEFT + 5000)
    describe = f"DESCRIBE SELECT data FROM {call('lazycogs_read', source, far, allow_empty=True)}"
    for _ in range(2):
        for where, named in ((far, {}), (east, {"datetime": "1999"})):
            found = message(con, f"FROM {call('lazycogs_read', source, where, **named)}")
            assert ("there are items in the box" in found) == bool(named)
        assert con.execute(describe).fetchall()[0][1] == "FLOAT"
        info = con.execute(f"SELECT dtype, items FROM {call('lazycogs_info', source, east)}").fetchall()
        assert info == [("int16", 1)]


def test_a_loop_over_parcels(con, source):
    """A lateral union of parcels, some of them without data."""
    parts = [
        f"SELECT {i} AS parcel, data FROM {call('lazycogs_read', source, grid(2, left=LEFT + step), allow_empty=True)}"
        for i, step in enumerate((0, 50000, 20))
    ]
    rows = con.execute(
        f"SELECT parcel, count(*) FROM ({' UNION ALL '.join(parts)}) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert rows == [(0, 2), (2, 2)]


def test_the_cost_of_a_cold_read(con, source):
    text = call("lazycogs_explain", source, grid(16, 16), bands=["data"], headers=True)
    sql = f"SELECT tiles, requests, bytes, cached, requests_now, bytes_now FROM {text}"
    time.sleep(0.1)  # a file written just now may change once more and look the same: its header is not kept
    (before,) = con.execute(sql).fetchall()
    assert before[1] == 1 and before[2] > 0 and before[3:] == (0, *before[1:3])
    values(con, source, grid(16, 16))
    assert con.execute(sql).fetchall() == [(*before[:3], before[0], 0, 0)]
    con.execute("SET lazycogs_cache_size = '0'")
    assert con.execute(sql).fetchall() == [before]


def test_the_memory_budget_follows_the_limit(connect, tmp_path):
    """What shows the budget is the side of the tiles that it leaves room for."""
    path = raster(tmp_path / "a.tif", np.zeros((16, 16), "float32"))
    source = index(tmp_path, [item("one", {f"b{i}": path for i in range(12)})])

    def side(*settings):
        con = connect()
        for setting in settings:
            con.execute(setting)
        return con.execute(f"SELECT DISTINCT chunk_size FROM {call('lazycogs_info', source, grid(16, 16))}").fetchone()[
            0
        ]

    # Four tiles of 512 x 512 pixels, 12 bands of 4 bytes and one for validity, are a quarter of 251.7 MB.
    for limit, wanted in (("400MB", 256), ("1GB", 256), ("8GB", 512), ("1040MB", 512), ("-1", 512)):
        assert side(f"SET memory_limit = '{limit}'") == wanted, limit
    assert side("SET lazycogs_memory_budget = '251MB'") == 256
    assert side("SET lazycogs_memory_budget = '252MB'") == 512
    assert side("SET memory_limit = '400MB'", "SET lazycogs_memory_budget = '252MB'") == 512
    assert (
        side("SET memory_limit = '400MB'", "SET lazycogs_memory_budget = '1GB'", "RESET lazycogs_memory_budget") == 256
    )


@pytest.mark.parametrize(
    "name, value",
    [
        ("lazycogs_memory_budget", "'much'"),
        ("lazycogs_memory_budget", "'-1MB'"),
        ("lazycogs_memory_budget", "''"),
        ("lazycogs_memory_budget", "'256 parsecs'"),
        ("lazycogs_memory_budget", "'1.2.3MB'"),
        ("lazycogs_cache_size", "'NaN'"),
        ("lazycogs_cache_size", "'1e99GB'"),
        ("lazycogs_max_pixels", "-1"),
        ("lazycogs_max_retries", "-1"),
        ("lazycogs_max_retries", "1000000000000"),
        ("lazycogs_http_timeout", "0"),
        ("lazycogs_http_timeout", "9000000000000000000"),
        ("lazycogs_max_concurrent_reads", "0"),
        ("lazycogs_max_concurrent_reads", "9000000000000"),
        ("lazycogs_io", "'curl'"),
        ("lazycogs_io", "NULL"),
        ("lazycogs_memory_budget", "NULL"),
        ("lazycogs_cache_size", "NULL"),
        ("lazycogs_max_pixels", "NULL"),
    ],
)
def test_settings_that_are_none(con, source, name, value):
    try:
        con.execute(f"SET {name} = {value}")
    except duckdb.Error as error:
        assert name in str(error)
        return
    for function in FUNCTIONS:
        says(message(con, f"FROM {call(function, source, grid(1))}"), name)
    says(message(con, f"FROM lazycogs_store('{source}')"), name)
    con.execute(f"RESET {name}")
    assert values(con, source, grid(1)) == [[None]]


def by_value(con, href):
    box = "bbox: {xmin: 14, ymin: 40, xmax: 16, ymax: 50}"
    row = f"{{id: 'a', {box}, datetime: TIMESTAMP '2024-05-03', assets: {{data: {{href: '{href}'}}}}}}"
    con.execute(f"SET VARIABLE items = [{row}]")
    return f"{list(map(float, grid(4, 1).bbox))}, '{UTM}', 10, 'P1D'"


@pytest.mark.parametrize("base", ["{}", "{}/", "{}/items.json", "file://{}", "{}/tiles/..", "{}/nothing.parquet"])
def test_items_base(con, tmp_path, base):
    raster(tmp_path / "deep" / "a.tif", np.full((16, 16), 7, "uint8"))
    base = base.format(tmp_path)
    if base.endswith(".."):
        (tmp_path / "tiles").mkdir()
    where = by_value(con, "deep/a.tif")
    sql = f"SELECT data FROM lazycogs_read(getvariable('items'), {where}"
    assert con.execute(f"{sql}, items_base := '{base}')").fetchall() == [(7,)] * 4
    says(message(con, f"{sql})"), "deep/a.tif")
    store = f"SELECT href FROM lazycogs_store(getvariable('items'), items_base := '{base}')"
    assert con.execute(store).fetchone()[0].endswith("deep/a.tif")
    says(message(con, f"{sql}, items_base := ' ')"), "items_base")


def test_items_base_over_http(con, served):
    """Of an archive behind a server whose items lie elsewhere."""
    with rasterio.open(served.folder / "bad" / "good.tif") as file:
        left, top, crs = file.transform.c, file.transform.f, file.crs.to_string()
        first = int(file.read(1)[0, 0])
        resolution = file.transform.a
    lon, lat = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(left, top)
    box = f"bbox: {{xmin: {lon - 1}, ymin: {lat - 1}, xmax: {lon + 1}, ymax: {lat + 1}}}"
    row = f"{{id: 'a', {box}, datetime: TIMESTAMP '2024-05-03', assets: {{data: {{href: './good.tif'}}}}}}"
    con.execute(f"SET VARIABLE items = [{row}]")
    area = [left, top - resolution, left + resolution, top]
    for base in (f"{served.url}/bad", f"{served.url}/bad/", f"{served.url}/bad/catalog.json?sig=abc"):
        where = f"{area}, '{crs}', {resolution}, 'P1D', items_base := '{base}'"
        sql = f"SELECT data FROM lazycogs_read(getvariable('items'), {where})"
        assert con.execute(sql).fetchall() in ([(first,)], [(None,)])


@pytest.mark.parametrize("name", ["a.tif", "b.TIFF", "http://127.0.0.1:1/c.tif?sig=secret", "*.tif", "d.jp2"])
def test_an_image_is_no_item(con, tmp_path, name):
    for items in (f"'{name}'", f"['{name}']"):
        text = f"FROM lazycogs_read({items}, [0, 0, 10, 10], '{UTM}', 10, 'P1D')"
        found = message(con, text)
        says(found, name.split("?")[0], "STAC items", "getvariable")
        assert "secret" not in found


def test_the_example_of_that_message_works(con, tmp_path):
    path = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"))
    found = message(con, at(path, list(grid(4, 1).bbox), UTM, 10))
    con.execute(re.search(r"SET VARIABLE items = \[.*\](?=, then)", found)[0])
    where = f"{list(map(float, grid(4, 1).bbox))}, '{UTM}', 10, 'P1D'"
    assert con.execute(f"SELECT data FROM lazycogs_read(getvariable('items'), {where})").fetchall() == [(7,)] * 4


def test_a_single_text_is_a_list_of_one(con, source):
    where = grid(16, 16)
    for one, many in (
        ("bands := 'other'", "bands := ['other']"),
        ("ids := 'one'", "ids := ['one']"),
        ("sortby := 'eo:cloud_cover'", "sortby := ['eo:cloud_cover']"),
        ("sortby := '-datetime', bands := 'data'", "sortby := ['-datetime'], bands := ['data']"),
        ("ids := 'one'::ENUM('one', 'two')", "ids := ['one']::ENUM('one', 'two')[]"),
    ):
        rows = [
            con.execute(f"DESCRIBE FROM {call('lazycogs_read', source, where)[:-1]}, {how})").fetchall()
            + con.execute(f"FROM {call('lazycogs_read', source, where)[:-1]}, {how}) ORDER BY ALL").fetchall()
            for how in (one, many)
        ]
        assert rows[0] == rows[1]
    for name in ("bands", "ids", "sortby"):
        for wrong, what in (("true", "BOOLEAN"), ("1.5", "number"), ("{a: 1}", "STRUCT"), ("['a', NULL]", "NULL")):
            found = message(con, f"FROM {call('lazycogs_read', source, where)[:-1]}, {name} := {wrong})")
            says(found, name, what)


def test_numbers_as_ids(con, tmp_path):
    path = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"))
    source = index(tmp_path, [item("12", {"data": path}), item("13", {"data": path})])
    text = call("lazycogs_explain", source, grid(1))[:-1]
    for ids in ("12", "[12]", "[12::UBIGINT]"):
        assert con.execute(f"SELECT item_id FROM {text}, ids := {ids})").fetchall() == [("12",)]


@pytest.mark.parametrize("function", READERS)
def test_the_estimated_rows_count_the_steps(con, tmp_path, function):
    path = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"))
    source = index(tmp_path, [item(str(i), {"data": path}, (2024, 1 + i, 1)) for i in range(10)])
    text = call(function, source, grid(16, 16), "P1M", chunk_size=16)
    plan = con.execute(f"EXPLAIN (FORMAT json) FROM {text}").fetchone()[1]
    estimate = int(re.search(r'"Estimated Cardinality": "~?(\d+)', plan)[1])
    assert estimate == con.execute(f"SELECT count(*) FROM {text}").fetchone()[0]
