#!/usr/bin/env bash
# Fuzzes every target for a short time, from the seeds alone, two at a time: fuzz/smoke.sh [seconds, 60]
# For the gate: libFuzzer's own choices begin at a fixed seed, so that a run differs little from the one before
# (chance is for campaign.sh). Prints a line RESULT for each target. Exit: 0 nothing found, 1 something found,
# 77 skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./common.sh

seconds=${1:-60}
require_tools
build
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# One target. A corpus of its own, so that a machine that has fuzzed for days does not spend the time on
# reading what it found.
smoke() {
    local target=$1 log=$logs/$1.log cpu crashes=0
    fuzzing_options "$target"
    mkdir -p "$logs/$target"
    {
        TIMEFORMAT='%U %S'
        time "$binaries/$target" "${options[@]}" -seed=1 -max_total_time="$seconds" "$logs/$target" \
            "seeds/$target" >"$log" 2>&1 || crashes=1
    } 2>"$logs/$target.time"
    if [ $crashes -ne 0 ] && grep '^SKIPPED' "$log" >"$logs/$target.result"; then
        return
    fi
    cpu=$(tail -n 1 "$logs/$target.time" | awk '{ printf "%d", $1 + $2 }')
    [ $crashes -eq 0 ] || explain "$target" "$log" >>"$logs/$target.result"
    result "$target" "$(executions "$log")" "$cpu" "$log" $crashes >>"$logs/$target.result"
}

# Two hands take the targets in turn.
hand() {
    local index=0 target
    for target in $(targets); do
        if [ $((index % 2)) -eq "$1" ]; then
            smoke "$target"
        fi
        index=$((index + 1))
    done
}
hand 0 &
hand 1 &
wait
for target in $(targets); do
    cat "$logs/$target.result"
done
! grep -qE '"crashes":[1-9]' "$logs"/*.result
