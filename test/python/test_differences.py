"""Where the Python lazycogs 0.7 is silently wrong or cannot go on, and what is right: docs/differences.md as tests."""

import math
import os
import subprocess
import sys
from datetime import datetime

import duckdb
import numpy as np
import pytest
import rasterio
from helpers import assert_same, call, read
from model import Grid, cube, load_items
from rasterio.enums import Resampling
from small import LEFT, TOP, grid, index, item, raster, stack, values


def full(value, dtype="uint8", size=16):
    return np.full((size, size), value, dtype)


# -- mosaics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [16, 64])
@pytest.mark.parametrize(
    "mosaic, wanted",
    [
        ("first", 10),
        ("last", 65),
        ("highest", 65),
        ("lowest", 10),
        ("mean", 95 / 3),
        ("median", 20),
        ("stdev", np.std([10, 20, 65])),
        ("count", 3),
    ],
)
def test_only_first_and_last_stop_early(con, tmp_path, mosaic, wanted, chunk_size):
    """The first item fills the tile; the others count all the same, whatever the size of the tile."""
    source = stack(tmp_path, [full(v, size=32) for v in (10, 20, 65)])
    (found,) = values(con, source, grid(32, 32), mosaic=mosaic, chunk_size=chunk_size)
    assert np.allclose(found, wanted, rtol=1e-7)
    assert len(found) == 32 * 32


@pytest.mark.parametrize("dtype", [None, "float32", "float64"])
def test_a_mean_of_integers_is_not_cut_off(con, tmp_path, dtype):
    source = stack(tmp_path, [full(v) for v in (1, 2, 2)])
    named = {"dtype": dtype} if dtype else {}
    assert values(con, source, grid(1), mosaic="mean", **named) == [[pytest.approx(5 / 3, rel=1e-7)]]


def test_a_mean_of_large_numbers_keeps_its_digits(con, tmp_path):
    """In single precision 16777216 + 1 is 16777216."""
    source = stack(tmp_path, [full(v, "int32") for v in (16777216, 16777217, 16777218, 16777221)])
    assert values(con, source, grid(1), mosaic="mean", dtype="float64") == [[16777218.0]]
    assert values(con, source, grid(1), mosaic="stdev", dtype="float64") == [[pytest.approx(math.sqrt(3.5), rel=1e-12)]]


def test_one_observation_and_none(con, tmp_path):
    pair = np.array([[7, 0]], "uint8").repeat(16, 0).repeat(8, 1)
    source = stack(tmp_path, [pair], nodata=0)
    where = grid(2, resolution=80)
    wanted = {"mean": 7, "median": 7, "stdev": 0, "highest": 7, "lowest": 7, "first": 7, "last": 7}
    for mosaic, value in wanted.items():
        assert values(con, source, where, mosaic=mosaic) == [[value, None]], mosaic
    assert values(con, source, where, mosaic="count") == [[1, 0]]


def test_count_does_not_wrap_and_zero_is_a_value(con, tmp_path):
    """300 observations; beside the raster there are none, which is 0, not nodata."""
    path = raster(tmp_path / "a.tif", full(1))
    source = index(tmp_path, [item(str(i), {"data": path}) for i in range(300)])
    where = grid(2, left=LEFT + 150)
    assert values(con, source, where, mosaic="count") == [[300, 0]]
    assert values(con, source, where, mosaic="count", dtype="uint8") == [[255, 0]], "saturates"
    assert values(con, source, where, mosaic="count", nodata=1) == [[0, 0]]


