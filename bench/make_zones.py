"""The zones that are counted: parquet files beside the archive, the same on every machine.

parcels    1,000 four-cornered fields of about a hectare, apart from each other
polygons   20 outlines with 60 corners, each as large as a third of a scene
warm       four fields on the scenes that nothing is measured on
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

HECTARE = 100.0  # metres along a side


def fields(random, box, across, down, count):
    """Turned and bent squares of a hectare, one in each cell of `box`."""
    west, south, east, north = box
    width, height = (east - west) / across, (north - south) / down
    found = []
    for number in range(count):
        row, col = divmod(number, across)
        # Half a diagonal, and what corners move.
        x = west + col * width + random.uniform(90, width - 90)
        y = north - row * height - random.uniform(90, height - 90)
        turn, corners = random.uniform(0, np.pi), np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * HECTARE / 2
        corners = corners @ np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
        found.append(shapely.Polygon(corners + (x, y) + random.uniform(-10, 10, (4, 2))))
    return found


def outlines(random, box, side, count):
    """Outlines as large as a third of a square of `side`, wherever they fit into `box`."""
    west, south, east, north = box
    angles, radius = np.arange(60) * np.pi / 30, side / np.sqrt(3 * np.pi)
    found = []
    for _ in range(count):
        distance = radius * (1 + random.uniform(-0.2, 0.2, 60))
        around = np.stack([np.cos(angles), np.sin(angles)], 1) * distance[:, None]
        room = 1.2 * radius
        middle = random.uniform(west + room, east - room), random.uniform(south + room, north - room)
        found.append(shapely.Polygon(around + middle))
    return found


def write(folder, name, zones):
    table = pa.table({"id": np.arange(len(zones)), "geometry": shapely.to_wkb(zones)})
    pq.write_table(table, folder / f"zones_{name}.parquet")


def make(folder, box, side, warm):
    """Writes all of them: for scenes of `side` metres in `box`, and for the box `warm`."""
    random = np.random.default_rng(1)
    write(folder, "parcels", fields(random, box, 41, 25, 1000))
    write(folder, "polygons", outlines(random, box, side, 20))
    write(folder, "warm", fields(random, warm, 2, 2, 4))
