"""Which store an href leads to, by which options, and what of them can be seen. The server is ours: it shows headers.

A bucket is a folder of the server: S3 in path style, Google, and Azure behind an endpoint all ask for `/bucket/key`.
"""

import json
import os
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stac
from helpers import call
from server import RangeServer
from small import grid, raster
from test_sandbox import lock, refused

WHERE = grid(16, 16)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDENVIRON", "AWS_SECRET_ACCESS_KEY": "envsecret", "AWS_SESSION_TOKEN": "envtoken"}
AZURE_KEY = "c2VjcmV0"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def bucket(tmp_path):
    """A server with the folder `bucket`, and the footprint of the raster in it."""
    path = raster(tmp_path / "root" / "bucket" / "k" / "a b+é.tif", np.arange(256, dtype="uint16").reshape(16, 16))
    with RangeServer(tmp_path / "root", lifetime=120) as server:
        server.footprint = stac.outline(path)
        yield server


def index(folder, bucket, href, of_item=None, of_asset=None, **layout):
    """An index of one item, whose asset `data` has `href`."""
    fields = {"href": href} | (of_asset or {})
    item = stac.Item("one", stac.utc(2024, 5, 3), {"data": fields}, bucket.footprint, of_item or {})
    path = folder / "items.parquet"
    stac.write(path, [item], **layout)
    return path


def with_options(sql, options):
    """The call with `store_options`, which is a MAP."""
    pairs = ", ".join(f"'{key}': '{value}'" for key, value in options.items())
    return sql[:-1] + f", store_options := MAP {{{pairs}}})" if options else sql


def headers(request):
    """By their names in small letters."""
    return {name.lower(): value for name, value in request.headers.items()}


def total(con, items, **options):
    sql = with_options(call("lazycogs_read", items, WHERE, bands=["data"]), options)
    return con.execute(f"SELECT sum(data) FROM {sql}").fetchone()[0]


def store(con, items, **options):
    """The rows of lazycogs_store as dictionaries."""
    sql = with_options(f"lazycogs_store('{items}')", options)
    relation = con.execute(f"FROM {sql}")
    names = [column[0] for column in relation.description]
    return [dict(zip(names, row)) for row in relation.fetchall()]


RIGHT = sum(range(256))
KEY = "k/a b+é.tif"
PATH = "k/a%20b+%C3%A9.tif"  # as a URL names it


@pytest.mark.parametrize("scheme", ["s3", "s3a", "gs", "gcs"])
def test_a_public_bucket_needs_nothing(con, bucket, tmp_path, scheme):
    """Unsigned, at once, with the key as it is."""
    started = time.monotonic()
    items = index(tmp_path, bucket, f"{scheme}://bucket/{KEY}")
    assert total(con, items, endpoint=bucket.url) == RIGHT
    assert time.monotonic() - started < 5, "somebody waited for a metadata service"
    assert bucket.requests("bucket/k/a b+é.tif") == bucket.requests()
    for request in bucket.requests():
        assert not headers(request).keys() & {"authorization", "x-amz-security-token", "x-amz-request-payer"}


@pytest.mark.parametrize("href", ["az://bucket/", "az://bucket@acct/", "abfs://bucket/", "abfss://bucket/"])
def test_azure(con, bucket, tmp_path, href):
    items = index(tmp_path, bucket, href + KEY)
    assert total(con, items, endpoint=bucket.url, account_name="acct") == RIGHT
    assert "authorization" not in headers(bucket.requests()[0])
    bucket.reset()
    con.execute("SET lazycogs_cache_size = '0'")
    assert total(con, items, endpoint=bucket.url, account_name="acct", account_key=AZURE_KEY) == RIGHT
    assert headers(bucket.requests()[0])["authorization"].startswith("SharedKey acct:")


