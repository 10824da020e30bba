#!/bin/sh
# Runs every suite, also after one failed, and ends with one line per suite. Arguments: the Python of the virtual
# environment, then the Cargo.toml of each workspace.
set -u
cd "$(dirname "$0")/.."
python=$1
shift

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
summary=""

# Runs "$@", shows its output as it comes, and keeps the counts that cargo's and unittest's own summaries give.
suite() {
    name=$1
    shift
    echo "== $name"
    # The status of the suite, not of tee: POSIX sh has no pipefail.
    { "$@" 2>&1; echo "status $?" >"$log.status"; } | tee "$log"
    status=$(sed 's/status //' "$log.status")
    rm -f "$log.status"
    counts=$(awk '
        /^test result: / { for (i = 2; i <= NF; i++) { if ($i == "passed;") p += $(i-1); if ($i == "failed;") f += $(i-1); if ($i == "ignored;") g += $(i-1) } }
        /^Ran [0-9]+ tests? in / { p += $2 }
        END { printf "%d passed, %d failed, %d ignored", p, f, g }' "$log")
    verdict=ok
    if [ "$status" -ne 0 ]; then verdict=FAILED; failed=1; fi
    summary="$summary$(printf '%-8s %-22s %s' "$verdict" "$name" "$counts")
"
}

suite "tools" "$python" -m unittest discover -q -s tools -p 'test_*.py'
for manifest in "$@"; do
    # In the workspace's own directory, where its .cargo/config.toml counts.
    suite "cargo $(dirname "$manifest")" env -C "$(dirname "$manifest")" cargo test --locked --workspace --no-fail-fast
done

echo "== summary"
printf '%s' "$summary"
exit $failed
