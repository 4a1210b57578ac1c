"""STAC APIs that misbehave: one case for each thing that real ones do."""

import json
import re
import threading
import time

import duckdb
import pytest
from stac_server import StacServer
from test_sandbox import lock
from test_search import FEW, NAMES, ids, item, refused, search

FAILURES = "SELECT item_id, href, message FROM lazycogs_failures()"


def limits(api):
    return [int(one.search["limit"]) for one in api.asked("/search")]


@pytest.mark.parametrize("status", [405, 501])
@pytest.mark.parametrize("paging", ["body", "merge", "bare"])
def test_post_is_refused_on_a_later_page(con, status, paging):
    """The next page is asked for by GET then, with all that the search asks for, and POST is not tried again."""
    items = FEW + [item("other", collection="d")]
    with StacServer(items, [{"id": "c"}], paging=paging, posts=1, refuses_with=status) as api:
        assert ids(con, api, collections="c", page_size=10) == NAMES
        pages = [(one.method, one.status) for one in api.asked("/search")]
    assert pages == [("POST", 200), ("POST", status), ("GET", 200), ("GET", 200)]


@pytest.mark.parametrize("paging", ["body", "get", "headers"])
@pytest.mark.parametrize(
    "status, says", [(413, ""), (500, ""), (502, ""), (504, ""), (400, "limit is at most 70"), (422, "limit")]
)
def test_a_page_that_is_too_large(con, status, says, paging):
    items = [item(f"i{n}") for n in range(150)]
    with StacServer(items, paging=paging, most=70, too_many=status, says=says) as api:
        assert len(ids(con, api)) == 150
        assert limits(api) == [250, 125, 62, 62, 62], "halved until it fits, and then it stays"


def test_a_page_that_is_too_large_later(con):
    items = [item(f"i{n}") for n in range(120)]
    with StacServer(items, paging="get") as api:
        api.fault("/v1/search", skip=1, status=502)
        assert ids(con, api, page_size=40) == [f"i{n}" for n in range(120)]
        assert limits(api) == [40, 40, 20, 20, 20, 20]


def test_a_page_with_a_number_that_is_too_large(con):
    """The same number at half the size is a place further back: nothing is missed, and what comes again is known."""
    items = [item(f"i{n}") for n in range(200)]
    with StacServer(items, paging="number") as api:
        api.fault("/v1/search", skip=2, status=502)
        assert ids(con, api, page_size=40) == [f"i{n}" for n in range(200)]
        assert limits(api) == [40, 40, 40] + [20] * 8


def test_a_server_that_always_fails(con):
    con.execute("SET lazycogs_max_retries = 2")
    with StacServer(FEW, most=0, too_many=502, says="bad gateway") as api:
        said = refused(con, search(api, page_size=4))
        assert "HTTP 502 Bad Gateway, bad gateway" in said and "attempts" in said and f"{api.url}/search" in said
        assert limits(api) == [4, 2, 1, 1, 1]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(con, status):
    with StacServer(FEW) as api:
        api.fault("/v1/search", skip=1, times=2, status=status, retry_after="1")
        begin = time.monotonic()
        assert ids(con, api, page_size=10) == NAMES
        assert 2 <= time.monotonic() - begin < 5 and limits(api) == [10] * 5, "the page stays as large as it was"
        api.reset()
        con.execute("SET lazycogs_max_retries = 1")
        api.fault("/v1/search", times=None, status=status)
        assert f"HTTP {status}" in refused(con, search(api)) and len(api.asked("/search")) == 2


def test_403_is_slow_down_only_behind_an_answer(con):
    with StacServer(FEW) as api:
        api.fault("/v1/search", skip=1, status=403)
        assert ids(con, api, page_size=10) == NAMES
    with StacServer(FEW) as api:
        api.fault("/v1", times=None, status=403)
        said = refused(con, search(api))
        assert "403" in said and "bearer_token" in said and "store_options" not in said and len(api.asked()) == 1


