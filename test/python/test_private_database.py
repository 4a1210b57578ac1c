"""The private DuckDB that reads indexes: a file that brings it down hurts its own query alone and leaves nothing."""

import os
import threading
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import call
from small import grid, index, item, raster

HERE = grid(8, 8)


@pytest.fixture
def good(tmp_path):
    return index(tmp_path / "good", [item("a", {"data": raster(tmp_path / "a.tif", np.full((8, 8), 7, "uint8"))})])


@pytest.fixture
def harmful(tmp_path):
    """A footer by which a column takes less than no bytes: an internal error of DuckDB 2.0.0."""
    path = tmp_path / "damaged.parquet"
    edges = {"xmin": 14.9, "ymin": 46.0, "xmax": 15.9, "ymax": 47.9}
    rows = {"id": ["a"], "datetime": [datetime(2024, 5, 3)], "bbox": [edges], "assets": [{"data": {"href": "x"}}]}
    pq.write_table(pa.table(rows), path, use_dictionary=False, compression="none")
    content = bytearray(path.read_bytes())
    # The path of the first column, its codec, values, bytes and compressed bytes; 1 stands for -1.
    at = content.index(b"\x19\x18\x02id\x15\x00\x16\x02\x16") + 9
    assert content[at + 1] < 128 and content[at + 2] == 0x16 and content[at + 3] < 128
    content[at + 3] = 1
    path.write_bytes(content)
    return path


def threads():
    return len(os.listdir("/proc/self/task"))


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def fails(con, items, why=None, **named):
    with pytest.raises(duckdb.Error, match=why):
        con.execute(f"FROM {call('lazycogs_info', items, HERE, bands=['data'], **named)}").fetchall()


def test_nothing_is_judged_by_the_text_of_a_message(con, good, tmp_path):
    bad = tmp_path / "INTERNAL Error FATAL Error.parquet"
    bad.write_bytes(b"PAR1 is not all there is to it PAR1")
    sql = f"SELECT count(data) FROM {call('lazycogs_read', good, HERE)}"
    assert con.execute(sql).fetchone() == (64,)
    before = threads()
    for _ in range(40):
        fails(con, tmp_path / "INTERNAL Error*.parquet")
    assert threads() <= before + 8
    assert con.execute(sql).fetchone() == (64,)


def test_damage_stays_with_the_query_that_brought_it(connect, good, harmful):
    """200 harmful queries beside innocent ones, by file and by value, on other connections."""
    sql = f"SELECT count(data) FROM {call('lazycogs_read', good, HERE)}"
    by_value = f"SELECT count(data) FROM {call('lazycogs_read', 'ITEMS', HERE)}".replace(
        "'ITEMS'", "getvariable('items')"
    )
    culprit, innocents = connect(), [connect() for _ in range(3)]
    for con in innocents:
        con.execute(f"SET VARIABLE items = (SELECT list(i) FROM '{good}' i)")
        assert con.execute(sql).fetchone() == con.execute(by_value).fetchone() == (64,)
    fails(culprit, harmful, None if duckdb.__version__.startswith("1.") else "INTERNAL Error")
    before, wrong, ended = (threads(), memory()), [], threading.Event()

    def ask(con):
        while not ended.is_set():
            for text in (sql, by_value, sql.replace("lazycogs_read", "lazycogs_explain").replace("data", "item_id")):
                try:
                    if con.execute(text).fetchone()[0] not in (64, 1):
                        wrong.append("another answer")
                except duckdb.Error as error:
                    wrong.append(str(error))

    asking = [threading.Thread(target=ask, args=(con,)) for con in innocents]
    for thread in asking:
        thread.start()
    for _ in range(200):
        fails(culprit, harmful)
    ended.set()
    for thread in asking:
        thread.join()
    assert not wrong, (len(wrong), wrong[0])
    assert threads() <= before[0] + 16
    assert memory() <= before[1] + 100