def test_signatures_in_an_azure_href(con, bucket, tmp_path):
    items = index(tmp_path, bucket, f"az://bucket@acct/{KEY}?sv=2024-01-01&sig=a%2Bb%3D")
    assert total(con, items, endpoint=bucket.url) == RIGHT
    (row,) = store(con, items, endpoint=bucket.url)
    assert (row["credentials"], row["credentials_from"], row["signed"]) == ("shared access signature", "href", True)
    assert "sig" not in json.dumps(row["href"])


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20240101%2Fx&X-Amz-Signature=0a%2Bb%2F",
        "se=2030-01-01T00%3A00%3A00Z&sp=r&sig=a%2Bb%2Fc%3D",
        "GoogleAccessId=x%40y.iam&Expires=1&Signature=a%2Bb%2F%3D&empty=&flag",
    ],
)
def test_a_query_arrives_letter_for_letter(con, bucket, tmp_path, monkeypatch, query):
    """And alone, whatever other credentials there are."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    items = index(tmp_path, bucket, f"{bucket.url}/bucket/{PATH}?{query}")
    assert total(con, items, access_key_id="AKIDCALL", secret_access_key="x") == RIGHT
    for request in bucket.requests():
        assert request.query == query and "authorization" not in headers(request)


def test_credentials_of_the_environment(con, bucket, tmp_path, monkeypatch):
    """Of the moment of the query, not of the first query; keys of the call come alone."""
    items = index(tmp_path, bucket, f"s3://bucket/{KEY}")
    con.execute("SET lazycogs_cache_size = '0'")
    assert total(con, items, endpoint=bucket.url) == RIGHT
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    bucket.reset()
    assert total(con, items, endpoint=bucket.url) == RIGHT
    sent = headers(bucket.requests()[0])
    assert "Credential=AKIDENVIRON/" in sent["authorization"] and sent["x-amz-security-token"] == "envtoken"
    bucket.reset()
    assert total(con, items, endpoint=bucket.url, access_key_id="AKIDCALL", secret_access_key="x") == RIGHT
    sent = headers(bucket.requests()[0])
    assert "Credential=AKIDCALL/" in sent["authorization"] and "x-amz-security-token" not in sent
    bucket.reset()
    assert total(con, items, endpoint=bucket.url, skip_signature="true") == RIGHT
    assert "authorization" not in headers(bucket.requests()[0])


V1 = {"storage:platform": "AWS", "storage:region": "eu-north-1", "storage:requester_pays": True}
V2 = {
    "storage:schemes": {
        "aws": {
            "type": "aws-s3",
            "platform": "https://{bucket}.s3.{region}.amazonaws.com",
            "region": "eu-north-1",
            "requester_pays": True,
        }
    }
}
REFS = {"storage:refs": ["aws"]}


def as_text(values):
    return {key: json.dumps(value) if isinstance(value, dict) else value for key, value in values.items()}


@pytest.mark.parametrize("assets", ["struct", "json"])
@pytest.mark.parametrize("properties", ["flat", "nested", "json"])
@pytest.mark.parametrize("version", ["asset", "item", "schemes", "schemes as text"])
def test_what_the_item_says(con, bucket, tmp_path, monkeypatch, assets, properties, version):
    """Region and requester pays of the item are in the requests, in every layout; the call overrides them."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", "us-west-1")
    on_asset = {"asset": V1, "item": {}}.get(version, REFS)
    on_item = {"asset": {}, "item": V1, "schemes": V2}.get(version, as_text(V2))
    layout = "flat" if properties == "json" else properties
    items = index(
        tmp_path, bucket, f"s3://bucket/{KEY}", {"gsd": 10} | on_item, on_asset, assets=assets, properties=layout
    )
    if properties == "json":
        to_json(items, ["gsd", "datetime", *on_item])
    con.execute("SET lazycogs_cache_size = '0'")
    assert total(con, items, endpoint=bucket.url) == RIGHT
    for request in bucket.requests():
        assert "/eu-north-1/s3/aws4_request" in headers(request)["authorization"]
        assert headers(request)["x-amz-request-payer"] == "requester"
    bucket.reset()
    assert total(con, items, endpoint=bucket.url, region="x-y-1", request_payer="false") == RIGHT
    for request in bucket.requests():
        assert "/x-y-1/s3/aws4_request" in headers(request)["authorization"]
        assert "x-amz-request-payer" not in headers(request)


def to_json(path, names):
    """Turns columns into one column `properties` of JSON text."""
    table = pq.read_table(path)
    rows = table.select(names).to_pylist()
    text = pa.array([json.dumps(row, default=lambda time: time.isoformat()) for row in rows])
    pq.write_table(table.drop_columns(names).append_column("properties", text), path)


def test_schemes_as_a_map(con, bucket, tmp_path):
    items = index(tmp_path, bucket, f"s3://bucket/{KEY}", V2, REFS)
    as_map = """SELECT * REPLACE (MAP {'aws': "storage:schemes".aws} AS "storage:schemes")"""
    con.execute(f"SET VARIABLE items = (SELECT list(i) FROM ({as_map} FROM '{items}') i)")
    row = con.execute("FROM lazycogs_store(getvariable('items'))").fetchone()
    assert "eu-north-1" in row and "item storage:schemes 'aws' region" in row


def custom(url):
    return {"storage:schemes": {"own": {"type": "custom-s3", "platform": url}}}


