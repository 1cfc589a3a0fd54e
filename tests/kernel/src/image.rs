//! Images, loop devices, mounts and the power cut. Everything that is set up here is taken down when
//! its value is dropped, and once more by the supervisor when the process dies.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::failure::{Doing, Failure, Result, broken};

/// How long an unmount is tried while somebody still has a file open.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(10);

/// A file system as the rigs make and mount it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileSystem {
    pub name: &'static str,
    kind: &'static str,
    mkfs: &'static [&'static str],
    options: &'static str,
    /// The smallest image that its mkfs takes, in MiB.
    pub image_mib: u64,
}

const EXT4_1K: &[&str] = &["mkfs.ext4", "-q", "-F", "-b", "1024", "-m", "0", "-E", LAZY];
const EXT4_4K: &[&str] = &["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", LAZY];
const LAZY: &str = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
const XFS_1K: &[&str] = &["mkfs.xfs", "-q", "-f", "-K", "-b", "size=1024"];
const XFS_4K: &[&str] = &["mkfs.xfs", "-q", "-f", "-K", "-b", "size=4096"];
const BTRFS: &[&str] = &["mkfs.btrfs", "-q", "-f", "-K", "-m", "single"];

const fn ext4(
    name: &'static str,
    mkfs: &'static [&'static str],
    options: &'static str,
) -> FileSystem {
    FileSystem { name, kind: "ext4", mkfs, options, image_mib: 96 }
}

const fn xfs(name: &'static str, mkfs: &'static [&'static str]) -> FileSystem {
    FileSystem { name, kind: "xfs", mkfs, options: "nouuid", image_mib: 304 }
}

pub const FILE_SYSTEMS: &[FileSystem] = &[
    ext4("ext4-ordered-4k", EXT4_4K, "data=ordered"),
    xfs("xfs-4k", XFS_4K),
    ext4("ext4-writeback-1k", EXT4_1K, "data=writeback"),
    xfs("xfs-1k", XFS_1K),
    ext4("ext4-journal-4k", EXT4_4K, "data=journal,nodelalloc"),
    xfs("xfs-4k", XFS_4K),
    ext4("ext4-ordered-1k", EXT4_1K, "data=ordered"),
    xfs("xfs-1k", XFS_1K),
    ext4("ext4-writeback-4k", EXT4_4K, "data=writeback"),
    xfs("xfs-4k", XFS_4K),
    ext4("ext4-journal-1k", EXT4_1K, "data=journal,nodelalloc"),
    xfs("xfs-1k", XFS_1K),
];

pub const BTRFS_4K: FileSystem =
    FileSystem { name: "btrfs", kind: "btrfs", mkfs: BTRFS, options: "", image_mib: 160 };

impl FileSystem {
    pub fn by_name(name: &str) -> Option<FileSystem> {
        FILE_SYSTEMS.iter().chain([&BTRFS_4K]).find(|fs| fs.name == name).copied()
    }

    /// Whether its mkfs is on this machine.
    pub fn has_tools(&self) -> bool {
        self.mkfs.first().is_some_and(|tool| find_tool(tool).is_some())
    }

    pub fn make_on(&self, at: &Path) -> Result<()> {
        let (tool, args) = self.mkfs.split_first().ok_or_else(|| broken("no mkfs"))?;
        run(tool_command(tool).args(args).arg(at))
    }

    /// Mounts `device`. The file system's own refusal is an answer, not a failure of the rig.
    pub fn mount(&self, device: &Path, at: &Path) -> Result<std::result::Result<Mounted, Errno>> {
        self.mount_with(device, at, MountFlags::NOATIME)
    }

    /// Mounts `device` read-only, which must work.
    pub fn mount_read_only(&self, device: &Path, at: &Path) -> Result<Mounted> {
        let flags = MountFlags::NOATIME | MountFlags::RDONLY;
        self.mount_with(device, at, flags)?.doing(format!("mounting {} read-only", self.name))
    }

    fn mount_with(
        &self,
        device: &Path,
        at: &Path,
        flags: MountFlags,
    ) -> Result<std::result::Result<Mounted, Errno>> {
        std::fs::create_dir_all(at).doing("making a mount point")?;
        let options = std::ffi::CString::new(self.options).doing("mount options")?;
        let data = Some(options.as_c_str()).filter(|data| !data.is_empty());
        match mount(device, at, self.kind, flags, data) {
            Ok(()) => Ok(Ok(Mounted { at: at.to_owned(), gone: false })),
            Err(Errno::NODEV) => {
                Err(Failure::Skipped(format!("this kernel has no file system {}", self.kind)))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Mounts `device`, which must work.
    pub fn must_mount(&self, device: &Path, at: &Path) -> Result<Mounted> {
        self.mount(device, at)?.doing(format!("mounting {} as {}", device.display(), self.name))
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
    gone: bool,
}

impl Mounted {
    pub fn path(&self) -> &Path {
        &self.at
    }

    pub fn unmount(mut self) -> Result<()> {
        self.gone = true;
        unmount_patiently(&self.at).doing(format!("unmounting {}", self.at.display()))
    }

    /// The power cut as the kernel offers it: from now on nothing reaches the device, not even the
    /// journal. `_IOR('X', 125, u32)` with 2: EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN, no log flush.
    pub fn pull_the_plug(&self) -> Result<()> {
        const NO_LOG_FLUSH: u32 = 2;
        const SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
        let root = File::open(&self.at).doing("opening the mount point")?;
        // SAFETY: the number is that of the shutdown ioctl of ext4 and XFS, whose operand is a pointer
        // to a u32 that is only read; on any other file system it is refused with ENOTTY.
        let cut = unsafe {
            let shutdown = rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH);
            rustix::ioctl::ioctl(root.as_fd(), shutdown)
        };
        cut.doing("the shutdown ioctl")
    }

    /// What ext4 does on an error of its own with `errors=remount-ro`: the journal is aborted and the
    /// mount turns read-only under whoever writes.
    pub fn abort(&self) -> Result<()> {
        rustix::mount::mount_remount(&self.at, MountFlags::empty(), c"abort")
            .doing("remounting with abort")
    }

    /// Fills the file system with a foreign file until `leave` bytes are left.
    pub fn fill_up(&self, leave: u64) -> Result<()> {
        let file = File::create(self.at.join("foreign")).doing("making the foreign file")?;
        let mut bytes = 0;
        let mut piece = self.free_bytes()?.saturating_sub(leave);
        while piece >= 512 {
            piece = piece.min(self.free_bytes()?.saturating_sub(leave));
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), bytes, piece.max(512)) {
                Ok(()) => bytes += piece.max(512),
                // The file's own metadata wants room too.
                Err(Errno::NOSPC) => piece /= 2,
                Err(error) => return Err(broken(format!("filling up: {error}"))),
            }
        }
        match file.sync_all() {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => {
                Err(error).doing("filling up")
            }
            _ => Ok(()),
        }
    }

    pub fn remove_foreign(&self) -> Result<()> {
        std::fs::remove_file(self.at.join("foreign")).doing("removing the foreign file")
    }

    pub fn free_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.at).doing("statvfs")?;
        Ok(stat.f_bavail * stat.f_frsize)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.gone && unmount_patiently(&self.at).is_err() {
            // The supervisor tries again; a lazy unmount at least hides it from the next round.
            detach(&self.at);
        }
    }
}

