#!/usr/bin/env bash
# The release run of one rig, or of all: release.sh [kill|power-cut|block-log|enospc|eio|eio-read|erofs|soak]
# ORDER_LEDGER_SEED_FIRST=<n>   the seed (default 1)
# ORDER_LEDGER_SHARD=<i>/<n>    the i-th of n equal parts (from 1), for several machines or nights
# Every part ends in a RESULT line per rig; the counts of the parts add up. A part that was cut off goes on
# by hand: kernel-rigs <rig> --seed S --from <the last number on stderr> --rounds <what is left>.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0

cargo build --release --locked
rigs=${CARGO_TARGET_DIR:-target}/release/kernel-rigs
seed=${ORDER_LEDGER_SEED_FIRST:-1}
shard=${ORDER_LEDGER_SHARD:-1/1}
part=${shard%/*} parts=${shard#*/}
[ "$part" -ge 1 ] && [ "$part" -le "$parts" ]

worst=0
# rig, rounds in all parts together, and how many rounds one number of `--from` stands for.
rig() {
    local name=$1 rounds=$(($2 / parts)) each=$3 code=0
    local from=$(((part - 1) * (rounds + each - 1) / each))
    "$rigs" "$name" --seed "$seed" --from "$from" --rounds "$rounds" || code=$?
    # Skipped is not passed, and no failure either.
    if [ $code -ne 0 ] && [ $code -ne 77 ]; then
        worst=1
    fi
}

all() {
    case $1 in
        kill) rig kill 100000 20 ;;
        # Half of the images are ext4, half XFS: 10,000 cuts of each.
        power-cut) rig power-cut 20000 12 ;;
        block-log) rig block-log 20000 30 ;;
        enospc) rig enospc 400 1 ;;
        eio) rig eio 2000 1 ;;
        eio-read) rig eio-read 1000 1 ;;
        erofs) rig erofs 1000 1 ;;
        # Minutes, and not the three days of RELIABILITY L13.
        soak) "$rigs" soak --seed "$((seed + part))" --seconds 1800 || [ $? -eq 77 ] || worst=1 ;;
        *) echo "no such rig: $1" >&2 && exit 2 ;;
    esac
}

for name in ${1:-kill power-cut block-log enospc eio eio-read erofs soak}; do
    all "$name"
done
exit $worst
