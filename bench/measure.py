"""One measurement in a process of its own; prints one line of JSON.

Before the clock: imports, loading the extension, and one call on the `warm` part of the archive over files, so that
what is done once per process (lazy imports, PROJ, thread pools) is charged to nobody. The clock runs from the path of
the index to the array. Usage: measure.py PEER WORKLOAD SIZE SOURCE INDEX WARM_INDEX [SAVE_AS]
"""

import hashlib
import json
import os
import resource
import sys
import time
import urllib.request

FIRST = time.perf_counter()


def memory(field):
    """A field of /proc/self/status in MB; None where there is no such file."""
    try:
        with open("/proc/self/status") as status:
            lines = dict(line.split(":", 1) for line in status)
    except OSError:
        return None
    return int(lines[field].split()[0]) / 1000 * 1.024


def forget_peak():
    """The peak of memory is counted from here on."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main(peer, name, size, source, index, warm_index, save_as=None):
    from pathlib import Path

    import numpy as np
    from workloads import warm_up, workloads
    from zonal import program

    workload = workloads(size)[name]
    runner = program(peer, workload)(source)
    index, warm_index = Path(index), Path(warm_index)
    runner.prepare()
    prepared = time.perf_counter() - FIRST
    remote, runner.source = runner.source, "file"
    runner.run(warm_up(workload), warm_index)
    runner.source = remote
    if workload.repeated:
        runner.run(workload, index)
    if "BENCH_SERVER" in os.environ:
        # What was read before the clock is not counted.
        urllib.request.urlopen(f"{os.environ['BENCH_SERVER']}/counts", timeout=10).read()
    exact = forget_peak()
    baseline, used, started = memory("VmRSS"), cpu(), time.perf_counter()
    cube = runner.run(workload, index)
    wall, used = time.perf_counter() - started, cpu() - used
    if save_as:
        np.save(save_as, cube)
    result = {
        "wall": round(wall, 4),
        "cpu": round(used, 3),
        "memory": round(memory("VmHWM") - baseline, 1) if baseline and exact else None,
        "prepare": round(prepared, 2),
        "shape": list(cube.shape),
        "array": int(cube.nbytes),
        "digest": hashlib.blake2b(np.ascontiguousarray(cube).view("uint8"), digest_size=8).hexdigest(),
    }
    print("RESULT " + json.dumps(result), flush=True)
    # Threads of a library must not delay the end.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
