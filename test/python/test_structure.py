"""The arrows between files and rooms of src/, as docs/architecture.md draws them."""

import re

import pytest
from conftest import ROOT
from structure import arrows, circles

SOURCE = ROOT / "src"
# Conditions and terms of a filter are one recursion over one expression.
RECURSIONS = [{"items/filter/mod.rs", "items/filter/temporal.rs", "items/filter/term.rs"}]


@pytest.fixture(scope="module")
def graph():
    return arrows(SOURCE)


def tree(folder, **files):
    """A crate: `a__b` is the file a/b.rs."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.rs"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return arrows(folder)


# How the file `b` of a crate may name `A`, which is in the file `a`.
NAMES = {
    "use": "use crate::a::A;",
    "super": "use super::a::A;",
    "self": "use super::a::{self, B};",
    "group": "use super::{c::{C, D}, a::{A as Other}};",
    "glob": "use crate::a::*;",
    "inline": "fn f() -> crate::a::A { todo!() }",
    "called": "fn f() { super::a::make() }",
    "alias": "use crate::c;\nfn f() { c::nested::make() }",
    "re-export": "use crate::c::A;",
    "renamed re-export": "use crate::c::Renamed;",
    "glob re-export": "use crate::c::all::A;",
    "inline module": "mod inner { use super::super::a::A; }",
    "in a function": "fn f() { use crate::a::A; }",
    "macro": "fn f() { crate::made!() }",
    "behind a string": 'const S: &str = r#"*/ " //"#; /* /* */ " */ use crate::a::A;',
    "behind a lifetime": "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }\nuse crate::a::A;",
    "behind tests": "#[cfg(test)]\nmod tests { fn f() { if true {} } }\nuse crate::a::A;",
}
C = """
pub use crate::a::{A, A as Renamed};
pub mod all { pub use crate::a::*; }
pub use crate::a as nested;
pub struct C; pub struct D;
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_circle_is_found_however_it_is_written(tmp_path, name):
    made = "#[macro_export]\nmacro_rules! made { () => {} }\n"
    graph = tree(
        tmp_path,
        lib="mod a;\nmod b;\nmod c;\n",
        a=f"use crate::b;\npub struct A; pub struct B;\npub fn make() {{ b::f() }}\n{made}",
        b=NAMES[name],
        c=C,
    )
    assert circles(graph) == [("a.rs", "b.rs")], graph


@pytest.mark.parametrize(
    "text",
    [
        "#[cfg(test)]\nmod tests { use crate::a::A; }",
        "#[cfg(test)]\nuse crate::a::A;",
        "// use crate::a::A;\n/* crate::a::A */",
        'const S: &str = "crate::a::A";',
        "pub(in crate::a) fn f() {}",
        "use std::a::A;\nfn f() { other::a::A }",
        "use crate::c::C;",
    ],
)
def test_what_names_nothing_is_no_circle(tmp_path, text):
    lib = "mod a;\nmod b;\nmod c;\n"
    assert circles(tree(tmp_path, lib=lib, a="use crate::b;\npub struct A;", b=text, c=C)) == []


def test_a_folder_that_uses_what_it_passes_on_is_in_the_circle(tmp_path):
    files = {"lib": "mod f;", "f__a": "use super::Own;\npub struct A;"}
    passed_on = "mod a;\npub use a::A;\npub struct Own;\n"
    assert circles(tree(tmp_path / "1", f__mod=passed_on, **files)) == []
    used = passed_on + "struct Held(A);"
    assert circles(tree(tmp_path / "2", f__mod=used, **files)) == [("f/a.rs", "f/mod.rs")]


def test_no_files_name_each_other_in_a_circle(graph):
    assert len(graph) > 100 and sum(map(len, graph.values())) > 500, "the sources are read"
    found = [circle for circle in circles(graph) if set(circle) not in RECURSIONS]
    assert not found, {(a, b): graph[a][b] for circle in found for a in circle for b in circle if b in graph[a]}


def rooms_of_the_document():
    """{room: rooms that it may use}, from the first lines with arrows."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    lines = re.findall(r"^([\w/.]+) +-> ([\w/., ]+)$", text, re.M)
    return {room: used.split(", ") for room, used in lines}


def test_arrows_between_rooms_are_those_of_the_document(graph):
    allowed = rooms_of_the_document()
    order = list(allowed)
    for room, used in allowed.items():
        up = [other for other in used if other in allowed and order.index(other) <= order.index(room)]
        assert not up, f"{room}: arrows go down"

    def room_of(file):
        folders = [room for room in allowed if file.startswith(room + "/")]
        return max(folders, key=len, default=re.split(r"[/.]", file)[0])

    found = {}
    for file, named in graph.items():
        for other in {room_of(other) for other in named} - {room_of(file)}:
            found.setdefault(room_of(file), set()).add(other)
    assert found == {room: set(used) for room, used in allowed.items()}
