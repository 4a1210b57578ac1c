"""Every SQL block of the documents runs as it is printed, in order, in one session, in the root of the project.

Where the block after it is a table, that is what it prints.
"""

import re

import duckdb
import pytest
from conftest import ROOT

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


def test_every_block_runs_as_printed(connect, extension, monkeypatch):
    monkeypatch.chdir(ROOT)
    con, ran = connect(), 0
    for document in DOCUMENTS:
        for line, sql, printed in blocks(document):
            for statement in con.extract_statements(BUILT.sub(f"LOAD '{extension}'", sql)):
                try:
                    result = shown(con.sql(statement.query))
                except duckdb.Error as error:
                    pytest.fail(f"{document}:{line}: {statement.query.strip()}\n{error}")
            if printed is not None:
                assert result == [row.rstrip() for row in printed.strip().splitlines()], f"{document}:{line}"
            ran += 1
    assert ran >= 6
