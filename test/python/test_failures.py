"""Items that cannot be read: 'raise' names the first in order, 'ignore' goes on without them and keeps a list."""

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import call
from small import grid, index, item, raster, values


@pytest.fixture
def archive(tmp_path):
    """Four items over one place: the second has a broken red, the third is not there at all."""
    assets = []
    for number in range(4):
        red = raster(tmp_path / f"red{number}.tif", np.full((16, 16), 10 + number, "uint8"))
        nir = raster(tmp_path / f"nir{number}.tif", np.full((16, 16), 20 + number, "uint8"))
        assets.append({"red": red, "nir": nir})
    ring = item("x", assets[0]).footprint
    assets[1]["red"].write_bytes(b"no TIFF at all")
    assets[2]["red"].unlink()
    assets[2]["nir"].unlink()
    items = [item(f"i{n}", a, (2024, 5, 3, 12, n), footprint=ring) for n, a in enumerate(assets)]
    return index(tmp_path, items)


def failures(con):
    return con.execute(
        "SELECT item_id, asset, href, message, attempts FROM lazycogs_failures() ORDER BY ALL"
    ).fetchall()


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("limit", [1, 32])
def test_raise_names_the_first_in_the_order_of_the_mosaic(con, archive, threads, limit):
    con.execute(f"SET threads = {threads}")
    for sortby, first in (([], "i1"), (["-datetime"], "i2")):
        text = call("lazycogs_read", archive, grid(8, 8), bands=["red"], mosaic="mean", max_concurrent_reads=limit)
        if sortby:
            text = text[:-1] + f", sortby := {sortby})"
        for _ in range(3):
            with pytest.raises(duckdb.Error, match=f"item '{first}' asset 'red'"):
                con.execute(f"SELECT sum(red) FROM {text}").fetchall()


def test_ignore_goes_on_without_the_item_and_keeps_a_list(con, archive, tmp_path):
    named = {"mosaic": "count", "errors": "ignore"}
    assert values(con, archive, grid(2), band="red", **named) == [[2, 2]]
    found = failures(con)
    assert [(row[0], row[1], row[4]) for row in found] == [("i1", "red", 1), ("i2", "red", 1)]
    assert [row[2] for row in found] == [str(tmp_path / "red1.tif"), str(tmp_path / "red2.tif")]
    assert "not a TIFF" in found[0][3] and "no such file" in found[1][3]


def test_an_item_fails_for_all_its_bands(con, archive):
    """nir of i1 could be read: a pixel of one item's nir over another's red would be worse than neither."""
    text = call("lazycogs_read", archive, grid(2), bands=["red", "nir"], mosaic="count", errors="ignore")
    assert con.execute(f"SELECT red, nir FROM {text}").fetchall() == [(2, 2), (2, 2)]
    text = call("lazycogs_read", archive, grid(2), bands=["red", "nir"], mosaic="highest", errors="ignore")
    assert con.execute(f"SELECT red, nir FROM {text}").fetchall() == [(13, 23), (13, 23)]


def test_the_list_is_that_of_the_last_query(con, archive):
    values(con, archive, grid(2), band="red", mosaic="mean", errors="ignore")
    assert len(failures(con)) == 2
    values(con, archive, grid(2), band="nir", ids=["i0", "i3"])
    assert failures(con) == []


def test_a_file_without_a_place_on_earth_is_ignored_like_any_other(con, tmp_path):
    good = raster(tmp_path / "good.tif", np.full((16, 16), 7, "uint8"))
    lost = raster(tmp_path / "lost.tif", np.full((16, 16), 9, "uint8"), crs=None, transform=None)
    ring = item("good", {"data": good}).footprint
    source = index(tmp_path, [item("good", {"data": good}), item("lost", {"data": lost}, footprint=ring)])
    assert values(con, source, grid(2), mosaic="highest", errors="ignore") == [[7, 7]]
    assert [(row[0], "georeference" in row[3]) for row in failures(con)] == [("lost", True)]


def test_attempts_are_those_of_the_failed_request(con, over_http, served, fixtures):
    con.execute("SET lazycogs_max_retries = 2")
    served.fault("archive/scenes/A_20240503T17_red.tif", status=503)
    served.fault("archive/scenes/A_20240513T17_red.tif", status=403)
    where = grid(20, 20, resolution=100, left=734000, top=4933000, crs="EPSG:32615")
    ids = ["A_20240602T17", "A_20240503T17", "A_20240513T17"]
    named = {"ids": ids, "mosaic": "highest", "sortby": ["-datetime"], "errors": "ignore"}
    values(con, over_http, where, "P1Y", band="red", **named)
    assert {row[0]: row[4] for row in failures(con)} == {"A_20240503T17": 3, "A_20240513T17": 1}


def test_hrefs_in_the_list_have_no_signature(con, over_http, served, tmp_path):
    table = pq.read_table(over_http)
    rows = table.to_pylist()
    for row in rows:
        for asset in row["assets"].values():
            asset["href"] += "?sig=secret"
    signed = tmp_path / "signed.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), signed)
    served.fault("archive/scenes/A_20240503T17_red.tif", status=403)
    where = grid(20, 20, resolution=100, left=734000, top=4933000, crs="EPSG:32615")
    named = {"ids": ["A_20240602T17", "A_20240503T17"], "mosaic": "mean", "sortby": ["-datetime"], "errors": "ignore"}
    values(con, signed, where, "P1Y", band="red", **named)
    ((item_id, _, href, text, _),) = failures(con)
    assert item_id == "A_20240503T17" and href.startswith(served.url)
    assert "secret" not in href and "secret" not in text
