"""Failures belong to the connection of their query, progress to the database; and which bands can be columns."""

import threading
import time

import duckdb
import numpy as np
import pytest
from helpers import call
from model import Grid
from small import grid, index, item, raster, values

FAILED = "SELECT item_id FROM lazycogs_failures() ORDER BY ALL"


@pytest.fixture
def broken(tmp_path):
    """A good item and one whose file is not there."""
    good = raster(tmp_path / "good.tif", np.full((16, 16), 7, "uint8"))
    ring = item("good", {"data": good}).footprint
    gone = item("gone", {"data": tmp_path / "gone.tif"}, (2024, 5, 3, 12, 1), footprint=ring)
    return index(tmp_path, [item("good", {"data": good}), gone])


IGNORED = {"mosaic": "highest", "errors": "ignore"}


def test_failures_are_seen_by_their_connection_alone(con, connect, broken):
    other, elsewhere = con.cursor(), connect()
    values(con, broken, grid(2), **IGNORED)
    assert con.execute(FAILED).fetchall() == [("gone",)]
    assert other.execute(FAILED).fetchall() == [] and elsewhere.execute(FAILED).fetchall() == []
    for connection in (other, elsewhere):
        values(connection, broken, grid(2), ids=["good"])
        assert connection.execute(FAILED).fetchall() == []
        assert con.execute(FAILED).fetchall() == [("gone",)], "a query of another connection erased the list"
    values(con, broken, grid(2), ids=["good"])
    assert con.execute(FAILED).fetchall() == []


def test_all_scans_of_a_query_are_in_the_list(con, broken):
    with_one = call("lazycogs_read", broken, grid(2), **IGNORED)
    without = call("lazycogs_read", broken, grid(2), ids=["good"])
    for first, second in ((with_one, without), (without, with_one)):
        con.execute(f"SELECT max(data) FROM {first} UNION ALL SELECT max(data) FROM {second}").fetchall()
        assert con.execute(FAILED).fetchall() == [("gone",)]
    con.execute(f"PREPARE again AS SELECT max(data) FROM {without}")
    con.execute("EXECUTE again").fetchall()
    assert con.execute(FAILED).fetchall() == []


def test_a_half_read_result_does_not_keep_its_list(con, broken):
    sql = call("lazycogs_read", broken, grid(16, 16), chunk_size=16, **IGNORED)
    half = con.execute(f"SELECT data FROM {sql}")
    half.fetchone()
    values(con, broken, grid(2), ids=["good"])
    assert con.execute(FAILED).fetchall() == []


def test_progress_is_that_of_the_database(con, connect, served, over_http):
    served.latency = 0.05
    con.execute("SET lazycogs_cache_size = '0'; SET lazycogs_max_concurrent_reads = 1")
    where = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
    sql = call("lazycogs_read", over_http, where, bands=["red"], chunk_size=64)
    beside, elsewhere, seen = con.cursor(), connect(), []
    thread = threading.Thread(target=lambda: con.execute(f"SELECT count(red) FROM {sql}").fetchall())
    thread.start()
    while thread.is_alive():
        seen.append([len(c.execute("FROM lazycogs_progress()").fetchall()) for c in (beside, elsewhere)])
        time.sleep(0.01)
    thread.join()
    assert max(ours for ours, _ in seen) == 1 and {theirs for _, theirs in seen} == {0}


COLUMNS = {
    "lazycogs_read": ["time", "y", "x"],
    "lazycogs_read_chunks": ["time", "chunk_row", "chunk_col", "xmin", "ymin", "xmax", "ymax", "height", "width"],
}


@pytest.mark.parametrize("function", [*COLUMNS, "lazycogs_info", "lazycogs_explain"])
@pytest.mark.parametrize("name", ["x", "time", "Time", "height", "red"])
def test_a_band_with_the_name_of_a_column(con, tmp_path, function, name):
    path = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"))
    source = index(tmp_path, [item("one", {"data": path, name: path})])
    clashes = name.lower() in COLUMNS.get(function, [])
    for named in ({}, {"bands": [name]}, {"bands": ["data", name]}):
        sql = f"SELECT * FROM {call(function, source, grid(2), **named)}"
        if clashes:
            with pytest.raises(duckdb.Error) as error:
                con.execute(sql)
            text = str(error.value)
            assert f"band '{name}'" in text and f"'{name}:1'" in text and "duplicate" not in text
        else:
            assert con.execute(sql).fetchall()
    # What the message says to do.
    if clashes:
        found = con.execute(f'SELECT "{name}:1" FROM {call(function, source, grid(1), bands=[f"{name}:1"])}').fetchall()
        assert found in ([(7,)], [(b"\x07",)])


@pytest.mark.parametrize("function", COLUMNS)
@pytest.mark.parametrize("assets", ["map", "json"])
def test_bands_that_differ_by_case(con, tmp_path, function, assets):
    """Of a STRUCT's fields that differ by case DuckDB renames one as it reads parquet; MAP and JSON keep both."""
    path = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"))
    source = index(tmp_path, [item("one", {"B1": path, "b1": path})], assets=assets)
    for named, parts in (({}, ["'B1' and 'b1'", "'b1:1'"]), ({"bands": ["B1", "b1"]}, ["'b1'", "twice", "'b1:1'"])):
        with pytest.raises(duckdb.Error) as error:
            con.execute(f"FROM {call(function, source, grid(1), **named)}")
        assert all(part in str(error.value) for part in parts) and "duplicate" not in str(error.value)
    con.execute(f'SELECT "B1", "b1:1" FROM {call(function, source, grid(1), bands=["B1", "b1:1"])}').fetchall()
    assert len(con.execute(f"FROM {call('lazycogs_info', source, grid(1))}").fetchall()) == 2
