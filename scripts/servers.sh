#!/bin/sh
# Installs the servers that some tests talk to into configure/servers: nginx and PostgreSQL with PostGIS from Debian, Azurite from npm,
# stac-fastapi from PyPI. None is needed: tests of a server that is not there are skipped. Nothing is installed into the system, and nothing is started.
set -u

cd "$(dirname "$0")/.."
servers=$PWD/configure/servers
mkdir -p "$servers"

say() { echo "setup: $*"; }
have() { command -v "$1" >/dev/null 2>&1; }
# Nobody waits long for what is not needed.
soon() { if have timeout; then timeout 180 "$@"; else "$@"; fi; }

# Package lists are missing in fresh containers, where we are root.
download_nginx() {
    soon apt-get download -qq nginx || { [ "$(id -u)" = 0 ] && soon apt-get update -qq && soon apt-get download -qq nginx; }
}

# Unpacked, not installed: Debian's package would start a server of the whole machine.
unpack_nginx() {
    [ -x "$servers/nginx/usr/sbin/nginx" ] && return
    have nginx || [ -x /usr/sbin/nginx ] && return
    have apt-get && have dpkg-deb || { say "no nginx: its tests will be skipped"; return; }
    scratch=$(mktemp -d)
    if (cd "$scratch" && download_nginx) >/dev/null 2>&1 &&
        dpkg-deb -x "$scratch"/nginx_*.deb "$servers/nginx" && "$servers/nginx/usr/sbin/nginx" -v 2>/dev/null; then
        say "unpacked nginx into $servers/nginx"
    else
        rm -rf "$servers/nginx"
        say "nginx cannot be had from Debian: its tests will be skipped"
    fi
    rm -rf "$scratch"
}

install_azurite() {
    [ -x "$servers/azurite/node_modules/.bin/azurite-blob" ] && return
    have npm && have node || { say "no npm: the tests with Azurite will be skipped"; return; }
    mkdir -p "$servers/azurite"
    echo '{"private": true}' >"$servers/azurite/package.json"
    say "installing azurite from npm into $servers/azurite"
    soon npm install --prefix "$servers/azurite" --silent --no-audit --no-fund azurite@3 >/dev/null 2>&1 || {
        rm -rf "$servers/azurite"
        say "azurite cannot be had from npm: its tests will be skipped"
    }
}

POSTGRES="postgresql-15 postgresql-15-postgis-3 postgresql-15-postgis-3-scripts libgeos3.11.1 libgeos-c1v5 libproj25 proj-data libprotobuf-c1"

download_postgres() {
    # shellcheck disable=SC2086
    soon apt-get download -qq $POSTGRES || { [ "$(id -u)" = 0 ] && soon apt-get update -qq && soon apt-get download -qq $POSTGRES; }
}

# Below one folder, where the programs find each other and what PostGIS adds.
unpack_postgres() {
    [ -x "$servers/postgres/usr/lib/postgresql/15/bin/postgres" ] && return
    have apt-get && have dpkg-deb || { say "no PostgreSQL: the tests with pgstac will be skipped"; return; }
    scratch=$(mktemp -d)
    if (cd "$scratch" && download_postgres) >/dev/null 2>&1 &&
        for package in "$scratch"/*.deb; do dpkg-deb -x "$package" "$servers/postgres" || exit 1; done &&
        ln -sf postgis-3.control "$servers/postgres/usr/share/postgresql/15/extension/postgis.control"; then
        say "unpacked PostgreSQL with PostGIS into $servers/postgres"
    else
        rm -rf "$servers/postgres"
        say "PostgreSQL 15 with PostGIS cannot be had from Debian: the tests with pgstac will be skipped"
    fi
    rm -rf "$scratch"
}

install_pgstac() {
    [ -x "$servers/pgstac/bin/uvicorn" ] || [ ! -d "$servers/postgres" ] && return
    say "installing stac-fastapi from PyPI into $servers/pgstac"
    { python3 -m venv "$servers/pgstac" && soon "$servers/pgstac/bin/pip" install -q "stac-fastapi.pgstac>=7" "pypgstac[psycopg]>=0.10" uvicorn; } >/dev/null 2>&1 || {
        rm -rf "$servers/pgstac"
        say "stac-fastapi cannot be had from PyPI: its tests will be skipped"
    }
}

unpack_nginx
install_azurite
unpack_postgres
install_pgstac
touch "$servers/ready"
