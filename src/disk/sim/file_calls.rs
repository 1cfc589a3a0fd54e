//! What each call of [`DiskFile`](crate::disk::DiskFile) and [`DiskLock`](crate::disk::DiskLock) does to
//! the simulated disk.
//!
//! Always true: a write that fails has changed nothing outside its range; a sync never touches another
//! file, except where it was told to misdirect a write.

use std::io;

use super::faults::{Call, Fault, Verdict};
use super::file::FILE_BYTES_MAX;
use super::image::{Patch, SECTOR_BYTES, to_usize};
use super::names::{Inode, Side};
use super::state::{State, power_is_off};

impl State {
    pub(super) fn close(&mut self, life: u64, inode: Inode) {
        if life == self.life
            && let Some(node) = self.files.get_mut(&inode)
        {
            node.open = node.open.saturating_sub(1);
        }
    }

    pub(super) fn bytes(&mut self, life: u64, inode: Inode) -> io::Result<u64> {
        self.call(life, Call::Ask, |state| Ok(state.node(inode)?.file.current().bytes()))
    }

    pub(super) fn read(
        &mut self,
        life: u64,
        inode: Inode,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let mut wanted = buffer.len();
        match self.judge(life, Call::Read { bytes: wanted })? {
            Verdict::Pass => {}
            Verdict::PowerOff => return Err(power_is_off()),
            Verdict::Fail(Fault::ShortRead) => wanted = 1 + self.random.index(wanted - 1),
            Verdict::Fail(fault) => return Err(fault.error()),
        }
        let node = self.node(inode)?;
        let end = offset.saturating_add(wanted as u64).min(node.file.current().bytes());
        for range in &node.unreadable {
            if range.start < end && offset < range.end {
                // As the kernel: what comes before the bad sector is read, the next call fails.
                let before = to_usize(range.start.saturating_sub(offset));
                if before == 0 {
                    return Err(Fault::Eio.error());
                }
                wanted = wanted.min(before);
            }
        }
        Ok(node.file.current().read(buffer.get_mut(..wanted).unwrap_or_default(), offset))
    }

    pub(super) fn write(
        &mut self,
        life: u64,
        inode: Inode,
        data: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        match self.judge(life, Call::Write { bytes: data.len() })? {
            Verdict::Pass => self.write_now(inode, data, offset),
            Verdict::Fail(Fault::ShortWrite) => {
                let short = 1 + self.random.index(data.len() - 1);
                self.write_now(inode, data.get(..short).unwrap_or_default(), offset)
            }
            Verdict::PowerOff => {
                self.write_some_sectors(inode, data, offset)?;
                Err(power_is_off())
            }
            Verdict::Fail(fault) => {
                match fault {
                    Fault::EioLate => {
                        self.write_now(inode, data, offset)?;
                    }
                    Fault::Eio | Fault::Enospc | Fault::Edquot => {
                        self.write_some_sectors(inode, data, offset)?;
                    }
                    _ => {}
                }
                Err(fault.error())
            }
        }
    }

    /// A write past the page cache that is durable when it returns. Two calls to the plan of what goes
    /// wrong, for it consists of a write and of a sync; after a failed one anything of it may be there.
    pub(super) fn write_through(
        &mut self,
        life: u64,
        inode: Inode,
        data: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        let written = self.write(life, inode, data, offset)?;
        // A device writes whole sectors: what is less of a short write is not told.
        let whole = written - written % SECTOR_BYTES;
        let verdict = self.judge(life, Call::Sync)?;
        if matches!(verdict, Verdict::Pass | Verdict::Fail(Fault::EioLate))
            && let Some(node) = self.files.get_mut(&inode)
        {
            node.file.sync_range(offset..offset.saturating_add(whole as u64));
        }
        match verdict {
            Verdict::Pass if whole == 0 => Err(Fault::Interrupted.error()),
            Verdict::Pass => Ok(whole),
            Verdict::PowerOff => Err(power_is_off()),
            Verdict::Fail(fault) => Err(fault.error()),
        }
    }

    fn write_now(&mut self, inode: Inode, data: &[u8], offset: u64) -> io::Result<usize> {
        check_bytes(offset.saturating_add(data.len() as u64))?;
        let mut patches = Patch::split(data, offset);
        if self.capacity_bytes.is_some() {
            self.cut_to_capacity(inode, &mut patches)?;
        }
        let written = patches.iter().map(|patch| patch.range.len()).sum();
        if written == 0 && !data.is_empty() {
            return Err(Fault::Enospc.error());
        }
        self.write_next += 1;
        let write = self.write_next;
        let Some(node) = self.files.get_mut(&inode) else {
            return Err(power_is_off());
        };
        node.file.write(patches, write, &mut self.order_next);
        Ok(written)
    }

