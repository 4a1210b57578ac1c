"""What the settings forbid stays closed for every reader; what is secret stays out of what can be seen."""

import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import call
from model import Grid

GRID = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 100)
READERS = ["lazycogs_read", "lazycogs_read_chunks", "lazycogs_explain", "lazycogs_info"]
ONE = {"bands": ["red"], "ids": ["A_20240730T17"]}


def refused(con, sql):
    with pytest.raises(duckdb.Error) as error:
        con.execute(sql).fetchall()
    return str(error.value)


def lock(con, *directories, paths=()):
    con.execute(f"SET allowed_directories = {[str(d) for d in directories]}")
    con.execute(f"SET allowed_paths = {[str(p) for p in paths]}")
    con.execute("SET enable_external_access = false")


@pytest.mark.parametrize("function", READERS)
def test_no_external_access(con, fixtures, function):
    lock(con)
    message = refused(con, f"FROM {call(function, fixtures / 'archive' / 'items.parquet', GRID, **ONE)}")
    assert function in message and "enable_external_access" in message


@pytest.mark.parametrize("function", READERS)
def test_an_allowed_folder_is_open(con, fixtures, function):
    lock(con, fixtures / "archive")
    assert con.execute(f"FROM {call(function, fixtures / 'archive' / 'items.parquet', GRID, **ONE)}").fetchall()
    message = refused(con, f"FROM {call(function, fixtures / 'kinds' / 'items.parquet', GRID)}")
    assert "allowed_directories" in message


def test_an_allowed_index_does_not_open_its_cogs(con, fixtures):
    index = fixtures / "archive" / "items.parquet"
    lock(con, paths=[index])
    message = refused(con, f"FROM {call('lazycogs_read', index, GRID, **ONE)}")
    assert "A_20240730T17" in message and "allowed_directories" in message


def test_no_way_around(con, fixtures, tmp_path):
    """Dots, links, globs and rows by value lead nowhere else."""
    index = fixtures / "archive" / "items.parquet"
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.parquet").symlink_to(index)
    con.execute(f"SET VARIABLE items = (SELECT list(i) FROM '{index}' i)")
    lock(con, inside)
    dotted = f"{inside}/../x.parquet"
    for path in (inside / "link.parquet", dotted, f"{fixtures}/archive/*.parquet", f"{inside}/../*.parquet"):
        assert "allowed_directories" in refused(con, f"FROM {call('lazycogs_read', path, GRID, **ONE)}")
    rows = call("lazycogs_read", "ITEMS", GRID, href_replace=["^[.]/", f"{index.parent}/"], **ONE)
    rows = rows.replace("'ITEMS'", "getvariable('items')")
    assert "allowed_directories" in refused(con, f"FROM {rows}")


def test_urls_need_permission_too(con, over_http, served):
    lock(con, over_http.parent)
    message = refused(con, f"FROM {call('lazycogs_read', over_http, GRID, **ONE)}")
    assert served.url in message and "allowed_directories" in message
    assert not served.requests()


def test_disabled_local_files(con, fixtures, over_http, served):
    index = fixtures / "archive" / "items.parquet"
    con.execute(f"SET VARIABLE items = (SELECT list(i) FROM '{over_http}' i)")
    con.execute("SET disabled_filesystems = 'LocalFileSystem'")
    for function in READERS:
        assert "disabled_filesystems" in refused(con, f"FROM {call(function, index, GRID, **ONE)}")
    rows = call("lazycogs_read", "ITEMS", GRID, **ONE).replace("'ITEMS'", "getvariable('items')")
    assert con.execute(f"SELECT count(red) FROM {rows}").fetchone()[0] > 0


def test_secrets_are_not_shown(con, over_http, served, tmp_path):
    """Signatures and passwords in hrefs and in the index's own URL, with a fault at each place."""
    table = pq.read_table(over_http)
    rows = table.to_pylist()
    for row in rows:
        for asset in row["assets"].values():
            asset["href"] = asset["href"].replace("http://", "http://user:hunter2@") + "?sig=topsecret"
    index = tmp_path / "signed.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), index)
    seen = [con.execute(f"FROM {call('lazycogs_explain', index, GRID, headers=True, **ONE)}").fetchall()]
    assert len(con.execute(f"FROM {call('lazycogs_read', index, GRID, **ONE)}").fetchmany(5)) == 5
    con.execute("SET lazycogs_max_retries = 0; SET lazycogs_cache_size = '0'")
    for fault in ({"status": 403}, {"status": 503}, {"reset": True}, {"truncate": 10}, {"status": 404}):
        served.reset()
        served.fault("*", **fault)
        seen.append(refused(con, f"SELECT sum(red) FROM {call('lazycogs_read', index, GRID, **ONE)}"))
        url = served.url.replace("http://", "http://user:hunter2@") + "/archive/items.parquet?sig=topsecret"
        # DuckDB quotes the statement itself below the message.
        seen.append(refused(con, f"FROM {call('lazycogs_read', url, GRID, **ONE)}").split("\n\nLINE")[0])
        assert "items.parquet" in seen[-1]
        seen.append(con.execute("FROM lazycogs_failures()").fetchall())
    seen.append(con.execute("FROM lazycogs_cache_stats()").fetchall())
    everything = json.dumps(seen, default=str)
    assert "A_20240730T17" in everything
    for secret in ("topsecret", "hunter2", "sig="):
        assert secret not in everything
