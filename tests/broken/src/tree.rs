//! A copy of the tree in which things are broken: never the tree itself.
//!
//! A file is written only when its text differs, so that cargo builds again what has changed and nothing
//! else.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// Not part of what is built: results of building and of fuzzing, and the history.
const SKIPPED: [&str; 6] = ["target", ".git", "corpus", "artifacts", "seeds", "orders"];

/// Brings the copy at `to` to what `from` is, but for the files that have another text there.
pub(crate) fn copy(from: &Path, to: &Path, texts: &BTreeMap<String, String>) -> io::Result<()> {
    let texts = texts.iter().map(|(name, text)| (from.join(name), text.as_str())).collect();
    copy_dir(from, to, &texts)
}

/// A number that changes with the library's sources: results of another tree are not taken over.
pub(crate) fn number(root: &Path) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut rest = vec![root.join("src"), root.join("Cargo.lock")];
    let mut files = BTreeMap::new();
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                rest.push(entry?.path());
            }
        } else {
            files.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    files.into_values().for_each(|bytes| bytes.hash(&mut hasher));
    Ok(hasher.finish())
}

fn copy_dir(from: &Path, to: &Path, texts: &BTreeMap<PathBuf, &str>) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            copy_dir(&source, &target, texts)?;
        } else {
            let bytes = match texts.get(&source) {
                Some(text) => text.as_bytes().to_vec(),
                None => std::fs::read(&source)?,
            };
            if std::fs::read(&target).ok().as_ref() != Some(&bytes) {
                std::fs::write(&target, bytes)?;
            }
        }
        names.push(name);
    }
    // New ones, that are not in the tree.
    for (path, text) in texts {
        if let (true, Some(name)) = (path.parent() == Some(from), path.file_name())
            && !path.exists()
        {
            let target = to.join(name);
            if std::fs::read_to_string(&target).ok().as_deref() != Some(*text) {
                std::fs::write(&target, text)?;
            }
            names.push(name.to_owned());
        }
    }
    for entry in std::fs::read_dir(to)? {
        let entry = entry?;
        if names.contains(&entry.file_name()) {
            continue;
        }
        // Was there at an earlier copy, and is gone.
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
