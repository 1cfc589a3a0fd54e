//! Habits of this repository, held by a test: the direction of imports, the edge, the pinned codec, the
//! shape of files.
//!
//! The story: a layer that reaches past its neighbour once is copied, and after a year nothing can be
//! tested alone. Each check is a function from files to complaints, so that the last test can show that
//! it is able to complain.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom: a module of `src/`, and the modules it may name. Imports point down the list in
/// the description of the crate; `order` and `error` know nobody above them. `commit` does not know
/// `recovery`, and `wal` does not know what a table is.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Leaves.
    ("bytes", &[]),
    ("mix", &[]),
    ("guide", &[]),
    ("sync", &[]),
    ("metrics", &["sync"]),
    // Words.
    ("order", &["bytes"]),
    ("error", &["order"]),
    ("spans", &["order", "error"]),
    // The edge.
    ("disk", &["error", "sync"]),
    // Truth, fast answers, decisions, the write path.
    ("wal", &["bytes", "mix", "sync", "metrics", "order", "error", "disk"]),
    ("tables", &["bytes", "mix", "sync", "metrics", "order", "error", "disk", "wal"]),
    ("admission", &["bytes", "sync", "metrics", "order", "error", "wal", "tables"]),
    (
        "commit",
        &[
            "bytes",
            "mix",
            "sync",
            "metrics",
            "spans",
            "order",
            "error",
            "disk",
            "wal",
            "tables",
            "admission",
        ],
    ),
    // Read the log, never write it.
    ("views", &["bytes", "sync", "metrics", "order", "error", "disk", "wal", "tables"]),
    ("feed", &["bytes", "sync", "metrics", "order", "error", "disk", "wal", "tables", "commit"]),
    ("recovery", &["bytes", "sync", "metrics", "order", "error", "disk", "wal", "tables"]),
    ("care", &["bytes", "sync", "metrics", "order", "error", "disk", "wal", "tables", "recovery"]),
    // Looks at everything below and writes through commit.
    (
        "watch",
        &[
            "bytes",
            "sync",
            "metrics",
            "order",
            "error",
            "disk",
            "wal",
            "tables",
            "admission",
            "commit",
            "views",
        ],
    ),
    // The front door: everything but the tools beside it.
    (
        "ledger",
        &[
            "bytes",
            "sync",
            "metrics",
            "spans",
            "order",
            "error",
            "disk",
            "wal",
            "tables",
            "admission",
            "commit",
            "views",
            "feed",
            "recovery",
            "care",
            "watch",
        ],
    ),
    // Works through the front door, and records by the one door there is.
    (
        "outbox",
        &[
            "sync",
            "metrics",
            "spans",
            "order",
            "error",
            "disk",
            "wal",
            "admission",
            "commit",
            "ledger",
        ],
    ),
];

/// What only some places may name, and why those may.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    // sled does its own I/O, so its directory is moved aside with std::fs; the command line reads the
    // files and pipes of its user.
    ("std::fs", &["src/disk/", "src/views/", "src/bin/"], "files are touched through disk::Disk"),
    ("SystemTime", &["src/disk/"], "the clock is disk::Host"),
    ("Instant::now", &["src/disk/", "src/views/", "src/bin/"], "the clock is disk::Host"),
    ("thread::sleep", &["src/disk/", "src/bin/"], "sleep is disk::Host"),
    ("rand::", &["src/disk/", "src/bin/"], "randomness is disk::Host"),
    (
        "bincode",
        &["src/wal/record.rs", "src/wal/record/", "src/ledger/typed.rs"],
        "the codec stays replaceable",
    ),
    ("sled::", &["src/views/"], "sled is only ever a view"),
];

/// Longest file. Tests are lists, and longer.
const LINES_MAX: usize = 600;

struct File {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

impl File {
    fn is_source(&self) -> bool {
        self.path.starts_with("src/") && self.path.ends_with(".rs")
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
    }

    /// The module of `src/` that it belongs to.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let name = inside.split('/').next()?;
        Some(name.strip_suffix(".rs").unwrap_or(name))
    }

    /// The lines of code with their numbers, without comments and without the tests at the end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text.get(..end).unwrap_or_default().lines();
        lines.enumerate().map(|(index, line)| {
            let code = line.split("//").next().unwrap_or_default();
            (index + 1, code)
        })
    }
}

/// Every text file of the repository that people write.
fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut rest: Vec<PathBuf> = [
        "src",
        "tests",
        "benches",
        "examples",
        "fuzz",
        ".ci",
        "README.md",
        "EVIDENCE.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
    ]
    .iter()
    .map(|name| root.join(name))
    .collect();
    while let Some(path) = rest.pop() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // What is built or found there, fixtures (bytes), and the seeds of the fuzzers (bytes).
        let skipped =
            matches!(name, "target" | "corpus" | "artifacts" | "seeds" | "fixtures" | "Cargo.lock");
        if skipped || !path.exists() {
            continue;
        }
        if path.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        // Not text, such as recorded input: not written by hand.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let path = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        found.push(File { path, text });
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn check_imports(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_source() && !file.is_test()) {
        let Some(module) = file.module() else { continue };
        if matches!(module, "lib" | "bin") {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            complaints.push(format!("{}: the module {module} has no place in the list", file.path));
            continue;
        };
        for (line, code) in file.code() {
            for behind in code.split("crate::").skip(1) {
                let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let named = behind.get(..end.unwrap_or(behind.len())).unwrap_or_default();
                if named != module && !allowed.contains(&named) {
                    let path = &file.path;
                    complaints
                        .push(format!("{path}:{line}: {module} must not name crate::{named}"));
                }
            }
        }
    }
    complaints
}