fn unmount_patiently(at: &Path) -> io::Result<()> {
    let started = Instant::now();
    loop {
        match unmount(at, UnmountFlags::empty()) {
            Err(Errno::BUSY) if started.elapsed() < UNMOUNT_PATIENCE => {
                // The kernel tells nobody when the last file is closed.
                std::thread::park_timeout(Duration::from_millis(2));
            }
            other => return Ok(other?),
        }
    }
}

/// Hides a mount point whose unmount failed; it goes when the last file is closed.
fn detach(at: &Path) {
    if let Err(error) = unmount(at, UnmountFlags::DETACH) {
        eprintln!("note: {} stays mounted: {error}", at.display());
    }
}

/// A loop device on a file.
#[derive(Debug)]
pub struct Loop {
    device: PathBuf,
}

impl Loop {
    pub fn attach(file: &Path) -> Result<Loop> {
        let output = tool_command("losetup")
            .args(["--find", "--show"])
            .arg(file)
            .output()
            .doing("running losetup")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::Skipped(format!("no loop device to be had: {why}")));
        }
        let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Loop { device: PathBuf::from(device) })
    }

    pub fn device(&self) -> &Path {
        &self.device
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(error) = run(tool_command("losetup").arg("-d").arg(&self.device)) {
            eprintln!("note: {error}");
        }
    }
}

/// A sparse file of `mib` MiB.
pub fn sparse_file(at: &Path, mib: u64) -> Result<()> {
    let file = File::create(at).doing("making an image")?;
    file.set_len(mib * 1024 * 1024).doing("making an image")
}

/// Runs a tool that must succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().doing(format!("running {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(broken(format!("{command:?}: {} {}", output.status, said.trim())))
}

fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(name)).find(|tool| tool.is_file())
}

/// A command for a tool, wherever it is: an ordinary user's PATH may lack sbin.
fn tool_command(name: &str) -> Command {
    Command::new(find_tool(name).unwrap_or_else(|| PathBuf::from(name)))
}

/// Says SKIPPED unless this machine has root, loop devices and these tools.
pub fn need(tools: &[&str]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::Skipped("needs root".into()));
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err(Failure::Skipped("no /dev/loop-control".into()));
    }
    for tool in tools.iter().chain(&["losetup"]) {
        if find_tool(tool).is_none() {
            return Err(Failure::Skipped(format!("{tool} is not installed")));
        }
    }
    Ok(())
}

/// What is mounted under `dir`, last first: FUSE, or everything else.
fn mounts_under(dir: &Path, fuse: bool) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter(|line| line.contains(" - fuse") == fuse)
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .filter(|at| at.starts_with(dir))
        .collect();
    found.reverse();
    found
}

/// Ends the FUSE connections under `dir`: every request that waits fails now. A rig that is to exit while
/// one of its own threads waits for its own disks would otherwise wait for ever, and can't be killed.
pub fn abort_fuse(dir: &Path) {
    for at in mounts_under(dir, true) {
        // Busy as a mount, and aborted as a connection.
        unmount(&at, UnmountFlags::FORCE).ok();
    }
}

/// Takes down whatever a dead rig left under `dir`: mounts, loop devices, the FUSE mount, the files.
pub fn clean_up(dir: &Path) {
    abort_fuse(dir);
    for at in mounts_under(dir, false) {
        if unmount_patiently(&at).is_err() {
            detach(&at);
        }
    }
    for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let backing = std::fs::read_to_string(entry.path().join("loop/backing_file"));
        if backing.is_ok_and(|file| Path::new(file.trim()).starts_with(dir)) {
            let device = Path::new("/dev").join(entry.file_name());
            if let Err(error) = run(tool_command("losetup").arg("-d").arg(device)) {
                eprintln!("note: {error}");
            }
        }
    }
    for at in mounts_under(dir, true) {
        detach(&at);
    }
    if let Err(error) = std::fs::remove_dir_all(dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        eprintln!("note: {} stays: {error}", dir.display());
    }
}
