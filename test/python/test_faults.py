"""What a server can do wrong: right pixels, or an error that names the item; never wrong pixels or an endless wait."""

import re
import socket
import threading
import time
from random import Random

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
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


def total(con, items, **named):
    sql = call("lazycogs_read", items, GRID, "P1M", **(NAMED | named))
    return con.execute(f"SELECT sum(red), count(red) FROM {sql}").fetchone()


def with_hrefs(over_http, tmp_path, change):
    table = pq.read_table(over_http)
    rows = table.to_pylist()
    for row in rows:
        for asset in row["assets"].values():
            asset["href"] = change(asset["href"])
    path = tmp_path / "changed.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return path


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_nobody_answers(con, over_http, tmp_path, host):
    """Connection refused, and a name that does not resolve."""
    con.execute("SET lazycogs_max_retries = 1")
    port = free_port()
    items = with_hrefs(over_http, tmp_path, lambda href: re.sub("//[^/]+", f"//{host}:{port}", href))
    started = time.monotonic()
    with pytest.raises(duckdb.Error) as error:
        total(con, items)
    for part in ("A_20240730T17", f"{host}:{port}", "connection failed", "2 attempts"):
        assert part in str(error.value)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("fault", [{"delay": 20}, {"stall": 20}], ids=str)
def test_a_stall_ends_at_the_timeout(con, over_http, served, fault):
    con.execute("SET lazycogs_http_timeout = 1; SET lazycogs_max_retries = 1")
    served.fault(SCENE, **fault)
    started = time.monotonic()
    with pytest.raises(duckdb.Error, match="A_20240730T17.*timed out.*2 attempts"):
        total(con, over_http)
    assert 2 <= time.monotonic() - started < 6


def test_a_stall_that_passes(con, over_http, served, wanted):
    con.execute("SET lazycogs_http_timeout = 1")
    served.fault(SCENE, stall=20, times=1)
    served.fault(SCENE, delay=20, times=1)
    assert_same(read(con, over_http, GRID, "P1M", **NAMED), wanted)


def test_retry_after_is_heeded(con, over_http, served, wanted):
    served.fault(SCENE, status=429, retry_after="2", times=1)
    started = time.monotonic()
    assert_same(read(con, over_http, GRID, "P1M", **NAMED), wanted)
    assert 2 <= time.monotonic() - started < 10


@pytest.mark.parametrize("extra", [100, -100])
def test_wrong_content_length(con, over_http, served, wanted, extra):
    con.execute("SET lazycogs_max_retries = 1; SET lazycogs_http_timeout = 2")
    served.fault(SCENE, wrong_length=extra, times=1)
    assert_same(read(con, over_http, GRID, "P1M", **NAMED), wanted)
    served.reset()
    con.execute("SET lazycogs_cache_size = '0'")
    served.fault(SCENE, wrong_length=extra)
    with pytest.raises(duckdb.Error, match="A_20240730T17"):
        total(con, over_http)


@pytest.mark.parametrize("cut", [None, 3000], ids=["other", "shorter"])
def test_a_cached_header_of_an_object_replaced_since(con, over_http, served, fixtures, cut):
    """The next query is right or an error, the one after it is right."""
    con.execute("SET lazycogs_cache_size = '0'")
    before = total(con, over_http)
    other = (fixtures / "archive/scenes/A_20240503T17_red.tif").read_bytes()
    fresh = fixtures / "archive" / "items.parquet"
    swapped = {"ids": ["A_20240503T17"]}
    after = total(con, fresh, **swapped)
    assert before != after
    served.fault(SCENE, replace_with=other if cut is None else other[:cut])
    try:
        assert total(con, over_http) == after
    except duckdb.Error as error:
        assert "A_20240730T17" in str(error)
    if cut is None:
        assert total(con, over_http) == after
        served.reset()
        with pytest.raises(duckdb.Error, match="A_20240730T17.*replaced"):
            total(con, over_http)
        assert total(con, over_http) == before
    else:
        served.reset()
        results = set()
        for _ in range(2):
            try:
                results.add(total(con, over_http))
            except duckdb.Error as error:
                assert "A_20240730T17" in str(error)
        assert total(con, over_http) == before and results <= {before}


def test_a_random_mixture_under_load(connect, over_http, served, fixtures):
    """Eight readers, faults at random, from a fixed seed: every answer is right or an error that names an item."""
    random = Random(5)
    con = connect()
    con.execute("SET lazycogs_max_retries = 2; SET lazycogs_http_timeout = 1; SET lazycogs_cache_size = '0'")
    sql = "SELECT time, sum(red), count(red) FROM {} GROUP BY time ORDER BY time"
    named = {"bands": ["red"], "chunk_size": 64}
    local, remote = (
        sql.format(call("lazycogs_read", items, GRID, "P1D", **named))
        for items in (fixtures / "archive" / "items.parquet", over_http)
    )
    right = con.execute(local).fetchall()
    scenes = sorted({f"archive/scenes/{path.name}" for path in (fixtures / "archive/scenes").glob("*_red.tif")})
    kinds = [
        {"status": 503}, {"status": 500}, {"status": 429, "retry_after": "0"}, {"reset": True}, {"truncate": 20},
        {"delay": 0.3}, {"stall": 1.5}, {"status": 403}, {"status": 404}, {"wrong_length": 50},
    ]  # fmt: skip
    for scene in scenes:
        for _ in range(12):
            served.fault(scene, skip=random.randint(0, 20), times=1, **random.choice(kinds))
    outcomes = []

    def one():
        cursor = con.cursor()
        for _ in range(4):
            try:
                outcomes.append(cursor.execute(remote).fetchall())
            except duckdb.Error as error:
                outcomes.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(8)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(outcomes) == 32, "a query hangs"
    errors = [outcome for outcome in outcomes if isinstance(outcome, str)]
    print(f"{len(errors)} of 32 queries failed, {time.monotonic() - started:.1f} s")
    assert 0 < len(errors) < 32, "the mixture tests one side only"
    for outcome in outcomes:
        if isinstance(outcome, str):
            assert re.search(r"item '[ABC]_2024\d{4}T\d\d' asset 'red'", outcome)
        else:
            assert outcome == right
