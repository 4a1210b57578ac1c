"""Kernels and masks, said a second time: in numpy and pyproj, by the rules of docs/resampling.md and docs/clouds.md.

Every kernel is the same here: each output pixel has a window of source pixels, with weights along columns and rows.
Nothing is interpolated, cut into tiles or read in parts. Where two correct programs may differ, `doubt` says so.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import rasterio
from pyproj import Transformer

RADIUS = {"bilinear": 1, "cubic": 2, "cubic_spline": 2, "lanczos": 3}
AREA = ["average", "rms", "mode", "min", "max", "med", "q1", "q3", "sum"]
KERNELS = ["nearest", *RADIUS, *AREA]
# Source pixels, and fractions of a value's last place.
CLOSE = 1e-6
# Between grids that are parallel an edge that falls on an edge does so in both programs.
ON = 1e-11


@dataclass(frozen=True)
class Image:
    """What a file holds: values and what is valid of them, (rows, columns); north is up."""

    values: np.ndarray
    valid: np.ndarray
    transform: rasterio.Affine
    crs: str

    def places(self, x, y, crs):
        """Columns and rows, as fractions, of points in `crs`."""
        if crs != self.crs:
            x, y = between(crs, self.crs).transform(x, y)
        return (x - self.transform.c) / self.transform.a, (y - self.transform.f) / self.transform.e

    def points(self, col, row):
        """x and y of columns and rows."""
        return self.transform.c + col * self.transform.a, self.transform.f + row * self.transform.e


@dataclass(frozen=True)
class Layer:
    """One item on the grid, in the type of the band."""

    values: np.ndarray
    valid: np.ndarray
    doubt: np.ndarray


@dataclass(frozen=True)
class Window:
    """The source pixels of each of n output pixels: (n, rows, columns) all, but for the weights along each axis."""

    values: np.ndarray
    valid: np.ndarray
    down: np.ndarray
    across: np.ndarray

    @property
    def weights(self):
        return self.down[:, :, None] * self.across[:, None, :] * self.valid


@lru_cache
def between(crs, other):
    return Transformer.from_crs(crs, other, always_xy=True)


# -- masks -----------------------------------------------------------------------------------------------------------


def hides(values, rules):
    """Which numbers one of the rules names."""
    hidden = np.zeros(values.shape, bool)
    if "mask_values" in rules:
        hidden |= np.isin(values, rules["mask_values"])
    if "mask_keep" in rules:
        hidden |= ~np.isin(values, rules["mask_keep"])
    for bit in rules.get("mask_bits", []):
        hidden |= values >> bit & 1 == 1
    hidden |= values > rules.get("mask_above", np.inf)
    return hidden | (values < rules.get("mask_below", -np.inf))


def grown(hidden, pixel, distance):
    """Hidden pixels, and all whose centres are no farther than `distance` from the centre of one."""
    reach = int(distance / pixel) + 1
    near = np.zeros(np.add(hidden.shape, 2 * reach), bool)
    height, width = hidden.shape
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            if np.hypot(down, across) * pixel <= distance * (1 + 1e-12):
                near[reach + down : reach + down + height, reach + across : reach + across + width] |= hidden
    return near[reach : reach + height, reach : reach + width]


def masked(band, mask, rules):
    """The band without the pixels that the mask's pixel under their centre hides; None where one is in doubt."""
    hidden = hides(mask.values, rules) | ~mask.valid
    hidden = grown(hidden, mask.transform.a, rules.get("mask_grow", 0))
    col, row = np.meshgrid(*(np.arange(n) + 0.5 for n in band.values.shape[::-1]))
    col, row = mask.places(*band.points(col, row), band.crs)
    if (close(col) | close(row)).any():
        return None
    height, width = hidden.shape
    inside = (col > 0) & (col < width) & (row > 0) & (row < height)
    at = np.where(inside, row, 0).astype(int), np.where(inside, col, 0).astype(int)
    return replace(band, valid=band.valid & inside & ~hidden[at])


# -- windows ---------------------------------------------------------------------------------------------------------


def close(place, parallel=False):
    """Whether an edge between two pixels is so near that rounding may choose its side."""
    away = np.abs(place - np.rint(place))
    return (away < CLOSE) & ~(parallel & (away < ON))


