//! Runs the program, and makes its answers comparable.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory for a ledger and for files beside it.
pub(crate) struct Place {
    dir: TempDir,
}

/// What a command answered.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_order-ledger"));
    program.env_remove("CLICOLOR_FORCE").env("NO_COLOR", "1");
    program
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    /// The directory of the ledger, which nobody has made yet.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.file("orders.ledger")
    }

    pub(crate) fn path(&self) -> String {
        self.dir.path().display().to_string()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file with this content.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        put(&path, content.as_ref());
        path
    }

    /// `order-ledger COMMAND --dir <ledger> ARGS...`
    pub(crate) fn command(&self, command: &str, args: &[&str]) -> Command {
        let mut program = program();
        program.arg(command).arg("--dir").arg(self.ledger()).args(args);
        program
    }

    pub(crate) fn run(&self, command: &str, args: &[&str]) -> Ran {
        self.finish(self.command(command, args), b"")
    }

    /// Submits these bytes for client `web`, with small segments.
    pub(crate) fn submit(&self, input: impl AsRef<[u8]>) -> Ran {
        self.finish(self.submitter(), input.as_ref())
    }

    pub(crate) fn submitter(&self) -> Command {
        self.command("submit", &["--client", "web", "--segment-mib", "1"])
    }

    pub(crate) fn finish(&self, command: Command, input: &[u8]) -> Ran {
        let output = assert_cmd::Command::from_std(command).write_stdin(input).output().unwrap();
        let text = |bytes: Vec<u8>| {
            let place = self.path();
            String::from_utf8(bytes).unwrap().replace(&place, "<place>")
        };
        let code = output.status.code().unwrap();
        Ran { code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// The orders of the ledger, as `dump` gives them.
    pub(crate) fn dump(&self) -> Vec<Value> {
        let ran = self.run("dump", &[]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.lines()
    }
}

impl Ran {
    /// The lines of the output, each a JSON value.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The only line of the output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect(&self.out)
    }

    /// Exit code, output and errors in one text, with what differs from run to run replaced.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("exit {}\n{}", self.code, plain(&self.out));
        if !self.err.is_empty() {
            text += &format!("--- stderr\n{}", plain(&self.err));
        }
        text
    }
}

/// One field of each line, as text; missing is "-".
pub(crate) fn column(lines: &[Value], name: &str) -> Vec<String> {
    let shown = |value: Option<&Value>| match value {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    lines.iter().map(|line| shown(line.get(name))).collect()
}

/// The text with receipts, hashes, ids and times replaced by their names.
fn plain(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.');
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        out += &rest[..start];
        rest = &rest[start..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        let is_hex = word.chars().all(|c| c.is_ascii_hexdigit());
        out += match word {
            _ if word.starts_with("olr1-") => "<receipt>",
            _ if word.len() == 64 && is_hex => "<fingerprint>",
            _ if word.len() == 32 && is_hex => "<ledger>",
            _ if word.len() == 30 && word.ends_with('Z') && word.contains('T') => "<time>",
            _ => word,
        };
        rest = &rest[end..];
    }
    // Columns are as wide as what was replaced, and so are the rules above and below them.
    let (mut lines, text) = (String::new(), out + rest);
    for line in text.lines() {
        let words: Vec<_> = line.trim_end().split("  ").filter(|part| !part.is_empty()).collect();
        if !words.concat().chars().all(|c| matches!(c, '\u{2500}' | '\u{2550}')) {
            lines += &(words.join("  ") + "\n");
        }
    }
    lines
}

#[expect(clippy::disallowed_methods, reason = "a file beside the ledger, and one that is damaged")]
pub(crate) fn put(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
}

/// The content of every file under `dir`.
pub(crate) fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

/// A command whose input and output the test holds in its hands.
pub(crate) fn piped(mut command: Command) -> std::process::Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The `n`-th line of a made-up input.
pub(crate) fn line(n: usize) -> String {
    format!(
        r#"{{"key":"key-{n}","account":"account-{}","order":{{"number":{n},"note":"{}"}}}}"#,
        n % 7,
        "x".repeat(n * 37 % 500)
    ) + "\n"
}