# -- what is valid ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodata", [None, math.nan, -9999])
def test_neighbours_mosaic_whatever_their_nodata(con, tmp_path, nodata):
    """Two tiles side by side: outside its file an item has nothing, neither zeros nor NaN."""
    a = raster(tmp_path / "a.tif", full(5, "float32"), nodata=nodata)
    b = raster(tmp_path / "b.tif", full(7, "float32"), left=LEFT + 160, nodata=nodata)
    source = index(tmp_path, [item("a", {"data": a}), item("b", {"data": b})])
    where = grid(4, left=LEFT, resolution=80)
    for mosaic in ("first", "last", "highest", "lowest", "mean", "median"):
        assert values(con, source, where, mosaic=mosaic) == [[5, 5, 7, 7]], mosaic
    assert values(con, source, where, mosaic="count") == [[1, 1, 1, 1]]


@pytest.mark.parametrize("nodata", [None, math.nan, -9999])
def test_nan_is_never_data(con, tmp_path, nodata):
    holes = np.where(np.arange(16) < 8, np.nan, 3).astype("float32")[None].repeat(16, 0)
    source = stack(tmp_path, [holes, full(9, "float32")], nodata=nodata)
    where = grid(2, resolution=80)
    wanted = {"first": [9, 3], "last": [9, 9], "highest": [9, 9], "lowest": [9, 3], "mean": [9, 6], "count": [1, 2]}
    for mosaic, row in wanted.items():
        assert values(con, source, where, mosaic=mosaic) == [row], mosaic


def test_masks_and_alpha_let_the_next_item_through(con, tmp_path):
    left_half = np.tile(np.arange(16) < 8, (16, 1))
    masked = raster(tmp_path / "masked.tif", full(5), mask=left_half)
    rgba = np.stack([full(5), full(5), full(5), np.where(left_half, 255, 0)]).astype("uint8")
    alpha = raster(tmp_path / "alpha.tif", rgba, photometric="RGB", alpha="YES")
    below = raster(tmp_path / "below.tif", np.stack([full(9)] * 4), photometric="RGB", alpha="YES")
    plain = raster(tmp_path / "plain.tif", full(9))
    where = grid(2, resolution=80)
    source = index(tmp_path / "m", [item("a", {"data": masked}), item("b", {"data": plain})])
    assert values(con, source, where) == [[5, 9]]
    source = index(tmp_path / "a", [item("a", {"data": alpha}), item("b", {"data": below})])
    assert values(con, source, where, band="data:2") == [[5, 9]]


def test_each_band_of_a_file_has_its_own_nodata_pixels(con, tmp_path):
    """A pixel whose first sample is nodata and whose second is not: the first is missing, the second is there."""
    source = stack(tmp_path, [np.stack([full(0), full(6)])], nodata=0)
    assert values(con, source, grid(1), band="data:1") == [[None]]
    assert values(con, source, grid(1), band="data:2") == [[6]]


def test_nodata_that_the_source_cannot_hold_leaves_the_sources_own(con, tmp_path):
    """It is only what the output is filled with."""
    source = stack(tmp_path, [np.array([[0, 4]], "uint16").repeat(16, 0).repeat(8, 1)], nodata=0)
    where = grid(2, resolution=80)
    for nodata, dtype in ((-9999, "int32"), (-9999, "float32"), ("NaN", "float32"), (0.5, "float64")):
        assert values(con, source, where, nodata=nodata, dtype=dtype) == [[None, 4]]
        text = call("lazycogs_read_chunks", source, where, bands=["data"], nodata=nodata, dtype=dtype)
        ((blob,),) = con.execute(f"SELECT data FROM {text}").fetchall()
        assert np.array_equal(np.frombuffer(blob, dtype), np.array([float(nodata), 4], dtype), equal_nan=True)


def test_nan_as_nodata_leaves_the_sources_own(con, tmp_path):
    """NaN is never data in any case: as an argument it can only mean the fill."""
    pair = np.array([[-9999, 4]], "float32").repeat(16, 0).repeat(8, 1)
    source = stack(tmp_path, [pair], nodata=-9999)
    assert values(con, source, grid(2, resolution=80), nodata="NaN") == [[None, 4]]


