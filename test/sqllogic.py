"""Runs sqllogictest files (test/sql/*.test) in the DuckDB of the Python that runs it.

A small part of DuckDB's own dialect, enough for tests that its runner accepts as well:

    require lazycogs            loads the built extension
    require-env NAME            skips the file when the variable is not set; makes ${NAME} available
    statement ok|error          an error may be followed by ---- and a part of its message, or <REGEX>:pattern
    query TYPES [nosort|rowsort]    then the SQL, ----, and rows with tabs between values, which may be NULL, (empty)
                                or <REGEX>:pattern
    loop NAME FROM TO / foreach NAME a b c / endloop    ${NAME} inside
    restart                     a new connection, with the extension loaded again

`__TEST_DIR__` stands for a fresh folder. Values of type R are compared as numbers, to 9 digits.

Usage: sqllogic.py --extension FILE test/sql/*.test
"""

import argparse
import datetime
import math
import os
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import duckdb


class Failure(Exception):
    """A record whose outcome is not the expected one."""


class Skip(Exception):
    """A file that cannot run here; the message says why."""


@dataclass
class Record:
    """One statement, query or directive, with the line it starts at."""

    line: int
    words: list
    sql: str = ""
    expected: list = None
    body: list = field(default_factory=list)  # the records inside a loop


def parse(text):
    """Splits a file into records; loops become records with a body."""
    stack = [Record(0, ["file"])]
    blocks = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            blocks.append(None)
            continue
        if not blocks or blocks[-1] is None:
            blocks.append((number, []))
        blocks[-1][1].append(line)
    for number, lines in filter(None, blocks):
        words = lines[0].split()
        if words[0] in ("statement", "query"):
            sql, separator, expected = split_at(lines[1:], "----")
            record = Record(number, words, "\n".join(sql), expected if separator else None)
            stack[-1].body.append(record)
            continue
        for offset, line in enumerate(lines):
            words = line.split()
            if words[0] == "endloop":
                if len(stack) == 1:
                    raise Failure(f"line {number + offset}: endloop without a loop")
                stack.pop()
                continue
            record = Record(number + offset, words)
            stack[-1].body.append(record)
            if words[0] in ("loop", "foreach"):
                stack.append(record)
    if len(stack) != 1:
        raise Failure(f"line {stack[-1].line}: loop without endloop")
    return stack[0].body


def split_at(lines, mark):
    """The lines before `mark`, whether it is there, and the lines after it."""
    if mark not in lines:
        return lines, False, []
    at = lines.index(mark)
    return lines[:at], True, lines[at + 1 :]


