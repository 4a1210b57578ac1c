"""Everything at once, at random: connections, tiny budgets, interrupts, dropped cursors, forks, failing servers.

Every answer is right, or an error that says why. What the process holds when it is quiet again is what it held before.
LAZYCOGS_SOAK_SECONDS says for how long (25 s; `make soak` an hour), LAZYCOGS_SOAK_SEED with which seed.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

from helpers import moved
from server import RangeServer
from test_lifetime import linux_only

SECONDS = float(os.environ.get("LAZYCOGS_SOAK_SECONDS") or 25)
SEED = int(os.environ.get("LAZYCOGS_SOAK_SEED") or time.time())
KINDS = [
    {"status": 503}, {"status": 429, "retry_after": "0"}, {"reset": True}, {"truncate": 20}, {"delay": 0.5},
    {"stall": 1.5}, {"status": 403}, {"status": 404}, {"wrong_length": 50}, {"status": 500},
]  # fmt: skip


def troubled(server, scenes, stop, random):
    """Adds faults as long as the others work. Each hits one request; some are never reached."""
    while not stop.wait(0.05):
        if random.random() < 0.02:
            server.reset()
        server.fault(random.choice(scenes), skip=random.randint(0, 3), times=1, **random.choice(KINDS))


@linux_only
def test_everything_at_once(extension, fixtures, tmp_path):
    scenes = sorted(f"archive/scenes/{path.name}" for path in (fixtures / "archive/scenes").glob("*_red.tif"))
    local = fixtures / "archive" / "items.parquet"
    lifetime = SECONDS + 300
    with RangeServer(fixtures, lifetime=lifetime, idle=1.0) as sound, RangeServer(fixtures, lifetime, idle=1.0) as bad:
        remote = moved(local, f"{sound.url}/archive", tmp_path / "remote.parquet")
        failing = moved(local, f"{bad.url}/archive", tmp_path / "failing.parquet")
        stop = threading.Event()
        trouble = threading.Thread(target=troubled, args=(bad, scenes, stop, Random(SEED)), daemon=True)
        trouble.start()
        command = [sys.executable, Path(__file__).with_name("stress.py"), extension, local, remote, failing]
        try:
            done = subprocess.run(
                [*map(str, command), str(SECONDS), str(SEED)], capture_output=True, text=True, timeout=SECONDS + 240
            )
        finally:
            stop.set()
            trouble.join()
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    told = json.loads(done.stdout.splitlines()[-1])
    print(f"seed {SEED}", told)
    assert not told["wrong"], f"seed {SEED}: {told['wrong'][:5]}"
    assert told["right"] >= 20 and all(told["done"].values()), told
    before, after = told["before"], told["after"]
    assert after["threads"] <= before["threads"] + 4, told
    assert after["files"] <= before["files"] + 8 and after["sockets"] <= before["sockets"] + 8, told
    assert after["mib"] <= before["mib"] + 120, told
