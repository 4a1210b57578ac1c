"""Which file of a Rust crate names which, as far as its text tells.

An arrow goes from a file to the file that defines what it names: through `use` with its groups, renames and globs,
through paths in the code, and through re-exports, which are arrows of nobody unless the file that re-exports a name
uses it, too. Modules for tests and visibilities are not read. Methods have no path: an `impl` far from its type is not
seen.
"""

import re

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*)
    |(?P<text>b?r(?P<hashes>\#*)".*?"(?P=hashes)|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'])')
    |(?P<lifetime>'[A-Za-z_]\w*)
    |(?P<token>(?:r\#)?[A-Za-z_]\w*|::|\d[\w.]*|.)""",
    re.S | re.X,
)
NAME = re.compile(r"[A-Za-z_]\w*$")
KINDS = {"fn", "struct", "enum", "union", "trait", "type", "const", "static"}


def tokens(source):
    found, at = [], 0
    while at < len(source):
        match = TOKEN.match(source, at)
        at = match.end()
        if match["skip"] == "/*":
            depth = 1
            while depth and at < len(source):
                edge = re.compile(r"/\*|\*/").search(source, at)
                depth, at = (depth + (1 if edge[0] == "/*" else -1), edge.end()) if edge else (0, len(source))
        elif match["token"]:
            found.append(match["token"].removeprefix("r#"))
        elif match["text"]:
            found.append('""')
    return found


class Module:
    def __init__(self, file, parent):
        self.file, self.parent = file, parent
        self.children, self.defined = {}, {}
        self.bound = {}  # name -> path, of `use`
        self.globs = []  # paths, and whether they are re-exports
        self.paths = []  # what its code names
        self.exported = {}  # of `pub use`: name -> path
        self.called = set()  # single names that stand for an item

    def root(self):
        return self.parent.root() if self.parent else self


class Reader:
    """Reads the modules of a crate."""

    def __init__(self, source):
        self.source = source

    def crate(self):
        return self.file(self.source / "lib.rs", None, self.source)

    def file(self, path, parent, folder):
        module = Module(path.relative_to(self.source).as_posix(), parent)
        self.body(tokens(path.read_text()), 0, module, folder)
        return module

    def body(self, found, at, module, folder):
        """Reads until the module ends; where that is."""
        depth = 0
        while at < len(found):
            token = found[at]
            if token == "#" and found[at + 1 : at + 2] == ["["]:
                end = closing(found, at + 1)
                attribute = found[at + 2 : end]
                at = end + 1
                if attribute[:4] == ["cfg", "(", "test", ")"]:
                    at = item_end(found, at)
                elif attribute[:1] == ["macro_export"]:
                    module.root().defined[name_of_macro(found, at)] = module.file
                continue
            if token == "pub" and found[at + 1] == "(":
                at = closing(found, at + 1) + 1
                if found[at] == "use":
                    at = self.use(found, at, module, True)
                continue
            if token == "pub" and found[at + 1] == "use":
                at = self.use(found, at + 1, module, True)
                continue
            if token == "use" and NAME.match(found[at + 1]):
                at = self.use(found, at, module, False)
                continue
            if token == "mod" and found[at + 2 : at + 3] in ([";"], ["{"]):
                name = found[at + 1]
                if found[at + 2] == ";":
                    path = folder / f"{name}.rs"
                    path = path if path.is_file() else folder / name / "mod.rs"
                    module.children[name] = self.file(path, module, folder / name)
                    at += 3
                else:
                    child = module.children[name] = Module(module.file, module)
                    at = self.body(found, at + 3, child, folder / name)
                continue
            if token == "{":
                depth += 1
            elif token == "}":
                if depth == 0:
                    return at + 1
                depth -= 1
            elif depth == 0 and token in KINDS and NAME.match(found[at + 1]) and found[at + 1] not in KINDS:
                module.defined[found[at + 1]] = module.file
                at += 2
                continue
            elif token == "macro_rules" and found[at + 1] == "!":
                module.defined.setdefault(found[at + 2], module.file)
            elif NAME.match(token) and (at == 0 or found[at - 1] not in ("::", ".")):
                at = self.path(found, at, module)
                continue
            at += 1
        return at

    def path(self, found, at, module):
        start, path = at, [found[at]]
        while found[at + 1 : at + 2] == ["::"] and NAME.match(found[at + 2]):
            at += 2
            path.append(found[at])
        if len(path) > 1:
            module.paths.append(path)
        elif path[0][0].isupper() or (found[at + 1 : at + 2] == ["("] and found[start - 1] != "fn"):
            module.called.add(path[0])
        return at + 1

    def use(self, found, at, module, public):
        end = found.index(";", at)
        for path, name in tree(found[at + 1 : end]):
            if name == "*":
                module.globs.append((path, public))
            else:
                module.bound[name] = path
                if public:
                    module.exported[name] = path
        return end + 1


def closing(found, at):
    """Where the bracket at a position closes."""
    depth = 0
    while True:
        depth += (found[at] in "([{") - (found[at] in ")]}")
        if depth == 0:
            return at
        at += 1


def item_end(found, at):
    """Behind an item: its semicolon, or its body."""
    while found[at] != ";":
        if found[at] == "{":
            return closing(found, at) + 1
        at = closing(found, at) + 1 if found[at] in "([" else at + 1
    return at + 1


def name_of_macro(found, at):
    return found[found.index("macro_rules", at) + 2]


def tree(found, prefix=()):
    """The paths of a `use`, each with the name that it binds."""
    path, at = list(prefix), 0
    while at < len(found):
        token = found[at]
        if token == "{":
            end, start, depth = closing(found, at), at + 1, 0
            for i in range(at + 1, end + 1):
                depth += (found[i] == "{") - (found[i] == "}" and i != end)
                if (found[i] == "," and depth == 0) or i == end:
                    yield from tree(found[start:i], path)
                    start = i + 1
            return
        if token == "as":
            yield path, found[at + 1]
            return
        if token != "::":
            path.append(token)
        at += 1
    if found:
        if path[-1] == "*":
            yield path[:-1], "*"
        elif path[-1] == "self":
            yield path[:-1], path[-2]
        else:
            yield path, path[-1]


def resolve(module, path, seen=frozenset()):
    """The module that a path leads to, or the file of the item; None outside the crate."""
    first, *rest = path
    start = {"crate": module.root(), "self": module, "super": module.parent}.get(first)
    if start is None:
        start = step(module, first, seen)
    for name in rest:
        if not isinstance(start, Module):
            return start
        start = start.parent if name == "super" else step(start, name, seen) or start.file
    return start


def step(module, name, seen):
    """What a name means in a module."""
    if name in module.children:
        return module.children[name]
    if name in module.defined:
        return module.defined[name]
    if (id(module), name) in seen:
        return None
    seen = seen | {(id(module), name)}
    if name in module.bound and module.bound[name] != [name]:
        return resolve(module, module.bound[name], seen)
    for path, _ in module.globs:
        target = resolve(module, path, seen)
        found = step(target, name, seen) if isinstance(target, Module) and target is not module else None
        if found:
            return found
    return None


def arrows(source):
    """{file: {file that it names: an example of what}} of the crate in the folder `source`, by paths from there."""
    found = {}

    def visit(module):
        named = [path for name, path in module.bound.items() if name not in module.exported or name in module.called]
        for path in named + module.paths + [path for path, public in module.globs if not public]:
            target = resolve(module, path)
            file = target.file if isinstance(target, Module) else target
            if file and file != module.file:
                found.setdefault(module.file, {}).setdefault(file, "::".join(path))
        found.setdefault(module.file, {})
        for child in module.children.values():
            visit(child)

    visit(Reader(source).crate())
    return found


def circles(graph):
    """Groups of nodes that lead to each other, each sorted."""
    reached = {}
    for start in graph:
        todo, seen = [start], set()
        while todo:
            for target in graph.get(todo.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        reached[start] = seen
    groups = {
        tuple(sorted(n for n in reached[node] if node in reached.get(n, ()))) for node in graph if node in reached[node]
    }
    return sorted(groups)
