"""lazycogs_explain, lazycogs_info, lazycogs_cache_stats, and what planning costs."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from helpers import call, moved
from model import Grid, load_items, overview_of, step_of

GRID = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
COLUMNS = ["time", "time_index", "chunk_row", "chunk_col", "band", "item_id", "href", "read_order"]
HEADER_COLUMNS = [
    "overview_level",
    "overview_resolution",
    "window_col",
    "window_row",
    "window_width",
    "window_height",
    "tiles",
    "requests",
    "bytes",
    "cached",
    "requests_now",
    "bytes_now",
]


def rows(con, sql):
    result = con.execute(sql)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row)) for row in result.fetchall()]


@pytest.fixture
def archive(fixtures):
    return fixtures / "archive" / "items.parquet"


def test_explain_lists_what_a_read_would_open(con, archive):
    found = rows(con, f"FROM {call('lazycogs_explain', archive, GRID, 'P1M', bands=['red', 'nir'], chunk_size=4096)}")
    assert set(COLUMNS) <= set(found[0])
    items = load_items(archive)
    steps = sorted({step_of(item.time, "P1M") for item in items})
    wanted = {(step_of(i.time, "P1M"), band, i.id) for i in items for band in ("red", "nir")}
    assert {(row["time"], row["band"], row["item_id"]) for row in found} == wanted
    assert len(found) == len(wanted)
    for row in found:
        assert row["time"] == steps[row["time_index"]]
        assert row["href"].endswith(f"{row['item_id']}_{row['band']}.tif")
        assert (row["chunk_row"], row["chunk_col"]) == (0, 0)


def test_explain_keeps_the_order_of_the_mosaic(con, archive):
    text = call("lazycogs_explain", archive, GRID, "P1M", bands=["red"], sortby=["eo:cloud_cover"], chunk_size=4096)
    found = [row["item_id"] for row in rows(con, f"FROM {text} WHERE time_index = 0 ORDER BY read_order")]
    may = [item for item in load_items(archive) if item.time.month == 5]
    assert found == [item.id for item in sorted(may, key=lambda item: item.properties["eo:cloud_cover"])]


def test_explain_with_headers(con, archive):
    # Other tests may have read these tiles already, and what is in the cache costs nothing.
    con.execute("SET lazycogs_cache_size = '0'")
    text = call("lazycogs_explain", archive, GRID, "P1M", bands=["red"], chunk_size=4096, headers=True)
    found = rows(con, f"FROM {text}")
    assert set(HEADER_COLUMNS) <= set(found[0])
    paths = {item.id: item.assets["red"] for item in load_items(archive)}
    for row in found:
        level = overview_of(paths[row["item_id"]], GRID)
        assert row["overview_level"] == (0 if level is None else level + 1)
        assert row["overview_resolution"] == pytest.approx(10 * 2 ** row["overview_level"])
        assert row["window_width"] > 0 and row["window_height"] > 0
        assert row["tiles"] >= 1 and row["bytes"] > 0


def test_an_empty_tile_is_one_row_without_item(con, archive):
    wide = Grid((733000, 4900000, 737000, 4934500), "EPSG:32615", 20)
    text = call("lazycogs_explain", archive, wide, "P1Y", bands=["red"], chunk_size=64)
    empty = [row for row in rows(con, f"FROM {text}") if row["item_id"] is None]
    full = [row for row in rows(con, f"FROM {text}") if row["item_id"] is not None]
    tiles = -(-wide.width // 64) * -(-wide.height // 64)
    places = {(row["chunk_row"], row["chunk_col"]) for row in empty + full}
    assert len(places) == tiles, "every tile is in the plan"
    assert not {(r["chunk_row"], r["chunk_col"]) for r in empty} & {(r["chunk_row"], r["chunk_col"]) for r in full}
    assert len(empty) > tiles / 2


def test_explain_costs_what_the_read_costs(con, over_http, served):
    """The prediction is what the server then counts, at first and with what is cached by then."""
    common = {"bands": ["red", "nir"], "chunk_size": 4096, "datetime": "2024-06-02/2024-06-02"}
    plan = f"FROM {call('lazycogs_explain', over_http, GRID, 'P1D', headers=True, **common)}"
    pixels = f"FROM {call('lazycogs_read', over_http, GRID, 'P1D', **common)}"
    costs, cold = [], []
    for _ in range(2):
        costs.append(con.execute(f"SELECT sum(requests_now), sum(bytes_now) {plan}").fetchone())
        cold.append(con.execute(f"SELECT sum(requests), sum(bytes) {plan}").fetchone())
        served.reset()
        con.execute(f"SELECT count(red), count(nir) {pixels}").fetchone()
        assert (len(served.requests(".tif")), served.bytes_sent(".tif")) == costs[-1]
    assert costs[0][1] > costs[1][1], "nothing was kept"
    assert cold == [costs[0]] * 2, "what a cold read costs does not depend on the caches"
    assert con.execute(f"SELECT count(*), sum(cached) > 0 {plan}").fetchone() == (4, True)


@pytest.mark.parametrize("statement", ["EXPLAIN FROM {}", "DESCRIBE FROM {}", "PREPARE p AS SELECT red FROM {}"])
def test_planning_opens_one_header_per_band(con, over_http, served, statement):
    con.execute(statement.format(call("lazycogs_read", over_http, GRID, "P1M", bands=["red", "nir"])))
    opened = {request.path for request in served.requests(".tif")}
    assert len(opened) <= 2, "more than one header per band"


def test_planning_decodes_nothing(con, over_http, served):
    before = dict_of_stats(con)["tiles_decoded"]
    text = call("lazycogs_read", over_http, GRID, "P1M", bands=["red", "nir"])
    for statement in (f"EXPLAIN FROM {text}", f"DESCRIBE FROM {text}", f"PREPARE q AS FROM {text}"):
        con.execute(statement)
    assert dict_of_stats(con)["tiles_decoded"] == before
    con.execute(f"SELECT count(red) FROM {text}").fetchone()
    assert dict_of_stats(con)["tiles_decoded"] > before


def dict_of_stats(con):
    return dict(con.execute("SELECT counter, value FROM lazycogs_cache_stats()").fetchall())


def test_every_request_and_byte_is_counted_once(con, over_http, served):
    text = call("lazycogs_read", over_http, GRID, "P1M", bands=["red", "nir"])
    for again in (False, True):
        served.reset()
        before = dict_of_stats(con)
        con.execute(f"SELECT count(red), count(nir) FROM {text}").fetchone()
        after = dict_of_stats(con)
        assert after["requests"] - before["requests"] == len(served.requests(".tif"))
        assert after["bytes"] - before["bytes"] == served.bytes_sent(".tif")
        assert (after["header_misses"] == before["header_misses"]) == again


def test_each_header_is_opened_once(con, over_http, served):
    con.execute(f"SELECT count(red) FROM {call('lazycogs_read', over_http, GRID, 'P1D', bands=['red'], chunk_size=64)}")
    starts = [request.path for request in served.requests("_red.tif") if request.first == 0]
    assert starts and len(starts) == len(set(starts))


@pytest.mark.parametrize("limit", [1, 4])
def test_reads_in_flight_are_bounded(con, over_http, served, limit):
    served.latency = 0.02
    text = call(
        "lazycogs_read", over_http, GRID, "P1D", bands=["red", "nir"], chunk_size=64, max_concurrent_reads=limit
    )
    con.execute(f"SELECT count(red), count(nir) FROM {text}").fetchone()
    assert served.requests(".tif")
    assert served.most_at_once <= limit


def test_info(con, archive):
    found = rows(con, f"FROM {call('lazycogs_info', archive, GRID, 'P1M', bands=['red', 'scl'])}")
    assert [row["band"] for row in found] == ["red", "scl"]
    items = load_items(archive)
    steps = sorted({step_of(item.time, "P1M") for item in items})
    red, scl = found
    assert (red["dtype"], scl["dtype"]) == ("uint16", "uint8") or red["dtype"] == scl["dtype"] == "uint16"
    assert red["nodata"] == 0
    for row in found:
        assert (row["width"], row["height"]) == (GRID.width, GRID.height)
        assert row["steps"] == len(steps) and row["items"] == len(items)
        assert (row["first_time"], row["last_time"]) == (steps[0], steps[-1])
        size = {"uint8": 1, "uint16": 2}[row["dtype"]]
        assert row["bytes"] == GRID.width * GRID.height * len(steps) * size


@pytest.mark.parametrize("mosaic", ["first", "last", "highest", "mean", "median", "stdev", "count"])
@pytest.mark.parametrize("chunk_size", [64, 4096])
def test_explain_is_true_in_a_cold_process(extension, over_http, served, mosaic, chunk_size):
    """explain(headers) in one process, the read in another, both cold: the tiles that are read are those of the plan.

    Every method but first and last reads all of it. The server counts.
    """
    named = {"bands": ["red", "nir"], "mosaic": mosaic, "chunk_size": chunk_size}
    source = call("lazycogs_explain", over_http, GRID, "P1M", headers=True, **named)
    plan = in_a_new_process(extension, f"SELECT sum(requests), sum(bytes), count(DISTINCT href) FROM {source}")
    headers = len(served.requests(".tif")), served.bytes_sent(".tif")
    served.reset()
    pixels = call("lazycogs_read", over_http, GRID, "P1M", **named)
    in_a_new_process(extension, f"SELECT count(red), count(nir) FROM {pixels}")
    requests, size = len(served.requests(".tif")) - headers[0], served.bytes_sent(".tif") - headers[1]
    opened = {request.path for request in served.requests(".tif")}
    if mosaic in ("first", "last"):
        assert len(opened) <= plan[2]
        assert requests <= plan[0] and size <= plan[1]
        return
    assert len(opened) == plan[2]
    if chunk_size == 4096:
        assert (requests, size) == plan[:2]
    else:
        # A source tile under two output tiles is fetched by the one that comes first.
        assert requests <= plan[0] and size <= plan[1]
        assert requests > 0


def in_a_new_process(extension, sql):
    script = (
        "import duckdb, json, sys\n"
        "con = duckdb.connect(config={'allow_unsigned_extensions': 'true'})\n"
        "con.execute(f\"LOAD '{sys.argv[1]}'\")\n"
        "print(json.dumps([int(n) for n in con.execute(sys.argv[2]).fetchone()]))\n"
    )
    command = [sys.executable, "-c", script, str(extension), sql]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return tuple(json.loads(result.stdout))


def test_an_index_that_changed_is_looked_up_again(con, fixtures, tmp_path):
    # Files that are not young: what is known of them is kept from query to query.
    index = moved(fixtures / "archive" / "items.parquet", f"{fixtures}/archive", tmp_path / "items.parquet")
    whole, sql = pq.read_table(index), f"SELECT DISTINCT item_id FROM {call('lazycogs_explain', index, GRID, 'P1M')}"
    os.utime(index, (1e9, 1e9))
    before = {name for (name,) in con.execute(sql).fetchall()}
    assert {name for (name,) in con.execute(sql).fetchall()} == before
    pq.write_table(whole.slice(0, 1), index)
    os.utime(index, (1e9 + 60, 1e9 + 60))
    assert {name for (name,) in con.execute(sql).fetchall()} == {whole["id"][0].as_py()} < before


def test_what_is_known_of_an_index_is_of_one_selection(con, fixtures, tmp_path):
    index = moved(fixtures / "archive" / "items.parquet", f"{fixtures}/archive", tmp_path / "items.parquet")
    os.utime(index, (1e9, 1e9))

    def ids(period="P1M", **named):
        text = call("lazycogs_explain", index, GRID, period, **named)
        return con.execute(f"SELECT time, item_id, read_order FROM {text} WHERE band = 'red' ORDER BY ALL").fetchall()

    choices = [{}, {"period": "P1D"}, {"filter": "eo:cloud_cover < 20"}, {"sortby": ["-datetime"]}, {"bands": ["red"]}]
    first = [ids(**choice) for choice in choices]
    assert [ids(**choice) for choice in choices] == first
    assert first[0] == first[4] and all(first[0] != other for other in first[1:4])
