"""Every TIFF that others made, read through SQL at its own resolution in its own CRS, against what GDAL reads.

The engine works in a process of its own, so that a file that crashes or hangs it is one failed test with the file's
name, not the end of the run.
"""

import json
import multiprocessing
import re
import time
import zlib

import duckdb
import numpy as np
import pytest
import rasterio
from model import Grid, load_level, nearest

SECONDS_PER_FILE = 60
CHUNK = 256
WORLD = [-180, -90, 180, 90]


def square(entry):
    """Whether a grid of square, north-up pixels can be the file's own."""
    a, b, _, d, e, _ = entry["transform"]
    return b == 0 and d == 0 and a > 0 and abs(a + e) <= 1e-9 * a


def grid_of(entry):
    """The file's own grid, or one over its bounds with its finer pixel side where that is not square or not upright."""
    a, b, c, d, e, f = entry["transform"]
    width, height = entry["width"], entry["height"]
    crs = f"EPSG:{entry['crs_epsg']}" if entry.get("crs_epsg") else entry["crs_wkt"]
    if square(entry):
        return Grid((c, f - height * a, c + width * a, f), crs, a)
    x = [c + a * i + b * j for i in (0, width) for j in (0, height)]
    y = [f + d * i + e * j for i in (0, width) for j in (0, height)]
    return Grid((min(x), min(y), max(x), max(y)), crs, float(min(np.hypot(a, d), np.hypot(b, e))))


def is_beyond_a_pole(entry):
    """Whether the file's own grid asks for more latitudes than there are."""
    grid = grid_of(entry)
    return entry.get("crs_epsg") == 4326 and grid.bbox[3] - grid.resolution / 2 > 90


def bands_of(entry):
    return ["data"] if entry["count"] == 1 else [f"data:{n}" for n in range(1, entry["count"] + 1)]


def read_one(con, root, name, entry):
    """{band: array} at full resolution and {band: number of values that are not NULL}."""
    west, south, east, north = entry.get("lonlat_bounds") or WORLD
    con.execute(
        "SET VARIABLE items = [{id: $id, datetime: TIMESTAMP '2020-01-01', "
        "bbox: {xmin: $w::DOUBLE, ymin: $s::DOUBLE, xmax: $e::DOUBLE, ymax: $n::DOUBLE}, "
        "assets: {data: {href: $href}}}]",
        {"id": name, "w": west, "s": south, "e": east, "n": north, "href": str(root / name)},
    )
    placed = entry.get("transform") and not entry["transform_is_identity"] and entry.get("crs_wkt")
    grid = grid_of(entry) if placed else Grid((0, 0, 10, 10), "EPSG:4326", 1)
    names = bands_of(entry) if entry.get("count") else ["data"]
    arguments = (
        f"getvariable('items'), {list(map(float, grid.bbox))}, $crs, {grid.resolution!r}, 'P1D', bands := $bands"
    )
    values = {"crs": grid.crs, "bands": names}
    arrays = {}
    chunks = con.execute(f"FROM lazycogs_read_chunks({arguments}, chunk_size := {CHUNK})", values).fetchall()
    info = con.execute(f"SELECT DISTINCT dtype FROM lazycogs_info({arguments})", values).fetchall()
    for chunk in chunks:
        row, col, height, width = chunk[1], chunk[2], chunk[7], chunk[8]
        for band, blob in zip(names, chunk[9:]):
            out = arrays.setdefault(band, np.zeros(grid.shape, info[0][0]))
            part = np.frombuffer(blob, info[0][0]).reshape(height, width)
            out[row * CHUNK : row * CHUNK + height, col * CHUNK : col * CHUNK + width] = part
    counts = ", ".join(f'count("{band}")' for band in names)
    counts = con.execute(f"SELECT {counts} FROM lazycogs_read({arguments})", values).fetchone()
    return arrays, dict(zip(names, counts))