def test_nodata_of_the_call_replaces_that_of_the_file(con, tmp_path):
    """A file whose tag is wrong: 0 is data, 4 is not."""
    source = stack(tmp_path, [np.array([[0, 4]], "uint16").repeat(16, 0).repeat(8, 1)], nodata=0)
    assert values(con, source, grid(2, resolution=80), nodata=4) == [[0, None]]


def test_sources_with_different_nodata(con, tmp_path):
    """NULL is NULL; BLOBs need a fill, and one that neither of them can mean keeps both."""
    a = raster(tmp_path / "a.tif", np.array([[0, 4]], "uint16").repeat(16, 0).repeat(8, 1), nodata=0)
    b = raster(tmp_path / "b.tif", np.array([[8, 8]], "uint16").repeat(16, 0).repeat(8, 1), nodata=65535)
    source = index(tmp_path, [item("a", {"data": a}), item("b", {"data": b})])
    where = grid(2, resolution=80)
    assert values(con, source, where) == [[8, 4]]
    with pytest.raises(duckdb.Error, match="item 'b'.*nodata 65535.*nodata := -9999, dtype := 'int32'"):
        con.execute(f"FROM {call('lazycogs_read_chunks', source, where)}").fetchall()
    assert values(con, source, where, nodata=-1, dtype="int32") == [[8, 4]]


# -- types -----------------------------------------------------------------------------------------------------------


def test_values_saturate_and_never_wrap(con, tmp_path):
    source = stack(tmp_path, [np.array([[300.7, -5.2]], "float32").repeat(16, 0).repeat(8, 1)])
    where = grid(2, resolution=80)
    assert values(con, source, where, dtype="uint8") == [[255, 0]]
    assert values(con, source, where, dtype="int16") == [[301, -5]]


@pytest.mark.parametrize(
    "types, wanted",
    [
        (("uint16", "uint16"), "uint16"),
        (("uint8", "int16"), "int16"),
        (("uint16", "int16"), "int32"),
        (("uint8", "uint32"), "uint32"),
        (("float32", "uint16"), "float32"),
        (("float64", "uint16"), "float64"),
        (("int32", "float32"), "float64"),
    ],
)
def test_the_smallest_type_that_holds_all_bands(con, tmp_path, types, wanted):
    assets = {name: raster(tmp_path / f"{name}.tif", full(3, dtype)) for name, dtype in zip("ab", types)}
    source = index(tmp_path, [item("one", assets)])
    text = call("lazycogs_info", source, grid(1), bands=["a", "b"])
    assert con.execute(f"SELECT DISTINCT dtype FROM {text}").fetchall() == [(wanted,)]


def test_no_integer_holds_both(con, tmp_path):
    assets = {
        name: raster(tmp_path / f"{name}.tif", full(3, dtype)) for name, dtype in (("a", "uint64"), ("b", "int64"))
    }
    source = index(tmp_path, [item("one", assets)])
    with pytest.raises(duckdb.Error, match="int64 and uint64.*dtype :="):
        con.execute(f"FROM {call('lazycogs_info', source, grid(1), bands=['a', 'b'])}")


def test_a_later_item_of_a_wider_type(con, tmp_path):
    a, b = (raster(tmp_path / f"{d}.tif", full(0 if d == "uint8" else 500, d), nodata=0) for d in ("uint8", "uint16"))
    source = index(tmp_path, [item("a", {"data": a}), item("b", {"data": b})])
    with pytest.raises(duckdb.Error, match="item 'b' asset 'data'.*uint16.*uint8.*dtype := 'uint16'"):
        values(con, source, grid(1))
    assert values(con, source, grid(1), dtype="uint16") == [[500]]


def test_integers_of_64_bits_are_exact(con, tmp_path):
    big = 2**63 - 5
    source = stack(tmp_path, [full(v, "int64") for v in (big, big - 2)])
    assert values(con, source, grid(1)) == [[big]]
    assert values(con, source, grid(1), mosaic="highest") == [[big]]
    assert values(con, source, grid(1), mosaic="lowest") == [[big - 2]]


