//! Which code a layer is about.
//!
//! Always true: a layer has the same code in two trees exactly when every file of the library and every file
//! of the directories that the layer is built from has the same bytes. Words (`*.md`), benches, this package
//! and, unless the layer names `src/`, the files of tests inside the library are left out: a release run takes
//! hours, and a sentence that is corrected meanwhile, or the test of another layer, does not void it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Doing, Result, broken};

/// Whether a file is the library's, and so of every layer. A layer names the directories of its own.
fn is_library(path: &str) -> bool {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    !path.starts_with("tests/") && !path.starts_with("fuzz/") && !is_test
}

/// What is there, file by file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    pub(crate) commit: String,
    /// Hash and path of each file that counts, sorted by path; in the working tree, and in the commit.
    here: Vec<(String, String)>,
    committed: Vec<(String, String)>,
}

/// The code of a layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Code {
    /// Names it: 12 digits.
    pub(crate) name: String,
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
        let pair = |(path, hash): (&&str, &str)| (hash.to_owned(), (*path).to_owned());
        Ok(Tree {
            root: root.to_owned(),
            commit,
            here: paths.iter().zip(hashes.lines()).map(pair).collect(),
            committed: committed(root)?,
        })
    }

    /// The code of the library and of these directories, which end with `/`.
    pub(crate) fn code(&self, directories: &[String]) -> Result<Code> {
        let listed = |files: &[(String, String)]| {
            let is_built_from = |path: &str| {
                is_library(path) || directories.iter().any(|dir| path.starts_with(dir))
            };
            let files = files.iter().filter(|(_, path)| is_built_from(path));
            files.map(|(hash, path)| format!("{hash} {path}\n")).collect::<String>()
        };
        let here = listed(&self.here);
        let name = git(&self.root, &["hash-object", "--stdin"], &here)?;
        Ok(Code {
            name: name.chars().take(12).collect(),
            is_committed: here == listed(&self.committed),
        })
    }
}

/// The same list for the commit.
fn committed(root: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let tree = git(root, &["ls-tree", "-r", "HEAD"], "")?;
    for line in tree.lines() {
        // <mode> blob <hash>\t<path>
        let (about, path) = line.split_once('\t').ok_or_else(|| broken("git ls-tree"))?;
        if counts(path) {
            let hash = about.rsplit(' ').next().unwrap_or_default();
            files.push((hash.to_owned(), path.to_owned()));
        }
    }
    files.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    Ok(files)
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
    fn a_change_of_code_is_other_code_and_a_change_of_words_or_of_another_layer_is_not() {
        let dir = std::env::temp_dir().join(format!("release-run-tree-{}", std::process::id()));
        for name in ["src/wal", "tests/it", "fuzz"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        let git = |args: &[&str]| git(&dir, args, "").unwrap();
        let code = || Tree::of(&dir).unwrap().code(&["fuzz/".into()]).unwrap();
        put("src/lib.rs", "// one");
        put("fuzz/lib.rs", "// one");
        put("tests/it/main.rs", "// one");
        put("src/wal/tests.rs", "// one");
        put("README.md", "words");
        git(&["init", "-q"]);
        git(&["add", "."]);
        git(&["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "one"]);
        let first = code();
        assert!(first.is_committed);

        put("README.md", "other words");
        put("tests/it/main.rs", "// two");
        put("src/wal/tests.rs", "// two");
        assert_eq!(code(), first);

        for file in ["src/lib.rs", "fuzz/lib.rs"] {
            put(file, "// two");
            let changed = code();
            assert!(changed.name != first.name && !changed.is_committed, "{file}");
            put(file, "// one");
            assert_eq!(code(), first);
        }

        put("src/new.rs", "// untracked");
        assert!(code().name != first.name);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
