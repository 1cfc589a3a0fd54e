#!/usr/bin/env bash
# A rig that has never failed proves nothing. Builds the rigs in a copy of the repository whose library has
# bugs that are switched on by ORDER_LEDGER_BROKEN, and runs each rig against those that it must see.
# Exit 0: every bug was seen by every rig that is named with it, and by none that is said to be blind to it.
# broken-builds.sh [bug]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

cp -r Cargo.toml Cargo.lock README.md src "$copy"
# Named by the manifest, and not built here.
mkdir -p "$copy/benches" "$copy/tests/kernel"
cp benches/*.rs "$copy/benches"
cp -r tests/kernel/Cargo.toml tests/kernel/Cargo.lock tests/kernel/src "$copy/tests/kernel"

# change FILE OLD NEW: replaces the one line that is exactly OLD, but for its indentation.
change() {
    local file=$copy/$1 count
    count=$(OLD=$2 awk '{ line = $0; sub(/^ +/, "", line); n += line == ENVIRON["OLD"] } END { print n + 0 }' "$file")
    [ "$count" -eq 1 ] || { echo "$1: $count lines are: $2" >&2; exit 2; }
    OLD=$2 NEW=$3 awk '{ line = $0; sub(/^ +/, "", line); print line == ENVIRON["OLD"] ? ENVIRON["NEW"] : $0 }' \
        "$file" >"$file.new"
    mv "$file.new" "$file"
}

cat >"$copy/src/broken.rs" <<'RUST'
//! Which bug is switched on.
use std::sync::{LazyLock, atomic::{AtomicBool, Ordering}};
pub(crate) fn is(bug: &str) -> bool {
    static BUG: LazyLock<String> =
        LazyLock::new(|| std::env::var("ORDER_LEDGER_BROKEN").unwrap_or_default());
    *BUG == bug
}
/// A read that a scan of the groups makes; `ahead` is the look at what lies behind them.
pub(crate) fn read(ahead: bool, read: std::io::Result<usize>) -> std::io::Result<usize> {
    let swallowed = is("read-error-is-zeros") || is("read-error-is-end") && !ahead;
    if swallowed { Ok(read.unwrap_or(0)) } else { read }
}
pub(crate) fn leak() {
    static ONCE: AtomicBool = AtomicBool::new(false);
    if is("leak-a-file") && !ONCE.fetch_xor(true, Ordering::Relaxed) {
        std::mem::forget(std::fs::File::open("/dev/null"));
    }
}
RUST
change src/lib.rs 'mod bytes;' 'mod broken; mod bytes;'
change src/disk/mod.rs 'pub(crate) fn sync(file: &dyn DiskFile) -> io::Result<()> {' \
    'pub(crate) fn sync(file: &dyn DiskFile) -> io::Result<()> {
        if crate::broken::is("skip-sync") { return Ok(()); }
        if crate::broken::is("swallow-sync") { drop(file.sync()); return Ok(()); }
        if crate::broken::is("retry-sync") { return file.sync().or_else(|_| file.sync()); }'
change src/wal/writer.rs 'disk::write_all_at(&*self.active.file(), &self.buffer, start)?;' \
    'if crate::broken::is("ack-early") {
        let (file, bytes) = (self.active.file(), self.buffer.clone());
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_micros(700));
            drop(disk::write_all_at(&*file, &bytes, start));
        });
        self.buffer.truncate(used);
        return Ok(());
    }
    disk::write_all_at(&*self.active.file(), &self.buffer, start)?;'
change src/wal/scan.rs 'let read = read_up_to(file, &mut head, position.offset)?;' \
    'let read = crate::broken::read(false, read_up_to(file, &mut head, position.offset))?;'
change src/wal/scan.rs \
    'let read = read_up_to(file, &mut body, position.offset + GROUP_HEADER_BYTES as u64)?;' \
    'let read = crate::broken::read(
        false, read_up_to(file, &mut body, position.offset + GROUP_HEADER_BYTES as u64))?;'
change src/wal/scan.rs 'let read = read_up_to(file, fresh, next)?;' \
    'let read = crate::broken::read(true, read_up_to(file, fresh, next))?;'
change src/tables/mod.rs 'Ok(run) => (Keys::Sealed(Arc::new(run)), true),' \
    'Ok(run) => (Keys::Sealed(Arc::new(run)), true),
    Err(SectionError::Damaged { .. }) if crate::broken::is("forget-damaged-tables") =>
        (Keys::Hot(Hot::default()), false),
    Err(SectionError::Io(_)) if crate::broken::is("forget-unread-tables") =>
        (Keys::Hot(Hot::default()), false),'
change src/recovery/identity.rs 'Err(error) => Err(Error::io("reading LEDGER", error)),' \
    'Err(_) if crate::broken::is("unread-identity-is-none") => Ok(None),
    Err(error) => Err(Error::io("reading LEDGER", error)),'
change src/recovery/segments.rs \
    'let read = disk::read_up_to(&*file, &mut block, 0).map_err(io)?;' \
    'let read = disk::read_up_to(&*file, &mut block, 0);
    let read = match read {
        Err(_) if crate::broken::is("unread-header-is-damage") => 0,
        read => read.map_err(io)?,
    };'
# "Who syncs must be allowed to write."
change src/recovery/segments.rs '.open(&path, Open::Read)' \
    '.open(&path, if crate::broken::is("reader-opens-to-write") { Open::Write } else { Open::Read })'
change src/disk/mod.rs \
    'matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)' \
    'matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || crate::broken::is("read-only-is-full") && error.kind() == io::ErrorKind::ReadOnlyFilesystem'
change src/commit/lead.rs 'AppendError::NoRoom(error) if is_full(&error) => {' \
    'AppendError::NoRoom(error) if is_full(&error) && !crate::broken::is("full-disk-is-io") => {'
change src/commit/lead.rs 'self.upkeep.stop();' 'self.upkeep.stop(); crate::broken::leak();'

# What the rigs keep of what they find goes with the copy.
export TMPDIR=$copy
export CARGO_TARGET_DIR=${ORDER_LEDGER_BROKEN_TARGET:-$copy/target}
cargo build --release --manifest-path "$copy/tests/kernel/Cargo.toml"
rigs=$CARGO_TARGET_DIR/release/kernel-rigs

only=${1:-} bad=0
# bug, what is expected of the rig (red or blind), the rig and its options.
try() {
    local bug=$1 expected=$2 code=0 said verdict
    shift 2
    [ -z "$only" ] || [ "$only" = "$bug" ] || return 0
    said=$(ORDER_LEDGER_BROKEN=$bug "$rigs" "$@" --seed 5 2>"$copy/stderr") || code=$?
    case $code in 0) verdict=blind ;; 1) verdict=red ;; 77) verdict=skipped ;; *) verdict=broken ;; esac
    printf '%-22s %-10s %-8s %s\n' "$bug" "$1" "$verdict" \
        "$(grep -o 'rounds [0-9]*\|lost [0-9]*\|doubled [0-9]*\|refused_opens [0-9]*\|wrong [0-9]*' <<<"$said" | xargs)"
    head -n 1 "$copy/stderr" | cut -c1-150 | sed 's/^/    /'
    if [ $verdict != skipped ] && [ $verdict != "$expected" ]; then
        bad=1
    fi
}
try skip-sync red power-cut --rounds 24
try skip-sync red block-log --rounds 30
try skip-sync blind kill --rounds 100
try ack-early red kill --rounds 200
try forget-damaged-tables red kill --rounds 200
try swallow-sync red eio --rounds 2
try swallow-sync red erofs --rounds 6
try retry-sync red eio --rounds 2
try read-only-is-full red erofs --rounds 1
try reader-opens-to-write red erofs --rounds 1
try read-error-is-end red eio-read --rounds 24
try read-error-is-zeros red eio-read --rounds 8
try unread-header-is-damage red eio-read --rounds 16
try unread-identity-is-none red eio-read --rounds 16
try forget-unread-tables red eio-read --rounds 16
try full-disk-is-io red enospc --rounds 6
try leak-a-file red soak --seconds 30
exit $bad
