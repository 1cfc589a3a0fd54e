#!/usr/bin/env bash
# Counts the instructions of each operation and holds them against the baseline; first, whether the comparison
# itself can fail. Installs nothing. Exit 77 where it can't be compared: without valgrind or gungraun-runner, or
# when the baseline was made with another compiler, C library or CPU. Half a minute, and half a minute to build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
cargo test --release --quiet --locked
cargo run --release --quiet --locked -- check