def work(extension, root, names, expected, pipe):
    """The child: one message per file."""
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.execute(f"LOAD '{extension}'")
    for name in names:
        started = time.monotonic()
        try:
            outcome = read_one(con, root, name, expected[name])
        except duckdb.Error as error:
            outcome = str(error)
        pipe.send((name, outcome, time.monotonic() - started))


def read_all(extension, root, expected):
    """What came of every file: (arrays, counts) or the text of the error; with the seconds it took."""
    context = multiprocessing.get_context("spawn")
    outcomes, left = {}, list(expected)
    while left:
        ours, theirs = context.Pipe()
        child = context.Process(target=work, args=(extension, root, left, expected, theirs))
        child.start()
        theirs.close()
        try:
            while left and ours.poll(SECONDS_PER_FILE):
                name, *outcome = ours.recv()
                outcomes[name] = outcome
                left.remove(name)
            if left:
                outcomes[left.pop(0)] = [TimeoutError(f"no answer in {SECONDS_PER_FILE} s"), SECONDS_PER_FILE]
        except EOFError:
            outcomes[left.pop(0)] = [ChildProcessError("the process died"), 0]
        finally:
            child.kill()
            child.join()
    return outcomes


@pytest.fixture(scope="module")
def corpus(shared_data, extension):
    """{file: (expected, outcome, seconds)}."""
    expected = json.loads((shared_data / "EXPECTED.json").read_text())
    outcomes = read_all(extension, shared_data, expected)
    assert sorted(outcomes) == sorted(expected)
    return {name: (entry, *outcomes[name]) for name, entry in expected.items()}


def tiled(entry):
    return "tiled" in entry.get("traps", [])


def placed(entry):
    return bool(entry.get("crs_wkt")) and not entry.get("transform_is_identity", True)


def test_no_file_crashes_or_hangs(corpus):
    lost = {name: outcome for name, (_, outcome, _) in corpus.items() if isinstance(outcome, Exception)}
    assert not lost
    slow = {name: seconds for name, (_, _, seconds) in corpus.items() if seconds > SECONDS_PER_FILE / 2}
    assert not slow
    texts = {name: outcome for name, (_, outcome, _) in corpus.items() if isinstance(outcome, str)}
    assert not {name: text for name, text in texts.items() if re.search("panick|internal error", text, re.I)}


# What is refused whatever its place: by a trap of the manifest, with words of the message.
REFUSED = {
    "complex": "complex numbers of",
    "photometric=cmyk": "CMYK colours",
    "comp=fax3": "CCITT fax 3",
    "comp=jxl": "JPEG XL",
    "comp=44510": "compression 44510",
}


def reason_of(name, entry):
    """Words that the refusal of a file must have; None for one that must be read."""
    for trap, reason in REFUSED.items():
        if trap in entry["traps"]:
            return reason
    if entry["expect"] == "must_error_on_read" and placed(entry):
        return "corrupt|truncated"
    if placed(entry):
        return None
    if entry.get("gcps"):
        return "ground control points"
    # A file whose matrix is there and is the identity lies where it says.
    return None if "ModelTransformationTag" in entry["traps"] else "no georeference|no coordinate reference system"


def test_what_is_not_read_is_refused_by_name(corpus):
    """Files without a place on earth, of codecs and colours that are not read, and broken ones.

    The message names item, asset, href and the reason.
    """
    reasons, wrong = {}, {}
    for name, (entry, outcome, _) in corpus.items():
        reason = reason_of(name, entry)
        if reason is None:
            continue
        parts = ["lazycogs_read_chunks", f"item '{name}'", "asset 'data'", name]
        if isinstance(outcome, str) and all(part in outcome for part in parts) and re.search(reason, outcome):
            reasons[reason] = reasons.get(reason, 0) + 1
        else:
            wrong[name] = outcome if isinstance(outcome, str) else "it was read"
    assert not wrong
    print(reasons)
    assert reasons["no georeference|no coordinate reference system"] >= 80 and reasons["ground control points"] >= 2
    assert all(reasons.get(reason) for reason in [*REFUSED.values(), "corrupt|truncated"])