# -- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_the_time_zone_of_the_machine_changes_nothing(extension, tmp_path, zone):
    path = raster(tmp_path / "a.tif", full(7))
    times = [(2023, 1, 15, 2), (2023, 1, 15, 20), (2023, 1, 31, 23, 30), (2023, 12, 31, 23, 59)]
    source = index(tmp_path, [item(str(i), {"data": path}, time) for i, time in enumerate(times)])
    steps = {}
    for period in ("P1D", "P1M", "P1W", "P1Y", "P16D", "PT6H"):
        text = call("lazycogs_read", source, grid(1), period, bands=["data"])
        steps[period] = f"SELECT string_agg(time || ' ' || data, ', ' ORDER BY time) FROM {text}"
    script = (
        "import duckdb, json, sys\n"
        "con = duckdb.connect(config={'allow_unsigned_extensions': 'true'})\n"
        "con.execute(f\"LOAD '{sys.argv[1]}'\")\n"
        "for sql in sys.argv[2:]: print(con.execute(sql).fetchone()[0])\n"
    )
    command = [sys.executable, "-c", script, str(extension), *steps.values()]
    result = subprocess.run(command, env=os.environ | {"TZ": zone}, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert dict(zip(steps, result.stdout.splitlines())) == {
        "P1D": "2023-01-15 00:00:00 7, 2023-01-31 00:00:00 7, 2023-12-31 00:00:00 7",
        "P1M": "2023-01-01 00:00:00 7, 2023-12-01 00:00:00 7",
        "P1W": "2023-01-09 00:00:00 7, 2023-01-30 00:00:00 7, 2023-12-25 00:00:00 7",
        "P1Y": "2023-01-01 00:00:00 7",
        "P16D": "2022-12-31 00:00:00 7, 2023-01-16 00:00:00 7, 2023-12-18 00:00:00 7",
        "PT6H": "2023-01-15 00:00:00 7, 2023-01-15 18:00:00 7, 2023-01-31 18:00:00 7, 2023-12-31 18:00:00 7",
    }


@pytest.mark.parametrize("period", [None, "P1D", "PT1H", "P1M", "P1Y", "P16D"])
def test_the_last_half_second_of_a_step_is_in_it(con, tmp_path, period):
    path = raster(tmp_path / "a.tif", full(7))
    source = index(tmp_path, [item("late", {"data": path}, (2023, 12, 31, 23, 59, 59, 500000))])
    assert values(con, source, grid(1), period) == [[7]]


def test_steps_are_in_order_before_2000(con, tmp_path):
    path = raster(tmp_path / "a.tif", full(7))
    times = [(1999, 6, 10), (1999, 1, 10), (2000, 1, 1), (1999, 12, 31), (2000, 1, 17)]
    source = index(tmp_path, [item(str(i), {"data": path}, time) for i, time in enumerate(times)])
    text = call("lazycogs_read", source, grid(1), "P16D", bands=["data"])
    found = [row[0] for row in con.execute(f"SELECT time FROM {text}").fetchall()]
    wanted = [(1998, 12, 29), (1999, 6, 7), (1999, 12, 16), (2000, 1, 1), (2000, 1, 17)]
    assert found == [datetime(*day) for day in wanted]


def test_instants_keep_their_fractions_and_their_order(con, tmp_path):
    path = raster(tmp_path / "a.tif", full(7))
    times = [(2023, 1, 1, 0, 0, 0, 123000), (2023, 1, 1), (2023, 1, 1, 0, 0, 0, 1)]
    source = index(tmp_path, [item(str(i), {"data": path}, time) for i, time in enumerate(times)])
    text = call("lazycogs_read", source, grid(1), None, bands=["data"])
    assert [row[0] for row in con.execute(f"SELECT time FROM {text}").fetchall()] == [
        datetime(2023, 1, 1),
        datetime(2023, 1, 1, 0, 0, 0, 1),
        datetime(2023, 1, 1, 0, 0, 0, 123000),
    ]


def test_datetime_holds_for_the_pixels_of_a_step(con, tmp_path):
    early, late = raster(tmp_path / "a.tif", full(1)), raster(tmp_path / "b.tif", full(2))
    source = index(tmp_path, [item("a", {"data": early}, (2023, 1, 2)), item("b", {"data": late}, (2023, 1, 15))])
    assert values(con, source, grid(1), "P1M") == [[1]]
    assert values(con, source, grid(1), "P1M", datetime="2023-01-10/2023-01-20") == [[2]]


# -- place -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [50, 4096])
def test_no_pixel_is_lost_along_curved_edges(con, tmp_path, chunk_size):
    """A degree grid, wide and low, over a UTM raster: the edges of the source's window are curved."""
    numbers = np.arange(400 * 500, dtype="uint32").reshape(400, 500) + 1
    path = raster(tmp_path / "a.tif", numbers, left=400000, top=5300000, resolution=400, blocks=128)
    source = index(tmp_path, [item("a", {"data": path})])
    where = Grid((14.0, 47.0, 15.8, 47.5), "EPSG:4326", 0.0053)
    found = read(con, source, where, bands=["data"], chunk_size=chunk_size)
    (bands,) = found.values()
    assert bands["data"].count() == where.width * where.height
    assert_same(found, cube(load_items(source), where, "P1D", ["data"]))


def test_an_item_in_the_bulge_of_the_area_is_found(con, tmp_path):
    """The north edge of this Albers box reaches 49.38 degrees between its corners, which are at 49.15."""
    box = (-98.0, 49.2, -95.0, 49.35)
    path = raster(tmp_path / "a.tif", full(7), left=box[0], top=box[3], resolution=0.2, crs="EPSG:4326")
    ring = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3]), (box[0], box[1])]
    source = index(tmp_path, [item("bulge", {"data": path}, footprint=ring)])
    where = Grid((-700000, 1800000, 600000, 2950000), "EPSG:5070", 5000)
    (found,) = values(con, source, where)
    assert 7 in found


