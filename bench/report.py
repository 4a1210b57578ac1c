"""The results as a page of tables."""

import statistics

SOURCES = ("file", "http")
TITLE = "# Results of `make bench`"
MACHINE = """\
{date}, commit {versions[this]}, archive `{size}`; {machine[cores]} x {machine[cpu]}, {machine[memory_gib]} GiB,
{machine[system]}. {used}. Other processes took at most {busiest} % of the processors during a measurement; the whole
took {minutes} minutes."""
METHOD = """\
Each number is the median of {repeat} runs in processes of their own, in which the programs take turns; what takes
longer than 4 s ran once, what takes longer than 30 s from one source only. Not timed: imports, loading the extension,
one call on another, small archive. Timed: from the path of the index to the array (for SQL: to the rows of the
result). Files are in the operating system's cache. `http` is a server on the same machine that waits {delay_ms} ms
before each answer: nothing here says how a real object store behaves."""
LIMIT = """\
`limit` is no program: it is the source tiles that this extension reads, fetched, decoded by the same decoder and copied
once into an array of the result's size, with nothing else done (bench/README.md). Who decodes those tiles in this way
cannot get below it."""
DIFFERENT = """\
From the reference, in the first source; in brackets the share of its valid pixels. GDAL and odc-stac approximate the
transformation to an eighth of a pixel, which shows wherever there is one."""
WHAT = {
    "explain": "`lazycogs_explain`, all rows",
    "info": "`lazycogs_info`",
    "bind": "`EXPLAIN` of a `lazycogs_read`",
    "open": "lazycogs (Python): `open`",
}


def median(rows, field):
    found = [row[field] for row in rows if row.get(field) is not None]
    return statistics.median(found) if found else None


def show(value, form="{:.2f}"):
    return "" if value is None else form.format(value)


def table(head, rows):
    """Markdown; the columns after the first two are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---", "---"] + ["--:"] * (len(head) - 2)) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


class Page:
    def __init__(self, result):
        self.result, self.peers = result, list(result["peers"])

    def rows_of(self, workload, source, peer):
        wanted = workload, source, peer
        return [r for r in self.result["rows"] if (r["workload"], r["source"], r["peer"]) == wanted and "wall" in r]

    def cells(self):
        """(workload, source, {peer: rows}) of all that was measured."""
        for workload in self.result["workloads"]:
            for source in SOURCES:
                found = {peer: self.rows_of(workload, source, peer) for peer in self.peers}
                if any(found.values()):
                    yield workload, source, found

    def wall(self):
        others = [peer for peer in self.peers if not peer.startswith("this") and peer != "limit"]
        lines, last = [], None
        for workload, source, found in self.cells():
            walls = {peer: median(rows, "wall") for peer, rows in found.items()}
            anchors = {peer: walls[peer] for peer in others if walls[peer]}
            best = min(anchors, key=anchors.get, default=None)
            ratios = [f"{walls['this'] / anchors[best]:.2f} ({best})" if best and walls.get("this") else ""]
            if "limit" in walls:
                ratios.append(f"{walls['this'] / walls['limit']:.2f}" if walls["limit"] and walls.get("this") else "")
            title = f"{workload}: {self.result['workloads'][workload]}" if workload != last else ""
            cells = [show(walls[peer]) + self.spread(found[peer]) for peer in self.peers]
            lines.append([title, source, *cells, *ratios])
            last = workload
        titles = [self.result["peers"][peer] for peer in self.peers]
        heads = ["this : best of the others"] + ["this : limit"] * ("limit" in self.peers)
        return table(["work", "source", *titles, *heads], lines)

    def spread(self, rows):
        """Lowest and highest where a measurement was repeated; a mark where it was to be, and was not."""
        walls = [row["wall"] for row in rows]
        if len(walls) > 1:
            return f" ({min(walls):.2f} to {max(walls):.2f})"
        return " (once)" if walls and self.result["repeat"] > 1 else ""

    def numbers(self, field, form, scale=1.0, only=None):
        lines = []
        for workload, source, found in self.cells():
            if only in (None, source):
                values = [median(rows, field) for rows in found.values()]
                lines.append([workload, source, *[show(v if v is None else v * scale, form) for v in values]])
        return table(["work", "source", *[self.result["peers"][peer] for peer in self.peers]], lines)

    def values(self):
        lines, peers = [], [peer for peer in self.peers if peer != "limit"]
        for workload, found in self.result["values"].items():
            if found["reference"]:
                cells = [difference(found, peer) for peer in peers]
                shape = " x ".join(map(str, found["shape"]))
                lines.append([workload, shape, *cells])
        return table(
            ["work", "step x band x row x column (zone x statistic)", *[self.result["peers"][peer] for peer in peers]],
            lines,
        )

    def planning(self):
        lines, rows = [], self.result["planning"]
        for what in WHAT:
            counts = sorted({row["items"] for row in rows if row["what"] == what})
            walls = [median([r for r in rows if (r["what"], r["items"]) == (what, n)], "wall") for n in counts]
            found = next((r["found"] for r in reversed(rows) if r["what"] == what and r.get("found")), [])
            if any(walls):
                lines.append([WHAT[what], " and ".join(map(str, found)), *[show(w, "{:.3f}") for w in walls]])
        heads = [f"{n:,} items, s" for n in sorted({row["items"] for row in rows})]
        return table(["365 steps of one day, one band", "found in the larger", *heads], lines)

    def memory(self):
        rows = self.result["memory"]
        whats = list(dict.fromkeys(row["what"] for row in rows))
        lines = []
        for function, title in [
            ("read", "`lazycogs_read`, counts in SQL"),
            ("chunks", "`lazycogs_read_chunks`, sizes in SQL"),
        ]:
            of = {row["what"]: row for row in rows if row["function"] == function}
            lines.append([title, "MB above the baseline", *[show(of[what].get("memory"), "{:.0f}") for what in whats]])
        pixels = [row.get("found", [None])[0] for row in rows if row["function"] == "read"]
        lines.append(["", "million pixels per band", *[show(p / 1e6 if p else None, "{:.1f}") for p in pixels]])
        return table(["work", "", *whats], lines)


def difference(found, peer):
    if peer == found["reference"]:
        return "reference"
    differ = found["differ"].get(peer)
    if not isinstance(differ, int):
        return str(differ or "")
    # Its array is smaller, but where zones are counted.
    if peer == "this_sql" and not found.get("zones"):
        return f"{differ} means"
    return str(differ) if differ == 0 else f"{differ} ({100 * differ / max(1, found['valid']):.4f} %)"


def problems(result):
    """What must not be: values that differ from the reference's, or from run to run."""
    found = []
    for workload, values in result["values"].items():
        found += [f"{workload}: {peer} does not give the same array each time" for peer in values["changing"]]
        if values["reference"] in ("lazycogs", "exact"):
            for peer in ("this", "this_sql"):
                differ = values["differ"].get(peer, 0)
                # A centre within a hair of an edge may fall either way, see the note on W6p.
                if not isinstance(differ, int) or differ > values["allowed"] * values["pixels"]:
                    of = f"{values['reference']} in {differ} of {values['pixels']} values"
                    found.append(f"{workload}: {peer} differs from {of}")
    return found


