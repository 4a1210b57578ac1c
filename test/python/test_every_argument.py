"""Every argument of every function, and every setting, with NULL and with what it is not made for.

The calls are made in a process of their own, so that an abort is seen. Each is an error with words or an answer; a
named argument that is NULL gives the same answer as one that is not there.
"""

import subprocess
import sys

import duckdb
import numpy as np
import pytest
from small import index, item, raster
from stac_server import StacServer

CHILD = '''
import sys
import duckdb

extension, items, log, api = sys.argv[1:]
con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
con.execute(f"LOAD '{extension}'")
# Whatever an argument asks for, the answer stays small.
POSITIONAL = [f"'{items}'", "[500000, 5199980, 500020, 5200000]", "'EPSG:32633'", "10.0", "'P1D'"]
RING = "500000 5199980, 500020 5199980, 500020 5200000, 500000 5199980"
ZONES = f"[{{'id': 1, 'geometry': 'SRID=32633;POLYGON (({RING}))'}}]"
PLAIN = """NULL | NULL::VARCHAR | NULL::DOUBLE | NULL::BOOLEAN | NULL::VARCHAR[] | NULL::MAP(VARCHAR, VARCHAR)
    | NULL::STRUCT(a INT) | NULL::STRUCT(a INT)[] | [] | MAP {} | {'a': NULL} | [NULL] | ['a', NULL]
    | [NULL, 'a'] | [NULL, {'id': 'a'}] | [[NULL]] | [['a']] | [[]] | [{'a': NULL}] | [{'id': 'x'}, NULL]
    | [NULL]::STRUCT(id VARCHAR)[] | MAP {'region': NULL} | MAP {'region': ['a']} | MAP {'region': 'a'}
    | [1, NULL, 2, 3] | {'xmin': NULL, 'ymin': 1, 'xmax': 2, 'ymax': 3} | '' | chr(0) | 'NaN'::DOUBLE
    | 'inf'::DOUBLE | -1 | 0 | 16 | 0.5 | 1e300 | 9223372036854775807 | row(1, 'a') | '1'::VARIANT
    | union_value(k := 'a') | [500000, 5199980, 500020, 5200000]::UHUGEINT[]""".split("|")


def every_type():
    """SQL of a value of each column of test_all_types(), of its NULL, of both in a list; and of types it leaves out."""
    seen = con.execute("SELECT * FROM test_all_types() LIMIT 0").description
    for number, (name, *_) in enumerate(seen):
        for row, kind in ((0, "value"), (2, "null")):
            con.execute(f'SET VARIABLE {kind}{number} = (SELECT "{name}" FROM test_all_types() LIMIT 1 OFFSET {row})')
            yield f"getvariable('{kind}{number}')"
        yield f"[getvariable('value{number}'), getvariable('null{number}')]"
    for (name,) in con.execute("SELECT DISTINCT logical_type FROM duckdb_types()").fetchall():
        for sql in (f"NULL::{name}", f"'1'::{name}"):
            try:
                con.execute(f"SELECT {sql}").fetchall()
            except duckdb.Error:
                continue
            yield sql


def told(sql):
    """What a statement gives: rows, or None for an error with words."""
    journal.seek(0)
    journal.write(sql + "\\n")
    journal.truncate()
    journal.flush()
    try:
        return con.execute(sql).fetchall()
    except duckdb.Error as error:
        text = str(error)
        internal = isinstance(error, (duckdb.InternalException, duckdb.FatalException))
        if internal or "internal error" in text.lower() or "panic" in text or not text.strip():
            faults.append(f"{sql}: {text}")
        return None


def call(function, positional, named=""):
    # As text: a time with a zone would ask for another module.
    return f"SELECT COLUMNS(*)::VARCHAR FROM {function}({', '.join(positional)}{named}) LIMIT 20"


journal, faults, count = open(log, "w"), [], 0
plain = [value.strip() for value in PLAIN]
values = plain + list(every_type())
functions = con.execute("""SELECT function_name, parameters, parameter_types FROM duckdb_functions()
    WHERE function_name LIKE 'lazycogs%' AND function_type = 'table'""").fetchall()
for function, parameters, types in functions:
    places = [name for name in parameters if name.startswith("col") and name[3:].isdigit()]
    asks = function in ("lazycogs_search", "lazycogs_collections")
    base = [f"'{api}'"] if asks else (POSITIONAL + ["NULL"] * len(places))[:len(places)]
    if function == "lazycogs_zonal":
        base[1] = ZONES
    answer = told(call(function, base)) if places else None
    if places and len(places) in (1, 5) and not answer:
        faults.append(f"{function} without further arguments gives nothing")
    for name in parameters:
        # The readers share their arguments: one of them meets every type.
        for value in values if function in ("lazycogs_read", "lazycogs_store") else plain:
            if name in places:
                at = places.index(name)
                sql = call(function, base[:at] + [value] + base[at + 1:])
            else:
                sql = call(function, base, f"""{', ' if base else ''}"{name}" := {value}""")
            found, count = told(sql), count + 1
            if value == "NULL" and name not in places and found != answer:
                faults.append(f"{sql} gives {found}, and without the argument {answer}")
for (setting,) in con.execute("SELECT name FROM duckdb_settings() WHERE name LIKE 'lazycogs%'").fetchall():
    for value in values:
        told(f"SET {setting} = {value}")
        told(call("lazycogs_read", POSITIONAL))
        count += 1
    con.execute(f"SET {setting} = NULL")
    try:
        con.execute(call("lazycogs_read", POSITIONAL)).fetchall()
        faults.append(f"{setting} = NULL is read")
    except duckdb.Error as error:
        if setting not in str(error):
            faults.append(f"{setting} = NULL: {error}")
    con.execute(f"RESET {setting}")
if not told(call("lazycogs_read", POSITIONAL)):
    faults.append("nothing is read after all of it")
print(count)
print("\\n".join(faults[:20]))
sys.exit(bool(faults))
'''


FOUND = '{"type": "Feature", "id": "a", "bbox": [0, 0, 1, 1], "properties": {}, "assets": {}}'


@pytest.fixture
def archive(tmp_path):
    values = np.arange(256, dtype="uint8").reshape(16, 16)
    return index(tmp_path, [item("one", {"red": raster(tmp_path / "a.tif", values)})])


def run(child, extension, archive, log, timeout=300):
    with StacServer([FOUND], [{"id": "c"}], lifetime=timeout) as api:
        command = [sys.executable, "-c", child, str(extension), str(archive), str(log), api.url]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def test_every_argument_and_every_setting(extension, archive, tmp_path):
    log = tmp_path / "last"
    done = run(CHILD, extension, archive, log)
    last = log.read_text()
    assert done.returncode in (0, 1), f"the process ended with {done.returncode} at: {last}{done.stderr[-2000:]}"
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 5000


@pytest.mark.parametrize("statement", ["SELECT 1", "SET lazycogs_memory_budget = NULL", "SET lazycogs_io = NULL"])
def test_a_setting_that_is_null(con, archive, statement):
    con.execute(statement)
    sql = f"FROM lazycogs_info('{archive}', [500000, 5199980, 500020, 5200000], 'EPSG:32633', 10, 'P1D')"
    if statement == "SELECT 1":
        assert len(con.execute(sql).fetchall()) == 1
        return
    with pytest.raises(duckdb.Error, match=statement.split()[1] + " is NULL"):
        con.execute(sql)
