"""lazycogs_search and lazycogs_collections: what is asked of a STAC API, and what becomes of its answer."""

import json
import struct
from datetime import UTC, datetime, timedelta
from functools import partial

import duckdb
import numpy as np
import pytest
import stac
from helpers import call, literal
from server import RangeServer
from small import grid, raster
from stac_server import StacServer


def item(name, collection="c", box=(1, 2, 3, 4), time="2024-05-03T12:00:00Z", **members):
    """An item as text."""
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return json.dumps(
        {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": name,
            "collection": collection,
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": list(box),
            "properties": {"datetime": time},
            "assets": {"data": {"href": f"https://example.org/{name}.tif"}},
            "links": [],
        }
        | members
    )


def search(api, columns="id", url=None, **named):
    extra = "".join(f", {name} := {literal(value)}" for name, value in named.items())
    return f"SELECT {columns} FROM lazycogs_search('{url or api.url}'{extra})"


def ids(con, api, **named):
    return [name for (name,) in con.execute(search(api, "id", **named)).fetchall()]


def refused(con, sql):
    with pytest.raises(duckdb.Error) as error:
        con.execute(sql).fetchall()
    text = str(error.value)
    assert "lazycogs_" in text and "panic" not in text and "internal error" not in text.lower()
    return text


FEW = [item(f"i{n}") for n in range(25)]
NAMES = [f"i{n}" for n in range(25)]
TIMES = ", ".join(f"epoch_us({name})" for name in ("datetime", "start_datetime", "end_datetime"))
COLUMNS = f"id, collection, stac_version, {TIMES}, geometry, bbox, assets, properties"


@pytest.mark.parametrize("paging", ["body", "merge", "get", "headers", "bare"])
@pytest.mark.parametrize("posts", [True, False])
def test_every_page_once(con, paging, posts):
    if not posts and paging in ("body", "merge", "bare"):
        paging = "get"
    with StacServer(FEW, paging=paging, posts=posts) as api:
        assert ids(con, api, page_size=10) == NAMES
        asked = [one for one in api.asked("/search") if one.status == 200]
    assert [int(one.search["limit"]) for one in asked] == [10, 10, 10]
    follows = "GET" if paging in ("get", "headers") else "POST"
    assert [one.method for one in asked] == ["POST" if posts else "GET", follows, follows]


def test_columns(con):
    with StacServer(FEW[:1]) as api:
        told = con.execute("DESCRIBE " + search(api, "*")).fetchall()
        assert not api.asked(), "a bind asks nobody"
        con.execute("PREPARE s AS " + search(api, "id"))
        assert not api.asked()
        assert con.execute("EXECUTE s").fetchall() == con.execute("EXECUTE s").fetchall() == [("i0",)]
        assert con.execute(search(api, "count(*)")).fetchall() == [(1,)]
    box = "STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE)"
    kinds = ["VARCHAR"] * 3 + ["TIMESTAMP WITH TIME ZONE"] * 3 + ["BLOB", box, "JSON", "JSON"]
    assert [row[1] for row in told] == kinds


def test_json_is_as_it_was_written(con):
    times = '"start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-01-02T00:00:00.123456+01:00"'
    odd = f'{{"b" : 1.50, "a": [1e2, {{"x": "\\u00e9\\/"}}], "n": 12345678901234567890, "datetime": null, {times}}}'
    assets = '{"z": {"href": "s3://b/k", "proj:shape": [ 1,2 ]},\n "a": {"href": "file:///x"}}'
    head = '{"type":"Feature","id":"\\u0061","bbox":[-180,-90,5,180,90,6],"geometry":null,'
    text = f'{head}"properties":{odd},"assets":{assets},"x":{{}}}}'
    with StacServer([text]) as api:
        row = con.execute(search(api, COLUMNS)).fetchone()
    box = {"xmin": -180.0, "ymin": -90.0, "xmax": 180.0, "ymax": 90.0}
    times = (None, 1_704_067_200_000_000, 1_704_150_000_123_456)
    assert row == ("a", None, None, *times, None, box, assets, odd)


