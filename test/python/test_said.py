"""What servers say and what things are called, as it is meant: versions, ranges, redirects, keys and names of files."""

import json
import struct

import numpy as np
import pytest
import stac
from helpers import call
from server import RangeServer
from small import raster
from test_sandbox import refused
from test_stores import RIGHT, WHERE, bare_environment, index, total, with_options  # noqa: F401

OLD, NEW = "Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:01 GMT"
NAMES = [
    "a#1.tif",
    "a?b.tif",
    "a%41.tif",
    "a%20b.tif",
    "a b+c.tif",
    "[1].tif",
    "é{x}.tif",
    "a//b.tif",
    "k/a.",
    "a&b=c;d,e@f.tif",
]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def server(folder):
    """Of a raster `a.tif` that takes several requests: its header, and tiles in another place."""
    values = np.arange(256, dtype="uint16").reshape(16, 16)
    path = raster(folder / "a.tif", values)
    content = path.read_bytes()
    with RangeServer(folder, lifetime=120) as server:
        server.footprint, server.content = stac.outline(path), content
        yield server


def apart(content, tile=1 << 16):
    """The same TIFF with its one tile behind 64 KiB of nothing: another request fetches it."""
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    places = [directory + 2 + 12 * entry for entry in range(count)]
    fields = {struct.unpack_from("<H", content, place)[0]: place + 8 for place in places}
    offset, length = (struct.unpack_from("<I", content, fields[tag])[0] for tag in (324, 325))
    moved = bytearray(content.ljust(tile, b"\0"))
    struct.pack_into("<I", moved, fields[324], tile)
    return bytes(moved) + content[offset : offset + length]


VERSIONS = {
    "weak then strong": ({"ETag": 'W/"abc"'}, {"ETag": '"abc"'}, True),
    "strong then weak": ({"ETag": '"abc"'}, {"ETag": 'w/"abc"'}, True),
    "without quotes": ({"ETag": "abc"}, {"ETag": '"abc"'}, True),
    "compressed on the way": ({"ETag": '"abc"'}, {"ETag": '"abc-gzip"'}, True),
    "a tag, then only a time": ({"ETag": '"abc"', "Last-Modified": None}, {"ETag": None, "Last-Modified": NEW}, True),
    "a time, then only a tag": ({"ETag": None}, {"ETag": '"abc"', "Last-Modified": None}, True),
    "a tag, then nothing": ({"ETag": '"abc"'}, {"ETag": None, "Last-Modified": None}, True),
    "one tag, two times": ({"ETag": '"abc"', "Last-Modified": OLD}, {"ETag": '"abc"', "Last-Modified": NEW}, True),
    "times in two forms": ({"ETag": None}, {"ETag": None, "Last-Modified": "Thursday, 01-Jan-26 00:00:00 GMT"}, True),
    "no times": ({"ETag": "", "Last-Modified": "0"}, {"ETag": '""', "Last-Modified": "never"}, True),
    "two tags": ({"ETag": '"abc"'}, {"ETag": 'W/"abd"'}, "ETag changed from abc to abd"),
    "two times": ({"ETag": None}, {"ETag": None, "Last-Modified": NEW}, "Last-Modified changed"),
    "two sizes": (
        {"ETag": None, "Last-Modified": None},
        {"ETag": None, "Last-Modified": None, "Content-Range": "bytes {first}-{last}/99999999"},
        "size changed",
    ),
}


@pytest.mark.parametrize("way", ["http", "s3"])
@pytest.mark.parametrize("case", VERSIONS)
def test_versions(con, server, tmp_path, case, way):
    """Tags are compared with tags and times with times, and an object that tells neither is read all the same."""
    header, tiles, outcome = VERSIONS[case]
    con.execute("SET lazycogs_cache_size = '0'")
    server.alias("b/far.tif", apart(server.content))
    server.fault("b/far.tif", headers=header, times=1)
    server.fault("b/far.tif", headers=tiles)
    href = f"{server.url}/b/far.tif" if way == "http" else "s3://b/far.tif"
    options = {} if way == "http" else {"endpoint": server.url}
    items = index(tmp_path, server, href)
    if outcome is True:
        assert total(con, items, **options) == RIGHT and len(server.requests("far.tif")) > 1
        assert total(con, items, **options) == RIGHT
        return
    message = refused(con, f"FROM {with_options(call('lazycogs_read', items, WHERE, bands=['data']), options)}")
    assert "replaced" in message and outcome in message and "item 'one'" in message
    assert total(con, items, **options) == RIGHT


PARTS = {
    "any case": {"headers": {"Content-Range": "Bytes {first}-{last}/{size}"}},
    "blanks": {"headers": {"Content-Range": "  bytes   {first} - {last} / {size} "}},
    "equals sign": {"headers": {"Content-Range": "bytes={first}-{last}/{size}"}},
    "no size": {"headers": {"Content-Range": "bytes {first}-{last}/*"}},
    "nothing said": {"headers": {"Content-Range": None}},
    "called whole": {"part_status": 200},
    "no version": {"headers": {"ETag": None, "Last-Modified": None}},
    "odd metadata": {"headers": {"x-amz-meta-place": "Z\xfcrich", "Cache-Control": "\xe9"}},
}


