"""`lazycogs_io = 'duckdb'`: the same pixels through DuckDB's own file systems, in its sandbox, as long as the query.

A file system in memory that answers for s3:// stands in for httpfs, which may not be there: what matters is that
DuckDB is asked for the bytes.
"""

import io
import threading
import time

import duckdb
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from helpers import call, moved
from model import Grid

GRID = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 20)
RED = {"bands": ["red"]}


class Opened(io.BytesIO):
    def __init__(self, bucket, data):
        super().__init__(data)
        self.bucket = bucket

    def read(self, *size):
        self.bucket.reading += 1
        time.sleep(self.bucket.delay)
        try:
            return super().read(*size)
        finally:
            self.bucket.reading -= 1


class Bucket(MemoryFileSystem):
    """s3://bucket/... in memory; every read waits for `delay` seconds and is noted."""

    protocol = "s3"
    store = {}
    pseudo_dirs = [""]
    cachable = False

    def __init__(self):
        super().__init__()
        self.delay, self.opened, self.reading = 0, [], 0

    def _open(self, path, *args, **kwargs):
        self.opened.append(path)
        # What the class itself gives is one file for all who open it, position and all.
        return Opened(self, super()._open(path, *args, **kwargs).getvalue())

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("s3://").strip("/")


@pytest.fixture
def local(fixtures):
    return fixtures / "archive" / "items.parquet"


@pytest.fixture
def bucket(fixtures):
    held = Bucket()
    for path in (fixtures / "archive").rglob("*.tif"):
        held.pipe(f"s3://bucket/{path.relative_to(fixtures)}", path.read_bytes())
    held.opened.clear()
    yield held
    Bucket.store.clear()


@pytest.fixture
def in_bucket(local, tmp_path):
    """The archive's index with hrefs in the bucket."""
    return moved(local, "s3://bucket/archive", tmp_path / "bucket.parquet")


@pytest.fixture
def through(con, bucket):
    """A connection that reads through DuckDB, which knows the bucket."""
    con.register_filesystem(bucket)
    con.execute("SET lazycogs_io = 'duckdb'; SET lazycogs_cache_size = '0'")
    return con


def pixels(con, items, **named):
    return con.execute(f"SELECT * FROM {call('lazycogs_read', items, GRID, **RED, **named)} ORDER BY ALL").fetchall()


def counters(con):
    rows = con.execute("SELECT counter, value FROM lazycogs_cache_stats()").fetchall()
    return {name: value for name, value in rows if name in ("requests", "bytes", "failures")}


def spent(con, sql):
    before = counters(con)
    con.execute(sql).fetchall()
    return {name: value - before[name] for name, value in counters(con).items()}


@pytest.mark.parametrize("threads", [1, 4])
def test_local_files(con, local, threads):
    con.execute(f"SET threads = {threads}; SET lazycogs_cache_size = '0'")
    wanted = pixels(con, local)
    readers = ["lazycogs_read", "lazycogs_read_chunks", "lazycogs_info"]
    before = [con.execute(f"FROM {call(f, local, GRID, **RED)} ORDER BY ALL").fetchall() for f in readers]
    cost = spent(con, f"FROM {call('lazycogs_read', local, GRID, **RED)}")
    con.execute("SET lazycogs_io = 'duckdb'")
    assert pixels(con, local) == wanted
    assert [con.execute(f"FROM {call(f, local, GRID, **RED)} ORDER BY ALL").fetchall() for f in readers] == before
    assert spent(con, f"FROM {call('lazycogs_read', local, GRID, **RED)}") == cost and cost["requests"] > 5


def test_duckdb_is_asked_for_the_bytes(through, bucket, in_bucket, local):
    found = pixels(through, in_bucket)
    assert len(set(bucket.opened)) > 5
    through.execute("SET lazycogs_io = 'object_store'")
    assert found == pixels(through, local)


def test_a_file_that_is_open_is_read_again(through, bucket, in_bucket):
    """To open a file behind a URL costs a request, so it is kept for the next read of the query."""
    sql = call("lazycogs_read", in_bucket, GRID, chunk_size=32, max_concurrent_reads=1, **RED)
    cost = spent(through, f"FROM {sql}")
    # Once at bind, once in the scan.
    assert len(bucket.opened) <= len(set(bucket.opened)) + 1 < cost["requests"]