def polygons(geometry):
    """A GeoJSON polygon or multipolygon as WKB."""

    def polygon(rings):
        parts = [struct.pack("<I", len(ring)) + b"".join(struct.pack("<2d", *p[:2]) for p in ring) for ring in rings]
        return struct.pack("<BII", 1, 3, len(rings)) + b"".join(parts)

    if geometry["type"] == "Polygon":
        return polygon(geometry["coordinates"])
    parts = geometry["coordinates"]
    return struct.pack("<BII", 1, 6, len(parts)) + b"".join(map(polygon, parts))


def items_of(path):
    """The items of a file of JSON, as texts that keep its numbers."""
    text, read = path.read_text(), partial(json.loads, parse_float=Verbatim, parse_int=Verbatim)
    try:
        found = read(text)
    except json.JSONDecodeError:
        found = [read(line) for line in text.splitlines() if line.strip()]
    found = found if isinstance(found, list) else found.get("features", [found])
    return [one for one in found if isinstance(one, dict) and one.get("type") == "Feature"]


class Verbatim(float):
    """A number that is written as it was read."""

    def __new__(cls, text):
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __repr__(self):
        return self.text


def written(value):
    if isinstance(value, Verbatim):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {written(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def micros(time):
    if time is None:
        return None
    read = datetime.fromisoformat(time.replace("Z", "+00:00"))
    read = read if read.tzinfo else read.replace(tzinfo=UTC)
    return (read - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_items_of_real_archives(con, shared_data):
    found = [one for path in sorted((shared_data / "stac/json").iterdir()) for one in items_of(path)]
    # One id on several files counts once a search.
    unique = {(one.get("collection"), one["id"]): one for one in reversed(found)}
    assert len(found) >= 90 and len(unique) >= 60
    with StacServer([written(one) for one in unique.values()]) as api:
        rows = con.execute(search(api, COLUMNS, page_size=20)).fetchall()
    assert [row[:2] for row in rows] == [(one["id"], one.get("collection")) for one in unique.values()]
    relative = 0
    for row, one in zip(rows, unique.values()):
        properties, bbox = one["properties"], [float(edge) for edge in one["bbox"]]
        assert row[2] == one.get("stac_version")
        assert list(row[3:6]) == [micros(properties.get(n)) for n in ("datetime", "start_datetime", "end_datetime")]
        assert row[6] == polygons(one["geometry"])
        assert list(row[7].values()) == bbox
        hrefs = [asset["href"] for asset in one["assets"].values()]
        if all("://" in href for href in hrefs):
            assert row[8] == written(one["assets"]), one["id"]
        else:
            relative += 1
            assert all("://" in asset["href"] for asset in json.loads(row[8]).values())
        assert row[9] == written(properties), one["id"]
    assert relative <= 3


def test_relative_hrefs_are_made_absolute(con):
    assets = {"a": {"href": "./a.tif"}, "b": {"href": "/b.tif?x=1"}, "c": {"href": "s3://b/c.tif"}}
    links = [{"rel": "root", "href": "/"}, {"rel": "self", "href": "https://other.org/stac/items/i0"}]
    with StacServer([item("own", assets=assets, links=links), item("none", assets=assets)]) as api:
        url = api.url.replace("://", "://me:pass-word@") + "?key=querysecret"
        texts = [text for (text,) in con.execute(search(api, "assets", url=url)).fetchall()]
        assert "pass-word" not in str(texts) and "querysecret" not in str(texts)
        own, none = map(json.loads, texts)
    assert [asset["href"] for asset in own.values()] == [
        "https://other.org/stac/items/a.tif",
        "https://other.org/b.tif?x=1",
        "s3://b/c.tif",
    ]
    assert none["a"]["href"] == f"{api.root}/v1/a.tif"


def test_what_is_asked(con):
    shape = {"type": "Polygon", "coordinates": [[[0, 0], [4.5, 0], [4.5, 5.25], [0, 0]]]}
    with StacServer(FEW) as api:
        ids(con, api, collections="c", ids=["i1", "i2"], intersects=json.dumps(shape), max_items=7, page_size=100)
        ids(con, api, bbox=[0, 0, 5, 5], filter="gsd <= 10 AND platform = 'x'")
        ids(con, api, bbox=[0, 0, 1, 5, 5, 9], filter='{"op": "<=", "args": [{"property": "gsd"}, 10]}')
        first, second, third = [one for one in api.asked("/search")]
        assert first.method == "POST" and first.headers["content-type"] == "application/json"
        assert "ndjson" not in first.headers["accept"] and "json" in first.headers["accept"]
    assert first.body == {"collections": ["c"], "ids": ["i1", "i2"], "intersects": shape, "limit": 7}
    gsd = {"op": "<=", "args": [{"property": "gsd"}, 10]}
    platform = {"op": "=", "args": [{"property": "platform"}, "x"]}
    assert second.body == {
        "bbox": [0, 0, 5, 5],
        "filter": {"op": "and", "args": [gsd, platform]},
        "filter-lang": "cql2-json",
        "limit": 250,
    }
    assert third.body == {"bbox": [0, 0, 5, 5], "filter": gsd, "filter-lang": "cql2-json", "limit": 250}


def test_the_same_by_get(con):
    shape = '{"type": "Point", "coordinates": [2.5, 3]}'
    with StacServer(FEW, [{"id": "d"}], posts=False, paging="get") as api:
        assert ids(con, api, collections=["c", "d"], bbox=[0, 0, 5, 5.5], datetime="2024", filter="gsd<=10")[:1] == [
            "i0"
        ]
        ids(con, api, intersects=shape)
        refused_post, first, second = [one for one in api.asked("/search") if one.search.get("limit")][:3]
    assert (refused_post.method, refused_post.status, first.method) == ("POST", 405, "GET")
    assert first.query == {
        "collections": "c,d",
        "bbox": "0.0,0.0,5.0,5.5",
        "datetime": "2024-01-01T00:00:00Z/2024-12-31T23:59:59.999999Z",
        "filter": "gsd<=10",
        "filter-lang": "cql2-text",
        "limit": "250",
    }
    assert second.method == "POST", "another search asks anew"


@pytest.mark.parametrize(
    "given, sent",
    [
        ("2024-01-15T10:00:00+02:00", "2024-01-15T08:00:00Z"),
        ("2024-01-15T10:00:00", "2024-01-15T10:00:00Z"),
        ("2024-01-15", "2024-01-15T00:00:00Z/2024-01-15T23:59:59.999999Z"),
        ("2024-02", "2024-02-01T00:00:00Z/2024-02-29T23:59:59.999999Z"),
        ("2024-01-01/2024-03-31", "2024-01-01T00:00:00Z/2024-03-31T23:59:59.999999Z"),
        ("2024-01-01/..", "2024-01-01T00:00:00Z/.."),
        ("../2024-03-31T12:00:00Z", "../2024-03-31T12:00:00Z"),
    ],
)
def test_times_of_every_form(con, given, sent):
    with StacServer(FEW) as api:
        ids(con, api, datetime=given)
        assert api.asked("/search")[0].body["datetime"] == sent


def test_boxes_at_the_antimeridian(con):
    items = [
        item("west", box=(175, 0, 179, 1)),
        item("both", box=(-180, 0, 180, 1)),
        item("east", box=(-179, 0, -175, 1)),
    ]
    items.append(item("far", box=(0, 0, 1, 1)))
    with StacServer(items) as api:
        for box in ([170, -5, -170, 5], [170, -5, 190, 5], [-190, -5, -170, 5]):
            api.reset()
            assert ids(con, api, bbox=box) == ["west", "both", "east"]
            assert [one.body["bbox"] for one in api.asked("/search")] == [[170, -5, 180, 5], [-180, -5, -170, 5]]
            assert con.execute("FROM lazycogs_failures()").fetchall() == []
        assert len(ids(con, api, bbox=[-180, -90, 180, 90])) == 4
        assert ids(con, api, bbox=[170, -5, -170, 5], max_items=2) == ["west", "both"]


def test_no_more_than_asked_for(con):
    with StacServer(FEW) as api:
        assert ids(con, api, max_items=12, page_size=5) == NAMES[:12]
        assert len(api.asked("/search")) == 3
        api.reset()
        assert len(con.execute(search(api, "id", **{'"limit"': 3})).fetchall()) == 3
        assert [one.body["limit"] for one in api.asked("/search")] == [3]
        api.reset()
        assert len(con.execute(search(api, "id", page_size=5) + " LIMIT 4").fetchall()) == 4
        assert len(api.asked("/search")) <= 2, "LIMIT stops the paging"


def test_the_url_of_a_search(con):
    with StacServer(FEW) as api:
        assert len(ids(con, api, url=f"{api.url}/search")) == 25
        assert [one.path for one in api.asked()] == ["/v1/search"]
        api.reset()
        assert len(ids(con, api, url=f"{api.url}/search", filter="gsd < 5")) == 25
        assert [one.path for one in api.asked()] == ["/v1", "/v1/search"]


def test_io_does_not_matter(con):
    con.execute("SET lazycogs_io = 'duckdb'")
    with StacServer(FEW) as api:
        assert ids(con, api, page_size=10) == NAMES


def test_a_filter_is_never_dropped(con):
    with StacServer(FEW, conforms=["https://api.stacspec.org/v1.0.0/item-search"]) as api:
        said = refused(con, search(api, filter="gsd < 5"))
        assert "no filter extension" in said and not api.asked("/search")
        assert len(ids(con, api)) == 25
    # What is told elsewhere counts, too.
    elsewhere = ("http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter",)
    with StacServer(FEW, conforms=elsewhere) as api:
        assert len(ids(con, api, filter="gsd < 5")) == 25
        assert [one.path for one in api.asked()] == ["/v1", "/v1/conformance", "/v1/search"]


def test_unknown_collections_and_nothing_found(con):
    known = [{"id": name} for name in ("sentinel-2-l2a", "sentinel-2-l1c", "landsat-c2-l2", "naip", "c")]
    with StacServer(FEW, known) as api:
        assert ids(con, api, collections="naip") == [], "a search may find nothing"
        assert ids(con, api, ids=["no such"]) == []
        said = refused(con, search(api, collections="sentinel-2-l2"))
        assert "no collection 'sentinel-2-l2'" in said and "did you mean 'sentinel-2-l2a' or 'sentinel-2-l1c'?" in said
        assert "there are 'c', 'landsat-c2-l2'" in refused(con, search(api, collections=["c", "modis"]))
        assert "no collection 'x y/z'" in refused(con, search(api, url=f"{api.url}/search", collections="x y/z"))
        assert api.asked("/collections/x%20y%2Fz") and len(ids(con, api, collections=["c", "zzz"], max_items=3)) == 3
    with StacServer([]) as api:
        api.fault("/v1/collections/zzz", status=500, times=None)
        con.execute("SET lazycogs_max_retries = 0")
        assert ids(con, api, collections="zzz") == [], "who does not say what there is says nothing against it"


@pytest.fixture
def archive(tmp_path):
    """Two items whose assets are files of this machine, on a server."""
    texts = []
    for n, time in enumerate(("2024-05-03T12:00:00Z", "2024-06-03T12:00:00Z")):
        path = raster(tmp_path / f"root/{n}.tif", np.full((16, 16), 7 + n, "uint8"))
        ring = [list(point) for point in stac.outline(path)]
        lon, lat = zip(*ring)
        box = [min(lon), min(lat), max(lon), max(lat)]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        assets = {"data": {"href": path.as_uri(), "type": stac.COG_TYPE, "roles": ["data"]}}
        properties = {"datetime": time, "eo:cloud_cover": n}
        texts.append(item(f"i{n}", box=box, geometry=geometry, assets=assets, properties=properties))
    with StacServer(texts, [{"id": "c"}]) as api:
        api.box = box
        yield api


GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": [],
            "covering": {"bbox": {edge: ["bbox", edge] for edge in ("xmin", "ymin", "xmax", "ymax")}},
        }
    },
}


