"""A STAC API on 127.0.0.1 that behaves, or misbehaves as real ones do.

    with StacServer(items, paging="merge", most=100) as api:
        ... search api.url ...
        api.asked("/search")     # what was asked, in order

Items are JSON texts, sent as they are. The server ends with the `with` block and, whatever happens, after `lifetime`
seconds.
"""

import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#filter",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
]


@dataclass(frozen=True)
class Asked:
    """One request. `search` is what was asked for, by body or query."""

    method: str
    path: str
    query: dict
    headers: dict  # names in small letters
    body: dict | None
    status: int

    @property
    def search(self):
        return self.query if self.body is None else self.body


@dataclass
class Fault:
    """What goes wrong with a request. Fields that are not set do nothing.

    times: how many requests are hit (None: all); skip: how many go through before. delay: seconds before the answer.
    status, retry_after, location, text, kind: another answer. truncate: bytes of the body that are sent before the
    connection ends; unannounced: without a Content-Length, so that only JSON tells.
    """

    times: int | None = 1
    skip: int = 0
    status: int | None = None
    retry_after: str | None = None
    location: str | None = None
    text: str | None = None
    kind: str = "application/json"
    truncate: int | None = None
    unannounced: bool = False
    delay: float = 0


@dataclass
class Behaviour:
    """How the API is.

    paging: the `next` link: "body" (POST, own body), "merge" (POST, merged body), "get" (GET with a query), "headers"
    (GET, the place in a header), "bare" (POST, the place in the query, no body), "number" (GET, pages have numbers).
    posts: whether /search takes POST: True, False or the number of pages that do. most, too_many: a larger limit is
    answered by this status. next_url: another root for the `next` link. loop: the `next` link of this page leads to
    itself. repeat: each page begins with the last item of the one before. empty: this page is empty, and has a `next`.
    matched: what numberMatched is more than the truth; None: it is not there.
    context: it is in the older `context` instead. endless: there is always a next page, without items.
    """

    paging: str = "body"
    posts: object = True
    refuses_with: int = 405
    most: int | None = None
    too_many: int = 502
    says: str = "no"
    default: int = 10
    next_url: str | None = None
    loop: int | None = None
    repeat: bool = False
    empty: int | None = None
    matched: int | None = 0
    context: bool = False
    endless: bool = False
    conforms: object = field(default_factory=lambda: list(CONFORMS))
    secret: tuple | None = None  # (header, value) without which everything is 401
    search_link: bool = True
    latency: float = 0


class StacServer:
    def __init__(self, items=(), collections=(), lifetime=120, tls=None, **behaviour):
        """`items` are texts, or a function from a number to a text and how many there are."""
        self.items = items if isinstance(items, (tuple, list)) else list(items)
        self.made = items if isinstance(items, tuple) and items and callable(items[0]) else None
        self.collections = list(collections)
        self.behaviour = Behaviour(**behaviour)
        self.documents = {}
        self._faults, self._log, self._lock = [], [], threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.root = f"{'https' if tls else 'http'}://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._end = threading.Timer(lifetime, self.close)
        self._end.daemon = True

    @property
    def url(self):
        return f"{self.root}/v1"

    def __enter__(self):
        self._thread.start()
        self._end.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._end.cancel()
        self._http.shutdown()
        self._http.server_close()

    def fault(self, path, **fields):
        """What goes wrong for a path, such as /v1/search. Those of one path come in order."""
        with self._lock:
            self._faults.append((path, Fault(**fields)))

    def asked(self, path=""):
        with self._lock:
            return [asked for asked in self._log if asked.path.endswith(path)]

    def reset(self):
        with self._lock:
            self._faults.clear()
            self._log.clear()

    def _fault(self, path):
        with self._lock:
            for where, fault in self._faults:
                if where != path or fault.times == 0:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    return Fault()
                fault.times = None if fault.times is None else fault.times - 1
                return fault
        return Fault()

    def _note(self, asked):
        with self._lock:
            self._log.append(asked)

    def landing(self):
        links = [{"rel": "self", "href": self.url}, {"rel": "data", "href": f"{self.url}/collections"}]
        links.append({"rel": "conformance", "href": f"{self.url}/conformance"})
        if self.behaviour.search_link:
            links.append({"rel": "search", "href": f"{self.url}/search", "type": "application/geo+json"})
        landing = {"type": "Catalog", "id": "stub", "stac_version": "1.0.0", "description": "A stub.", "links": links}
        if isinstance(self.behaviour.conforms, list):
            landing["conformsTo"] = self.behaviour.conforms
        return landing

    def found(self, search):
        """How many items a search finds, and the texts of `start:stop` of them."""
        if self.made:
            make, count = self.made
            return count, lambda start, stop: [make(i) for i in range(start, min(stop, count))]
        found = [text for text in self.items if matches(json.loads(text), search)]
        return len(found), lambda start, stop: found[start:stop]

    def page(self, asked, posted):
        """Status and text of a page."""
        how, search = self.behaviour, dict(asked.search)
        limit = int(search.get("limit", how.default))
        if how.most is not None and limit > how.most:
            return how.too_many, json.dumps({"code": "TooMuch", "description": how.says})
        start = int(asked.headers.get("search-after", 0) if how.paging == "headers" else 0)
        start = int(search.get("token", asked.query.get("token", start)))
        if how.paging == "number":
            start = (int(search.get("page", 1)) - 1) * limit
        count, part = self.found(search)
        number, stop = start // limit, start + limit
        first = max(0, start - 1) if how.repeat else start
        features = part(first, stop)
        if how.empty == number and not search.get("again"):
            features, stop = [], start
        if how.endless:
            features, stop = [], start + 1
        more = stop < count or how.endless or how.loop == number
        answer = {"type": "FeatureCollection", "links": [{"rel": "self", "href": f"{self.url}/search"}]}
        if how.matched is not None:
            told = count + how.matched
            answer |= {"context": {"matched": told}} if how.context else {"numberMatched": told}
            answer["numberReturned"] = len(features)
        if more:
            again = {"again": "1"} if how.empty == number and not search.get("again") else {}
            token = start if how.loop == number else stop
            answer["links"].append(self.next(asked, {"token": str(token), "limit": limit} | again, posted))
        text = json.dumps(answer)
        return 200, f'{text[:-1]}, "features": [{", ".join(features)}]}}'

    def next(self, asked, place, posted):
        root, how = f"{self.behaviour.next_url or self.url}/search", self.behaviour.paging
        search = {name: value for name, value in asked.search.items() if name not in ("again",)}
        if how == "get":
            flat = {name: text(value) for name, value in (search | place).items()}
            return {"rel": "next", "href": f"{root}?{urlencode(flat)}"}
        if how == "number":
            flat = {"page": int(search.get("page", 1)) + 1, "limit": place["limit"]}
            return {"rel": "next", "href": f"{root}?{urlencode(flat)}"}
        if how == "headers":
            flat = {name: text(value) for name, value in search.items()} | {"limit": place["limit"]}
            return {"rel": "next", "href": f"{root}?{urlencode(flat)}", "headers": {"Search-After": place["token"]}}
        link = {"rel": "next", "href": root, "method": "POST", "type": "application/geo+json"}
        if how == "bare":
            return link | {"href": f"{root}?token={place['token']}"}
        return link | ({"body": place, "merge": True} if how == "merge" else {"body": search | place})