def test_an_endpoint_of_the_item_gets_no_credentials_of_the_environment(con, bucket, tmp_path, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    con.execute("SET lazycogs_cache_size = '0'")
    items = index(tmp_path, bucket, f"s3://bucket/{KEY}", custom(bucket.url), {"storage:refs": ["own"]})
    assert total(con, items) == RIGHT
    for request in bucket.requests():
        assert not headers(request).keys() & {"authorization", "x-amz-security-token"}
    (row,) = store(con, items)
    assert (row["endpoint"].rstrip("/"), row["signed"]) == (bucket.url, False)
    assert row["endpoint_from"] == "item storage:schemes 'own' platform"
    bucket.reset()
    assert total(con, items, endpoint=bucket.url) == RIGHT
    assert headers(bucket.requests()[0])["authorization"]


def test_a_store_behind_an_allowed_name_needs_permission(con, bucket, tmp_path):
    """Neither an item nor a call leads `s3://bucket` to another server, a proxy or a file, where that is locked."""
    luring = index(tmp_path / "luring", bucket, f"s3://bucket/{KEY}", custom(bucket.url), {"storage:refs": ["own"]})
    plain = index(tmp_path / "plain", bucket, f"s3://bucket/{KEY}")
    lock(con, tmp_path, "s3://bucket/")
    sql = call("lazycogs_read", luring, WHERE, bands=["data"])
    assert "storage:schemes 'own' platform" in refused(con, f"FROM {sql}")
    sql = call("lazycogs_read", plain, WHERE, bands=["data"])
    for options in (
        {"endpoint": bucket.url},
        {"proxy_url": bucket.url},
        {"container_credentials_relative_uri": "/x"},
        {"web_identity_token_file": "/etc/hostname", "role_arn": "x"},
    ):
        message = refused(con, f"FROM {with_options(sql, options)}").split("\n\nLINE")[0]
        assert "what store_options" in message and "allowed_directories" in message
    assert not bucket.requests()


def test_an_allowed_endpoint(con, bucket, tmp_path):
    items = index(tmp_path / "plain", bucket, f"s3://bucket/{KEY}")
    lock(con, tmp_path, "s3://bucket/", f"{bucket.url}/")
    assert total(con, items, endpoint=f"{bucket.url}/", region="eu-west-1") == RIGHT


def test_unknown_keys_are_named(con, bucket, tmp_path):
    items = index(tmp_path, bucket, f"s3://bucket/{KEY}")
    sql = with_options(call("lazycogs_read", items, WHERE), {"regoin": "x"})
    message = refused(con, f"FROM {sql}")
    assert "lazycogs_read" in message and "'regoin'" in message and "region" in message


@pytest.mark.parametrize("href", ["memory:///a.tif", "ftp://host/a.tif", "s3:///a.tif", "s3://bucket//a.tif"])
def test_hrefs_that_no_store_serves(con, bucket, tmp_path, href):
    items = index(tmp_path, bucket, href)
    message = refused(con, f"FROM {call('lazycogs_read', items, WHERE, bands=['data'])}")
    assert "item 'one' asset 'data'" in message and href.split(":")[0] in message


def test_refusals_and_passing_faults(con, bucket, tmp_path):
    con.execute("SET lazycogs_max_retries = 2; SET lazycogs_http_timeout = 1")
    items = index(tmp_path, bucket, f"s3://bucket/{KEY}")
    path = "bucket/k/a b+é.tif"
    bucket.fault(path, status=503, retry_after="0", times=2)
    assert total(con, items, endpoint=bucket.url) == RIGHT
    con.execute("SET lazycogs_cache_size = '0'")
    for fault, says in (
        ({"status": 403}, ["403", "store_options"]),
        ({"status": 503}, ["503", "3 attempts"]),
        ({"truncate": 10}, ["3 attempts"]),
        ({"stall": 5}, ["timed out", "3 attempts"]),
    ):
        bucket.reset()
        bucket.fault(path, **fault)
        sql = with_options(call("lazycogs_read", items, WHERE, bands=["data"]), {"endpoint": bucket.url})
        message = refused(con, f"SELECT sum(data) FROM {sql}")
        for part in ["item 'one' asset 'data'", *says]:
            assert part in message


def test_every_request_is_counted(con, bucket, tmp_path):
    items = index(tmp_path, bucket, f"s3://bucket/{KEY}")

    def count():
        return dict(con.execute("SELECT counter, value FROM lazycogs_cache_stats()").fetchall())

    before = count()
    bucket.fault("bucket/k/a b+é.tif", status=500, times=1)
    assert total(con, items, endpoint=bucket.url) == RIGHT
    after = count()
    assert after["requests"] - before["requests"] == len(bucket.requests())
    assert after["retries"] - before["retries"] == 1
    assert after["bytes"] - before["bytes"] == sum(r.sent for r in bucket.requests() if r.status == 206)


def test_what_lazycogs_store_tells(con, bucket, tmp_path, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    https = "https://b.s3.us-west-2.amazonaws.com/k/a.tif"
    (row,) = store(con, index(tmp_path, bucket, https, V1 | {"storage:tier": "Standard"}))
    assert row == {
        "item_id": "one",
        "asset": "data",
        "href": https,
        "access": "http, then signed",
        "service": "S3",
        "bucket": "b",
        "path": "k/a.tif",
        "account": None,
        "account_from": None,
        "region": "us-west-2",
        "region_from": "href",
        "endpoint": "https://b.s3.us-west-2.amazonaws.com/",
        "endpoint_from": "href",
        "requester_pays": True,
        "requester_pays_from": "item storage:requester_pays",
        "signed": False,
        "credentials": "access key",
        "credentials_from": "environment AWS_ACCESS_KEY_ID",
        "tier": "Standard",
    }
    items = index(tmp_path, bucket, "s3://b/k/a.tif")
    (row,) = store(con, items, region="eu-west-1", endpoint="https://me:hunter2@minio.example")
    assert (row["access"], row["signed"], row["region_from"]) == ("store", True, "store_options region")
    assert row["endpoint"] == "https://minio.example/"
    items = index(tmp_path, bucket, f"{https}?X-Amz-Signature=topsecret")
    (row,) = store(con, items)
    assert (row["access"], row["signed"], row["credentials"], row["href"]) == ("http", True, "signature", https)
    (row,) = store(con, index(tmp_path, bucket, str(tmp_path / "x.tif")))
    assert (row["access"], row["service"], row["path"]) == ("file", None, str(tmp_path / "x.tif"))


def test_lazycogs_store_has_one_row_for_each_store(con, bucket, tmp_path):
    hrefs = {"red": "s3://b/red.tif", "nir": "s3://b/nir.tif", "dem": "gs://b/dem.tif", "scl": "scl.tif"}
    path = tmp_path / "items.parquet"
    stac.write(path, [stac.Item("one", stac.utc(2024, 5, 3), hrefs, bucket.footprint)])
    rows = store(con, path)
    assert [(row["asset"], row["service"]) for row in rows] == [
        ("red", "S3"),
        ("dem", "Google Cloud Storage"),
        ("scl", None),
    ]
    sql = f"FROM lazycogs_store('{path}', asset := 'nir', href_replace := ['^s3://b/', 'https://h/'])"
    assert con.execute(f"SELECT href, access {sql}").fetchall() == [("https://h/nir.tif", "http")]
    with pytest.raises(duckdb.Error, match="no asset 'blue'; there are: red, nir, dem, scl"):
        con.execute(f"FROM lazycogs_store('{path}', asset := 'blue')")


def test_no_secret_is_shown(con, bucket, tmp_path, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    con.execute("SET lazycogs_max_retries = 0; SET lazycogs_cache_size = '0'")
    options = {"endpoint": bucket.url, "access_key_id": "AKIDCALL", "secret_access_key": "callsecret"}
    seen = []
    for href in (f"s3://bucket/{KEY}", f"az://bucket@acct/{KEY}?sig=topsecret&sv=1"):
        items = index(tmp_path, bucket, href)
        seen.append(store(con, items, **options))
        for status in (403, 404, 500, 302):
            bucket.reset()
            bucket.fault("*", status=status)
            sql = with_options(call("lazycogs_read", items, WHERE, bands=["data"]), options)
            seen.append(refused(con, f"SELECT sum(data) FROM {sql}").split("\n\nLINE")[0])
            seen.append(con.execute("FROM lazycogs_failures()").fetchall())
    everything = json.dumps(seen, default=str)
    assert "item 'one'" in everything
    for secret in ("callsecret", "topsecret", "envsecret", "envtoken", "AKIDCALL", "AKIDENVIRON", "sig="):
        assert secret not in everything


@pytest.mark.parametrize("size", [8 << 20, 16 << 20])
def test_an_index_whose_last_part_is_whole(con, bucket, tmp_path, size):
    """Nothing is asked for beyond the end, which some stores refuse without saying where it is."""
    index(tmp_path / "root" / "bucket", bucket, f"s3://bucket/{KEY}")
    path = tmp_path / "root" / "bucket" / "items.json"
    item = {
        "type": "Feature",
        "id": "one",
        "bbox": [12, 40, 18, 50],
        "properties": {"datetime": "2024-05-03T00:00:00Z"},
        "assets": {"data": {"href": f"k/{KEY.removeprefix('k/')}"}},
    }
    text = json.dumps(item)
    path.write_text(text + " " * (size - len(text)))
    assert total(con, "s3://bucket/items.json", endpoint=bucket.url) == RIGHT
    asked = bucket.requests("items.json")
    assert [request.first for request in asked] == list(range(0, size, 8 << 20))
    assert total(con, f"{bucket.url}/bucket/items.json") == RIGHT