@pytest.mark.parametrize("options", ["", f", KV_METADATA {{geo: '{json.dumps(GEO)}'}}"])
def test_a_copy_is_an_index(con, archive, tmp_path, options):
    where, path = grid(2), tmp_path / "items.parquet"
    con.execute(f"COPY ({search(archive, '*', bbox=archive.box)}) TO '{path}' (FORMAT parquet{options})")
    asked = len(archive.asked())
    read = call("lazycogs_read", path, where, "P1M", sortby=["eo:cloud_cover"])
    found = con.execute(f"SELECT time::VARCHAR, data FROM {read} ORDER BY ALL").fetchall()
    assert found == [("2024-05-01 00:00:00", 7)] * 2 + [("2024-06-01 00:00:00", 8)] * 2
    filtered = call("lazycogs_read", path, where, "P1M", filter='"eo:cloud_cover" > 0')
    assert con.execute(f"SELECT max(data), count(*) FROM {filtered}").fetchall() == [(8, 2)]
    plan = con.execute(f"SELECT item_id FROM {call('lazycogs_explain', path, where, 'P1M')} ORDER BY time").fetchall()
    assert plan == [("i0",), ("i1",)]
    assert con.execute(f"SELECT items, steps FROM {call('lazycogs_info', path, where, 'P1M')}").fetchall() == [(2, 2)]
    assert len(archive.asked()) == asked, "the copy needs no server"
    if options:
        import pyarrow.parquet as pq

        assert json.loads(pq.read_schema(path).metadata[b"geo"]) == GEO


