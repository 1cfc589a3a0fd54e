//! Where a drill or a bench ran: machine, kernel, file system, disk; as the kernel tells it.
//!
//! Always true: what can't be told is "unknown" and never guessed; nothing here can make a command fail.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What can't be told.
pub(crate) const UNKNOWN: &str = "unknown";

/// Facts with their names, in the order in which a report gives them.
pub(crate) fn facts(dir: &Path) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("kernel", file("/proc/sys/kernel/osrelease")),
        ("cpu", about("/proc/cpuinfo", "model name")),
        ("cores", std::thread::available_parallelism().map_or(UNKNOWN.into(), |n| n.to_string())),
        ("memory", about("/proc/meminfo", "MemTotal")),
    ];
    let mount = mount(dir);
    let Mount { file_system, source, options } = mount.unwrap_or_default();
    facts.extend([("file_system", file_system), ("device", source), ("mounted_with", options)]);
    let disk = disk(dir);
    let of_disk = |name: &str| {
        disk.as_ref().map_or(UNKNOWN.into(), |disk| file(&disk.join(name).to_string_lossy()))
    };
    facts.extend([
        ("disk_model", of_disk("device/model")),
        // "write back": the drive has a cache that a flush must empty; "write through": it says it has none.
        ("disk_cache", of_disk("queue/write_cache")),
        ("disk_sector_bytes", of_disk("queue/physical_block_size")),
        ("disk_is_rotational", of_disk("queue/rotational")),
    ]);
    facts
}

/// The content of a file of one line.
fn file(path: &str) -> String {
    match fs::read_to_string(path).map(|text| text.trim().to_owned()) {
        Ok(text) if !text.is_empty() => text,
        _ => UNKNOWN.into(),
    }
}

/// The first value of this name in a file of `name: value`.
fn about(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.map_or(UNKNOWN.into(), |(_, value)| value.trim().to_owned())
}

struct Mount {
    file_system: String,
    source: String,
    options: String,
}

impl Default for Mount {
    fn default() -> Mount {
        Mount { file_system: UNKNOWN.into(), source: UNKNOWN.into(), options: UNKNOWN.into() }
    }
}

/// The mount that a directory is on: the one with the longest path that leads to it.
fn mount(dir: &Path) -> Option<Mount> {
    let dir = fs::canonicalize(dir).ok()?;
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = table.lines().filter_map(parse_mount);
    let leading = mounts.filter(|(point, _)| dir.starts_with(point));
    // Of two on one point the later one lies on top.
    leading.max_by_key(|(point, _)| point.components().count()).map(|(_, mount)| mount)
}

/// `36 35 98:0 / /mnt rw,noatime shared:1 - ext4 /dev/sda rw,errors=continue`: see proc(5).
fn parse_mount(line: &str) -> Option<(PathBuf, Mount)> {
    let (before, behind) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(4);
    // A space in a path is written as an octal number.
    let point = before.next()?.replace("\\040", " ");
    let options = before.next()?;
    let mut behind = behind.split(' ');
    let (file_system, source, more) = (behind.next()?, behind.next()?, behind.next()?);
    let mount = Mount {
        file_system: file_system.to_owned(),
        source: source.to_owned(),
        options: format!("{options}; {more}"),
    };
    Some((point.into(), mount))
}

/// The directory in /sys of the disk that a directory is on.
fn disk(dir: &Path) -> Option<PathBuf> {
    let device = fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let found = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    // A partition is a directory inside that of its disk.
    match found.join("partition").exists() {
        true => found.parent().map(Path::to_owned),
        false => Some(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_about_a_mount_is_understood_and_another_is_passed_over() {
        let line = r"36 35 98:0 / /mnt/my\040disk rw,noatime shared:1 - ext4 /dev/sda rw,errors=x";
        let (point, mount) = parse_mount(line).unwrap();
        assert_eq!(point, Path::new("/mnt/my disk"));
        let Mount { file_system, source, options } = mount;
        assert_eq!(
            (file_system.as_str(), source.as_str(), options.as_str()),
            ("ext4", "/dev/sda", "rw,noatime; rw,errors=x")
        );
        assert!(parse_mount("36 35 98:0 / /mnt").is_none());
    }

    #[test]
    fn every_fact_says_something() {
        let facts = facts(&std::env::temp_dir());
        assert!(facts.iter().all(|(_, value)| !value.is_empty()), "{facts:?}");
    }
}