def text(value):
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


def listed(value, kind=str):
    if value is None or value == "":
        return None
    return [kind(part) for part in (value.split(",") if isinstance(value, str) else value)]


def matches(item, search):
    collections, ids = listed(search.get("collections")), listed(search.get("ids"))
    box = listed(search.get("bbox"), float)
    if collections and item.get("collection") not in collections or ids and item["id"] not in ids:
        return False
    if not box:
        return True
    assert box[0] <= box[2], "a box over the antimeridian, of which servers make different things"
    own = item["bbox"]
    return own[0] <= box[2] and own[2] >= box[0] and own[1] <= box[3] and own[3] >= box[1]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        """Connections that end in the midst are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Tests print what matters to them."""

    def do_GET(self):
        owner, parts = self.server.owner, urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        body = json.loads(raw) if self.command == "POST" and raw else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = (self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
        fault = owner._fault(parts.path)
        time.sleep(owner.behaviour.latency + fault.delay)
        status, text, kind = self.answer(owner, Asked(*asked, 0), fault)
        owner._note(Asked(*asked, status))
        self.send(status, text.encode(), kind, fault)

    do_POST = do_GET

    def answer(self, owner, asked, fault):
        json_kind, how = "application/json", owner.behaviour
        if fault.status or fault.text is not None:
            return fault.status or 200, fault.text if fault.text is not None else '{"detail": "on demand"}', fault.kind
        if how.secret and asked.headers.get(how.secret[0]) != how.secret[1]:
            said = f"not with {asked.headers.get(how.secret[0])}"
            return 401, json.dumps({"detail": said}), json_kind
        if asked.path in owner.documents:
            return 200, owner.documents[asked.path], json_kind
        place = asked.path.removeprefix("/v1").rstrip("/")
        if place == "":
            return 200, json.dumps(owner.landing()), json_kind
        if place == "/conformance":
            return 200, json.dumps({"conformsTo": list(how.conforms)}), json_kind
        if place == "/collections":
            return 200, json.dumps({"collections": owner.collections, "links": []}), json_kind
        if place.startswith("/collections/"):
            found = [c for c in owner.collections if c["id"] == place.rsplit("/", 1)[1]]
            missing = (404, '{"detail": "no such collection"}')
            return *((200, json.dumps(found[0])) if found else missing), json_kind
        if place == "/search":
            pages = len([one for one in owner.asked("/search") if one.status == 200])
            posts = how.posts if isinstance(how.posts, bool) else pages < how.posts
            if asked.method == "POST" and not posts:
                return how.refuses_with, '{"detail": "Method Not Allowed"}', json_kind
            return *owner.page(asked, posts), "application/geo+json"
        return 404, '{"detail": "Not Found"}', json_kind

    def send(self, status, body, kind, fault):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if fault.retry_after is not None:
            self.send_header("Retry-After", fault.retry_after)
        if fault.location:
            self.send_header("Location", fault.location)
        if fault.unannounced:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if fault.truncate is None else body[: fault.truncate])
        if fault.truncate is not None or fault.unannounced:
            self.close_connection = True
