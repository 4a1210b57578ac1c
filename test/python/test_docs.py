"""Every SQL block of the documents runs as it is printed, in order, in one session, in the root of the project.

Where the block after it is a table, that is what it prints. Where a block asks a STAC API, one of the demo's items
answers, and the file of items that it writes is not in the project.
"""

import json
import re

import duckdb
import pytest
from conftest import ROOT
from stac_server import StacServer

DOCUMENTS = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
BUILT = re.compile(r"LOAD '[^']*lazycogs\.duckdb_extension'")


def blocks(document):
    """The SQL blocks of a document: (line, SQL, the table printed below or None)."""
    text = (ROOT / document).read_text()
    fences = list(FENCE.finditer(text))
    for fence, after in zip(fences, [*fences[1:], None]):
        if fence[1] == "sql":
            adjacent = after is not None and not text[fence.end() : after.start()].strip()
            printed = after[2] if adjacent and after[1] == "text" and after[2].startswith("┌") else None
            yield text.count("\n", 0, fence.start()) + 1, fence[2], printed


def shown(relation):
    """What DuckDB prints, which takes all rows."""
    return [line.rstrip() for line in str(relation).strip().splitlines()]


@pytest.fixture
def api(connect):
    """The archive of the demo as an API."""
    index = ROOT / "examples" / "demo" / "items.parquet"
    time = "strftime(datetime AT TIME ZONE 'UTC', '%xT%XZ')"
    columns = f'id, to_json(bbox), to_json(assets), {time}, "eo:cloud_cover", "proj:code"'
    rows = connect().execute(f"SELECT {columns} FROM '{index}' ORDER BY datetime, id").fetchall()
    items = []
    for name, box, assets, time, cloud, code in rows:
        box, assets = list(json.loads(box).values()), json.loads(assets)
        for asset in assets.values():
            asset["href"] = (index.parent / asset["href"]).as_uri()
        west, south, east, north = box
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        properties = {"datetime": time, "eo:cloud_cover": cloud, "proj:code": code}
        item = {"type": "Feature", "stac_version": "1.1.0", "id": name, "collection": "sentinel-2-l2a", "bbox": box}
        item |= {"geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties, "assets": assets}
        items.append(json.dumps(item))
    with StacServer(items, [{"id": "sentinel-2-l2a"}]) as server:
        yield server


def test_every_block_runs_as_printed(connect, extension, api, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    con, ran = connect(), 0
    for document in DOCUMENTS:
        for line, sql, printed in blocks(document):
            sql = BUILT.sub(f"LOAD '{extension}'", sql).replace("https://stac.example.com/v1", api.url)
            for statement in con.extract_statements(sql.replace("'items.parquet'", f"'{tmp_path}/items.parquet'")):
                try:
                    result = shown(con.sql(statement.query))
                except duckdb.Error as error:
                    pytest.fail(f"{document}:{line}: {statement.query.strip()}\n{error}")
            if printed is not None:
                assert result == [row.rstrip() for row in printed.strip().splitlines()], f"{document}:{line}"
            ran += 1
    assert ran >= 6
