"""What every test leans on: the built extension, the fixtures, a connection, the range server.

The environment may name other files than the ones that `make` builds: LAZYCOGS_EXTENSION, LAZYCOGS_FIXTURES, and
LAZYCOGS_TEST_DATA for a collection of files made by others (tests that read it are skipped where it is absent).
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test"), str(ROOT / "test" / "fixtures"), str(ROOT / "scripts")]

import config  # noqa: E402
import duckdb  # noqa: E402
import pytest  # noqa: E402
from helpers import moved  # noqa: E402
from server import RangeServer  # noqa: E402


@pytest.fixture(scope="session")
def settings():
    """The values of extension_config/extension.env."""
    return config.load()


@pytest.fixture(scope="session")
def extension():
    path = Path(
        os.environ.get("LAZYCOGS_EXTENSION") or ROOT / "build/release/extension/lazycogs/lazycogs.duckdb_extension"
    )
    if not path.is_file():
        pytest.exit(f"{path} is missing: run make release", returncode=1)
    return path


@pytest.fixture(scope="session")
def fixtures():
    path = Path(os.environ.get("LAZYCOGS_FIXTURES") or ROOT / "build" / "fixtures")
    if not path.is_dir():
        subprocess.run([sys.executable, ROOT / "test/fixtures/make_fixtures.py", path], check=True)
    return path


@pytest.fixture(scope="session")
def shared_data():
    path = Path(os.environ.get("LAZYCOGS_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not (path / "EXPECTED.json").is_file():
        pytest.skip(f"{path} is absent; set LAZYCOGS_TEST_DATA to run this")
    return path


@pytest.fixture
def connect(extension):
    """A function that opens a database with the extension loaded; all are closed at the end of the test."""
    opened = []

    def open_database(database=":memory:", **options):
        connection = duckdb.connect(database, config={"allow_unsigned_extensions": "true"} | options)
        opened.append(connection)
        connection.execute(f"LOAD '{extension}'")
        return connection

    yield open_database
    for connection in opened:
        connection.close()


@pytest.fixture
def con(connect):
    return connect()


@pytest.fixture
def served(fixtures):
    """A range server over the fixtures."""
    with RangeServer(fixtures, lifetime=300) as server:
        yield server


@pytest.fixture
def over_http(fixtures, served, tmp_path):
    """The archive's index with hrefs on the range server."""
    return moved(fixtures / "archive" / "items.parquet", f"{served.url}/archive", tmp_path / "over_http.parquet")
