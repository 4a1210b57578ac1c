"""Servers made by others: what they accept is right, not only what we believe. What is not there is skipped."""

import base64
import hashlib
import hmac
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from email.utils import formatdate

import duckdb
import numpy as np
import pytest
import servers
import stac
from helpers import call
from small import raster
from test_stores import RIGHT, WHERE, bare_environment, index, store, total, with_options  # noqa: F401

KEY = "k/a b+é.tif"
HREF = "k/a%20b+%C3%A9.tif"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A folder with a raster, and its footprint."""
    folder = tmp_path_factory.mktemp("scene")
    path = raster(folder / KEY, np.arange(256, dtype="uint16").reshape(16, 16))
    return Scene(folder, stac.outline(path))


class Scene:
    def __init__(self, folder, footprint):
        self.folder, self.footprint = folder, footprint
        self.bytes = (folder / KEY).read_bytes()


def started(server):
    try:
        return server.__enter__()
    except servers.Missing as reason:
        pytest.skip(str(reason))


def failure(con, items, **options):
    sql = with_options(call("lazycogs_read", items, WHERE, bands=["data"]), options)
    with pytest.raises(duckdb.Error) as error:
        con.execute(f"SELECT sum(data) FROM {sql}").fetchall()
    return str(error.value)


@pytest.fixture(scope="module")
def s3(scene):
    """moto with a bucket that only signed requests of one user may read: URL, options of that user."""
    server = servers.moto()
    url = started(server)
    import boto3

    root = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
    root |= {"endpoint_url": url, "region_name": "eu-north-1"}
    client, iam = boto3.client("s3", **root), boto3.client("iam", **root)
    client.create_bucket(Bucket="closed", CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    client.put_object(Bucket="closed", Key=KEY, Body=scene.bytes)
    index_of(scene, client)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}'
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
    servers.check_signatures(url)
    keys = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
    yield url, keys | {"endpoint": url, "region": "eu-north-1"}
    server.__exit__(None, None, None)


def index_of(scene, client):
    path = index(scene.folder, scene, KEY)
    client.put_object(Bucket="closed", Key="items.parquet", Body=path.read_bytes())


@pytest.fixture(autouse=True)
def without_httpfs_or_cache(con):
    con.execute("SET lazycogs_cache_size = '0'; SET lazycogs_max_retries = 1")


def test_s3_takes_our_signatures(con, scene, s3, tmp_path):
    _, options = s3
    assert total(con, index(tmp_path, scene, f"s3://closed/{KEY}"), **options) == RIGHT


def test_s3_takes_those_of_the_environment(con, scene, s3, tmp_path, monkeypatch):
    url, options = s3
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret_access_key"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    assert total(con, index(tmp_path, scene, f"s3://closed/{KEY}")) == RIGHT


def test_s3_index_and_hrefs_relative_to_it(con, scene, s3):
    _, options = s3
    assert total(con, "s3://closed/items.parquet", **options) == RIGHT


def test_s3_refuses_others(con, scene, s3, tmp_path):
    """The server does check: a wrong secret and no signature fail, and say why."""
    url, options = s3
    items = index(tmp_path, scene, f"s3://closed/{KEY}")
    message = failure(con, items, **(options | {"secret_access_key": "wrong"}))
    assert "403" in message and "SignatureDoesNotMatch" in message and "item 'one' asset 'data'" in message
    assert "403" in failure(con, items, endpoint=url)


@pytest.fixture(scope="module")
def azure(scene):
    """Azurite with a container for those who have the key: URL of the account, options."""
    server = servers.azurite()
    url = started(server)
    account = "devstoreaccount1"
    # Azurite's own key, which its documentation gives.
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    for path, body in (("closed?restype=container", b""), (f"closed/{HREF}", scene.bytes)):
        put_blob(f"{url}/{account}", account, key, path, body)
    yield f"{url}/{account}", {"endpoint": f"{url}/{account}", "account_name": account, "account_key": key}
    server.__exit__(None, None, None)


def put_blob(url, account, key, path, body):
    """One signed PUT, by https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key."""
    headers = {
        "x-ms-version": "2021-08-06",
        "x-ms-date": formatdate(usegmt=True),
        "Content-Type": "application/octet-stream",
    }
    if "?" not in path:
        headers["x-ms-blob-type"] = "BlockBlob"
    named = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-"))
    plain, _, query = path.partition("?")
    resource = f"/{account}/{account}/{plain}" + (f"\n{query.replace('=', ':')}" if query else "")
    length = str(len(body)) if body else ""
    text = f"PUT\n\n\n{length}\n\napplication/octet-stream\n\n\n\n\n\n\n{named}{resource}"
    headers["Authorization"] = f"SharedKey {account}:{mac(key, text)}"
    request = urllib.request.Request(f"{url}/{path}", data=body, headers=headers, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def mac(key, text):
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def signature(azure, expiry="2099-01-01"):
    """A shared access signature for reading the container."""
    _, options = azure
    account, version = options["account_name"], "2018-11-09"
    fields = ["r", "", expiry, f"/blob/{account}/closed", "", "", "", version, "c", "", "", "", "", "", ""]
    signed = mac(options["account_key"], "\n".join(fields))
    return urllib.parse.urlencode({"sv": version, "sr": "c", "sp": "r", "se": expiry, "sig": signed})


def test_azure_takes_our_signatures(con, scene, azure, tmp_path):
    _, options = azure
    assert total(con, index(tmp_path, scene, f"az://closed/{KEY}"), **options) == RIGHT


def test_azure_takes_shared_access_signatures(con, scene, azure, tmp_path):
    """In the href, as an option, and in the query of an http URL."""
    url, options = azure
    sas = signature(azure)
    public = {name: value for name, value in options.items() if name != "account_key"}
    assert total(con, index(tmp_path, scene, f"az://closed/{KEY}?{sas}"), **public) == RIGHT
    assert total(con, index(tmp_path, scene, f"az://closed/{KEY}"), **public, sas_token=sas) == RIGHT
    assert total(con, index(tmp_path, scene, f"{url}/closed/{HREF}?{sas}")) == RIGHT


def test_azure_refuses_others(con, scene, azure, tmp_path):
    _, options = azure
    items = index(tmp_path, scene, f"az://closed/{KEY}")
    wrong = "d3JvbmcgYXMgaXQgaXMgd3JvbmcgYXMgaXQgaXMgd3JvbmcgYXMgaXQgaXM="
    message = failure(con, items, **(options | {"account_key": wrong}))
    assert "403" in message and "AuthorizationFailure" in message
    unsigned = {name: value for name, value in options.items() if name != "account_key"}
    assert any(status in failure(con, items, **unsigned) for status in ("403", "404", "409"))
    expired = index(tmp_path, scene, f"az://closed/{KEY}?{signature(azure, '2001-01-01')}")
    assert "403" in failure(con, expired, **unsigned)


@pytest.fixture(scope="module")
def nginx(scene, tmp_path_factory):
    server = servers.nginx(scene.folder, tmp_path_factory.mktemp("nginx"))
    yield started(server)
    server.__exit__(None, None, None)


def with_user(url, user="reader:s3cret"):
    return url.replace("://", f"://{user}@")


def test_nginx_name_and_password(con, scene, nginx, tmp_path):
    assert total(con, index(tmp_path, scene, f"{nginx}/open/{HREF}")) == RIGHT
    items = index(tmp_path, scene, with_user(f"{nginx}/closed/{HREF}"))
    assert total(con, items) == RIGHT
    (row,) = store(con, items)
    assert (row["credentials"], row["href"]) == ("name and password", f"{nginx}/closed/{HREF}")
    for href in (f"{nginx}/closed/{HREF}", with_user(f"{nginx}/closed/{HREF}", "reader:wr0ng")):
        message = failure(con, index(tmp_path, scene, href))
        assert "401" in message and "wr0ng" not in message and "item 'one'" in message


def test_nginx_name_and_password_go_along_on_one_server(con, scene, nginx, tmp_path):
    assert total(con, index(tmp_path, scene, with_user(f"{nginx}/moved/{HREF}"))) == RIGHT
    assert "401" in failure(con, index(tmp_path, scene, f"{nginx}/moved/{HREF}"))


@pytest.fixture(scope="module")
def https(scene):
    server = servers.https(scene.folder)
    yield started(server)
    server.__exit__(None, None, None)


def test_a_certificate_that_nobody_signed(con, scene, https, tmp_path):
    url, _ = https
    items = index(tmp_path, scene, f"{url}/{HREF}")
    message = failure(con, items)
    assert "item 'one' asset 'data'" in message and "TLS" in message and "attempts" not in message
    s3 = index(tmp_path, scene, f"s3://{KEY}")
    assert "TLS" in failure(con, s3, endpoint=url)
    # The server is a simple one, but it is reached.
    assert "Range" in failure(con, s3, endpoint=url, allow_invalid_certificates="true")


def test_https_where_http_is_spoken(con, scene, nginx, tmp_path):
    message = failure(con, index(tmp_path, scene, f"{nginx.replace('http:', 'https:')}/open/{HREF}"))
    assert "item 'one' asset 'data'" in message and "TLS" in message


def test_a_certificate_that_the_machine_trusts(extension, scene, https, tmp_path):
    url, certificate = https
    sql = call("lazycogs_read", index(tmp_path, scene, f"{url}/{HREF}"), WHERE, bands=["data"])
    code = (
        "import duckdb, sys; con = duckdb.connect(config={'allow_unsigned_extensions': 'true'}); "
        "con.execute(f\"LOAD '{sys.argv[1]}'\"); print(con.execute(sys.argv[2]).fetchone()[0])"
    )
    command = [sys.executable, "-c", code, str(extension), f"SELECT sum(data) FROM {sql}"]
    trusting = os.environ | {"SSL_CERT_FILE": str(certificate)}
    done = subprocess.run(command, env=trusting, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(RIGHT), done.stderr
