"""What a server can do wrong: right pixels, or an error that names the item; never wrong pixels or an endless wait."""

import time

import duckdb
import pytest
from helpers import assert_same, call, read
from model import Grid, cube, load_items

GRID = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
SCENE = "archive/scenes/A_20240730T17_red.tif"
NAMED = {"bands": ["red"], "ids": ["A_20240730T17"]}


@pytest.fixture
def wanted(fixtures):
    items = [item for item in load_items(fixtures / "archive" / "items.parquet") if item.id in NAMED["ids"]]
    return cube(items, GRID, "P1M", ["red"])


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "times": 2},
        {"status": 500, "times": 1},
        {"status": 429, "retry_after": "0", "times": 1},
        {"reset": True, "times": 1},
        {"truncate": 50, "times": 1},
        {"delay": 0.3, "times": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("skip", [0, 1])
def test_passing_faults_are_retried(con, over_http, served, wanted, fault, skip):
    served.fault(SCENE, skip=skip, **fault)
    assert_same(read(con, over_http, GRID, "P1M", **NAMED), wanted)


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 404}, {"status": 416}, {"truncate": 50}], ids=str)
def test_lasting_faults_are_errors_that_name_the_item(con, over_http, served, fault):
    con.execute("SET lazycogs_max_retries = 1")
    served.fault(SCENE, **fault)
    started = time.monotonic()
    with pytest.raises(duckdb.Error) as error:
        con.execute(f"SELECT sum(red) FROM {call('lazycogs_read', over_http, GRID, 'P1M', **NAMED)}").fetchall()
    reason = str(fault.get("status", ""))
    for part in ("A_20240730T17", "red", served.url, reason):
        assert part in str(error.value)
    assert time.monotonic() - started < 20


def test_a_server_that_ignores_range(con, over_http, served, wanted):
    served.fault(SCENE, ignore_range=True)
    try:
        found = read(con, over_http, GRID, "P1M", **NAMED)
    except duckdb.Error as error:
        assert "A_20240730T17" in str(error) and "range" in str(error).lower()
    else:
        assert_same(found, wanted)


def test_an_object_that_changes_under_the_reader(con, over_http, served, fixtures):
    """Header of one file, tiles of another: an error, not mixed pixels."""
    other = (fixtures / "archive/scenes/A_20240503T17_red.tif").read_bytes()
    con.execute(f"FROM {call('lazycogs_explain', over_http, GRID, 'P1M', headers=True, **NAMED)}").fetchall()
    served.fault(SCENE, replace_with=other)
    with pytest.raises(duckdb.Error, match="A_20240730T17"):
        con.execute(f"SELECT sum(red) FROM {call('lazycogs_read', over_http, GRID, 'P1M', **NAMED)}").fetchall()
