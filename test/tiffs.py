"""Writes TIFFs that rasterio does not write: strips of any height, odd bit depths, masks for each band, missing tags.

Pixels are given as bytes, block by block; `pack` makes them from an array.
"""

import struct
import zlib

import numpy as np

SHORT, LONG, DOUBLE, LONG8 = 3, 4, 12, 16
SIZES = {1: 1, 2: 1, SHORT: 2, LONG: 4, 7: 1, DOUBLE: 8, LONG8: 8}
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
SUBFILE, EXTRA_SAMPLES, SAMPLE_FORMAT, NODATA = 254, 338, 339, 42113
DEFLATE = 8
CODES = {SHORT: "H", LONG: "I", DOUBLE: "d", LONG8: "Q"}


def utm(left=500000, top=5200000, resolution=10, code=32633):
    """The tags of a georeference in metres."""
    return {
        33550: (DOUBLE, [resolution, resolution, 0]),
        33922: (DOUBLE, [0, 0, 0, left, top, 0]),
        34735: (SHORT, [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, code]),
    }


def pack(rows, bits):
    """Unsigned integers (rows, columns) as bits, the most significant first; each row begins at a byte."""
    rows = np.asarray(rows).astype(np.uint64)
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    return np.packbits(
        (rows[..., None] >> shifts & np.uint64(1)).astype(np.uint8).reshape(len(rows), -1), axis=1
    ).tobytes()


def image(values, rows_per_strip=None, planar=1, bits=None, codec=None, order="<", tile=None, fill=None, **tags):
    """One directory: (tags, blocks). `values` are (bands, rows, columns); `codec` compresses the bytes of a block.

    A block for which `fill` is true is not stored. `tags` are numbers with a `t` in front, so that they are names.
    """
    bands, height, width = values.shape
    depth = bits or values.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    cells = values if planar == 2 else np.moveaxis(values, 0, -1).reshape(1, height, width * bands)
    step = min(rows_per_strip or height, height)
    blocks = []
    for plane in cells:
        for first in range(0, height, step):
            rows = plane[first : first + step]
            data = pack(rows, bits) if bits else rows.astype(values.dtype.newbyteorder(order)).tobytes()
            blocks.append(b"" if fill and fill(len(blocks)) else codec(data) if codec else data)
    found = {
        WIDTH: (LONG, [width]),
        LENGTH: (LONG, [height]),
        BITS: (SHORT, [depth] * bands),
        COMPRESSION: (SHORT, [DEFLATE if codec is zlib.compress else 1]),
        PHOTOMETRIC: (SHORT, [1]),
        SAMPLES: (SHORT, [bands]),
        PLANAR: (SHORT, [planar]),
        SAMPLE_FORMAT: (SHORT, [kind] * bands),
    }
    if rows_per_strip:
        found[ROWS_PER_STRIP] = (LONG, [rows_per_strip])
    return found | {int(name[1:]): value for name, value in tags.items()}, blocks


def write(path, *images, order="<", big=False, without=()):
    """Writes directories, each followed by its blocks; returns the path. `without` are tags that are left out."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8))
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    body = bytearray(head)
    for number, (tags, blocks) in enumerate(images):
        last = number + 1 == len(images)
        # Offsets do not change the size of a directory: the first pass finds it out.
        size = len(directory(dict(tags), blocks, len(body), 0, last, order, big, without)[0])
        made, end = directory(dict(tags), blocks, len(body), len(body) + size, last, order, big, without)
        body += made + b"".join(blocks)
        body += bytes(len(body) % 2)
    path.write_bytes(bytes(body))
    return path


def directory(tags, blocks, start, data, last, order, big, without):
    offsets, position = [], data
    for block in blocks:
        offsets.append(position if block else 0)
        position += len(block)
    tiled = TILE_WIDTH in tags
    tags.setdefault(TILE_OFFSETS if tiled else STRIP_OFFSETS, (LONG8 if big else LONG, offsets))
    tags.setdefault(TILE_BYTES if tiled else STRIP_BYTES, (LONG, [len(block) for block in blocks]))
    entries = sorted((tag, value) for tag, value in tags.items() if tag not in without)
    word, pointer = (8, "Q") if big else (4, "I")
    values_at = start + (8 if big else 2) + len(entries) * (12 + (8 if big else 0)) + word
    out, values = bytearray(struct.pack(order + ("Q" if big else "H"), len(entries))), bytearray()
    for tag, (kind, value) in entries:
        raw = value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}{CODES[kind]}", *value)
        out += struct.pack(order + "HH" + pointer, tag, kind, len(raw) // SIZES[kind])
        if len(raw) <= word:
            out += raw + bytes(word - len(raw))
        else:
            out += struct.pack(order + pointer, values_at + len(values))
            values += raw + bytes(len(raw) % 2)
    end = position + position % 2
    out += struct.pack(order + pointer, 0 if last else end)
    return bytes(out + values), end
