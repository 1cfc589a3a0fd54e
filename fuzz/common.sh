# Shared by run.sh, campaign.sh and smoke.sh; not run by itself. The working directory is fuzz/.

targets() {
    ls fuzz_targets | sed 's/\.rs$//'
}

# Ends with 77 where nothing can be fuzzed: that is no success, and no failure.
require_tools() {
    if ! rustc +nightly -V >/dev/null 2>&1; then
        echo "SKIPPED L6: there is no nightly toolchain"
        exit 77
    fi
    if ! command -v c++ >/dev/null; then
        echo "SKIPPED L6: there is no C++ compiler, and libFuzzer is built from source"
        exit 77
    fi
}

# Builds one target, or all of them. What cargo-fuzz passes, but for two things: no sanitizer, because the
# code is safe Rust and this is several times faster; and no tracing of comparisons, which took a third of
# the time (perf, 2026-11-27) to find numbers that structured inputs reach anyway, and checksums that the
# targets repair themselves. The explicit --target keeps the flags away from build scripts.
build() {
    local triple which=(--bins)
    [ $# -eq 0 ] || which=(--bin "$1")
    triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
    export CARGO_TARGET_DIR="${FUZZ_TARGET_DIR:-$PWD/target}"
    RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Ccodegen-units=1 --cfg fuzzing" \
        cargo +nightly build --release --locked --target "$triple" "${which[@]}"
    binaries="$CARGO_TARGET_DIR/$triple/release"
}

# Options of every run: a hanging or greedy input is a finding as well.
libfuzzer_options() {
    mkdir -p "artifacts/$1"
    # Its own exit code for a finding is 77, which means "skipped" here.
    options=(-artifact_prefix="artifacts/$1/" -rss_limit_mb=2048 -print_final_stats=1 -error_exitcode=1)
    # sled may hang, and the ledger waits for it within its deadlines.
    if [ "$1" = views_replaced ]; then
        options+=(-timeout=400)
    else
        options+=(-timeout=60)
    fi
    # Programs are long from the beginning: libFuzzer would try those of two or three operations first, for
    # hours.
    [ "$1" = decode_segment ] || options+=(-len_control=0 -max_len=1024)
}

# Options of a run that makes inputs. A sled that hangs is left behind and goes on burning its core: so many
# inputs for a process, and not more.
fuzzing_options() {
    libfuzzer_options "$1"
    [ "$1" != views_replaced ] || options+=(-runs=1000)
}

# The last number behind a word in a log of libFuzzer, 0 when there is none.
last_number() {
    local found
    found=$(grep -oE "$1:? *[0-9]+" "$2" | tail -n 1 | grep -oE '[0-9]+$') || found=0
    echo "$found"
}

# Inputs that were run: libFuzzer's own count, or that of its last line when it was broken off.
executions() {
    local found
    found=$(last_number 'number_of_executed_units' "$1")
    [ "$found" -gt 0 ] || found=$(grep -oE '^#[0-9]+' "$1" | tail -n 1 | tr -d '#') || found=0
    echo "${found:-0}"
}

# The line that the release run adds up: target, executions, CPU seconds, log of the last slice, crashes.
result() {
    printf 'RESULT {"layer":"L6","target":"%s","executions":%d,"cpu_seconds":%d,' "$1" "$2" "$3"
    printf '"edges_max":%d,"features_max":%d,"corpus_max":%d,"crashes":%d}\n' \
        "$(last_number cov "$4")" "$(last_number ft "$4")" "$(last_number corp "$4")" "$5"
}

# What to do about a failing input, from the log of its run.
explain() {
    local input
    input=$(grep -oE 'Test unit written to .*' "$2" | tail -n 1 | sed 's/.* written to //') || true
    grep -E 'panicked at|ERROR: libFuzzer' -A 3 "$2" | head -n 20 || true
    echo "reproduce: fuzz/run.sh $1 0 ${input:-<see $2>}"
}
