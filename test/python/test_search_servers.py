"""lazycogs_search against a STAC API made by others: stac-fastapi on pgstac, filled with items of real archives."""

import json

import duckdb
import pytest
import servers
from test_search import items_of, micros, search, written


class Api:
    def __init__(self, url, items):
        self.url, self.items = url, items

    def where(self, condition):
        return sorted(name for name, one in self.items.items() if condition(one))


@pytest.fixture(scope="module")
def api(shared_data):
    items = {}
    for path in sorted((shared_data / "stac/json").iterdir()):
        for one in items_of(path):
            one.setdefault("collection", "none")
            items[one["collection"], one["id"]] = one
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    kept = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "description": "x",
        "license": "x",
        "links": [],
        "extent": extent,
    }
    collections = [json.dumps(kept | {"id": name}) for name in sorted({name for name, _ in items})]
    server = servers.pgstac(collections, [written(one) for one in items.values()])
    try:
        url = server.__enter__()
    except servers.Missing as reason:
        pytest.skip(str(reason))
    yield Api(url, {key: json.loads(written(one)) for key, one in items.items()})
    server.__exit__(None, None, None)


def found(con, api, **named):
    return sorted(con.execute(search(api, "collection, id", **named)).fetchall())


def test_all_of_it(con, api):
    """pgstac keeps values and not texts: JSON is compared as values. It adds links, and leaves out nothing."""
    columns = "collection, id, epoch_us(datetime), assets, properties, bbox"
    rows = con.execute(search(api, columns, page_size=10)).fetchall()
    assert len(rows) == len(api.items) >= 80 and con.execute("FROM lazycogs_failures()").fetchall() == []
    for collection, name, time, assets, properties, box in rows:
        one = api.items[collection, name]
        assert time == micros(one["properties"]["datetime"])
        assert list(box.values()) == one["bbox"]
        if all("://" in asset["href"] for asset in one["assets"].values()):
            assert json.loads(assets) == one["assets"], name
        assert said(json.loads(properties)) == said(one["properties"]), name


def said(properties):
    """Without what is null, which pgstac does not keep, and the time, which it writes in its own way."""
    return {name: value for name, value in properties.items() if value is not None and name != "datetime"}


@pytest.mark.parametrize("page_size", [1, 7, 250])
def test_pages(con, api, page_size):
    named = {"collections": ["naip", "sentinel-2-l2a"], "page_size": page_size}
    wanted = api.where(lambda one: one["collection"] in ("naip", "sentinel-2-l2a"))
    assert found(con, api, **named) == wanted and len(wanted) >= 20
    assert len(found(con, api, **named, max_items=9)) == 9


def meets(box):
    west, south, east, north = box
    return lambda one: (
        one["bbox"][0] <= east and one["bbox"][2] >= west and one["bbox"][1] <= north and one["bbox"][3] >= south
    )


def test_boxes_and_shapes(con, api):
    whole = [-180, -90, 180, 90]
    assert found(con, api, bbox=whole) == api.where(meets(whole))
    halves = [[170, -90, 180, 90], [-180, -90, -170, 90]]
    wanted = api.where(lambda one: any(meets(half)(one) for half in halves))
    assert found(con, api, bbox=[170, -90, -170, 90]) == wanted and len(wanted) >= 5
    west, south, east, north = -130, 0, 0, 60
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    shape = json.dumps({"type": "Polygon", "coordinates": [ring]})
    assert found(con, api, intersects=shape) == found(con, api, bbox=[west, south, east, north])


@pytest.mark.parametrize(
    "given, first, last",
    [
        ("2020", "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"),
        ("../2015-06-01", "0001-01-01T00:00:00Z", "2015-06-02T00:00:00Z"),
        ("2022-06/..", "2022-06-01T00:00:00Z", "9999-01-01T00:00:00Z"),
    ],
)
def test_times(con, api, given, first, last):
    names = ("datetime", "start_datetime", "end_datetime")

    def inside(one):
        datetime, start, end = (micros(one["properties"].get(name)) for name in names)
        return (start or datetime) < micros(last) and (end or datetime) >= micros(first)

    wanted = api.where(inside)
    assert found(con, api, datetime=given) == wanted and wanted


@pytest.mark.parametrize(
    "filter", ['"eo:cloud_cover" < 20', '{"op": "<", "args": [{"property": "eo:cloud_cover"}, 20]}']
)
def test_filters(con, api, filter):
    wanted = api.where(lambda one: one["properties"].get("eo:cloud_cover", 100) < 20)
    assert found(con, api, filter=filter) == wanted and wanted


def test_collections_and_what_is_not_there(con, api):
    names = {name for (name,) in con.execute(f"SELECT id FROM lazycogs_collections('{api.url}')").fetchall()}
    assert names == {collection for collection, _ in api.items}
    with pytest.raises(duckdb.Error, match="no collection 'naipp'; did you mean 'naip'"):
        con.execute(search(api, collections="naipp")).fetchall()
    assert found(con, api, ids=["nobody"]) == []
