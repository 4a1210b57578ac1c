"""Makes the pictures of docs/clouds.md, docs/resampling.md and docs/zones.md from the extension's own answers.

matplotlib and duckdb, in a virtual environment of your own:
    python docs/pictures/make_pictures.py build/release/extension/lazycogs/lazycogs.duckdb_extension
"""

import io
import sys
from pathlib import Path

import duckdb
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import ListedColormap  # noqa: E402
from PIL import Image  # noqa: E402

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "examples" / "demo" / "items.parquet"
SCL = {0: "#000000", 4: "#3a8f3a", 5: "#d9c27e", 6: "#2f6fd0", 8: "#c8c8c8", 9: "#ffffff"}
CLASSES = {"cmap": ListedColormap(list(SCL.values())), "vmin": -0.5, "vmax": len(SCL) - 0.5}
plt.rcParams |= {"font.size": 8, "axes.titlesize": 8, "image.interpolation": "nearest"}


def save(figure, name, colours=24):
    """A PNG of few colours, a few kB."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    image = Image.open(buffer).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    image.save(HERE / name, optimize=True)
    print(f"{name}: {(HERE / name).stat().st_size} bytes")


class Reader:
    def __init__(self, extension):
        self.con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        self.con.execute(f"LOAD '{extension}'")

    def read(self, band, bbox, resolution, period="P1M", items=DEMO, crs="EPSG:32615", **named):
        """The first step of a band; NaN where nothing is."""
        named = {"bands": [band]} | named
        text = "".join(f", {name} := {value!r}" for name, value in named.items())
        call = f"lazycogs_read('{items}', {list(bbox)}, '{crs}', {resolution}, '{period}'{text})"
        rows = self.con.execute(f'SELECT "{band}"::DOUBLE FROM {call} ORDER BY time, y DESC, x').fetchnumpy()
        values = next(iter(rows.values()))
        width, height = round((bbox[2] - bbox[0]) / resolution), round((bbox[3] - bbox[1]) / resolution)
        return np.ma.filled(values, np.nan).reshape(-1, height, width)[0]


def panels(rows, name, size=1.75):
    """Pictures in rows: (title, values, arguments of imshow)."""
    wide = len(rows[0])
    figure, axes = plt.subplots(len(rows), wide, figsize=(size * wide, (size + 0.3) * len(rows)), squeeze=False)
    for axis, (title, values, how) in zip(axes.flat, [one for row in rows for one in row]):
        axis.imshow(values, **how)
        axis.set_title(title)
        axis.set(xticks=[], yticks=[], facecolor="#e05050")
    figure.tight_layout(w_pad=0.4)
    save(figure, name)


def clouds(reader):
    """June has two dates: one, its classes, and the median without a mask, with one, with one that has grown."""
    box = (734600, 4931000, 736800, 4933200)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 2500}
    one = {"ids": ["S2_15TYK_20240612"]}
    june = {"ids": ["S2_15TYK_20240612", "S2_15TYK_20240627"], "mosaic": "median"}
    mask = {"mask_band": "scl", "mask_values": [0, 1, 3, 8, 9, 10]}
    shown = [
        ("red, 12 June", reader.read("red", box, 20, **one), grey),
        ("scl, 12 June", np.searchsorted(list(SCL), np.nan_to_num(reader.read("scl", box, 20, **one))), CLASSES),
        ("median of June", reader.read("red", box, 20, **june), grey),
        ("the same, masked", reader.read("red", box, 20, **june, **mask), grey),
        ("mask_grow := 60", reader.read("red", box, 20, **june, **mask, mask_grow=60), grey),
    ]
    panels([shown], "clouds.png")


def kernels(reader):
    """A bank of the river enlarged by point kernels; fields and classes on a grid of 70 m."""
    bank, fields = (735300, 4932520, 735380, 4932600), (734340, 4930880, 736440, 4932980)
    one = {"ids": ["S2_15TYK_20240627"]}
    dark, wide = ({"cmap": "gray", "vmin": low, "vmax": top} for low, top in ((-600, 5200), (200, 1200)))
    enlarged = ["nearest", "bilinear", "cubic", "cubic_spline", "lanczos"]
    above = [(f"nir, 1 m: {how}", reader.read("nir", bank, 1, resampling=how, **one), dark) for how in enlarged]
    fine = {"overviews": False} | one
    below = [("red, 10 m", reader.read("red", fields, 10, **fine), wide)]
    below += [
        (f"70 m: {how}", reader.read("red", fields, 70, resampling=how, **fine), wide) for how in ("nearest", "average")
    ]
    for title, size, how in [("scl, 20 m", 20, "nearest"), ("70 m: mode", 70, "mode")]:
        scl = reader.read("scl", fields, size, resampling=how, **fine)
        below.append((title, np.searchsorted(list(SCL), np.nan_to_num(scl)), CLASSES))
    panels([above, below], "kernels.png")


def zones(reader):
    """The shares of pixels that the three rules of `pixels` give to one parcel: grids of a single pixel tell them."""
    left, top, width, height = 734400, 4933100, 7, 6
    parcel = [(734408, 4933047), (734418, 4933091), (734441, 4933078), (734464, 4933083), (734452, 4933052)]
    ring = [*parcel, parcel[0]]
    wkt = "POLYGON ((" + ", ".join(f"{x} {y}" for x, y in ring) + "))"
    figure, axes = plt.subplots(1, 3, figsize=(7.8, 2.6))
    for axis, pixels in zip(axes, ["fractional", "center", "all_touched"]):
        counts = np.zeros((height, width))
        for row, col in np.ndindex(height, width):
            x, y = left + 10 * col, top - 10 * row
            call = (
                f"lazycogs_zonal('{DEMO}', [{{id: 1, geometry: '{wkt}'}}], 'EPSG:32615', 10, 'P1D', bands := ['red'], "
            )
            call += f"zones_crs := 'EPSG:32615', bbox := [{x}, {y - 10}, {x + 10}, {y}], ids := ['S2_15TYK_20240627'], "
            sql = f"SELECT count FROM {call} pixels := '{pixels}', stats := ['count'])"
            # No row: the parcel covers nothing of it.
            counts[row, col] = sum(count for (count,) in reader.con.execute(sql).fetchall())
            if counts[row, col]:
                text = f"{counts[row, col]:.2f}".removeprefix("0") if counts[row, col] < 1 else "1"
                axis.text(x + 5, y - 5, text, ha="center", va="center", fontsize=7)
        extent = (left, left + 10 * width, top - 10 * height, top)
        axis.imshow(counts, cmap="Greens", vmin=0, vmax=1.6, extent=extent)
        axis.plot(*zip(*ring), color="#d03030", linewidth=1)
        axis.set_xticks(np.arange(left, extent[1] + 1, 10), [])
        axis.set_yticks(np.arange(extent[2], top + 1, 10), [])
        axis.grid(color="#bbbbbb", linewidth=0.5)
        axis.tick_params(length=0)
        axis.set_title(f"{pixels}: count {counts.sum():.2f}")
    figure.tight_layout(w_pad=0.4)
    save(figure, "zones.png")


def main(extension):
    reader = Reader(extension)
    clouds(reader)
    kernels(reader)
    zones(reader)


if __name__ == "__main__":
    main(sys.argv[1])
