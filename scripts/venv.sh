#!/bin/sh
# Makes configure/duckdb-VERSION, where the tests of one DuckDB version run, or configure/lint. PYTHON must be set.
# Usage: venv.sh VERSION | venv.sh lint
set -eu

cd "$(dirname "$0")/.."
. extension_config/extension.env
version=$1
listed() { case ",$1," in *",$version,"*) return 0 ;; *) return 1 ;; esac }

if [ "$version" = lint ]; then
    venv=configure/lint
    set -- ruff==0.17.6
else
    venv=configure/duckdb-$version
    set -- "duckdb==$version"
    if listed "$DUCKDB_TEST_VERSIONS"; then set -- "$@" -r test/requirements.txt; fi
    if listed "$DUCKDB_CLI_VERSIONS"; then set -- "$@" "duckdb-cli==$version"; fi
fi

echo "setup: installing $* from PyPI into $venv"
[ -x "$venv/bin/python" ] || "$PYTHON" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" || {
    echo "setup: $* could not be installed from PyPI (see above)" >&2
    exit 1
}
touch "$venv/ready"
