"""Bad input: each fault has its own message, which names the function, what was wrong and how to mend it."""

import duckdb
import pyarrow.parquet as pq
import pytest
from helpers import call, read
from model import Grid

GRID = Grid((499900, 4898300, 501900, 4900100), "EPSG:32615", 100)
BBOX = "[499900, 4898300, 501900, 4900100]"


@pytest.fixture
def bad(fixtures):
    return fixtures / "bad"


def failure(con, sql):
    """The message of a statement that must fail."""
    with pytest.raises(duckdb.Error) as error:
        con.execute(sql).fetchall()
    message = str(error.value)
    assert "lazycogs_" in message, f"the message does not name the function: {message}"
    assert "panicked" not in message and "INTERNAL" not in message
    return message


def call_with(index, bbox=BBOX, crs="'EPSG:32615'", resolution="100", period="'P1D'", more=""):
    return f"FROM lazycogs_read('{index}', {bbox}, {crs}, {resolution}, {period}{more})"


def says(message, *parts):
    missing = [part for part in parts if part.lower() not in message.lower()]
    assert not missing, f"{missing} not in: {message}"


@pytest.mark.parametrize("function", ["lazycogs_read", "lazycogs_read_chunks", "lazycogs_explain", "lazycogs_info"])
def test_missing_index(con, fixtures, function):
    path = fixtures / "nowhere.parquet"
    says(failure(con, f"FROM {call(function, path, GRID)}"), function, "nowhere.parquet")


def test_index_that_is_no_parquet(con, bad):
    says(failure(con, call_with(bad / "text.parquet")), "text.parquet")


@pytest.mark.parametrize(
    "file, column",
    [
        ("not_stac", "id"),
        ("without_id", "id"),
        ("without_assets", "assets"),
        ("without_datetime", "datetime"),
        ("without_bbox_geometry", "geometry"),
    ],
)
def test_parquet_that_is_no_stac_geoparquet(con, bad, file, column):
    says(failure(con, call_with(bad / f"{file}.parquet")), file, f"{column}", "column")


def test_no_item_matches(con, bad):
    elsewhere = "[600000, 1000000, 601000, 1001000]"
    message = failure(con, call_with(bad / "items.parquet", bbox=elsewhere, more=", datetime := '2024-01-01/..'"))
    # The bbox in degrees: x = 600000 in zone 15 is a degree east of its meridian, y = 1000000 is 9 degrees north.
    says(message, "no item", "EPSG:4326", "-92.", "9.0", "2024-01-01")
    says(
        failure(con, call_with(bad / "items.parquet", more=", datetime := '1999-01-01/1999-12-31'")), "no item", "1999"
    )
    says(failure(con, call_with(bad / "items.parquet", more=", ids := ['nobody']")), "no item", "ids")


@pytest.mark.parametrize(
    "bbox",
    [
        "[501900, 4898300, 499900, 4900100]",
        "[499900, 4900100, 501900, 4898300]",
        "[499900, 4898300, 499900, 4900100]",
        "[499900, 4898300, 'NaN'::DOUBLE, 4900100]",
        "[499900, '-Infinity'::DOUBLE, 501900, 4900100]",
        "[499900, 4898300, 501900]",
        "[499900, 4898300, 501900, 4900100, 1]",
        "[]",
        "[NULL, 4898300, 501900, 4900100]",
        "NULL",
    ],
)
def test_bbox(con, bad, bbox):
    says(failure(con, call_with(bad / "items.parquet", bbox=bbox)), "bbox")


@pytest.mark.parametrize("crs", ["'EPSG:999999'", "'nonsense'", "''", "NULL"])
def test_crs(con, bad, crs):
    says(failure(con, call_with(bad / "items.parquet", crs=crs)), "crs")
    if crs not in ("''", "NULL"):
        says(failure(con, call_with(bad / "items.parquet", crs=crs)), crs.strip("'"))


@pytest.mark.parametrize("resolution", ["0", "-10", "'NaN'::DOUBLE", "'Infinity'::DOUBLE", "NULL"])
def test_resolution(con, bad, resolution):
    says(failure(con, call_with(bad / "items.parquet", resolution=resolution)), "resolution")


@pytest.mark.parametrize("period", ["fortnight", "P0D", "P1", "PT0H", "P-1D", "P1Y6M", "P99999999999999D", ""])
def test_period(con, bad, period):
    says(failure(con, call_with(bad / "items.parquet", period=f"'{period}'")), "period", "P1M", period)