def test_an_item_beside_the_pole_is_found(con, tmp_path):
    path = raster(tmp_path / "a.tif", full(7), left=100, top=89.9, resolution=0.05, crs="EPSG:4326")
    source = index(tmp_path, [item("polar", {"data": path})])
    for where in (
        Grid((-300000, -300000, 300000, 300000), "EPSG:3995", 2000),
        Grid((-300000, -300000, 300000, 300000), "EPSG:3413", 2000),
    ):
        found = read(con, source, where, bands=["data"], chunk_size=64)
        assert_same(found, cube_anywhere(source, where))


def cube_anywhere(source, where):
    """The model's cube of items whose boxes it cannot place: near a pole and across the antimeridian."""
    items = load_items(source)
    for one in items:
        one.bbox = (-180, -90, 180, 90)
    return cube(items, where, "P1D", ["data"])


def test_both_sides_of_the_antimeridian(con, tmp_path):
    west = raster(tmp_path / "w.tif", full(5), left=179.2, top=10.4, resolution=0.05, crs="EPSG:4326")
    east = raster(tmp_path / "e.tif", full(9), left=-180, top=10.4, resolution=0.05, crs="EPSG:4326")
    source = index(tmp_path, [item("w", {"data": west}), item("e", {"data": east})])
    utm1 = Grid((120000, 1066000, 240000, 1143000), "EPSG:32601", 1000)
    found = read(con, source, utm1, bands=["data"], chunk_size=32)
    assert_same(found, cube_anywhere(source, utm1))
    (bands,) = found.values()
    assert set(np.unique(bands["data"].compressed())) == {5, 9}


