"""Runs examples/demo.sql in this Python's DuckDB and prints what DuckDB prints.

A block of the file is a remark and a statement.
"""

import os
import sys
import time
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parent.parent


def main():
    os.chdir(ROOT)
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    print(f"DuckDB {duckdb.__version__}")
    for block in Path("examples/demo.sql").read_text().split("\n\n"):
        print(f"\n{block.strip()}", flush=True)
        if not any(line and not line.startswith("--") for line in block.splitlines()):
            continue
        started = time.perf_counter()
        result = connection.sql(block)
        if result is not None and not block.lstrip().startswith("LOAD"):
            result.show(max_width=160, max_rows=40)
        print(f"({time.perf_counter() - started:.2f} s)")


if __name__ == "__main__":
    try:
        main()
    except duckdb.Error as error:
        sys.exit(f"\n{error}")
