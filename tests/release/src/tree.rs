//! Which code a run is about.
//!
//! Always true: two trees have the same code exactly when every file that a proof layer is built from has
//! the same bytes. Words (`*.md`), benches and this package are left out: a release run takes hours, and a
//! sentence that is corrected meanwhile does not void it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Doing, Result, broken};

/// The code that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tree {
    /// Names it: 12 digits.
    pub(crate) code: String,
    pub(crate) commit: String,
    /// Whether the commit has this very code.
    pub(crate) is_committed: bool,
}

fn counts(path: &str) -> bool {
    let other = [".ci/", "benches/", "examples/", "tests/release/"];
    !path.ends_with(".md")
        && !path.starts_with("LICENSE")
        && path != ".gitignore"
        && !other.iter().any(|dir| path.starts_with(dir))
}

impl Tree {
    pub(crate) fn of(root: &Path) -> Result<Tree> {
        let commit = git(root, &["rev-parse", "HEAD"], "")?.trim().to_owned();
        let named = git(root, &["ls-files", "-co", "--exclude-standard"], "")?;
        let mut paths: Vec<&str> =
            named.lines().filter(|path| counts(path) && root.join(path).is_file()).collect();
        paths.sort_unstable();
        let hashes = git(root, &["hash-object", "--stdin-paths"], &(paths.join("\n") + "\n"))?;
        if hashes.lines().count() != paths.len() {
            return Err(broken("git did not hash every file"));
        }
        let here: String = paths
            .iter()
            .zip(hashes.lines())
            .map(|(path, hash)| format!("{hash} {path}\n"))
            .collect();
        let code = git(root, &["hash-object", "--stdin"], &here)?;
        Ok(Tree {
            is_committed: here == committed(root)?,
            code: code.chars().take(12).collect(),
            commit,
        })
    }
}

/// The same list for the commit.
fn committed(root: &Path) -> Result<String> {
    let mut lines = Vec::new();
    let tree = git(root, &["ls-tree", "-r", "HEAD"], "")?;
    for line in tree.lines() {
        // <mode> blob <hash>\t<path>
        let (about, path) = line.split_once('\t').ok_or_else(|| broken("git ls-tree"))?;
        if counts(path) {
            lines.push((path, about.rsplit(' ').next().unwrap_or_default()));
        }
    }
    lines.sort_unstable();
    Ok(lines.iter().map(|(path, hash)| format!("{hash} {path}\n")).collect())
}

fn git(root: &Path, args: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new("git")
        .arg("-c")
        .arg("core.quotePath=false")
        .args(args)
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .doing("starting git")?;
    // In a thread: git answers while it reads.
    let (stdin, input) = (child.stdin.take(), input.to_owned());
    let feeder = std::thread::spawn(move || {
        stdin.map(|mut stdin| stdin.write_all(input.as_bytes())).transpose()
    });
    let output = child.wait_with_output().doing("git")?;
    if feeder.join().is_err() || !output.status.success() {
        return Err(broken(format!("git {} failed: is this a clone?", args.join(" "))));
    }
    String::from_utf8(output.stdout).map_err(|_| broken("git answers in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_code_is_other_code_and_a_change_of_words_is_not() {
        let dir = std::env::temp_dir().join(format!("release-run-tree-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("src")).unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        let git = |args: &[&str]| git(&dir, args, "").unwrap();
        put("src/lib.rs", "// one");
        put("README.md", "words");
        git(&["init", "-q"]);
        git(&["add", "."]);
        git(&["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "one"]);
        let first = Tree::of(&dir).unwrap();
        assert!(first.is_committed);

        put("README.md", "other words");
        assert_eq!(Tree::of(&dir).unwrap(), first);

        put("src/lib.rs", "// two");
        let changed = Tree::of(&dir).unwrap();
        assert!(changed.code != first.code && !changed.is_committed);

        put("src/lib.rs", "// one");
        assert_eq!(Tree::of(&dir).unwrap(), first);

        put("src/new.rs", "// untracked");
        assert!(Tree::of(&dir).unwrap().code != first.code);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
