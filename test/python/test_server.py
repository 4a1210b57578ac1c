"""The range server itself: a test that leans on it must be able to trust it."""

import http.client
import urllib.error
import urllib.request

import pytest
from server import RangeServer

DATA = bytes(range(256)) * 40


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    with RangeServer(tmp_path, lifetime=60) as server:
        yield server


def get(server, path="a.bin", header=None):
    request = urllib.request.Request(f"{server.url}/{path}", headers={"Range": header} if header else {})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.status, answer.read()


def test_ranges_and_the_log(files):
    assert get(files) == (200, DATA)
    assert get(files, header="bytes=10-19") == (206, DATA[10:20])
    assert get(files, header="bytes=10200-99999") == (206, DATA[10200:])
    assert get(files, header="bytes=-5") == (206, DATA[-5:])
    assert [(r.first, r.last, r.sent) for r in files.requests("a.bin")][1] == (10, 19, 10)
    assert files.bytes_sent() == len(DATA) + 10 + len(DATA[10200:]) + 5


@pytest.mark.parametrize("status", [403, 404, 416, 429, 500, 503])
def test_status_n_times_then_well(files, status):
    files.fault("a.bin", status=status, times=2, retry_after="7")
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError) as error:
            get(files)
        assert (error.value.code, error.value.headers["Retry-After"]) == (status, "7")
    assert get(files) == (200, DATA)


def test_broken_bodies(files):
    files.fault("a.bin", truncate=100, times=1)
    files.fault("a.bin", reset=True, times=1)
    files.fault("a.bin", wrong_length=10, times=1)
    for _ in range(3):
        with pytest.raises((OSError, http.client.IncompleteRead)):
            get(files)
    assert get(files) == (200, DATA)


def test_ignored_range_and_replaced_object(files):
    files.fault("a.bin", ignore_range=True, times=1)
    assert get(files, header="bytes=0-9") == (200, DATA)
    files.fault("a.bin", replace_with=b"other", times=1)
    assert get(files) == (200, b"other")
    assert get(files) == (200, b"other")
    files.reset()
    assert get(files) == (200, DATA)


def test_unknown_paths_and_paths_outside(files):
    for path in ("nothing", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as error:
            get(files, path)
        assert error.value.code == 404