    /// Leaves out the patches from the first one on that there is no space for.
    fn cut_to_capacity(&self, inode: Inode, patches: &mut Vec<Patch>) -> io::Result<()> {
        let current = self.node(inode)?.file.current();
        let is_hole = |patch: &Patch| !current.is_allocated(patch.sector);
        if patches.iter().any(is_hole) {
            let mut free = self.free_sectors();
            let fitting = patches.iter().take_while(|patch| {
                let needed = u64::from(is_hole(patch));
                let fits = needed <= free;
                free = free.saturating_sub(needed);
                fits
            });
            let fitting = fitting.count();
            patches.truncate(fitting);
        }
        Ok(())
    }

    /// What a write that breaks off leaves: any number of its sectors, the first ones.
    fn write_some_sectors(&mut self, inode: Inode, data: &[u8], offset: u64) -> io::Result<()> {
        let mut patches = Patch::split(data, offset);
        patches.truncate(self.random.index(patches.len() + 1));
        let bytes: usize = patches.iter().map(|patch| patch.range.len()).sum();
        if bytes > 0 {
            self.write_now(inode, data.get(..bytes).unwrap_or_default(), offset)?;
        }
        Ok(())
    }

    /// Replaces the whole content of a lock file.
    pub(super) fn write_content(
        &mut self,
        life: u64,
        inode: Inode,
        content: &[u8],
    ) -> io::Result<()> {
        self.call(life, Call::Change, |state| {
            state.set_bytes_now(inode, 0)?;
            state.write_now(inode, content, 0)?;
            Ok(())
        })
    }

    pub(super) fn set_bytes(&mut self, life: u64, inode: Inode, bytes: u64) -> io::Result<()> {
        self.call(life, Call::Change, |state| state.set_bytes_now(inode, bytes))
    }

    fn set_bytes_now(&mut self, inode: Inode, bytes: u64) -> io::Result<()> {
        check_bytes(bytes)?;
        let Some(node) = self.files.get_mut(&inode) else {
            return Err(power_is_off());
        };
        node.file.set_bytes(bytes, &mut self.order_next);
        Ok(())
    }

    /// `errors_seen` is how many failed syncs the handle knows of. One that somebody else's handle met is
    /// told now, as Linux does (errseq_t, since 4.13): after the work, and once.
    pub(super) fn sync(
        &mut self,
        life: u64,
        inode: Inode,
        errors_seen: &mut u64,
    ) -> io::Result<()> {
        let verdict = self.judge(life, Call::Sync)?;
        let result = self.sync_as_told(inode, verdict);
        let failed_syncs = self.node(inode)?.failed_syncs;
        if std::mem::replace(errors_seen, failed_syncs) < failed_syncs && result.is_ok() {
            return Err(Fault::Eio.error());
        }
        result
    }

    fn sync_as_told(&mut self, inode: Inode, verdict: Verdict) -> io::Result<()> {
        match verdict {
            Verdict::Pass => self.sync_now(inode),
            Verdict::PowerOff => Err(power_is_off()),
            Verdict::Fail(fault) => {
                if fault == Fault::EioLate {
                    self.sync_now(inode)?;
                }
                if let Some(node) = self.files.get_mut(&inode)
                    && fault != Fault::Interrupted
                {
                    node.failed_syncs += 1;
                    node.file.fail_sync();
                }
                Err(fault.error())
            }
        }
    }

    fn sync_now(&mut self, inode: Inode) -> io::Result<()> {
        let Some(node) = self.files.get_mut(&inode) else {
            return Err(power_is_off());
        };
        let lied_about = self.plan.lies.first().and_then(|lie| node.file.nth_write(lie.nth));
        let lost = node.file.sync(lied_about);
        self.names.journal();
        if lied_about.is_some() {
            self.plan.hits += 1;
            let lie = self.plan.lies.remove(0);
            if let Some((path, offset)) = lie.instead {
                self.misdirect(&lost, &path, offset);
            }
        }
        Ok(())
    }

    /// Brings a write to a place where it does not belong. A path that does not exist swallows it.
    fn misdirect(&mut self, lost: &[Patch], path: &str, offset: u64) {
        let Ok(inode) = self.names.find(path, Side::Current) else {
            return;
        };
        let (Some(node), Some(first)) = (self.files.get_mut(&inode), lost.first()) else {
            return;
        };
        let start = first.offset();
        node.file.damage_behind_cache(|image| {
            for patch in lost {
                for moved in Patch::split(patch.bytes(), offset + (patch.offset() - start)) {
                    image.patch(&moved);
                }
            }
            image.cut(image.bytes());
        });
    }

    pub(super) fn drop_cache(&mut self, life: u64, inode: Inode) -> io::Result<()> {
        self.call(life, Call::Ask, |state| {
            let Some(node) = state.files.get_mut(&inode) else {
                return Err(power_is_off());
            };
            node.file.reload();
            Ok(())
        })
    }
}

fn check_bytes(bytes: u64) -> io::Result<()> {
    const EFBIG: i32 = 27;
    if bytes > FILE_BYTES_MAX { Err(io::Error::from_raw_os_error(EFBIG)) } else { Ok(()) }
}