@pytest.mark.parametrize("matched", [0, None])
def test_a_loop_of_next(con, matched):
    with StacServer(FEW, loop=1, matched=matched) as api:
        said = refused(con, search(api, page_size=10))
        assert "leads back to" in said and "behind 20 items" in said and "errors := 'ignore'" in said
        assert len(api.asked("/search")) < 5
        assert ids(con, api, page_size=10, errors="ignore") == NAMES[:20]
        ((item_id, href, message),) = con.execute(FAILURES).fetchall()
        assert item_id == "" and href == api.url and "leads back" in message
    # The last page may lead to itself: all are there.
    with StacServer(FEW, loop=2, matched=matched) as api:
        if matched == 0:
            assert ids(con, api, page_size=10) == NAMES and con.execute(FAILURES).fetchall() == []
        else:
            assert "unknown number" in refused(con, search(api, page_size=10))


def test_pages_without_end(con):
    with StacServer(FEW, endless=True) as api:
        said = refused(con, search(api))
        assert "pages in a row brought nothing new" in said and len(api.asked("/search")) == 200


def test_items_that_come_twice(con):
    with StacServer(FEW, repeat=True) as api:
        assert ids(con, api, page_size=10) == NAMES and con.execute(FAILURES).fetchall() == []
    # One id in two collections is two items.
    with StacServer([item("a"), item("a", collection="d"), item("a")], matched=None) as api:
        assert con.execute(search(api, "id, collection")).fetchall() == [("a", "c"), ("a", "d")]


@pytest.mark.parametrize("page", [0, 1])
def test_an_empty_page_that_has_a_next(con, page):
    with StacServer(FEW, empty=page) as api:
        assert ids(con, api, page_size=10) == NAMES and len(api.asked("/search")) == 4


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("more", [-3, 4, 2**64 - 26])
def test_another_number_than_was_told(con, more, context):
    with StacServer(FEW, matched=more, context=context) as api:
        assert ids(con, api, page_size=10) == NAMES
        told = f"the server counts {25 + more} items (numberMatched) and gave 25"
        assert con.execute(FAILURES).fetchall() == [("", api.url, told)]
        assert ids(con, api, max_items=5) == NAMES[:5] and con.execute(FAILURES).fetchall() == []


@pytest.mark.parametrize("fault", [{"truncate": 400}, {"truncate": 400, "unannounced": True}])
def test_a_body_that_ends(con, fault):
    con.execute("SET lazycogs_max_retries = 1")
    with StacServer(FEW) as api:
        api.fault("/v1/search", skip=1, **fault)
        assert ids(con, api, page_size=10) == NAMES and len(api.asked("/search")) == 4
        api.fault("/v1/search", times=None, **fault)
        assert "after 2 attempts" in refused(con, search(api))


def test_a_server_that_is_slow(con):
    con.execute("SET lazycogs_http_timeout = 1")
    with StacServer(FEW) as api:
        api.fault("/v1/search", delay=2)
        assert ids(con, api, page_size=20) == NAMES
        assert limits(api)[0] == 10, "half of what it had no time for"
        con.execute("SET lazycogs_max_retries = 0")
        api.fault("/v1/search", delay=2, times=None)
        begin = time.monotonic()
        assert "timed out" in refused(con, search(api)) and time.monotonic() - begin < 2


HTML = "<!doctype html><title>Not here</title>"


@pytest.mark.parametrize(
    "text, kind, says",
    [
        (HTML, "text/html", "a web page"),
        (HTML, "application/json", "a web page"),
        (
            '{"type": "Collection", "id": "x", "links": [{"rel": "root", "href": "/v1"}]}',
            None,
            "the collection 'x' (of the catalog http",
        ),
        (FEW[0], None, "the item 'i0'"),
        ('{"type": "FeatureCollection", "features": []}', None, "lazycogs_read takes its URL"),
        ('{"type": "Catalog", "id": "static", "links": [{"rel": "child", "href": "a"}]}', None, "a static catalog"),
        ('{"a": 1}', None, "nothing of STAC"),
        ("[1, 2]", None, "JSON that is no object"),
        ("plain text", "text/plain", "what is no JSON"),
        ("{}\n{}", "application/x-ndjson", "what is no JSON"),
    ],
)
def test_what_is_no_api(con, text, kind, says):
    with StacServer(FEW) as api:
        api.fault("/v1", times=None, text=text, kind=kind or "application/json")
        said = refused(con, search(api))
        assert says in said and f"{api.url}: " in said and len(api.asked()) == 1
        assert says in refused(con, f"FROM lazycogs_collections('{api.url}')")