def wanted(corpus, expect):
    """(name, entry, outcome) of the files of a class that must be read."""
    for name, (entry, outcome, _) in corpus.items():
        known = placed(entry) and reason_of(name, entry) is None
        if known and entry["expect"].startswith(expect):
            yield name, entry, outcome


def test_every_exact_file_is_read_to_the_pixel(corpus, shared_data):
    checked = {"by checksum": 0, "by mask": 0, "resampled": 0}
    wrong = {}
    striped = 0
    for name, entry, outcome in wanted(corpus, "exact"):
        if is_beyond_a_pole(entry):
            assert isinstance(outcome, str) and "latitudes end at 90" in outcome, f"{name}: {outcome}"
            continue
        try:
            compare(shared_data / name, entry, outcome, checked)
            striped += not tiled(entry)
        except AssertionError as error:
            wrong[name] = str(error).splitlines()[0]
    assert not wrong, "\n".join(f"{name}: {why}" for name, why in wrong.items())
    print(checked, striped)
    assert checked["by checksum"] >= 180 and checked["by mask"] >= 50 and checked["resampled"] >= 43 and striped >= 70


def gdal_level(path, band):
    """Full resolution as GDAL reads the file itself, without the sidecars that may lie beside it."""
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO"):
        return load_level(str(path), None, band)


def compare(path, entry, outcome, checked):
    """Equal where both are sure. A square grid is compared by checksum if no mask or NaN changes the bytes."""
    assert not isinstance(outcome, str), outcome
    arrays, counts = outcome
    for number, (band, array) in enumerate(arrays.items(), 1):
        listed = entry["bands"][number - 1] if number <= len(entry["bands"]) else None
        level = gdal_level(path, number)
        unmasked = set(entry["mask_flags"]) <= {"all_valid", "nodata"}
        if square(entry) and unmasked and listed and not listed["nan"] and entry["nodata"] != "nan":
            assert zlib.crc32(array.tobytes()) == listed["crc32"], f"band {number}: another checksum"
            assert counts[band] == listed["valid"], f"band {number}: {counts[band]} valid, not {listed['valid']}"
            checked["by checksum"] += 1
        elif square(entry):
            assert (array[level.valid] == level.values[level.valid]).all(), f"band {number}: other values"
            assert counts[band] == level.valid.sum(), f"band {number}: {counts[band]} valid, not {level.valid.sum()}"
            checked["by mask"] += 1
        else:
            values, valid, doubt = nearest(level, grid_of(entry))
            sure = valid & ~doubt
            assert sure.any() or not valid.any()
            assert (array[sure] == values[sure]).all(), f"band {number}: other values"
            assert abs(counts[band] - int(valid.sum())) <= int(doubt.sum()), f"band {number}: {counts[band]} valid"
            checked["resampled"] += 1


def test_lossy_files_are_within_bounds(corpus):
    """Means within 1, and the same pixels valid: decoders of JPEG and WebP differ by a little."""
    checked, wrong = 0, {}
    for name, entry, outcome in wanted(corpus, "lossy"):
        if isinstance(outcome, str):
            wrong[name] = outcome
            continue
        arrays, counts = outcome
        for (band, array), listed in zip(arrays.items(), entry["bands"]):
            if "per_dataset" in entry["mask_flags"]:
                mean = array.sum(dtype=float) / max(counts[band], 1)
            else:
                mean = array.mean(dtype=float)
            if abs(mean - listed["mean"]) > 1 or (square(entry) and counts[band] != listed["valid"]):
                wrong[name] = f"{band}: mean {mean} of {counts[band]}, not {listed['mean']} of {listed['valid']}"
            checked += 1
    assert not wrong
    assert checked >= 38