def test_rows_by_value_are_an_index_too(con, archive):
    con.execute(f"SET VARIABLE items = (SELECT list(i) FROM ({search(archive, '*')}) i)")
    read = f"lazycogs_read(getvariable('items'), {grid(2).args}, 'P1M')"
    assert con.execute(f"SELECT sum(data) FROM {read}").fetchall() == [(30,)]


def test_assets_behind_relative_hrefs(con, tmp_path):
    path = raster(tmp_path / "root/a.tif", np.full((16, 16), 7, "uint8"))
    lon, lat = zip(*stac.outline(path))
    box = [min(lon), min(lat), max(lon), max(lat)]
    with RangeServer(tmp_path / "root", lifetime=60) as files:
        links = [{"rel": "self", "href": f"{files.url}/items/one.json"}]
        text = item("one", box=box, assets={"data": {"href": "../a.tif", "roles": ["data"]}}, links=links)
        with StacServer([text]) as api:
            con.execute(f"COPY ({search(api, '*')}) TO '{tmp_path}/items.parquet'")
        read = call("lazycogs_read", tmp_path / "items.parquet", grid(2))
        assert con.execute(f"SELECT max(data) FROM {read}").fetchall() == [(7,)]


def test_collections(con):
    extent = {
        "spatial": {"bbox": [[-10, -5, 10, 5], [0, 0, 1, 1]]},
        "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
    }
    told = [
        {
            "type": "Collection",
            "id": "a",
            "title": "A",
            "description": "It.",
            "extent": extent,
            "item_assets": {"red": {}},
        },
        {"id": "b"},
    ]
    columns = "id, title, description, bbox, epoch(start_datetime), end_datetime::VARCHAR, item_assets"
    sql = f"SELECT {columns} FROM lazycogs_collections"
    with StacServer([], told) as api:
        rows = con.execute(f"{sql}('{api.url}')").fetchall()
        assert rows == con.execute(f"{sql}('{api.url}/collections')").fetchall()
        box = {"xmin": -10.0, "ymin": -5.0, "xmax": 10.0, "ymax": 5.0}
        assert rows == [("a", "A", "It.", box, 1577836800.0, None, '{"red": {}}'), ("b", *[None] * 6)]
        api.fault(
            "/v1/collections", text=json.dumps({"collections": told[:1], "links": [{"rel": "next", "href": "?page=2"}]})
        )
        assert [row[0] for row in con.execute(f"{sql}('{api.url}')").fetchall()] == ["a", "a", "b"]
        api.fault("/v1/collections", text='{"type": "Catalog", "id": "x"}')
        assert "the catalog 'x'" in refused(con, f"{sql}('{api.url}')")
