"""The child of test_stress.py: works at random for some seconds, and prints what came of it.

Usage: stress.py EXTENSION LOCAL REMOTE FAILING SECONDS SEED
"""

import collections
import contextlib
import ctypes
import faulthandler
import json
import multiprocessing
import os
import sys
import threading
import time
import warnings
from random import Random

import duckdb

EXTENSION, LOCAL, REMOTE, FAILING, SECONDS, SEED = sys.argv[1:]
WORKERS, CURSORS = 6, 600
# What an error may say: the server's part, an interrupt, or a cursor that was closed. Anything else is a finding.
EXPECTED = ("HTTP ", "timed out", "nterrupt", "INTERRUPT", "connection failed", "the body", "the server sent",
            "replaced", "is truncated")  # fmt: skip
BOX = "[733000, 4930000, 737000, 4934500], 'EPSG:32615'"
ZONE = "POLYGON ((733010 4930030, 736900 4932000, 736000 4934400, 733500 4933000, 733010 4930030))"
QUERIES = {
    "native": "SELECT time, sum(red), count(red), count(*) "
    f"FROM lazycogs_read('{{}}', {BOX}, 20, 'P1D', bands := ['red']",
    "mean": f"SELECT time, sum(red), count(red) FROM lazycogs_read('{{}}', {BOX}, 40, 'P1M', bands := ['red'], "
    "mosaic := 'highest'",
    "other crs": "SELECT time, sum(red), count(red) "
    "FROM lazycogs_read('{}', [-90.1, 44.45, -90.0, 44.55], 'OGC:CRS84', 0.0004, 'P1M', bands := ['red']",
    "chunks": f"SELECT time, sum(octet_length(red)), count(*) FROM lazycogs_read_chunks('{{}}', {BOX}, 20, 'P1D', "
    "bands := ['red'], chunk_size := 64",
    "masked": f"SELECT time, sum(red), count(red) FROM lazycogs_read('{{}}', {BOX}, 20, 'P1M', bands := ['red'], "
    "mosaic := 'highest', mask_band := 'red', mask_below := 300, mask_grow := 25",
    "kernel": "SELECT time, sum(red), count(red) FROM lazycogs_read('{}', [-90.1, 44.45, -90.0, 44.55], 'OGC:CRS84', "
    "0.0004, 'P1M', bands := ['red'], resampling := 'cubic', mask_band := 'red', mask_below := 300",
    "zones": "SELECT time, zone_id, count, sum FROM lazycogs_zonal('{}', [{{'id': 1, 'geometry': '" + ZONE + "'}}], "
    "'EPSG:32615', 20, 'P1D', bands := ['red'], zones_crs := 'EPSG:32615', stats := ['count', 'sum']",
    "info": f"SELECT items, steps, width FROM lazycogs_info('{{}}', {BOX}, 20, 'P1D', bands := ['red']",
    "plan": f"SELECT count(*), count(href) FROM lazycogs_explain('{{}}', {BOX}, 20, 'P1D', bands := ['red']",
}
# Those that may be cut into tiles in any way.
GRIDDED = ("native", "mean", "other crs", "masked", "kernel", "zones")
TAILS = {"native": " GROUP BY time ORDER BY time", "mean": " GROUP BY time ORDER BY time"}
TAILS |= {name: TAILS["mean"] for name in ("other crs", "chunks", "masked", "kernel")}


def connect():
    con = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "2"})
    con.execute(f"LOAD '{EXTENSION}'")
    con.execute("SET lazycogs_http_timeout = 1; SET lazycogs_max_retries = 1")
    return con


def sql(name, items, extra=""):
    return QUERIES[name].format(items) + extra + ")" + TAILS.get(name, "")


def state():
    # What is free and still held is glibc's business.
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    names = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
    return {
        "threads": int(status["Threads"]),
        "files": len(names),
        "sockets": sum(name.startswith("socket:") for name in names),
        "mib": round(int(status["VmRSS"].split()[0]) / 1024),
    }


def settled():
    """When the server has ended idle connections, and threads without work have ended."""
    time.sleep(4)
    return state()


