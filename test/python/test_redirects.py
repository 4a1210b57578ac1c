"""A redirect leads where the settings allow, and takes credentials to no other server."""

import base64

import numpy as np
import pytest
import stac
from helpers import call
from server import RangeServer
from small import raster
from test_sandbox import lock, refused
from test_stores import KEY, KEYS, RIGHT, WHERE, bare_environment, headers, index, total, with_options  # noqa: F401
from test_stores import PATH as MOVED

PATH = "bucket/k/a b+é.tif"


@pytest.fixture
def two(tmp_path):
    """Two servers of one folder."""
    path = raster(tmp_path / "root" / PATH, np.arange(256, dtype="uint16").reshape(16, 16))
    with RangeServer(tmp_path / "root", lifetime=120) as here, RangeServer(tmp_path / "root", lifetime=120) as there:
        here.footprint = stac.outline(path)
        yield here, there


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(con, two, tmp_path, status):
    here, there = two
    here.fault("moved.tif", status=status, location=f"{there.url}/bucket/{MOVED}")
    assert total(con, index(tmp_path, here, f"{here.url}/moved.tif")) == RIGHT
    assert there.requests(PATH)


def test_names_signatures_and_referers_stay(con, two, tmp_path):
    """The other server gets neither name and password nor the query of the first URL; the same one gets the former."""
    here, there = two
    url = here.url.replace("://", "://reader:s3cret@")
    here.fault("first.tif", status=302, location="/second.tif")
    here.fault("second.tif", status=302, location=f"{there.url}/bucket/{MOVED}")
    assert total(con, index(tmp_path, here, f"{url}/first.tif?sig=topsecret")) == RIGHT
    basic = "Basic " + base64.b64encode(b"reader:s3cret").decode()
    assert [headers(request).get("authorization") for request in here.requests()[:2]] == [basic, basic]
    for request in there.requests():
        sent = headers(request)
        assert not sent.keys() & {"authorization", "referer", "cookie"}
        assert "topsecret" not in str(sent)


def test_what_is_allowed_is_asked_again(con, two, tmp_path):
    here, there = two
    here.fault("allowed/moved.tif", status=302, location=f"{there.url}/bucket/{MOVED}")
    here.fault("allowed/up.tif", status=302, location=f"../bucket/{MOVED}")
    items = [index(tmp_path / name, here, f"{here.url}/allowed/{name}.tif") for name in ("moved", "up")]
    sql = [call("lazycogs_read", path, WHERE, bands=["data"]) for path in items]
    lock(con, tmp_path, f"{here.url}/allowed/")
    for query, target in zip(sql, (there.url, f"{here.url}/bucket/")):
        message = refused(con, f"FROM {query}")
        assert f"redirects to {target}" in message and "allowed_directories" in message and "item 'one'" in message
    assert not there.requests() and not here.requests(PATH)


def test_an_allowed_redirect(con, two, tmp_path):
    here, there = two
    here.fault("allowed/moved.tif", status=302, location=f"{there.url}/bucket/{MOVED}")
    items = index(tmp_path / "x", here, f"{here.url}/allowed/moved.tif")
    lock(con, tmp_path, f"{here.url}/allowed/", f"{there.url}/bucket/")
    assert total(con, items) == RIGHT


def test_an_index_is_not_redirected_into_the_open(con, two, tmp_path):
    here, there = two
    here.fault("allowed/items.parquet", status=302, location=f"{there.url}/items.parquet")
    lock(con, f"{here.url}/allowed/")
    message = refused(con, f"FROM {call('lazycogs_read', f'{here.url}/allowed/items.parquet', WHERE)}")
    assert "redirects to" in message and not there.requests()


@pytest.mark.parametrize("location, says", [("/round.tif", "redirects"), ("file:///etc/hostname", "'file'")])
def test_redirects_that_lead_nowhere(con, two, tmp_path, location, says):
    here, _ = two
    here.fault("round.tif", status=302, location=location)
    message = refused(con, f"FROM {call('lazycogs_read', index(tmp_path, here, f'{here.url}/round.tif'), WHERE)}")
    assert says in message and "item 'one'" in message and len(here.requests()) <= 11


@pytest.mark.parametrize("href", [f"s3://bucket/{KEY}", f"gs://bucket/{KEY}"])
def test_stores_are_not_redirected(con, two, tmp_path, monkeypatch, href):
    """Not to another server: it would get the token."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    here, there = two
    here.fault(PATH, status=307, location=f"{there.url}/bucket/{MOVED}")
    options = {"endpoint": here.url} | ({"bearer_token": "token"} if href.startswith("gs") else {})
    sql = with_options(call("lazycogs_read", index(tmp_path, here, href), WHERE), options)
    message = refused(con, f"FROM {sql}")
    assert "307" in message and "redirect" in message and "item 'one'" in message
    assert headers(here.requests()[0])["authorization"] and not there.requests()