def test_a_grid_in_degrees_across_180(con, tmp_path):
    """x runs on beyond 180: the pixel at 180.5 is the one at -179.5."""
    west = raster(tmp_path / "w.tif", full(5), left=179.2, top=10.4, resolution=0.05, crs="EPSG:4326")
    east = raster(tmp_path / "e.tif", full(9), left=-180, top=10.4, resolution=0.05, crs="EPSG:4326")
    source = index(tmp_path, [item("w", {"data": west}), item("e", {"data": east})])
    where = grid(16, 2, resolution=0.1, left=179.2, top=10.2, crs="EPSG:4326")
    assert values(con, source, where) == [([5] * 8 + [9] * 8) * 2]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3995"])
@pytest.mark.parametrize("west", [0, -180])
def test_globes_that_begin_at_greenwich_or_at_the_antimeridian(con, tmp_path, west, crs):
    """The same place has the same pixel, from wherever the file or the output count their longitudes."""
    numbers = np.arange(90 * 180, dtype="uint16").reshape(90, 180) + 1
    path = raster(tmp_path / "a.tif", numbers, left=west, top=90, resolution=2, crs="EPSG:4326")
    ring = [(-180, -90), (180, -90), (180, 90), (-180, 90), (-180, -90)]
    source = index(tmp_path, [item("globe", {"data": path}, footprint=ring)])
    boxes = {
        "EPSG:4326": [Grid((-180.3, -60, 179.7, 60), crs, 1.1), Grid((0.4, -60, 360.4, 60), crs, 1.1)],
        "EPSG:3857": [Grid((-20000000, -9000000, 20000000, 9000000), crs, 130000)],
        "EPSG:3995": [Grid((-4000000, -4000000, 4000000, 4000000), crs, 37000)],
    }
    for where in boxes[crs]:
        found = read(con, source, where, bands=["data"], chunk_size=64)
        assert_same(found, cube_anywhere(source, where))
        (bands,) = found.values()
        assert bands["data"].count() == where.width * where.height


def test_chunks_say_the_corners_of_the_grid(con, tmp_path):
    """A box that is no whole number of pixels: the grid is anchored at its upper left, and its own corners are told."""
    source = stack(tmp_path, [full(7)])
    where = Grid((LEFT, TOP - 25, LEFT + 35, TOP), "EPSG:32633", 10)
    text = call("lazycogs_read_chunks", source, where, bands=["data"])
    found = con.execute(f"SELECT xmin, ymin, xmax, ymax, height, width FROM {text}").fetchall()
    assert found == [(LEFT, TOP - 20, LEFT + 40, TOP, 2, 4)], "2.5 rounds to 2, 3.5 to 4"


def test_the_overview_does_not_depend_on_the_tiles(con, fixtures):
    source = fixtures / "archive" / "items.parquet"
    where = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
    levels = set()
    for chunk_size in (16, 100, 4096):
        text = call("lazycogs_explain", source, where, "P1M", bands=["red"], chunk_size=chunk_size, headers=True)
        levels.add(
            tuple(con.execute(f"SELECT DISTINCT overview_level FROM {text} WHERE item_id IS NOT NULL").fetchall())
        )
    assert len(levels) == 1


@pytest.mark.parametrize("resolution", [10, 14, 19, 21, 30, 39, 41, 60, 79, 80, 81, 120, 159, 161, 300])
def test_nearest_at_many_resolutions(con, tmp_path, resolution):
    """Pixels with a value of their own, overviews 2 to 16, a grid off by a third of a pixel; no pixel may differ."""
    numbers = np.arange(512 * 512, dtype="uint32").reshape(512, 512) + 1
    path = raster(tmp_path / "a.tif", numbers, blocks=64)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8, 16], Resampling.nearest)
    source = index(tmp_path, [item("a", {"data": path})])
    left, top = LEFT + 3.37, TOP - 3.37
    where = Grid((left, top - 4000, left + 4000, top), "EPSG:32633", resolution)
    assert_same(read(con, source, where, bands=["data"]), cube(load_items(source), where, "P1D", ["data"]))


# -- going on --------------------------------------------------------------------------------------------------------