def test_items_are_read_through_duckdb_too(through, bucket, local, fixtures):
    bucket.pipe("s3://bucket/archive/items.parquet", local.read_bytes())
    assert pixels(through, "s3://bucket/archive/items.parquet") == pixels(through, local)


def test_a_missing_file_is_an_error_that_names_the_item(through, bucket, in_bucket):
    for path in list(bucket.store):
        if "20240730" in path:
            bucket.rm(path)
    with pytest.raises(duckdb.Error, match="A_20240730T17.*red.*s3://bucket/archive/scenes") as error:
        through.execute(f"FROM {call('lazycogs_read', in_bucket, GRID, **RED)}").fetchall()
    assert "lazycogs_read" in str(error.value)
    assert through.execute("SELECT count(*) FROM lazycogs_failures()").fetchone()[0] > 0


def test_the_sandbox_of_duckdb_holds(con, local, fixtures):
    con.execute("SET lazycogs_io = 'duckdb'")
    con.execute(f"SET allowed_paths = ['{local}']; SET enable_external_access = false")
    with pytest.raises(duckdb.Error, match="red"):
        con.execute(f"FROM {call('lazycogs_read', local, GRID, **RED)}").fetchall()


def test_a_wrong_value_is_refused_with_the_right_ones(con, local):
    con.execute("SET lazycogs_io = 'gdal'")
    with pytest.raises(duckdb.Error, match="lazycogs_io is 'gdal'; use 'object_store' or 'duckdb'"):
        con.execute(f"FROM {call('lazycogs_info', local, GRID)}").fetchall()


def test_store_options_are_refused_where_nobody_reads_them(con, local):
    con.execute("SET lazycogs_io = 'duckdb'")
    sql = call("lazycogs_info", local, GRID).removesuffix(")") + ", store_options := MAP {'region': 'eu-west-1'})"
    with pytest.raises(duckdb.Error, match="store_options do not reach.*CREATE SECRET"):
        con.execute(f"FROM {sql}").fetchall()


def test_lazycogs_store_says_so(through, in_bucket):
    found = through.execute(f"SELECT DISTINCT access, signed, region FROM lazycogs_store('{in_bucket}')").fetchall()
    assert found == [("duckdb", False, None)]


def test_a_prepared_statement_reads_again(through, in_bucket):
    through.execute(f"PREPARE q AS SELECT count(red) FROM {call('lazycogs_read', in_bucket, GRID, **RED)}")
    first = through.execute("EXECUTE q").fetchone()
    assert first[0] > 0 and through.execute("EXECUTE q").fetchone() == first


def test_no_read_outlives_its_query(connect, bucket, in_bucket):
    """A result that is dropped half read, and its connection with it, while reads are at work."""
    for _ in range(5):
        con = connect()
        con.register_filesystem(bucket)
        con.execute("SET lazycogs_io = 'duckdb'; SET lazycogs_cache_size = '0'; SET lazycogs_memory_budget = '1MB'")
        bucket.delay = 0
        sql = f"FROM {call('lazycogs_read', in_bucket, GRID, chunk_size=32, **RED)}"
        result = con.execute(sql)
        result.fetchmany(10)
        bucket.delay = 0.05
        time.sleep(0.02)
        del result
        con.close()
        assert bucket.reading == 0
        opened = len(bucket.opened)
        time.sleep(0.1)
        assert len(bucket.opened) == opened, "reading goes on after the query"


def test_an_interrupt_waits_for_reads_at_work_only(through, bucket, in_bucket):
    through.execute("SET lazycogs_max_concurrent_reads = 2")
    bucket.delay = 0.3
    timer = threading.Timer(1, through.interrupt)
    timer.start()
    started = time.monotonic()
    with pytest.raises(duckdb.Error, match="(?i)interrupt"):
        through.execute(
            f"SELECT count(red) FROM {call('lazycogs_read', in_bucket, GRID, chunk_size=32, **RED)}"
        ).fetchall()
    assert time.monotonic() - started < 1 + 2
    assert bucket.reading == 0
    timer.join()
    bucket.delay = 0
    assert pixels(through, in_bucket)