def verdict(result):
    """The exit code of the run; says what is wrong."""
    found = problems(result)
    for line in found:
        print(f"bench: {line}")
    return int(bool(found))


def markdown(result):
    page, versions = Page(result), result["versions"]
    busiest = max((row.get("others") or 0 for row in result["rows"]), default=0)
    used = ", ".join(f"{name} {version}" for name, version in versions.items() if version and name != "this")
    about = {
        "used": used[0].upper() + used[1:],
        "busiest": f"{100 * busiest:.0f}",
        "minutes": round(result["seconds"] / 60),
    }
    parts = [text.format(**result, **about) for text in (TITLE, MACHINE, METHOD)]
    parts += [f"Left out: {result['peers'][peer]}: {why}" for peer, why in result["skipped"].items()]
    parts += [f"**Wrong**: {line}" for line in problems(result)]
    if result["rows"]:
        parts += ["## Wall time in seconds", *[LIMIT] * ("limit" in page.peers), page.wall()]
        parts += ["## CPU time in seconds", "User and system, all threads.", page.numbers("cpu", "{:.2f}")]
        parts += [
            "## Peak memory in MB",
            "Above what the process had before the clock; the array that is asked for is in it.",
            page.numbers("memory", "{:.0f}"),
        ]
    if any("requests" in row for row in result["rows"]):
        parts += ["## Requests", "As the server counted them.", page.numbers("requests", "{:.0f}", only="http")]
        parts += ["## Megabytes sent", page.numbers("bytes", "{:.1f}", 1e-6, "http")]
    if any(values["reference"] for values in result["values"].values()):
        parts += [
            "## Pixels that differ",
            DIFFERENT,
            page.values(),
        ]
    if result["planning"]:
        parts += ["## Planning", page.planning()]
    if result["memory"]:
        parts += ["## Memory of ten times the work", page.memory()]
    parts += [
        "## To reproduce",
        "`make bench`, on a machine that does nothing else; the numbers behind the medians are in results.json.",
    ]
    return "\n\n".join(parts) + "\n"
