"""The file itself: what it promises, where it loads, where it must not, and what it leaves behind."""

import json
import os
import re
import shutil
import subprocess
import sys

import duckdb
import pytest
from conftest import ROOT

DEMO = ROOT / "examples" / "demo" / "items.parquet"
# The same ground, on a grid of one zone and of the next: the second needs PROJ's database.
READ = f"lazycogs_read('{DEMO}', [734000, 4931000, 735000, 4932000], 'EPSG:32615', 100, 'P1M')"
READ_FROM_16 = f"lazycogs_read('{DEMO}', [258000, 4931000, 260000, 4933000], 'EPSG:32616', 100, 'P1Y')"


def python(code, *args, executable=sys.executable, **environment):
    """Runs code in another Python; returns (exit code, what it wrote)."""
    command = [str(executable), "-c", code, *map(str, args)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_footer(extension, settings):
    tail = extension.read_bytes()[-534:]
    assert tail[:22] == b"\x00\x93\x04\x10duckdb_signature\x80\x04"
    fields = [tail[22 + 32 * i : 54 + 32 * i].rstrip(b"\0").decode() for i in range(8)]
    platform = duckdb.execute("PRAGMA platform").fetchone()[0]
    version = "v" + settings["EXTENSION_VERSION"]
    assert fields == ["", "", "", "C_STRUCT", version, settings["C_API_VERSION"], platform, "4"]
    assert tail[-256:] == bytes(256)


def test_this_duckdb_is_one_that_is_tested(settings):
    assert duckdb.__version__ in settings["DUCKDB_TEST_VERSIONS"].split(",")


def test_only_the_entry_point_is_exported(extension):
    if not shutil.which("nm"):
        pytest.skip("nm is missing (binutils)")
    flags = ["-gU"] if sys.platform == "darwin" else ["-D", "--defined-only"]
    output = subprocess.run(["nm", *flags, extension], capture_output=True, text=True, check=True).stdout
    assert [line.split()[-1].lstrip("_") for line in output.splitlines()] == ["lazycogs_init_c_api"]


def test_it_needs_no_file_beside_it(extension, tmp_path):
    """The build folder is out of reach: the copy runs where neither its folder nor PROJ's data can be found."""
    alone = tmp_path / "alone" / extension.name
    alone.parent.mkdir()
    shutil.copy(extension, alone)
    code = f"""
import duckdb, glob, json, os, sys
con = duckdb.connect(config={{"allow_unsigned_extensions": "true"}})
con.execute(f"LOAD '{{sys.argv[1]}}'")
rows, valid = con.execute("SELECT count(*), count(red) FROM {READ_FROM_16}").fetchone()
print(json.dumps([rows, valid, [os.path.realpath(f) for f in glob.glob("/proc/self/fd/*")]]))
"""
    moved = extension.parents[2].with_name("moved-away")
    os.rename(extension.parents[2], moved)
    try:
        status, output = python(code, alone, PROJ_DATA="/nonexistent", PROJ_LIB="/nonexistent")
    finally:
        os.rename(moved, extension.parents[2])
    assert status == 0, output
    rows, valid, files = json.loads(output)
    assert rows == 400 and valid > 0
    assert not [file for file in files if "proj.db" in file], "PROJ's database was read from a file"


def test_older_duckdb_refuses_with_a_message(extension, settings):
    code = """
import duckdb, sys
con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
try:
    con.execute(f"LOAD '{sys.argv[1]}'")
except duckdb.Error as error:
    sys.exit(f"refused: {error}")
"""
    for version in settings["DUCKDB_REFUSING_VERSIONS"].split(","):
        executable = ROOT / "configure" / f"duckdb-{version}" / "bin" / "python"
        if not executable.is_file():
            pytest.skip(f"{executable} is missing: run make configure")
        status, output = python(code, extension, executable=executable)
        assert status == 1 and output.startswith("refused: "), f"DuckDB {version}: {status} {output}"
        assert settings["C_API_VERSION"] in output


def test_version(con, settings):
    row = con.execute("FROM lazycogs_version()").fetchnumpy()
    assert settings["EXTENSION_VERSION"] in [str(value[0]) for value in row.values()]


def test_hello_world_of_the_registry_runs_as_written(con):
    text = (ROOT / "extension_config" / "description.yml").read_text()
    block = re.search(r"hello_world: \|\n((?:    .*\n)+)", text)[1]
    statements = [part for part in block.split(";") if part.strip()]
    assert statements
    for statement in statements:
        assert con.execute(statement).fetchall(), statement


def test_settings_have_descriptions(con):
    rows = con.execute("SELECT name, description FROM duckdb_settings() WHERE name LIKE 'lazycogs%'").fetchall()
    names = [name for name, _ in rows]
    wanted = {"max_concurrent_reads", "memory_budget", "http_timeout", "max_retries"}
    assert {f"lazycogs_{name}" for name in wanted} <= set(names)
    assert all(description for _, description in rows)


def test_closing_gives_the_database_back(connect, tmp_path):
    """No connection of ours keeps the file open: after close, another process opens it for writing."""
    path = tmp_path / "mine.duckdb"
    con = connect(path)
    con.execute(f"CREATE TABLE ndvi AS SELECT * FROM {READ}")
    con.close()
    code = """
import duckdb, sys
con = duckdb.connect(sys.argv[1])
print(con.execute("UPDATE ndvi SET x = 0").fetchone()[0])
"""
    status, output = python(code, path)
    assert status == 0, output
    assert int(output) > 0


@pytest.mark.parametrize("first", ["others", "lazycogs"])
def test_beside_other_projs_and_sqlites(extension, first):
    """pyproj and rasterio bring their own PROJ and SQLite; whoever comes first, all give what they gave alone."""
    second = "lazycogs" if first == "others" else "others"
    code = f"""
import json, sys, duckdb
con = duckdb.connect(config={{"allow_unsigned_extensions": "true"}})
def others():
    import pyproj, rasterio, rasterio.warp, sqlite3
    a = pyproj.Transformer.from_crs(32615, 4326, always_xy=True).transform(734000, 4931000)
    b = rasterio.warp.transform("EPSG:32615", "EPSG:4326", [734000], [4931000])
    two = sqlite3.connect(":memory:").execute("SELECT 1 + 1").fetchone()[0]
    return [round(float(v), 9) for v in a], [round(float(v[0]), 9) for v in b], two
def lazycogs():
    con.execute(f"LOAD '{{sys.argv[1]}}'")
    return con.execute("SELECT sum(red), sum(nir), count(red), count(*) FROM {READ_FROM_16}").fetchone()
for _ in range(2):
    answers = {{f.__name__: f() for f in ({first}, {second})}}
    print(json.dumps(answers, sort_keys=True, default=int))
"""
    status, output = python(code, extension)
    assert status == 0, output
    one, two = output.splitlines()
    assert one == two
    degrees, again, sum_of_sqlite = json.loads(one)["others"]
    assert degrees == again and sum_of_sqlite == 2
    red, _, valid, rows = json.loads(one)["lazycogs"]
    assert rows == 400 and valid > 0 and red > 0


def test_in_the_command_line_shell(extension, settings):
    version = settings["DUCKDB_CLI_VERSIONS"].split(",")[0]
    shell = ROOT / "configure" / f"duckdb-{version}" / "bin" / "duckdb"
    if not shell.is_file():
        pytest.skip(f"{shell} is missing: run make configure")
    sql = f"LOAD '{extension}'; SELECT count(*) > 0 AS rows FROM {READ};"
    done = subprocess.run([shell, "-unsigned", "-csv", "-c", sql], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["rows", "true"]
