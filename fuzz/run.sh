#!/usr/bin/env bash
# Fuzzes one target for so many seconds: fuzz/run.sh <target> <seconds> [libFuzzer options or files]
# Needs a nightly toolchain and a C++ compiler, and not cargo-fuzz. The corpus grows in fuzz/corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if [ $# -lt 2 ]; then
    echo "usage: fuzz/run.sh <target> <seconds> [libFuzzer options or files]" >&2
    ls fuzz_targets | sed 's/\.rs$//; s/^/  /' >&2
    exit 2
fi
target=$1 seconds=$2
shift 2

# What cargo-fuzz passes, without a sanitizer: the code is safe Rust, and this is several times faster.
# The explicit --target keeps the flags away from build scripts.
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
export CARGO_TARGET_DIR="${FUZZ_TARGET_DIR:-$PWD/target}"
cargo +nightly build --release --locked --target "$triple" --bin "$target"

# The seeds are in fuzz/seeds (committed), what is found goes to fuzz/corpus (not committed).
mkdir -p "corpus/$target" "artifacts/$target" "seeds/$target"
arguments=(-artifact_prefix="artifacts/$target/" -rss_limit_mb=1024 -timeout=20 -print_final_stats=1)
if [ "$seconds" -gt 0 ]; then
    arguments+=(-max_total_time="$seconds" "corpus/$target" "seeds/$target")
fi
exec "$CARGO_TARGET_DIR/$triple/release/$target" "${arguments[@]}" "$@"