fn check_places(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_source() && !file.is_test()) {
        for (word, places, reason) in ONLY_IN {
            if places.iter().any(|place| file.path.starts_with(place)) {
                continue;
            }
            for (line, code) in file.code().filter(|(_, code)| names(code, word)) {
                complaints.push(format!("{}:{line}: {reason}: {}", file.path, code.trim()));
            }
        }
    }
    complaints
}

/// Whether `code` has `word` as a word of its own, and not as the end of another one.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code
            .get(..at)
            .unwrap_or_default()
            .ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn check_shape(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let File { path, text } = file;
        // The crate itself begins with its README.
        let says = text.starts_with("//!") || text.starts_with("#![doc = include_str!");
        if file.is_source() && !says {
            complaints.push(format!("{path}: begins without saying what it owns"));
        }
        let lines = text.lines().count();
        if file.is_source() && !file.is_test() && lines > LINES_MAX {
            complaints.push(format!("{path}: {lines} lines, at most {LINES_MAX}"));
        }
        if file.is_source() && text.contains("#[path") {
            complaints.push(format!("{path}: a module is where its name says"));
        }
    }
    complaints
}

fn check_words(files: &[File]) -> Vec<String> {
    // Put together here, so that this file does not hold them.
    let unfinished = ["TO_DO", "FIX_ME", "X_XX", "to_do!", "un_implemented!"];
    let machines = ["/_home/", "/_root/", "/_Users/", "/_tmp/", "C_:\\"];
    let words = unfinished.iter().map(|word| (word, "unfinished"));
    let words = words.chain(machines.iter().map(|word| (word, "a path of one machine")));
    let words: Vec<_> = words.map(|(word, why)| (word.replace('_', ""), why)).collect();
    let mut complaints = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            let place = format!("{}:{}", file.path, index + 1);
            for (word, why) in words.iter().filter(|(word, _)| line.contains(word)) {
                complaints.push(format!("{place}: {why}: {word}"));
            }
            let code = file.path.ends_with(".rs") || file.path.ends_with(".toml");
            if code && !line.is_ascii() {
                complaints.push(format!("{place}: not ASCII"));
            }
            if line.ends_with([' ', '\t']) {
                complaints.push(format!("{place}: ends with a space"));
            }
        }
    }
    complaints
}

fn assert_tidy(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn imports_point_down() {
    let files = files();
    assert!(files.iter().filter(|file| file.is_source()).count() > 40, "the sources are found");
    assert_tidy(&check_imports(&files));
}

#[test]
fn the_edge_and_the_codec_stay_in_their_places() {
    assert_tidy(&check_places(&files()));
}

#[test]
fn files_say_what_they_own_and_stay_short() {
    assert_tidy(&check_shape(&files()));
}

#[test]
fn nothing_is_left_unfinished_or_bound_to_one_machine() {
    assert_tidy(&check_words(&files()));
}

/// Each check complains about what it is there for, and about nothing else.
#[test]
fn the_checks_can_fail() {
    let file = |path: &str, text: &str| vec![File { path: path.into(), text: text.into() }];
    let complains = |check: fn(&[File]) -> Vec<String>, path: &str, text: &str| {
        !check(&file(path, text)).is_empty()
    };

    assert!(complains(check_imports, "src/commit/mod.rs", "use crate::recovery::open;"));
    assert!(complains(
        check_imports,
        "src/wal/log.rs",
        "    let x = crate::tables::Tables::new();"
    ));
    assert!(complains(check_imports, "src/order/id.rs", "use crate::{error, wal};"));
    assert!(complains(check_imports, "src/newcomer.rs", "use crate::bytes::Fields;"));
    assert!(complains(check_imports, "src/wal/log.rs", "use crate::Ledger;"));
    assert!(!complains(
        check_imports,
        "src/wal/log.rs",
        "use crate::wal::format; // crate::ledger"
    ));
    let tested = "use crate::bytes::a;\n#[cfg(test)]\nmod tests {\nuse crate::Ledger;\n}\n";
    assert!(!complains(check_imports, "src/wal/log.rs", tested));

    assert!(complains(check_places, "src/wal/log.rs", "std::fs::write(path, bytes)"));
    assert!(complains(check_places, "src/commit/lead.rs", "std::thread::sleep(pause)"));
    assert!(complains(check_places, "src/ledger/read.rs", "bincode::encode_to_vec(value)"));
    assert!(complains(check_places, "src/tables/mod.rs", "use sled::Db;"));
    assert!(!complains(check_places, "src/disk/os.rs", "std::fs::write(path, bytes)"));
    assert!(!complains(check_places, "src/wal/log.rs", "// unlike std::fs"));
    assert!(!complains(check_places, "src/wal/log.rs", "operand::new()"));

    assert!(complains(check_shape, "src/wal/log.rs", "use std::io;\n"));
    assert!(complains(
        check_shape,
        "src/wal/log.rs",
        &format!("//! x\n{}", "\n".repeat(LINES_MAX))
    ));
    assert!(complains(check_shape, "src/lib.rs", "//! x\n#[path = \"y.rs\"] mod x;"));
    assert!(!complains(check_shape, "src/wal/tests.rs", &"//! x\n".repeat(LINES_MAX + 1)));

    assert!(complains(check_words, "README.md", concat!("see /", "home/me/orders")));
    assert!(complains(check_words, "src/lib.rs", concat!("// TO", "DO: more")));
    assert!(complains(check_words, "src/lib.rs", "// caf\u{e9}"));
    assert!(complains(check_words, "src/lib.rs", "fn x() {} "));
    assert!(!complains(check_words, "src/lib.rs", "fn x() {}"));
}