def window(image, rows, cols, down, across):
    """Gathers (n, rows) and (n, columns) with their weights; pixels outside are missing."""
    height, width = image.values.shape
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((cols >= 0) & (cols < width))[:, None, :]
    at = np.clip(rows, 0, height - 1)[:, :, None], np.clip(cols, 0, width - 1)[:, None, :]
    return Window(image.values[at].astype("float64"), image.valid[at] & inside, down, across)


def curve(kernel, t):
    """The weight of a sample at a distance of t, 0 from the radius on."""
    t = np.abs(t)
    if kernel == "bilinear":
        weight = 1 - t
    elif kernel == "cubic":
        weight = np.where(t < 1, (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2)
    elif kernel == "cubic_spline":
        weight = np.where(t < 1, 2 / 3 - t * t + t**3 / 2, (2 - t) ** 3 / 6)
    else:
        weight = np.sinc(t) * np.sinc(t / 3)
    return np.where(t < RADIUS[kernel], weight, 0)


def samples(kernel, place, scale):
    """The samples around a place along one axis, and their weights: (n, samples) each."""
    place = place - 0.5
    first = np.floor(place)
    reach = int(np.ceil(RADIUS[kernel] / scale))
    steps = np.arange(1 - reach, reach + 1)
    return (first[:, None] + steps).astype(int), curve(kernel, (steps - (place - first)[:, None]) * scale)


def scales(image, grid):
    """Output pixels for each source pixel, along columns and rows, at the image's centre."""
    height, width = image.values.shape
    cols = width / 2 + np.array([-0.5, 0.5, 0, 0])
    rows = height / 2 + np.array([0, 0, -0.5, 0.5])
    x, y = image.points(cols, rows)
    if image.crs != grid.crs:
        x, y = between(image.crs, grid.crs).transform(x, y)
    return [float(np.hypot(x[b] - x[a], y[b] - y[a])) / grid.resolution for a, b in ((0, 1), (2, 3))]


# -- kernels ---------------------------------------------------------------------------------------------------------


def weighted(pixels):
    """The weighted mean of what is valid, how little the weights leave of it, and whether anything is left."""
    weights = pixels.weights
    total = weights.sum((1, 2))
    found = (weights * np.where(pixels.valid, pixels.values, 0)).sum((1, 2))
    left = total > CLOSE
    return found / np.where(left, total, 1), left, total / np.maximum(np.abs(weights).sum((1, 2)), 1e-300)


def spread(pixels):
    """The differences around: of the valid pixels that weigh something."""
    some = pixels.weights != 0
    high = np.where(some, pixels.values, -np.inf).max((1, 2))
    return np.where(some.any((1, 2)), high - np.where(some, pixels.values, np.inf).min((1, 2)), 0)


def point(kernel, image, grid):
    """The value at the centre: valid where the pixel under it is."""
    height, width = image.values.shape
    parallel = image.crs == grid.crs
    col, row = (np.ravel(place) for place in image.places(*grid.centres(), grid.crs))
    doubt = close(col, parallel) | close(row, parallel)
    under = [np.floor(place + 1e-10).astype(int)[:, None] for place in (row, col)]
    one = np.ones((len(col), 1))
    pixel = window(image, *under, one, one)
    centre, value = pixel.valid[:, 0, 0], pixel.values[:, 0, 0]
    if kernel == "nearest" or 1 in image.values.shape:
        return value, centre, doubt, np.zeros(len(col))
    sx, sy = scales(image, grid)
    short = sx > 0.5 and sy > 0.5
    if not parallel and (abs(sx - 0.5) < CLOSE or abs(sy - 0.5) < CLOSE):
        doubt |= True
    sx, sy = (1, 1) if short else (min(sx, 1), min(sy, 1))
    (cols, across), (rows, down) = samples(kernel, col, sx), samples(kernel, row, sy)
    pixels = window(image, rows, cols, down, across)
    value, left, share = weighted(pixels)
    if kernel == "cubic" and short:
        (cols, across), (rows, down) = samples("bilinear", col, 1), samples("bilinear", row, 1)
        whole = pixels.valid.all((1, 2))
        value = np.where(whole, value, weighted(window(image, rows, cols, down, across))[0])
        share, left = np.where(whole, share, 1), True
        doubt |= close(col - 0.5, parallel) | close(row - 0.5, parallel)
    around = spread(pixels)
    # Where weights cancel each other out, so do digits.
    return value, centre & left, doubt | centre & (share < 0.05), around


def area(kernel, image, grid):
    """What lies under the box of two opposite corners."""
    parallel = image.crs == grid.crs
    xs = grid.bbox[0] + np.arange(grid.width + 1) * grid.resolution
    ys = grid.bbox[3] - np.arange(grid.height + 1) * grid.resolution
    places = image.places(*np.meshgrid(xs, ys), grid.crs)
    axes, doubt = [], np.zeros(grid.width * grid.height, bool)
    for place in places:
        ends = np.stack([place[:-1, :-1].ravel(), place[1:, 1:].ravel()])
        doubt |= close(ends, parallel).any(0)
        low, high = ends.min(0), ends.max(0)
        first, end = np.floor(low + 1e-10).astype(int), np.ceil(high - 1e-10).astype(int)
        pixels = first[:, None] + np.arange((end - first).max())
        share = np.minimum(high[:, None], pixels + 1) - np.maximum(low[:, None], pixels)
        axes.append((pixels, np.where((pixels < end[:, None]) & (share > ON), share, 0)))
    (cols, across), (rows, down) = axes
    pixels = window(image, rows, cols, down, across)
    weights = pixels.weights
    touched = weights > 0
    some = touched.any((1, 2))
    if kernel == "average":
        value = weighted(pixels)[0]
    elif kernel == "rms":
        value = np.sqrt(weighted(replace(pixels, values=pixels.values**2))[0])
    elif kernel == "sum":
        value = (weights * np.where(touched, pixels.values, 0)).sum((1, 2))
    elif kernel == "mode":
        value, unsure = mode(pixels.values, weights)
        doubt |= unsure
    else:
        value = ranked(kernel, pixels.values, touched)
    around = spread(pixels) if kernel in ("average", "rms") else np.where(kernel == "sum", np.abs(value), 0)
    return value, some, doubt, around


def mode(values, weights):
    """The value with the largest total weight, of equal ones the smallest."""
    kinds = np.unique(values[weights > 0])
    if len(kinds) == 0:
        return np.zeros(len(values)), np.zeros(len(values), bool)
    totals = np.stack([(weights * (values == kind)).sum((1, 2)) for kind in kinds])
    behind = totals.max(0) - totals
    unsure = (behind > 1e-10) & (behind < CLOSE)
    return kinds[(behind < 1e-7).argmax(0)], unsure.any(0)


def ranked(kernel, values, touched):
    """An order statistic: each touched pixel counts once, the lower of two."""
    count = touched.sum((1, 2))
    share = {"min": 0, "q1": 0.25, "med": 0.5, "q3": 0.75, "max": 1}[kernel]
    order = np.sort(np.where(touched, values, np.inf).reshape(len(values), -1))
    at = np.maximum(np.ceil(share * count - 1), 0).astype(int)
    return np.where(count > 0, np.take_along_axis(order, at[:, None], 1)[:, 0], 0)


def resampled(kernel, image, grid, dtype):
    """One item on the grid: integers are rounded, a half up, and held within their type."""
    value, valid, doubt, around = (area if kernel in AREA else point)(kernel, image, grid)
    parallel = image.crs == grid.crs
    if np.dtype(dtype).kind != "f":
        # What coordinates may be off by counts for as much as the values around differ.
        within = CLOSE * (1 if parallel else np.maximum(1, around))
        half = np.abs(value - np.floor(value) - 0.5)
        doubt = doubt | valid & (half < within) & ~((half == 0) & is_exact(kernel, image, grid))
        value = np.clip(np.floor(value + 0.5), np.iinfo(dtype).min, np.iinfo(dtype).max)
    else:
        doubt = doubt | valid & (np.abs(value) < around / (1000 if parallel else 20))
    value = np.where(valid, value, 0).astype(dtype)
    return Layer(*(part.reshape(grid.shape) for part in (value, valid, doubt)))


def is_exact(kernel, image, grid):
    """Whether weights are sums of powers of two, so that a half is one in any order of arithmetic."""
    corner = image.places(grid.bbox[0], grid.bbox[3], grid.crs)
    pixel = grid.resolution / image.transform.a
    edges = all(place * 2 == round(place * 2) for place in corner)
    shares = kernel in ("bilinear", "average", "sum") or kernel == "cubic" and pixel <= 1
    return image.crs == grid.crs and edges and pixel in (0.5, 1, 2, 4) and shares
