#!/usr/bin/env bash
# Fuzzes one target for so many seconds: fuzz/run.sh <target> <seconds> [libFuzzer options or files]
# Needs a nightly toolchain and a C++ compiler, and not cargo-fuzz. The corpus grows in fuzz/corpus.
# With 0 seconds only the files named behind them are run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./common.sh

if [ $# -lt 2 ]; then
    echo "usage: fuzz/run.sh <target> <seconds> [libFuzzer options or files]" >&2
    targets | sed 's/^/  /' >&2
    exit 2
fi
target=$1 seconds=$2
shift 2
require_tools
build "$target"

# The seeds are in fuzz/seeds (committed), what is found goes to fuzz/corpus (not committed).
if [ "$seconds" -eq 0 ]; then
    libfuzzer_options "$target"
else
    fuzzing_options "$target"
    mkdir -p "corpus/$target" "seeds/$target"
    options+=(-max_total_time="$seconds" "corpus/$target" "seeds/$target")
fi
exec "$binaries/$target" "${options[@]}" "$@"