def test_what_is_no_page(con):
    with StacServer(FEW) as api:
        for text, says in [
            (HTML, "a web page"),
            (FEW[0], "the item 'i0', and no list of features"),
            ("\n".join(FEW), "what is no JSON"),
            ('{"type": "FeatureCollection", "features": {}}', "no list of features"),
        ]:
            api.fault("/v1/search", text=text)
            assert says in refused(con, search(api))
        api.fault("/v1/search", status=404)
        assert "404" in refused(con, search(api))
    with StacServer(FEW, search_link=False) as api:
        assert "has no search" in refused(con, search(api))


BAD = {
    "no id": (item("x", id=None), "has no id"),
    "no item": (json.dumps([1]), "is no object"),
    "no feature": (item("x", type="Collection"), "a 'Collection'"),
    "time": (item("x", time="yesterday"), "datetime that is no time"),
    "geometry": (item("x", geometry={"type": "Point", "coordinates": [1]}), "geometry"),
    "assets": (item("x", assets=None), "'assets'"),
}


@pytest.mark.parametrize("name", BAD)
def test_items_that_cannot_be_read(con, name):
    text, says = BAD[name]
    with StacServer([], matched=None) as api:
        page = f'{{"type": "FeatureCollection", "features": [{FEW[0]}, {text}, {FEW[1]}], "links": []}}'
        api.fault("/v1/search", times=None, text=page)
        said = refused(con, search(api))
        assert says in said and "errors := 'ignore'" in said
        assert ids(con, api, errors="ignore") == ["i0", "i1"]
        assert says in con.execute(FAILURES).fetchone()[2]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_keeps_the_question(con, status):
    with StacServer(FEW) as other, StacServer(FEW) as api:
        api.fault("/v1/search", status=status, location=f"{other.url}/search")
        headers = duckdb_map({"X-Api-Key": "topsecret"})
        sql = search(api, ids="i3", bearer_token="token123")[:-1] + f", headers := {headers})"
        assert con.execute(sql).fetchall() == [("i3",)]
        assert {one.headers["authorization"] for one in api.asked()} == {"Bearer token123"}
        (one,) = other.asked()
        assert one.method == "POST" and one.body["ids"] == ["i3"]
        assert not one.headers.keys() & {"authorization", "x-api-key"} and "topsecret" not in str(one)


def duckdb_map(pairs):
    return "MAP {" + ", ".join(f"'{name}': '{value}'" for name, value in pairs.items()) + "}"


def test_redirects_that_lead_nowhere(con):
    with StacServer(FEW) as api:
        api.fault("/v1/search", times=None, status=302, location="/v1/search")
        assert "redirects" in refused(con, search(api))
        api.reset()
        api.fault("/v1", status=302, location="file:///etc/passwd")
        assert "'file'" in refused(con, search(api))


def test_a_next_link_to_another_server(con):
    """It is followed, and gets nothing secret."""
    with StacServer(FEW) as other, StacServer(FEW, next_url=other.url) as api:
        url = api.url.replace("://", "://me:pass-word@") + "?key=querysecret"
        sql = search(api, url=url, page_size=10)[:-1] + ", headers := MAP {'X-Key': 'headersecret'})"
        assert len(con.execute(sql).fetchall()) == 25
        for one in api.asked():
            assert one.query["key"] == "querysecret" and one.headers["authorization"].startswith("Basic ")
        assert other.asked()
        for one in other.asked():
            assert not one.headers.keys() & {"authorization", "x-key"}
            assert not re.search("secret|pass-word", str(one))


def test_keys_are_not_shown(con):
    with StacServer(FEW, secret=("x-key", "right-one")) as api:
        for name, value in (("X-Key", "wrong-secret"), ("x-key", "right-one")):
            sql = search(api)[:-1] + f", headers := {duckdb_map({name: value})})"
            if value == "right-one":
                assert len(con.execute(sql).fetchall()) == 25
                continue
            # The server repeats what it got.
            said = refused(con, sql)
            assert "not with ..." in said and "wrong-secret" not in said.replace(sql, "").split("LINE 1")[0]
        assert "401" in refused(con, search(api))