def test_an_item_that_is_not_needed_cannot_fail_the_query(con, tmp_path):
    good = raster(tmp_path / "good.tif", full(7))
    (tmp_path / "bad.tif").write_bytes(b"this is no TIFF")
    bad = tmp_path / "bad.tif"
    ring = item("good", {"data": good}).footprint
    source = index(tmp_path, [item("good", {"data": good}), item("bad", {"data": bad}, footprint=ring)])
    for limit in (1, 32):
        assert values(con, source, grid(4, 4), max_concurrent_reads=limit) == [[7] * 16]
    with pytest.raises(duckdb.Error, match="item 'bad' asset 'data'"):
        values(con, source, grid(4, 4), mosaic="highest")


def test_a_band_that_the_first_item_lacks(con, tmp_path):
    red, blue = raster(tmp_path / "r.tif", full(1)), raster(tmp_path / "b.tif", full(2))
    source = index(
        tmp_path, [item("landsat", {"red": red, "blue": None}), item("sentinel", {"red": None, "blue": blue})]
    )
    assert values(con, source, grid(1), band="blue") == [[2]]
    text = call("lazycogs_read", source, grid(1), bands=["red", "blue"])
    assert con.execute(f"SELECT red, blue FROM {text}").fetchall() == [(1, 2)]


def test_the_null_of_cql2_json_comes_to_an_end(con, tmp_path):
    path = raster(tmp_path / "a.tif", full(7))
    cloudy = [
        item("a", {"data": path}, **{"eo:cloud_cover": 3.0}),
        item("b", {"data": path}, **{"eo:cloud_cover": None}),
    ]
    source = index(tmp_path, cloudy)
    null = '{"op": "isNull", "args": [{"property": "eo:cloud_cover"}]}'
    text = call("lazycogs_explain", source, grid(1), bands=["data"], filter=null)
    assert con.execute(f"SELECT item_id FROM {text}").fetchall() == [("b",)]


def test_explain_opens_the_hrefs_that_read_opens(con, tmp_path):
    path = raster(tmp_path / "files" / "a.tif", full(7))
    lost = item("a", {"data": tmp_path / "gone" / "a.tif"}, footprint=item("a", {"data": path}).footprint)
    source = index(tmp_path, [lost])
    replace = [f"^{tmp_path}/gone/", f"{tmp_path}/files/"]
    assert values(con, source, grid(1), href_replace=replace) == [[7]]
    text = call("lazycogs_explain", source, grid(1), bands=["data"], href_replace=replace, headers=True)
    assert con.execute(f"SELECT href, tiles FROM {text}").fetchall() == [(str(path), 1)]


def test_quotes_in_paths_ids_and_fields(con, tmp_path):
    folder = tmp_path / "it's [here]"
    path = raster(folder / "a's.tif", full(7))
    source = index(folder, [item("l'item", {"data": path}, **{"it's": 1})])
    assert values(con, source, grid(1), ids=["l'item"], sortby=["-it's"]) == [[7]]


# -- JPEG ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_colour_is_smoothed_where_jpeg_has_less_of_it(con, tmp_path, photometric):
    colours = np.zeros((3, 64, 64), "uint8")
    colours[0, :, :31], colours[2, :, 31:] = 200, 200
    profile = {"compress": "jpeg", "photometric": photometric, "interleave": "pixel", "blocks": 64}
    path = raster(tmp_path / "a.tif", colours, **profile)
    source = index(tmp_path, [item("a", {"data": path})])
    found = np.array(values(con, source, grid(64, 64), band="data:1")[0], int).reshape(64, 64)
    with rasterio.open(path) as file:
        apart = abs(found - file.read(1))
    if photometric == "rgb":
        assert apart.max() <= 1
    else:
        # Only in the blocks beside the edge, which hold all of its colour.
        assert apart[:, 16:48].max() > 5 and apart[:, :16].max() <= 1 and apart[:, 48:].max() <= 1
