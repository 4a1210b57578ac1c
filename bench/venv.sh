#!/bin/sh
# Makes configure/bench, the virtual environment of `make bench`. PYTHON must be set: it is taken where no newer one is found.
set -eu

cd "$(dirname "$0")/.."
venv=configure/bench

# lazycogs needs 3.12, and a shim of pyenv may be there without the Python behind it.
is_new() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; }
python=$PYTHON
for found in "$PYTHON" python3.13 python3.12 python3.14 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python; do
    if is_new "$found"; then
        python=$found
        break
    fi
done
is_new "$python" || echo "bench: no Python 3.12 or later is here: lazycogs for Python cannot run and is left out"

install() {
    echo "bench: installing $* from PyPI into $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
install -r bench/requirements.txt
install --no-deps -r bench/requirements-rustac.txt || echo "bench: DuckDB's extensions for rustac are not there: lazycogs for Python may not run"
touch "$venv/ready"