def test_what_cannot_be_a_header(con):
    for extra, says in [
        ("headers := MAP {'a b': 'topsecret'}", "'a b' cannot be"),
        ("headers := MAP {'Host': 'evil'}", "'Host' cannot be"),
        ("headers := MAP {'x': 'top' || chr(10) || 'secret'}", "the value of 'x'"),
        ("headers := MAP {'Authorization': 'Basic x'}, bearer_token := 'y'", "give one"),
    ]:
        said = refused(con, f"FROM lazycogs_search('https://h/', {extra})")
        assert says in said and "topsecret" not in said.split("LINE 1")[0]


def test_tls(con):
    con.execute("SET lazycogs_max_retries = 0")
    with StacServer(FEW) as api:
        assert "TLS failure" in refused(con, search(api, url=api.url.replace("http:", "https:")))


def test_nobody_listens(con):
    con.execute("SET lazycogs_max_retries = 0")
    with StacServer(FEW) as api:
        url = api.url
    assert "connection failed" in refused(con, f"FROM lazycogs_search('{url}')")


def test_the_sandbox_holds(con):
    with StacServer(FEW) as other, StacServer(FEW, next_url=other.url) as api:
        lock(con, f"{api.root}/")
        assert len(ids(con, api, max_items=10, page_size=10)) == 10
        said = refused(con, search(api, page_size=10))
        assert "allowed_directories" in said and f"{other.url}/search" in said and not other.asked()
        assert "allowed_directories" in refused(con, search(other))
        api.fault("/v1/search", status=307, location=f"{other.url}/search")
        assert "redirects to" in refused(con, search(api)) and not other.asked()
        assert "enable_external_access" in refused(con, f"FROM lazycogs_collections('{other.url}')")


def many(count, pad=0):
    """A hundred thousand items are made as they are asked for."""
    tail = item("NAME", time="2024-05-03T12:00:00Z", assets={"data": {"href": "https://h/a.tif", "title": "x" * pad}})
    return lambda number: tail.replace("NAME", f"i{number:06}"), count


def peak():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) << 10


def test_a_thousand_pages_in_flat_memory(con):
    """100,000 items of 5 kB: 500 MB in all."""
    with StacServer(many(100_000, 4_300)) as api:
        con.execute(search(api, "count(*)", page_size=100, max_items=10_000)).fetchall()
        with open("/proc/self/clear_refs", "w") as clear:
            clear.write("5")
        before = peak()
        sql = search(api, "count(*), sum(length(assets)), count(DISTINCT id)", page_size=100)
        count, length, different = con.execute(sql).fetchone()
        assert (count, different) == (100_000, 100_000) and length > 400_000_000
        assert len(api.asked("/search")) == 1000 + 100
    # The rest is what DuckDB counts ids with, and the server's own list of requests.
    assert peak() - before < 100 << 20


@pytest.mark.parametrize("latency", [0, 5])
def test_an_interrupt(con, latency):
    with StacServer(many(100_000), latency=latency) as api:
        ended = []
        threading.Timer(0.5, lambda: (ended.append(time.monotonic()), con.interrupt())).start()
        with pytest.raises(duckdb.Error, match="(?i)interrupt"):
            con.execute(search(api, "count(*)", page_size=100)).fetchall()
        assert time.monotonic() - ended[0] < 1
        api.behaviour.latency = 0
        assert len(ids(con, api, max_items=5)) == 5


def test_an_interrupt_while_a_server_wants_patience(con):
    with StacServer(FEW) as api:
        api.fault("/v1/search", times=None, status=429, retry_after="30")
        ended = []
        threading.Timer(0.5, lambda: (ended.append(time.monotonic()), con.interrupt())).start()
        with pytest.raises(duckdb.Error, match="(?i)interrupt"):
            con.execute(search(api)).fetchall()
        assert time.monotonic() - ended[0] < 1


def test_progress(con):
    beside, seen = con.cursor(), []
    with StacServer(many(2_000), latency=0.02) as api:
        thread = threading.Thread(target=lambda: con.execute(search(api, "count(*)", page_size=50)).fetchall())
        thread.start()
        while thread.is_alive():
            seen += beside.execute("SELECT function, tiles_done, tiles, requests FROM lazycogs_progress()").fetchall()
            time.sleep(0.01)
        thread.join()
    assert {row[0] for row in seen} == {"lazycogs_search"} and {row[2] for row in seen} <= {None, 2_000}
    assert any(0 < row[1] < 2_000 and row[2] == 2_000 and row[3] > 1 for row in seen)
    assert beside.execute("FROM lazycogs_progress()").fetchall() == []
