#!/bin/sh
# Finds what the build needs, installs what is missing, and writes configure/build.env for the recipes of the Makefile.
# What PyPI has goes into a cache outside the clone and needs no root; a compiler and Python's venv come from the system.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
tools=${XDG_CACHE_HOME:-$HOME/.cache}/lazycogs/tools
prepend=

say() { echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Installs Debian packages where that is possible without asking anybody for a password.
apt_install() {
    have apt-get || return 1
    if [ "$(id -u)" = 0 ]; then sudo=; elif have sudo && sudo -n true 2>/dev/null; then sudo="sudo -n"; else return 1; fi
    say "installing $* with apt-get"
    $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

# DuckDB 2.0 has wheels for Python 3.11 and later.
python_is_new() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for python in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
        if have "$python" && python_is_new "$python"; then
            python=$(command -v "$python")
            return
        fi
    done
    apt_install python3 python3-venv && python_is_new python3 && python=$(command -v python3) && return
    die "Python 3.11 or later is missing: install it (apt-get install python3.11 python3.11-venv, brew install python) or set PYTHON"
}

need_venv() {
    "$python" -c 'import venv, ensurepip' 2>/dev/null && return
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    apt_install "python$version-venv" || die "Python's venv module is missing: run apt-get install python$version-venv"
}

find_rust() {
    have cargo || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    have cargo || die "Rust is missing: install it from https://rustup.rs"
    prepend=$(dirname "$(command -v cargo)")
    need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    found=$(cargo --version | cut -d' ' -f2)
    "$python" -c 'import sys; sys.exit([*map(int, sys.argv[1].split("-")[0].split("."))] < [*map(int, sys.argv[2].split("."))])' \
        "$found" "$need" || die "Rust $need or later is needed, $found is installed: run rustup update"
}

# Compiles and links, because a Mac without its command line tools has a c++ that only offers to install them.
compiles() {
    have c++ && echo 'int main() { return __cplusplus < 201703L; }' | c++ -std=c++17 -x c++ -o "$scratch/probe" - 2>/dev/null
}

find_compiler() {
    compiles && return
    if [ "$(uname)" = Darwin ]; then
        die "a C++ compiler is missing: run xcode-select --install, wait until it is done, and try again"
    fi
    apt_install g++ make && compiles && return
    die "a C++17 compiler is missing and may not be installed from here: run apt-get install g++ make (as root)"
}

pip_install() {
    [ -x "$tools/venv/bin/python" ] || "$python" -m venv "$tools/venv"
    say "installing $* from PyPI into $tools/venv"
    "$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" ||
        die "$* could not be installed from PyPI (see above)"
}

find_cmake() {
    have cmake && return
    [ -x "$tools/venv/bin/cmake" ] || pip_install cmake
    mkdir -p "$tools/bin"
    ln -sf "$tools/venv/bin/cmake" "$tools/bin/cmake"
    prepend=$tools/bin:$prepend
}

find_sqlite() {
    have sqlite3 && return
    "$python" -c 'import sqlite3' 2>/dev/null || die "the sqlite3 program and Python's sqlite3 module are missing: run apt-get install sqlite3"
    if [ ! -x "$tools/bin/sqlite3" ]; then
        say "no sqlite3 program: Python's own stands in for it while PROJ is built"
        mkdir -p "$tools/bin"
        cp "$root/scripts/sqlite3_standin.py" "$tools/bin/sqlite3_standin.py"
        printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$python" "$tools/bin/sqlite3_standin.py" >"$tools/bin/sqlite3"
        chmod +x "$tools/bin/sqlite3"
    fi
    case "$prepend" in "$tools/bin":*) ;; *) prepend=$tools/bin:$prepend ;; esac
}

# bindgen loads libclang while the LERC bindings are made; it needs no clang program and, for that header, no clang headers.
find_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    [ "$(uname)" = Darwin ] && [ -e "$(xcode-select -p 2>/dev/null)/usr/lib/libclang.dylib" ] && return
    library=$(find "$tools/venv" -path '*/clang/native/libclang.*' 2>/dev/null | head -n 1)
    if [ -z "$library" ]; then
        pip_install libclang
        library=$(find "$tools/venv" -path '*/clang/native/libclang.*' | head -n 1)
    fi
    LIBCLANG_PATH=$(dirname "$library")
}

write_env() {
    mkdir -p "$root/configure"
    {
        echo "# Written by scripts/setup.sh."
        echo "export PYTHON='$python'"
        echo "export PATH='$prepend':\"\$PATH\""
        [ -z "${LIBCLANG_PATH:-}" ] || echo "export LIBCLANG_PATH='$LIBCLANG_PATH'"
    } >"$root/configure/build.env"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$tools"
find_python
need_venv
find_rust
find_compiler
find_cmake
find_sqlite
find_libclang
write_env