@pytest.mark.parametrize("way", ["http", "s3", "gs", "az"])
@pytest.mark.parametrize("case", PARTS)
def test_parts(con, server, tmp_path, case, way):
    con.execute("SET lazycogs_cache_size = '0'")
    server.alias("b/far.tif", apart(server.content))
    server.fault("b/far.tif", **PARTS[case])
    href = f"{server.url}/b/far.tif" if way == "http" else f"{way}://b/far.tif"
    options = {} if way == "http" else {"endpoint": server.url} | ({"account_name": "acct"} if way == "az" else {})
    items = index(tmp_path, server, href)
    assert total(con, items, **options) == RIGHT and len(server.requests("far.tif")) > 1


@pytest.mark.parametrize(
    "headers, says",
    [
        ({"Content-Range": None, "Content-Type": "Multipart/Byteranges; boundary=x"}, "multipart/byteranges"),
        ({"Content-Range": None, "Content-Length": None, "Connection": "close"}, "no Content-Range"),
        ({"Content-Range": "pages {first}-{last}/{size}"}, "another range"),
    ],
)
def test_parts_that_are_none(con, server, tmp_path, headers, says):
    server.fault("a.tif", headers=headers)
    items = index(tmp_path, server, f"{server.url}/a.tif")
    assert says in refused(con, f"FROM {call('lazycogs_read', items, WHERE, bands=['data'])}")


@pytest.mark.parametrize(
    "location",
    [
        "/k/é b.tif",
        "é b.tif",
        "  ../k/é%20b.tif  ",
        "{there}/k/é b.tif#fragment",
        "//{host}/k/%C3%A9 b.tif?x=é#y",
        "HTTP://{host}/k/./é b.tif",
    ],
)
def test_redirects_as_servers_write_them(con, server, tmp_path, folder, location):
    """With raw UTF-8, blanks and a fragment; relative, and without a scheme."""
    (folder / "k").mkdir()
    (folder / "k" / "é b.tif").write_bytes(server.content)
    written = location.format(there=server.url, host=server.url.split("//")[1])
    server.fault("k/first.tif", status=302, location=written.encode().decode("latin-1"))
    assert total(con, index(tmp_path, server, f"{server.url}/k/first.tif")) == RIGHT


def test_a_pause_until_a_time(con, server, tmp_path):
    server.fault("a.tif", status=503, retry_after=OLD, times=1)
    assert total(con, index(tmp_path, server, f"{server.url}/a.tif")) == RIGHT


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("relative", [False, True])
def test_keys_stand_as_they_are(con, server, tmp_path, scheme, relative):
    """Absolute, and relative to an index in the bucket."""
    options = {"endpoint": server.url} | ({"account_name": "acct"} if scheme == "az" else {})
    for number, name in enumerate([*NAMES, " a.tif ", "k/%2e%2e/a.tif"]):
        server.alias(f"b/p/{name}", server.content)
        items = index(tmp_path / str(number), server, name if relative else f"{scheme}://b/p/{name}")
        if relative:
            server.alias("b/p/items #1.parquet", items.read_bytes())
            items = f"{scheme}://b/p/items #1.parquet"
        assert total(con, items, **options) == RIGHT, name
        assert server.requests(f"b/p/{name}"), name


@pytest.mark.parametrize("form", ["absolute", "relative", "url"])
def test_names_of_files_stand_as_they_are(con, server, tmp_path, form):
    for number, name in enumerate([*NAMES, " a.tif ", "a\tb.tif"]):
        here = tmp_path / str(number)
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(server.content)
        href = {"absolute": str(path), "relative": name, "url": path.as_uri()}[form]
        assert total(con, index(here, server, href)) == RIGHT, name


def test_urls_are_urls(con, server, tmp_path, folder):
    """A question mark begins the query, a fragment goes to no server, and blanks around a URL are none of it."""
    (folder / "a b[1]+%41.tif").write_bytes(server.content)
    items = index(tmp_path, server, f" {server.url}/a b[1]+%2541.tif?x=a b#fragment ")
    assert total(con, items) == RIGHT
    assert {request.query for request in server.requests("a b[1]+%41.tif")} == {"x=a%20b"}


@pytest.mark.parametrize("name", ["what?.json", "a#b.json", "a%41.json", " x .json"])
def test_names_of_indexes(con, server, tmp_path, name):
    path = tmp_path / name
    item = {
        "type": "Feature",
        "id": "one",
        "bbox": [12, 40, 18, 50],
        "properties": {"datetime": "2024-05-03T00:00:00Z"},
        "assets": {"data": {"href": f"{server.url}/a.tif"}},
    }
    path.write_text(json.dumps(item))
    assert total(con, path) == RIGHT