class Stress:
    def __init__(self):
        self.con = connect()
        self.right = {name: self.con.execute(sql(name, LOCAL)).fetchall() for name in QUERIES}
        assert all(self.right.values())
        self.wrong, self.done, self.answers, self.last = [], collections.Counter(), 0, {}

    def check(self, name, rows):
        self.answers += 1
        if rows != self.right[name]:
            self.wrong.append(f"{name}: {str(rows)[:300]} instead of {str(self.right[name])[:300]}")

    def failed(self, what, error):
        self.done["errors"] += 1
        if not any(part in str(error) for part in EXPECTED):
            self.wrong.append(f"{what}: {error}")

    def whole(self, con, random):
        """A query to its end, with settings of its own."""
        name, items = random.choice(list(QUERIES)), random.choice([LOCAL, REMOTE, FAILING, FAILING])
        budget = random.choice(["64KB", "1MB", "16MB", "256MB"])
        cache = random.choice(["0", "64MB"])
        con.execute(f"SET lazycogs_memory_budget = '{budget}'; SET lazycogs_cache_size = '{cache}'")
        con.execute(f"SET threads = {random.choice([1, 2, 3])}")
        con.execute(f"SET lazycogs_max_concurrent_reads = {random.choice([1, 4, 64])}")
        io = random.choice(["object_store"] * 3 + ["duckdb"]) if items == LOCAL else "object_store"
        con.execute(f"SET lazycogs_io = '{io}'")
        extra = random.choice(["", ", chunk_size := 32"]) if name in GRIDDED else ""
        self.last[random.n] = (name, items, budget, cache, io, extra)
        self.check(name, con.execute(sql(name, items, extra)).fetchall())
        self.done["queries"] += 1

    def interrupted(self, con, random):
        timer = threading.Timer(random.random() * 0.3, con.interrupt)
        timer.start()
        try:
            self.whole(con, random)
        finally:
            timer.join()
            self.done["interrupts"] += 1

    def dropped(self, con, random):
        """A cursor half read, and gone."""
        cursor = con.cursor()
        cursor.execute(
            f"FROM lazycogs_read('{random.choice([LOCAL, REMOTE, FAILING])}', {BOX}, 5, 'P1D', bands := ['red'])"
        )
        cursor.fetchmany(random.choice([1, 3000]))
        cursor.close()
        self.done["dropped"] += 1

    def work(self, n, seed):
        random, con = Random(seed), connect()
        random.n = n
        deeds = [self.whole] * 5 + [self.interrupted] * 2 + [self.dropped]
        while time.monotonic() < self.end:
            deed = random.choice(deeds)
            try:
                if random.random() < 0.05:
                    con.close()
                    con = connect()
                deed(con, random)
            except duckdb.Error as error:
                self.failed(deed.__name__, error)
            except BaseException as error:
                self.wrong.append(f"{deed.__name__}: {error!r}")
        con.close()

    def run(self, seconds, seed):
        self.end = time.monotonic() + seconds
        threads = [threading.Thread(target=self.work, args=(n, seed * 100 + n), daemon=True) for n in range(WORKERS)]
        for thread in threads:
            thread.start()
        last = self.end + 90
        for thread in threads:
            thread.join(max(0, last - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            faulthandler.dump_traceback()
            self.wrong.append(f"hangs: {[self.last[n] for n, thread in enumerate(threads) if thread.is_alive()]}")
            report = {"wrong": self.wrong, "right": self.answers, "done": dict(self.done), "before": {}, "after": {}}
            print(json.dumps(report), flush=True)
            os._exit(0)

    def cursors(self):
        """Hundreds at once, half read; meanwhile others get their answers."""
        con, held = connect(), []
        con.execute("SET lazycogs_memory_budget = '1MB'")
        for _ in range(CURSORS):
            cursor = con.cursor()
            cursor.execute(
                f"SELECT red FROM lazycogs_read('{LOCAL}', {BOX}, 5, 'P1D', bands := ['red'], chunk_size := 64)"
            )
            assert cursor.fetchone() is not None
            held.append(cursor)
        for name in QUERIES:
            self.check(name, self.con.execute(sql(name, LOCAL)).fetchall())
        if (threads := state()["threads"]) > 150:
            self.wrong.append(f"{threads} threads for {CURSORS} cursors")
        for cursor in held:
            cursor.close()
        con.close()
        self.done["cursors"] += 1

    def fork(self):
        """Children of a quiet process get the same answers."""
        warnings.simplefilter("ignore")
        context = multiprocessing.get_context("fork")
        queue = context.Queue()

        def child():
            con = connect()
            queue.put({name: con.execute(sql(name, LOCAL)).fetchall() for name in QUERIES})

        children = [context.Process(target=child) for _ in range(3)]
        for process in children:
            process.start()
        for _ in children:
            for name, rows in queue.get(timeout=60).items():
                self.check(name, rows)
        for process in children:
            process.join(30)
            if process.exitcode != 0:
                self.wrong.append(f"a forked child ended with {process.exitcode}")
        queue.close()
        queue.join_thread()
        self.done["children"] += 1


def main():
    stress, seconds, seed = Stress(), float(SECONDS), int(SEED)
    # What the first minute of a process makes for good is no leak: pools, caches, the allocator's arenas.
    stress.run(seconds * 0.3, seed)
    stress.cursors()
    before, middle, rounds = settled(), None, max(1, round(seconds / 120))
    for n in range(rounds):
        stress.run(seconds * 0.7 / rounds, seed + 1 + n)
        stress.fork()
        stress.cursors()
        if rounds > 4 and n == rounds // 2:
            middle = settled()
    after = settled()
    if rounds > 4 and after["mib"] > middle["mib"] + 60:
        stress.wrong.append(f"memory grows: {middle['mib']} MiB in the middle, {after['mib']} MiB at the end")
    done = {key: stress.done[key] for key in ("queries", "interrupts", "dropped", "errors", "cursors", "children")}
    report = {"right": stress.answers - len(stress.wrong), "wrong": stress.wrong, "done": done, "before": before}
    print(json.dumps(report | {"after": after}), flush=True)


if __name__ == "__main__":
    main()
