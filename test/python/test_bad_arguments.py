"""Input that is well formed and wrong all the same: what the message says, and that it comes before any pixel."""

import json
import re

import duckdb
import numpy as np
import pytest
from helpers import call
from small import grid, index, item, raster, values


@pytest.fixture
def source(tmp_path):
    values = np.full((16, 16), 7, "uint8")
    path = raster(tmp_path / "a.tif", values, nodata=0)
    return index(tmp_path, [item("one", {"data": path}, **{"eo:cloud_cover": 12.0, "platform": "landsat-8"})])


def message(con, text):
    with pytest.raises(duckdb.Error) as error:
        con.execute(f"FROM {text}").fetchall()
    found = str(error.value)
    assert "lazycogs_" in found and "panicked" not in found and "INTERNAL" not in found
    return found.split("\nLINE")[0]


FUNCTIONS = ["lazycogs_read", "lazycogs_read_chunks", "lazycogs_explain", "lazycogs_info"]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "named, parts",
    [
        ({"nodata": -9999}, ["nodata -9999", "uint8", "dtype := 'int16'"]),
        ({"nodata": 0.5}, ["nodata 0.5", "uint8", "dtype := 'float32'"]),
        ({"nodata": -1, "dtype": "uint16"}, ["nodata -1", "dtype 'uint16'"]),
        ({"nodata": "NaN", "dtype": "int32"}, ["nodata NaN", "dtype 'int32'"]),
        ({"nodata": "none"}, ["nodata 'none'", "number"]),
        ({"mosaic": "mean", "dtype": "uint16"}, ["mosaic 'mean'", "uint16", "float32"]),
        ({"mosaic": "stdev", "dtype": "int8"}, ["mosaic 'stdev'", "int8", "float32"]),
        ({"mosaic": "median", "dtype": "int64"}, ["mosaic 'median'", "int64", "float32"]),
        ({"dtype": "float16"}, ["dtype 'float16'", "uint8", "float64"]),
        ({"dtype": "complex64"}, ["dtype 'complex64'"]),
        ({"errors": "IGNORE"}, ["errors 'IGNORE'", "raise or ignore"]),
        ({"sortby": ["cloud_cover"]}, ["sortby", "cloud_cover", "eo:cloud_cover"]),
        ({"sortby": ["-properties.nope"]}, ["sortby", "nope"]),
        ({"ids": ["One"]}, ["no item matches", "One"]),
        ({"ids": []}, ["no item matches", "ids"]),
        ({"filter": "eo:cloud_cover <"}, ["filter", "eo:cloud_cover <"]),
        ({"filter": "cloud_cover < 20"}, ["filter", "'cloud_cover'", "eo:cloud_cover"]),
        ({"filter": '{"op": "<", "args": [{"property": "nope"}, 1]}'}, ["filter", "'nope'"]),
        ({"filter": '{"op": "frobnicate", "args": []}'}, ["filter", "frobnicate"]),
        ({"filter": '{"op": '}, ["filter"]),
        ({"filter": "eo:cloud_cover > 50"}, ["no item matches", "eo:cloud_cover > 50"]),
        ({"bands": ["data:2"]}, ["data:2", "1 band"]),
        ({"bands": ["data:0"]}, ["data:0", "from 1"]),
        ({"bands": ["time"]}, ["time"]),
        ({"bands": ["data", "DATA"]}, ["DATA", "twice"]),
        ({"bands": ["Data"]}, ["Data", "data"]),
        ({"href_replace": ["("]}, ["href_replace"]),
        ({"href_replace": ["(", ""]}, ["href_replace"]),
        ({"datetime": "2024-05-03T10:00:00"}, ["no item matches", "datetime", "2024-05-03T10:00:00"]),
        ({"datetime": ""}, ["datetime"]),
        ({"chunk_size": 1}, ["chunk_size", "1"]),
    ],
    ids=str,
)
def test_named_arguments(con, source, function, named, parts):
    if parts[0] == "no item matches" and function in ("lazycogs_explain", "lazycogs_info"):
        # A dry run says that there is nothing: see test_empty_and_broken.py.
        column = "item_id" if function == "lazycogs_explain" else "nullif(items, 0)"
        text = call(function, source, grid(4, 4), **named)
        assert con.execute(f"SELECT count({column}) FROM {text}").fetchone() == (0,)
        return
    found = message(con, call(function, source, grid(4, 4), **named))
    assert function in found
    missing = [part for part in parts if part not in found]
    assert not missing, f"{missing} not in: {found}"