def test_band_that_no_item_has(con, fixtures):
    grid = Grid((733000, 4930000, 737000, 4934500), "EPSG:32615", 100)
    text = call("lazycogs_read", fixtures / "archive" / "items.parquet", grid, bands=["red", "ndvi"])
    says(failure(con, f"FROM {text}"), "ndvi", "red", "nir", "scl")


@pytest.mark.parametrize(
    "argument, parts",
    [
        ("mosaic := 'frist'", ["mosaic", "frist", "first", "highest"]),
        ("resampling := 'nearset'", ["resampling", "nearset", "nearest"]),
        ("errors := 'swallow'", ["errors", "swallow", "raise", "ignore"]),
        ("dtype := 'uint12'", ["dtype", "uint12", "uint16"]),
        ("bands := []", ["bands"]),
        ("datetime := 'yesterday'", ["datetime", "yesterday"]),
        ("datetime := '2024-02-01/2024-01-01'", ["datetime", "2024-02-01"]),
        ("chunk_size := 0", ["chunk_size"]),
        ("chunk_size := -5", ["chunk_size"]),
        ("max_concurrent_reads := 0", ["max_concurrent_reads"]),
        ("sortby := ['no_such_property']", ["sortby", "no_such_property"]),
    ],
)
def test_named_arguments(con, bad, argument, parts):
    says(failure(con, call_with(bad / "items.parquet", more=f", {argument}")), *parts)


@pytest.mark.parametrize(
    "item, parts",
    [
        ("no_href", ["href"]),
        ("missing", ["missing.tif"]),
        ("html", ["html.tif", "not a TIFF"]),
        ("empty", ["empty.tif"]),
        ("header_only", ["header_only.tif"]),
        ("truncated", ["truncated.tif"]),
        ("no_georeference", ["no_georeference.tif", "georeference"]),
    ],
)
def test_files(con, bad, item, parts):
    text = call("lazycogs_read", bad / "items.parquet", GRID, ids=[item], bands=["data"])
    message = failure(con, f"SELECT sum(data) FROM {text}")
    says(message, item, "data", *parts)


def test_the_good_one_of_the_bad_lot(con, bad):
    """The faults above are those of the files: beside them is an item that reads well."""
    (bands,) = read(con, bad / "items.parquet", GRID, ids=["good"]).values()
    assert bands["data"].count() > 100


def test_404_over_http(con, bad, served, tmp_path):
    table = pq.read_table(bad / "items.parquet")
    index = tmp_path / "remote.parquet"
    rows = table.to_pylist()
    for row in rows:
        row["assets"]["data"]["href"] = f"{served.url}/bad/{row['id']}.tif"
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), index)
    text = call("lazycogs_read", index, GRID, ids=["missing"], bands=["data"])
    says(failure(con, f"SELECT sum(data) FROM {text}"), "missing", "data", f"{served.url}/bad/missing.tif", "404")
    served.fault("bad/good.tif", status=403)
    text = call("lazycogs_read", index, GRID, ids=["good"], bands=["data"])
    says(failure(con, f"SELECT sum(data) FROM {text}"), "good", "data", f"{served.url}/bad/good.tif", "403")


def test_a_failure_leaves_the_next_query_alone(con, bad):
    for _ in range(3):
        failure(con, f"SELECT sum(data) FROM {call('lazycogs_read', bad / 'items.parquet', GRID, ids=['truncated'])}")
        (bands,) = read(con, bad / "items.parquet", GRID, ids=["good"]).values()
        assert bands["data"].count() > 100


def test_failing_items_can_be_skipped_and_are_reported(con, bad):
    """The others of the step are read, and what was left out can be asked for."""
    ids = ["truncated", "html", "good"]
    named = {"ids": ids, "bands": ["data"], "errors": "ignore"}
    (bands,) = read(con, bad / "items.parquet", GRID, **named).values()
    assert bands["data"].count() > 100
    rows = con.execute("SELECT item_id, asset, message FROM lazycogs_failures() ORDER BY item_id").fetchall()
    assert [row[:2] for row in rows] == [("html", "data"), ("truncated", "data")]
    assert all(message for _, _, message in rows)
    with pytest.raises(duckdb.Error, match="html|truncated"):
        read(con, bad / "items.parquet", GRID, **(named | {"errors": "raise"}))
