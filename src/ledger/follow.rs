//! Following a ledger that another process writes: events as they become durable, without a lock.
//!
//! Always true: what is shown is durable (recovery's reader sees to it, I3), in order, without a gap; no byte is
//! changed and no lock is taken; a ledger in which nothing happens costs one small read for each look.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::read::Reads;
use super::reader::{self, Reader};
use crate::admission::dedupe::Lookup;
use crate::disk::os::OsHost;
use crate::disk::{Disk, Host, Open, read_up_to};
use crate::error::{Error, Result};
use crate::feed::EventFilter;
use crate::order::{Event, Seq};
use crate::recovery::{self, Recovered};
use crate::wal::format::{GROUP_HEADER_BYTES, segment_path};
use crate::wal::log::Cursor;
use crate::wal::segment::Segment;

/// Between two looks at a log that has nothing new.
const PAUSE: Duration = Duration::from_millis(20);
/// The same when something is there that can't be shown: a group that is being written, or that a crash has
/// left in half.
const PAUSE_BEFORE_HALF: Duration = Duration::from_millis(200);

/// A reader in another process that goes on reading: what happens to orders, as it becomes durable.
///
/// Takes no lock and changes no byte, so that it works beside the one process that writes, and on a mount that
/// is read-only. Its place is its caller's to keep ([`Follower::next`]); for a place that the ledger keeps, the
/// process that writes has [`Ledger::consumer`](crate::Ledger::consumer).
///
/// **Cost**: the log is read once; a look at a log without news is one small read. After news the ends of the
/// log are looked at as by [`Reader::open`]. The writer is not slowed, except that a group which nothing proves
/// yet is synced once more by whoever shows it.
///
/// ```
/// use std::time::Duration;
/// use order_ledger::{Follower, Ledger, Seq, Submission};
/// # let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("orders.ledger");
/// let ledger = Ledger::open(&path)?;
/// // In another process:
/// let mut follower = Follower::open(&path, Seq::FIRST)?;
/// ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?;
/// let events = follower.poll(100, Duration::from_secs(10))?;
/// assert_eq!(events.len(), 1);
/// # Ok::<(), order_ledger::Error>(())
/// ```
pub struct Follower {
    disk: Arc<dyn Disk>,
    host: Arc<dyn Host>,
    reader: Reader,
    end: End,
    cursor: Cursor,
    filter: EventFilter,
    /// The first seq that was not looked at.
    next: Seq,
    /// Something lies behind the end that could not be shown at the last look.
    saw_half: bool,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Where the log ended when it was opened.
#[derive(Debug)]
struct End {
    active: Arc<Segment>,
    offset: u64,
}

impl Follower {
    /// Follows the ledger in the directory `path` from this seq on.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open(path: impl AsRef<Path>, from: Seq) -> Result<Follower> {
        let path = path.as_ref();
        let disk = reader::open_dir(path)?;
        let followed = Follower::open_on(disk, Arc::new(OsHost::new()), from);
        followed.map_err(|error| error.at(path))
    }

    /// The same for the ledger on `disk`.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open_on(disk: Arc<dyn Disk>, host: Arc<dyn Host>, from: Seq) -> Result<Follower> {
        let (reader, end) = look(&disk, &*host)?;
        let next = from.max(Seq::FIRST);
        let cursor = reader.reads.lookup.log.cursor(next);
        let filter = EventFilter::all();
        Ok(Follower { disk, host, reader, end, cursor, filter, next, saw_half: false })
    }

    /// Which events are shown from now on; the others are passed over.
    #[must_use]
    pub fn filter(mut self, filter: EventFilter) -> Follower {
        self.filter = filter;
        self
    }

    /// Passes over all that is there now.
    pub fn skip_to_end(&mut self) {
        let log = &self.reader.reads.lookup.log;
        self.next = self.next.max(log.readable_next());
        self.cursor = log.cursor(self.next);
    }

    /// The ledger as it was at the last look: for the orders behind the events.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The first seq that was not looked at: where to go on after a restart.
    #[must_use]
    pub fn next(&self) -> Seq {
        self.next
    }

    /// The next events, at most `max`: waits for so long at most until there is one, and answers nothing when
    /// none came.
    ///
    /// # Errors
    /// Those of [`Reader::open`]; events before a place that can't be read are shown first. It may be called
    /// again after an error, and goes on where it was.
    pub fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Event>> {
        let started_ns = self.host.monotonic_ns();
        loop {
            let events = self.read(max)?;
            let spent_ns = self.host.monotonic_ns().saturating_sub(started_ns);
            let left = wait.saturating_sub(Duration::from_nanos(spent_ns));
            if !events.is_empty() || max == 0 {
                return Ok(events);
            }
            // Also without time to wait: news that are there are shown.
            if self.look_again()? {
                continue;
            }
            if left.is_zero() {
                return Ok(events);
            }
            let pause = if self.saw_half { PAUSE_BEFORE_HALF } else { PAUSE };
            self.host.sleep(pause.min(left));
        }
    }

    /// Reads on, up to the end that is known.
    fn read(&mut self, max: usize) -> Result<Vec<Event>> {
        let log = Arc::clone(&self.reader.reads.lookup.log);
        let mut events = Vec::new();
        while events.len() < max {
            let record = match self.cursor.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    self.cursor = log.cursor(self.next);
                    if events.is_empty() {
                        return Err(error);
                    }
                    break;
                }
            };
            let body = record.body()?;
            self.next = record.seq.next();
            let Some(event) = log.issuer.event(&record.frame(), &body) else { continue };
            if self.filter.wants(&log, &event, &body)? {
                events.push(event);
            }
        }
        Ok(events)
    }

    /// Looks whether the log goes on; true when there is more to read.
    fn look_again(&mut self) -> Result<bool> {
        if !self.has_news()? {
            self.saw_half = false;
            return Ok(false);
        }
        let (reader, end) = look(&self.disk, &*self.host)?;
        let went_on = reader.reads.lookup.log.readable_next() > self.next;
        let moved = (end.active.header.number, end.offset)
            != (self.end.active.header.number, self.end.offset);
        self.saw_half = !moved;
        self.cursor = reader.reads.lookup.log.cursor(self.next);
        (self.reader, self.end) = (reader, end);
        Ok(went_on)
    }

    /// Whether anything was written behind the end: not zeros there, or another segment.
    fn has_news(&self) -> Result<bool> {
        let End { active, offset } = &self.end;
        let mut header = [0; GROUP_HEADER_BYTES];
        let io = |error| Error::io(format!("reading {} at byte {offset}", active.path()), error);
        let bytes = read_up_to(&*active.file(), &mut header, *offset).map_err(io)?;
        if header.get(..bytes).unwrap_or_default().iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        let next = segment_path(active.header.number + 1);
        match self.disk.open(&next, Open::Read) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(format!("opening {next}"), error)),
        }
    }
}

/// Opens the ledger for reading, and notes where its log ends.
fn look(disk: &Arc<dyn Disk>, host: &dyn Host) -> Result<(Reader, End)> {
    let Recovered { log, tables, active, position, .. } = recovery::open_read_only(disk, host)?;
    let reads = Reads { lookup: Lookup { log, tables }, views: None, opened_next: Seq::FIRST };
    let opened_at = reader::ledger_now(host, position.last_at);
    let reader = Reader { disk: Arc::clone(disk), reads, opened_at };
    Ok((reader, End { active, offset: position.offset }))
}
