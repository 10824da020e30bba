#!/bin/sh
# Measures, and keeps the figures with what they were measured on: bench/results/<what>.md, and on the terminal.
# Arguments: what to measure (default: all); `large=30000000` for other rows than the default.
set -eu
cd "$(dirname "$0")/.."
mkdir -p bench/results
cargo build --release --locked --quiet --manifest-path bench/Cargo.toml
bin=${CARGO_TARGET_DIR:-bench/target}/release/maniac-bench
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)

for what in ${*:-sqlite store writers capture delay backlog sustained mixed lake scan analytics updates schema large}; do
    load=$(cut -d' ' -f1-2 /proc/loadavg)
    report=$("$bin" $(echo "$what" | tr = " "))
    {
        echo "$report"
        echo
        echo "Command: \`bench/run.sh $what\`; commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)," \
            "$(date -u +%Y-%m-%d); $(nproc) cores (${cpu:-unknown}), Linux $(uname -r)," \
            "SQLite $(sqlite3 --version | cut -d' ' -f1), DuckDB $(.venv/tools/duckdb --version | cut -d' ' -f1)." \
            "Load average before (1 and 5 minutes): $load."
    } | tee "bench/results/${what%=*}.md"
    echo
done
