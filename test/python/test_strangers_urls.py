"""Items, arguments and servers that lie about where something is, or how much of it there is.

What is opened then, what is sent, and what is shown.
"""

import json
import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import call, moved
from small import grid, index, item, raster
from test_sandbox import GRID, ONE, READERS, lock, refused
from test_stores import KEY, KEYS, RIGHT, WHERE, bare_environment, bucket, total, with_options  # noqa: F401
from test_stores import index as index_of

MEGABYTE = 1 << 20


@contextmanager
def answering(head, body=b"", most=64 * MEGABYTE):
    """A server that answers every request with `head` and then `body` over and over, up to `most` bytes.

    Gives its URL, and a list of [request line and headers, bytes of the body that were taken] per connection.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    taken = []

    def serve(connection):
        with connection:
            asked = b""
            while b"\r\n\r\n" not in asked and (more := connection.recv(4096)):
                asked += more
            entry = [asked.decode("latin-1"), 0]
            taken.append(entry)
            if not asked.startswith(b"GET"):
                return
            try:
                connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
                while body and entry[1] < most:
                    connection.sendall(body)
                    entry[1] += len(body)
            except OSError:
                pass

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


ENDLESS = b"x" * (1 << 16)
FORGED = [
    "206 Partial Content\nContent-Range: bytes 0-18446744073709551611/*",
    "206 Partial Content\nContent-Range: bytes 5-0/*",
    "206 Partial Content\nContent-Range: bytes 1000000-5/*",
    "206 Partial Content\nContent-Range: bytes 0-99999999999/*",
    "206 Partial Content\nContent-Range: bytes 0-1000/10",
    "206 Partial Content",
    "200 OK",
    "403 Forbidden",
    "500 Internal Server Error",
    "206 Partial Content\nContent-Range: bytes 0-16383/99999",
]


@pytest.mark.parametrize("way", ["http", "s3", "gs", "az"])
@pytest.mark.parametrize("head", FORGED, ids=lambda head: head.replace("\n", " "))
def test_no_body_is_read_without_a_bound(con, bucket, tmp_path, way, head):  # noqa: F811
    """An answer of another range, an endless object, an endless refusal: an error, and a few megabytes at most."""
    con.execute("SET lazycogs_max_retries = 1; SET lazycogs_http_timeout = 10")
    meta = '\nETag: "1"\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT'
    with answering(f"HTTP/1.1 {head}{meta}\nConnection: close", ENDLESS) as (url, taken):
        href = f"{url}/bucket/{KEY}" if way == "http" else f"{way}://bucket/{KEY}"
        items = index_of(tmp_path, bucket, href)
        options = {"endpoint": url, "account_name": "acct"} if way == "az" else {"endpoint": url}
        sql = call("lazycogs_read", items, WHERE, bands=["data"])
        started = time.monotonic()
        message = refused(con, f"FROM {with_options(sql, options if way != 'http' else {})}")
        assert "item 'one' asset 'data'" in message
        assert time.monotonic() - started < 8, "it was read to the timeout"
        # Ignored ranges are read past up to 16 MiB; what waits in sockets counts as taken, too.
        assert taken and max(size for _, size in taken) < 24 * MEGABYTE


def test_no_token_is_read_without_a_bound(con, bucket, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "token").write_text("t")
    with answering("HTTP/1.1 200 OK\nConnection: close", ENDLESS) as (url, taken):
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
        con.execute("SET lazycogs_max_retries = 0; SET lazycogs_http_timeout = 10")
        items = index_of(tmp_path, bucket, f"s3://bucket/{KEY}")
        sql = with_options(call("lazycogs_read", items, WHERE, bands=["data"]), {"endpoint": bucket.url})
        assert "more than 256 kB" in refused(con, f"FROM {sql}")
        assert taken and max(size for _, size in taken) < 16 * MEGABYTE and not bucket.requests()


@pytest.fixture
def guarded(fixtures, tmp_path):
    """Two folders with the same index in each; a session may open one of them, and there are links to the other."""
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    archive = fixtures / "archive"
    for folder in (allowed, outside):
        folder.mkdir()
        moved(archive / "items.parquet", archive, folder / "x.parquet")
        (folder / "sub" / "deep").mkdir(parents=True)
        shutil.copy(folder / "x.parquet", folder / "sub" / "deep" / "y.parquet")
    return allowed, outside


@pytest.mark.parametrize("function", READERS)
@pytest.mark.parametrize(
    "path",
    [
        "{allowed}/*/../../outside/x.parquet",
        "{allowed}/s[u]b/../../outside/*.parquet",
        "{allowed}/**/../outside/x.parquet",
        "{allowed}/l*/x.parquet",
        "{allowed}/l?nk/*.parquet",
        "{allowed}/*/x.parquet",
        "{allowed}/link",
        "{allowed}/link/x.parquet",
        "{allowed}/holds",
        "{allowed}/holds/*.parquet",
        "{allowed}/../outside",
        "{outside}/*.parquet",
        "file:{outside}/x.parquet",
        "file:{outside}/*.parquet",
        "file://{outside}/x.parquet",
        "file://{allowed}/%2e%2e/outside/x.parquet",
        "FILE://{allowed}/../outside/x.parquet",
        "file://host{allowed}/x.parquet",
        "{allowed}/dangling.parquet",
        "~/x.parquet",
        "~/*.parquet",
        "~/../outside/x.parquet",
        "*.parquet",
        "../outside/x.parquet",
    ],
)
def test_nothing_leads_out_of_a_folder(con, fixtures, guarded, monkeypatch, function, path):
    allowed, outside = guarded
    (allowed / "link").symlink_to(outside)
    (allowed / "holds").mkdir()
    (allowed / "holds" / "z.parquet").symlink_to(outside / "x.parquet")
    (allowed / "dangling.parquet").symlink_to(outside / "none.parquet")
    monkeypatch.setenv("HOME", str(outside))
    monkeypatch.chdir(outside)
    lock(con, allowed, fixtures)
    named = path.format(allowed=allowed, outside=outside)
    message = refused(con, f"FROM {call(function, named, GRID, **ONE)}")
    assert "enable_external_access" in message or "no file on this machine" in message
    assert "y.parquet" not in message, "names of other folders are nobody's business"


def test_a_list_is_checked_to_its_end(con, guarded, fixtures):
    allowed, outside = guarded
    lock(con, allowed, fixtures)
    both = [f"{allowed}/x.parquet", f"{outside}/x.parquet"]
    assert "allowed_directories" in refused(con, f"FROM {call('lazycogs_read', both, GRID, **ONE)}")


def test_json_is_checked_alike(con, guarded):
    allowed, outside = guarded
    (outside / "a.json").write_text("{}")
    (allowed / "link.json").symlink_to(outside / "a.json")
    (allowed / "folder").symlink_to(outside)
    lock(con, allowed)
    for path in ("link.json", "*.json", "folder/*.json", "f*/a.json"):
        assert "allowed_directories" in refused(con, f"FROM {call('lazycogs_read', allowed / path, GRID, **ONE)}")


@pytest.mark.parametrize(
    "path",
    [
        "x.parquet",
        "*.parquet",
        "sub",
        "**/*.parquet",
        "s[u]b/*/?.parquet",
        "inner/x.parquet",
        "i*/x.parquet",
        "./x.parquet",
    ],
)
def test_what_is_allowed_is_read_as_without_a_lock(connect, guarded, fixtures, path):
    """Globs mean what they mean to DuckDB, links that stay inside are followed, and items come in the same order."""
    allowed, _ = guarded
    (allowed / "inner").mkdir()
    (allowed / "inner" / "x.parquet").symlink_to(allowed / "x.parquet")
    sql = call("lazycogs_explain", allowed / path, GRID, bands=["red"])
    wanted = connect().execute(f"FROM {sql}").fetchall()
    con = connect()
    lock(con, allowed, fixtures)
    assert con.execute(f"FROM {sql}").fetchall() == wanted and wanted


@pytest.mark.parametrize("linked", [False, True])
def test_partitions_and_relative_hrefs_of_an_allowed_folder(connect, tmp_path, linked):
    """Both are told by how a file is named, not by where it lies."""
    real = tmp_path / "archive"
    for year in (2023, 2024):
        folder = real / f"year={year}"
        raster(folder / "a.tif", np.full((16, 16), year, dtype="uint16"))
        index(folder, [item(str(year), {"data": folder / "a.tif"}, (year, 5, 3, 12))])
        table = pq.read_table(folder / "items.parquet")
        rows = table.to_pylist()
        rows[0]["assets"]["data"]["href"] = "./a.tif"
        pq.write_table(type(table).from_pylist(rows, schema=table.schema), folder / "items.parquet")
    named = real
    if linked:
        named = tmp_path / "named"
        named.mkdir()
        for year, kept in ((2023, "one"), (2024, "two")):
            (real / f"year={year}").rename(real / kept)
            (named / f"year={year}").symlink_to(real / kept)
    for items in (f"{named}/*/*.parquet", f"{named}/year=202[34]/items.parquet"):
        sql = call("lazycogs_read", items, grid(16, 16), bands=["data"], filter="year = 2024")
        con = connect()
        lock(con, tmp_path)
        assert con.execute(f"SELECT DISTINCT data FROM {sql}").fetchall() == [(2024,)]


TRICK = "x@127.0.0.1:{port}/"


@pytest.mark.parametrize(
    "href, of_item",
    [
        ("az://bucket/k", {"type": "ms-azure", "account": TRICK}),
        ("az://bucket/k", {"type": "ms-azure", "account": "127.0.0.1:{port}#"}),
        ("s3://bucket/k", {"type": "aws-s3", "region": TRICK}),
        ("s3://bucket/k", {"type": "custom-s3", "platform": "https://{{bucket}}.{{zone}}.example.org", "zone": TRICK}),
        ("s3://bucket/k", {"type": "custom-s3", "platform": "https://user:pw@127.0.0.1:{port}"}),
        ("s3://x%40127.0.0.1%3A{port}%2F/k", {"type": "custom-s3", "platform": "http://{{bucket}}.example.org"}),
        ("az://c@x%40127.0.0.1%3A{port}%2F/k", None),
        ("az://c@127.0.0.1:{port}/k", None),
        ("abfss://c@127.0.0.1.dfs.core.windows.net:{port}/k", None),
    ],
)
def test_an_item_does_not_put_a_host_together(con, bucket, tmp_path, monkeypatch, href, of_item):  # noqa: F811
    """A part of a URL that is more than that part makes no connection, and no credential goes anywhere."""
    secrets = {"AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=topsecret", "AZURE_STORAGE_TOKEN": "azuretoken"}
    for name, value in (KEYS | secrets).items():
        monkeypatch.setenv(name, value)
    con.execute("SET lazycogs_max_retries = 0; SET lazycogs_http_timeout = 2")
    with answering("HTTP/1.1 403 Forbidden\nConnection: close") as (url, taken):
        port = url.rsplit(":", 1)[1]
        scheme = of_item and {key: value.format(port=port) for key, value in of_item.items()}
        said = {"storage:schemes": {"own": scheme}} if scheme else {}
        items = index_of(tmp_path, bucket, href.format(port=port), said, {"storage:refs": ["own"]})
        message = refused(con, f"FROM {call('lazycogs_read', items, WHERE, bands=['data'])}")
        assert not taken and "item 'one' asset 'data'" in message
        for secret in ("topsecret", "azuretoken", "envsecret", "user:pw"):
            assert secret not in message


def test_the_endpoint_of_an_item_gets_nothing_of_store_options(con, bucket, tmp_path):  # noqa: F811
    own = {"storage:schemes": {"own": {"type": "custom-s3", "platform": bucket.url}}}
    items = index_of(tmp_path, bucket, f"s3://bucket/{KEY}", own, {"storage:refs": ["own"]})
    keys = {"access_key_id": "AKIDCALL", "secret_access_key": "callsecret", "session_token": "calltoken"}
    con.execute("SET lazycogs_cache_size = '0'")
    assert total(con, items, **keys) == RIGHT
    for request in bucket.requests():
        sent = json.dumps(dict(request.headers)).lower() + request.query.lower()
        for secret in ("akidcall", "calltoken", "authorization"):
            assert secret not in sent
    bucket.reset()
    assert total(con, items, endpoint=bucket.url, **keys) == RIGHT
    assert "AKIDCALL" in json.dumps(dict(bucket.requests()[0].headers))


@pytest.mark.parametrize(
    "href, options",
    [
        ("s3://bucket/k", {"region": TRICK}),
        ("s3://bucket/k", {"endpoint": "http://127.0.0.1:{port}"}),
        ("s3://bucket/k", {"proxy_url": "http://127.0.0.1:{port}"}),
        ("s3://bucket/k", {"proxy_url": "127.0.0.1:{port}"}),
        ("s3://bucket/k", {"skip_signature": "false"}),
        ("s3://bucket/k", {"skip_signature": "false", "metadata_endpoint": "http://127.0.0.1:{port}"}),
        ("s3://bucket/k", {"container_credentials_relative_uri": "@127.0.0.1:{port}/"}),
        ("s3://bucket/k", {"container_credentials_relative_uri": "/x"}),
        (
            "s3://bucket/k",
            {
                "container_credentials_full_uri": "http://127.0.0.1:{port}",
                "container_authorization_token_file": "{folder}/t",
            },
        ),
        ("s3://bucket/k", {"web_identity_token_file": "/etc/hostname", "role_arn": "r"}),
        (
            "s3://bucket/k",
            {
                "web_identity_token_file": "{folder}/t",
                "role_arn": "r",
                "aws_endpoint_url_sts": "http://127.0.0.1:{port}",
            },
        ),
        ("gs://bucket/k", {"service_account": "/etc/hostname"}),
        ("gs://bucket/k", {"application_credentials": "/etc/hostname"}),
        ("gs://bucket/k", {"base_url": "http://127.0.0.1:{port}"}),
        ("gs://bucket/k", {"skip_signature": "false"}),
        ("az://bucket@acct/k", {"use_azure_cli": "true"}),
        ("az://bucket@acct/k", {"use_azure_cli": "true", "credential_type": "azure_cli"}),
        ("az://bucket@acct/k", {"use_emulator": "true"}),
        ("az://bucket@acct/k", {"use_fabric_endpoint": "true"}),
        ("az://bucket@acct/k", {"msi_endpoint": "http://127.0.0.1:{port}"}),
        ("az://bucket@acct/k", {"account_name": "other"}),
        ("az://bucket@acct/k", {"account_name": TRICK}),
        ("az://bucket@acct/k", {"client_secret": "s", "client_id": "i", "tenant_id": "../@127.0.0.1:{port}"}),
        (
            "az://bucket@acct/k",
            {"client_secret": "s", "client_id": "i", "tenant_id": "t", "authority_host": "http://127.0.0.1:{port}"},
        ),
        (
            "az://bucket@acct/k",
            {"federated_token_file": "/etc/hostname", "client_id": "i", "tenant_id": "t"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_an_option_needs_permission_for_what_it_names(con, bucket, tmp_path, monkeypatch, href, options):  # noqa: F811
    """A host, a file or a program. The folder that is open is the working directory, and has a program `az`."""
    (tmp_path / "t").write_text("t")
    program = tmp_path / "az"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/it-ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    items = index_of(tmp_path, bucket, href)
    con.execute("SET lazycogs_max_retries = 0; SET lazycogs_http_timeout = 2")
    lock(con, tmp_path, "s3://bucket/", "gs://bucket/", "az://bucket@acct/")
    with answering("HTTP/1.1 403 Forbidden\nConnection: close") as (url, taken):
        port = url.rsplit(":", 1)[1]
        options = {key: value.format(port=port, folder=tmp_path) for key, value in options.items()}
        sql = with_options(call("lazycogs_read", items, WHERE, bands=["data"]), options)
        message = refused(con, f"FROM {sql}").split("\n\nLINE")[0]
        assert "store_options" in message
        assert not taken and not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("function", READERS)
def test_an_item_of_a_server_names_nothing_here(con, fixtures, served, function):
    """Neither by a path, which is one of the server, nor by a file URL, however that is written."""
    secret = fixtures / "archive"
    sources = {
        str(secret): f"{served.url}{secret}",
        f"//{served.url.split('//')[1]}/archive": None,
        f"file://{secret}": "allow_local",
        f"file:{secret}": "allow_local",
        f"FILE:{secret}": "allow_local",
        f"fi\nle://{secret}": "allow_local",
    }
    for number, (base, says) in enumerate(sources.items()):
        local = moved(fixtures / "archive" / "items.parquet", base, Path(f"{fixtures}-{os.getpid()}-{number}.parquet"))
        served.alias(f"lured-{number}.parquet", local.read_bytes())
        local.unlink()
        sql = call(function, f"{served.url}/lured-{number}.parquet", GRID, **ONE)
        if says is None:
            # Another server, by the scheme of this one.
            assert con.execute(f"FROM {sql}").fetchall()
            continue
        assert says in refused(con, f"FROM {sql}")


def test_allow_local(con, fixtures, served):
    """A mirror of what a server lists, here, by the word of the user."""
    index_here = fixtures / "archive" / "items.parquet"
    replace = ["^[.]/", f"{index_here.parent}/"]
    sql = call("lazycogs_read", f"{served.url}/archive/items.parquet", GRID, href_replace=replace, **ONE)
    message = refused(con, f"FROM {sql}")
    assert f"{served.url}{index_here.parent}" in message
    wanted = con.execute(f"FROM {call('lazycogs_read', index_here, GRID, **ONE)}").fetchall()
    assert con.execute(f"FROM {sql[:-1]}, allow_local := true)").fetchall() == wanted
    assert not served.requests(".tif")[1:], "read here, after the one attempt before"
    store = f"lazycogs_store('{served.url}/archive/items.parquet', asset := 'red', href_replace := {replace}"
    assert con.execute(f"SELECT access FROM {store})").fetchall() == [("http",)]
    assert con.execute(f"SELECT access FROM {store}, allow_local := true)").fetchall() == [("file",)]
    lock(con, f"{served.url}/")
    assert "allowed_directories" in refused(con, f"FROM {sql[:-1]}, allow_local := true)")


HREFS = [
    "//user:hunter2secret@host.invalid/a.tif?sig=topsecret",
    "https://user:hunter2secret@ho st/a.tif?sig=topsecret",
    "https://user:hunter2secret@host:port/a.tif?sig=topsecret#fragsecret",
    "https://user:hunter2/secret@host/a.tif",
    "user:hunter2secret@host/a.tif?sig=topsecret",
    "/nowhere/a.tif?sv=1&sig=topsecret",
    "a.tif#token=topsecret",
    "ftp://user:hunter2secret@host/a.tif?sig=topsecret",
    "file://user:hunter2secret@host/a.tif?sig=topsecret",
    "az://c@acct/a//b.tif?sig=topsecret",
    "s3://user:hunter2secret@bucket/a//b.tif?X-Amz-Signature=topsecret",
]


@pytest.mark.parametrize("href", HREFS)
@pytest.mark.parametrize("remote", [False, True])
def test_secrets_of_any_href_are_not_shown(con, bucket, tmp_path, href, remote):  # noqa: F811
    """By no function, wherever the item came from, and whether the href is a URL or only looks like one."""
    items = index_of(tmp_path, bucket, href)
    if remote:
        bucket.alias("items.parquet", Path(items).read_bytes())
        items = f"{bucket.url}/items.parquet?sig=topsecret"
    con.execute("SET lazycogs_max_retries = 0; SET lazycogs_http_timeout = 2")
    seen = []
    for text in (
        call("lazycogs_explain", items, WHERE, bands=["data"]),
        call("lazycogs_explain", items, WHERE, bands=["data"], headers=True),
        call("lazycogs_read", items, WHERE, bands=["data"]),
        call("lazycogs_read", items, WHERE, bands=["data"], errors="ignore"),
        call("lazycogs_info", items, WHERE, bands=["data"]),
        f"lazycogs_store('{items}')",
        "lazycogs_failures()",
        "lazycogs_progress()",
    ):
        try:
            seen.append(str(con.execute(f"FROM {text}").fetchall()))
        except duckdb.Error as error:
            seen.append(str(error).split("\n\nLINE")[0])
    everything = "\n".join(seen)
    assert "item 'one'" in everything
    for secret in ("topsecret", "hunter2", "fragsecret"):
        assert secret not in everything


@pytest.mark.parametrize("path", ["https://user:hunter2secret@ho st/i.parquet?sig=topsecret", HREFS[0], HREFS[5]])
def test_secrets_of_any_index_are_not_shown(con, path):
    message = refused(con, f"FROM {call('lazycogs_read', path, WHERE)}").split("\n\nLINE")[0]
    assert "lazycogs_read" in message and "topsecret" not in message and "hunter2" not in message


def test_what_a_server_repeats_is_not_shown(con, bucket, tmp_path):  # noqa: F811
    """Keys and tokens of the request, in the refusal of a store."""
    keys = {"access_key_id": "AKIDCALL", "secret_access_key": "callsecret", "session_token": "calltoken"}
    text = "AKIDCALL with calltoken at http://u:pw@h/?X-Amz-Signature=0a1b2c3d may not"
    said = f"<Error><Code>No</Code><Message>{text}</Message></Error>"
    with answering("HTTP/1.1 403 Forbidden\nConnection: close", said.encode(), most=1) as (url, taken):
        items = index_of(tmp_path, bucket, f"s3://bucket/{KEY}")
        sql = with_options(call("lazycogs_read", items, WHERE, bands=["data"]), {"endpoint": url} | keys)
        message = refused(con, f"FROM {sql}").split("\n\nLINE")[0]
        assert "may not" in message and "403" in message and taken
        for secret in ("AKIDCALL", "calltoken", "u:pw", "0a1b2c3d", "callsecret"):
            assert secret not in message


def test_a_pipe_is_no_file(con, bucket, tmp_path):  # noqa: F811
    """To open one would wait for ever."""
    os.mkfifo(tmp_path / "pipe.tif")
    for path in (tmp_path / "pipe.tif", "/dev/zero"):
        items = index_of(tmp_path, bucket, str(path))
        assert "not a file" in refused(con, f"FROM {call('lazycogs_read', items, WHERE, bands=['data'])}")