class File:
    """The state of one run of one file."""

    def __init__(self, extension):
        self.extension = extension
        self.variables = {}
        self.loads = False
        self.records = 0
        self.line = 0  # of the record that runs
        self.folder = tempfile.TemporaryDirectory(prefix="lazycogs-sqllogic-")
        self.connection = None
        self.connect()

    def connect(self):
        if self.connection:
            self.connection.close()
        self.connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        if self.loads:
            self.connection.execute(f"LOAD '{self.extension}'")

    def close(self):
        self.connection.close()
        self.folder.cleanup()

    def substitute(self, text):
        for name, value in self.variables.items():
            text = text.replace("${" + name + "}", value)
        return text.replace("__TEST_DIR__", self.folder.name)

    def run(self, records):
        for record in records:
            self.step(record)

    def step(self, record):
        kind, *rest = [self.substitute(word) for word in record.words]
        if kind == "statement":
            self.records += 1
            self.line = record.line
            self.statement(rest[0], self.substitute(record.sql), record.expected)
        elif kind == "query":
            self.records += 1
            self.line = record.line
            self.query(rest[0], rest[1:], self.substitute(record.sql), record.expected or [])
        elif kind == "loop":
            self.repeat(rest[0], map(str, range(int(rest[1]), int(rest[2]))), record.body)
        elif kind == "foreach":
            self.repeat(rest[0], rest[1:], record.body)
        elif kind == "require":
            self.require(rest[0])
        elif kind == "require-env":
            if not os.environ.get(rest[0]):
                raise Skip(f"the environment variable {rest[0]} is not set")
            self.variables[rest[0]] = os.environ[rest[0]]
        elif kind == "restart":
            self.connect()
        else:
            raise Failure(f"line {record.line}: unknown directive {kind!r}")

    def repeat(self, name, values, body):
        for value in values:
            self.variables[name] = value
            try:
                self.run(body)
            except Failure as failure:
                raise Failure(f"{failure} (with {name} = {value})") from None
        self.variables.pop(name, None)

    def require(self, name):
        if name == "lazycogs":
            self.loads = True
            self.connection.execute(f"LOAD '{self.extension}'")
            return
        try:
            self.connection.execute(f"LOAD {name}")
        except duckdb.Error:
            raise Skip(f"DuckDB's extension {name} is not there") from None

    def statement(self, expectation, sql, expected):
        try:
            self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            if expectation != "error":
                raise Failure(f"{sql}\nfailed: {error}") from None
            wanted = self.substitute("\n".join(expected or []))
            if not text_matches(str(error), wanted):
                raise Failure(f"{sql}\nwanted the error: {wanted}\n             got: {error}") from None
            return
        if expectation == "error":
            raise Failure(f"{sql}\nwas expected to fail, and did not")

    def query(self, types, options, sql, expected):
        try:
            rows = self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise Failure(f"{sql}\nfailed: {error}") from None
        found = [[self.show(value) for value in row] for row in rows]
        wanted = [self.substitute(line).split("\t") for line in expected]
        if "rowsort" in options:
            found, wanted = sorted(found), sorted(wanted)
        if any(len(row) != len(types) for row in found):
            raise Failure(f"{sql}\nwas expected to give {len(types)} columns, and gave {len(found[0])}")
        same = len(found) == len(wanted) and all(
            len(w) == len(f) and all(map(value_matches, types, f, w)) for f, w in zip(found, wanted)
        )
        if not same:
            shown = ["\n".join("\t".join(row) for row in rows) for rows in (wanted, found)]
            raise Failure(f"{sql}\nwanted:\n{shown[0]}\ngot:\n{shown[1]}")

    def show(self, value):
        """A value as DuckDB prints it."""
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (int, str)):
            return str(value) or "(empty)"
        if isinstance(value, datetime.datetime) and value.tzinfo is None:
            return str(value)
        return str(self.connection.execute("SELECT ?::VARCHAR", [value]).fetchone()[0])


def text_matches(found, wanted):
    if wanted.startswith("<REGEX>:"):
        return re.search(wanted.removeprefix("<REGEX>:"), found, re.DOTALL) is not None
    return wanted in found


def value_matches(kind, found, wanted):
    if wanted.startswith("<REGEX>:"):
        return re.fullmatch(wanted.removeprefix("<REGEX>:"), found, re.DOTALL) is not None
    if kind == "R" and "NULL" not in (found, wanted):
        return math.isclose(float(found), float(wanted), rel_tol=1e-9, abs_tol=1e-12) or found == wanted
    return found == wanted or (found, wanted) in (("true", "1"), ("false", "0"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extension", required=True)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for path in args.files:
        file = File(Path(args.extension).resolve())
        try:
            file.run(parse(Path(path).read_text()))
            outcome = "passed"
        except Skip as reason:
            outcome = "skipped"
            print(f"SKIPPED {path}: {reason}")
        except (Failure, duckdb.Error) as failure:
            outcome = "failed"
            print(f"FAILED {path}, line {file.line}: {failure}\n")
        else:
            print(f"passed  {path} ({file.records} records)")
            if file.records == 0:
                print(f"FAILED {path}: there is nothing in it")
                outcome = "failed"
        finally:
            file.close()
        counts[outcome] += 1
    print(f"sqllogictest, DuckDB {duckdb.__version__}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    sys.exit(counts["failed"] > 0)


if __name__ == "__main__":
    main()