def test_the_place_of_a_mistake_in_a_filter_is_shown(con, source):
    found = message(con, call("lazycogs_read", source, grid(1), filter="eo:cloud_cover < 20 AND AND id = 'a'"))
    assert re.search(r"1:\d+|\^", found), found


def rows_by_value(con, rows):
    con.execute(f"SET VARIABLE items = {rows}")
    return f"lazycogs_read(getvariable('items'), {list(map(float, grid(4, 4).bbox))}, 'EPSG:32633', 10, 'P1D')"


BBOX = "bbox: {xmin: 14, ymin: 40, xmax: 16, ymax: 50}"


@pytest.mark.parametrize(
    "row, parts",
    [
        (f"{{id: 'a', {BBOX}, datetime: TIMESTAMP '2024-01-01'}}", ["assets"]),
        (f"{{id: 'a', {BBOX}, assets: {{data: {{href: 'a.tif'}}}}}}", ["datetime"]),
        (f"{{{BBOX}, datetime: TIMESTAMP '2024-01-01', assets: {{data: {{href: 'a.tif'}}}}}}", ["id"]),
        ("{id: 'a', datetime: TIMESTAMP '2024-01-01', assets: {data: {href: 'a.tif'}}}", ["bbox", "geometry"]),
        (
            f"{{id: 'a', {BBOX}, datetime: TIMESTAMP '2024-01-01', assets: {{data: {{title: 'no link'}}}}}}",
            ["href"],
        ),
        (
            f"{{id: 'a', {BBOX}, datetime: NULL::TIMESTAMP, assets: {{data: {{href: 'PATH'}}}}}}",
            ["item 'a'", "datetime"],
        ),
    ],
    ids=["assets", "datetime", "id", "place", "href", "null datetime"],
)
def test_item_rows_that_lack_something(con, source, row, parts):
    row = row.replace("PATH", str(source.parent / "a.tif"))
    found = message(con, rows_by_value(con, f"[{row}]"))
    missing = [part for part in parts if part not in found]
    assert not missing, f"{missing} not in: {found}"


@pytest.mark.parametrize("rows", ["[1, 2]", "[]", "NULL", "{a: 1}", "[NULL]"])
def test_items_that_are_no_items(con, rows):
    assert "items" in message(con, rows_by_value(con, rows))


@pytest.mark.parametrize("number", ["DOUBLE", "FLOAT", "INTEGER", "DECIMAL(9, 4)", "BIGINT"])
def test_item_rows_with_any_number_in_their_box(con, source, tmp_path, number):
    box = ", ".join(
        f"{edge}: {value}::{number}" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), (14, 40, 16, 50))
    )
    assets = f"assets: {{data: {{href: '{tmp_path}/a.tif'}}}}"
    row = f"{{id: 'a', bbox: {{{box}}}, datetime: TIMESTAMP '2024-01-01', {assets}}}"
    assert con.execute(f"SELECT count(data), min(data) FROM {rows_by_value(con, f'[{row}]')}").fetchall() == [(16, 7)]


def test_an_asset_without_href_among_others(con, tmp_path):
    """Only that item is at fault, and only if the band is asked for."""
    path = raster(tmp_path / "a.tif", np.full((16, 16), 7, "uint8"))
    features = []
    for name, asset in (("good", {"href": str(path)}), ("bad", {"title": "no link"})):
        features.append(
            {
                "type": "Feature",
                "id": name,
                "bbox": [14, 40, 16, 50],
                "geometry": None,
                "properties": {"datetime": "2024-05-03T12:00:00Z"},
                "assets": {"data": asset, "other": {"href": str(path)}},
            }
        )
    collection = tmp_path / "items.json"
    collection.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert "item 'bad' asset 'data': has no href" in message(
        con, call("lazycogs_read", collection, grid(1), bands=["data"], mosaic="count")
    )
    assert values(con, collection, grid(1)) == [[7]], "as with any item, `first` need not read it"
    assert values(con, collection, grid(1), band="other") == [[7]]
