#!/bin/sh
# Makes configure/duckdb-VERSION, where the tests of one DuckDB version run, or configure/lint.
# Usage: PYTHON set; venv.sh VERSION [versions with a command line shell on PyPI, with commas between] | venv.sh lint
set -eu

version=$1
cd "$(dirname "$0")/.."
case $version in
lint)
    venv=configure/lint
    set -- ruff==0.17.6
    ;;
*)
    venv=configure/duckdb-$version
    case ",${2:-}," in
    *",$version,"*) set -- "duckdb==$version" "duckdb-cli==$version" -r test/requirements.txt ;;
    *) set -- "duckdb==$version" -r test/requirements.txt ;;
    esac
    ;;
esac

echo "setup: installing $* from PyPI into $venv"
[ -x "$venv/bin/python" ] || "$PYTHON" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" || {
    echo "setup: $* could not be installed from PyPI (see above)" >&2
    exit 1
}
touch "$venv/ready"
