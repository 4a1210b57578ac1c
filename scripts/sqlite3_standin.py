"""A stand-in for the sqlite3 program: `sqlite3 DATABASE < script`, the one form that PROJ's build uses.

PROJ makes proj.db by feeding SQL to that program. Python carries the same library, so a machine without the program
(and without the right to install it) can build all the same.
"""

import sqlite3
import sys


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("sqlite3 (stand-in for a build): usage: sqlite3 DATABASE < script.sql")
    database = sqlite3.connect(sys.argv[1])
    try:
        database.executescript(sys.stdin.buffer.read().decode("utf-8"))
        database.commit()
    except sqlite3.Error as error:
        sys.exit(f"sqlite3 (stand-in for a build): {error}")
    finally:
        database.close()


if __name__ == "__main__":
    main()
