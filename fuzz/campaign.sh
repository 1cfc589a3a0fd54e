#!/usr/bin/env bash
# Fuzzes one target until it has used so many CPU seconds: fuzz/campaign.sh <target> <cpu-seconds>
# libFuzzer counts the seconds of the wall, which mean little on a busy machine. So it runs in slices, at the
# lowest priority, and the CPU time of the slices (user and system) is added up. The corpus stays in
# fuzz/corpus: a campaign goes on where the one before ended. Prints one line RESULT at the end, also when
# it is interrupted. Exit: 0 nothing found, 1 something found, 77 skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./common.sh

if [ $# -ne 2 ]; then
    echo "usage: fuzz/campaign.sh <target> <cpu-seconds>" >&2
    targets | sed 's/^/  /' >&2
    exit 2
fi
target=$1 budget=$2
require_tools
build "$target" >&2

fuzzing_options "$target"
mkdir -p "corpus/$target" "seeds/$target"
logs=$(mktemp -d)
log=$logs/last
touch "$log"
executed=0 cpu_ms=0 crashes=0 pid=

# Ends the slice that runs, counts it, and reports.
finish() {
    result "$target" "$executed" $((cpu_ms / 1000)) "$log" "$crashes"
    rm -rf "$logs"
}
interrupted() {
    [ -z "$pid" ] || kill -INT "$pid" 2>/dev/null || true
    wait || true
    executed=$((executed + $(executions "$log")))
    finish
    exit 130
}
trap interrupted INT TERM

slice_seconds_max=300
while [ "$cpu_ms" -lt $((budget * 1000)) ]; do
    left=$(((budget * 1000 - cpu_ms) / 1000 + 1))
    slice=$((left < 10 ? 10 : left > slice_seconds_max ? slice_seconds_max : left))
    # The subshell measures its one child; libFuzzer itself writes to the log.
    (
        TIMEFORMAT='%U %S'
        { time nice -n 19 "$binaries/$target" "${options[@]}" -max_total_time="$slice" \
            "corpus/$target" "seeds/$target" >"$log" 2>&1; } 2>"$logs/time"
    ) &
    pid=$!
    failed=0
    wait "$pid" || failed=$?
    if [ "$failed" -eq 77 ] && grep '^SKIPPED' "$log"; then
        rm -rf "$logs"
        exit 77
    fi
    executed=$((executed + $(executions "$log")))
    used=$(tail -n 1 "$logs/time" | awk '{ printf "%d", ($1 + $2) * 1000 }')
    cpu_ms=$((cpu_ms + used))
    printf '%s: %d executions, %d of %d CPU seconds, %s edges\n' "$target" "$executed" \
        $((cpu_ms / 1000)) "$budget" "$(last_number cov "$log")" >&2
    if [ "$failed" -ne 0 ]; then
        crashes=1
        explain "$target" "$log"
        cp "$log" "artifacts/$target/last.log"
        break
    fi
done
finish
exit "$crashes"
