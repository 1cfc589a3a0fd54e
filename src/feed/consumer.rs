//! A named reader of events with a durable cursor.
//!
//! Always true: what lies below the cursor was delivered to some handle of the consumer and committed by it,
//! or passed over by a filter; what lies above is delivered again to the next handle. So every event is
//! delivered at least once, and the one who handles it must bear a repeat.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::filter::EventFilter;
use crate::commit::Committer;
use crate::commit::cursor::{Advance, CursorAt};
use crate::error::{Error, ErrorKind, Result};
use crate::order::linked::CursorMove;
use crate::order::{Event, Linked, LinkedBatch, Seq};
use crate::wal::log::{Cursor, Record};
use crate::wal::record::Parked;

/// So many events that nobody wanted are passed over before the cursor is moved behind them by itself: one
/// small record for each so many.
const SKIPPED_MAX: u64 = 4_096;

/// A named reader of what happens to orders: a durable place in the log that is this handle's alone.
///
/// [`poll`](Consumer::poll) gives the next events, [`commit`](Consumer::commit) says how far they are dealt
/// with. After a crash delivery goes on behind the last commit: **each event at least once**, in order,
/// without a gap, never one that a power cut can take back. Opening the name again, here or after a crash,
/// fences the handle before it: its commits fail with [`ErrorKind::Fenced`].
///
/// **Cost**: a consumer reads the log by itself, whenever it likes; it costs those who submit nothing. A
/// commit is a small record in the log, with a share of a sync.
///
/// ```
/// use std::time::Duration;
/// use order_ledger::{Ledger, Submission};
/// # let dir = tempfile::tempdir().unwrap();
/// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?;
/// let mut billing = ledger.consumer("billing")?;
/// for event in billing.poll(100, Duration::from_secs(1))? {
///     // Write the invoice, then:
///     billing.commit(event.seq)?;
/// }
/// assert!(billing.poll(100, Duration::ZERO)?.is_empty());
/// # Ok::<(), order_ledger::Error>(())
/// ```
pub struct Consumer {
    committer: Arc<Committer>,
    name: String,
    epoch: u64,
    filter: EventFilter,
    cursor: Cursor,
    /// The first seq that was not committed, as this handle knows.
    next: Seq,
    /// The first seq that was not looked at.
    looked_next: Seq,
    /// What was delivered and not committed, rising.
    delivered: VecDeque<Seq>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Consumer { name, epoch, next, .. } = self;
        write!(f, "Consumer({name}, epoch {epoch}, next {next})")
    }
}

/// An event that a consumer has set aside, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ParkedEvent {
    /// What happened.
    pub event: Event,
    /// Why it was set aside. Source: the consumer.
    pub why: String,
}

impl Consumer {
    /// Takes the consumer over: any handle that was opened before is fenced.
    pub(crate) fn open(committer: &Arc<Committer>, name: &str) -> Result<Consumer> {
        let CursorAt { epoch, next } = committer.advance(name, Advance::Open)?;
        Ok(Consumer {
            committer: Arc::clone(committer),
            name: name.to_owned(),
            epoch,
            filter: EventFilter::all(),
            cursor: committer.lookup.log.cursor(next),
            next,
            looked_next: next,
            delivered: VecDeque::new(),
        })
    }

    /// Which events are delivered from now on; the others count as done. Not stored: give the same filter
    /// whenever the consumer is opened.
    pub fn filter(mut self, filter: EventFilter) -> Consumer {
        self.filter = filter;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first seq that is not committed.
    #[must_use]
    pub fn next(&self) -> Seq {
        self.next
    }

    /// How many records of the log it has not looked at: events, and others that it will pass over.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.committer.lookup.log.readable_next().0.saturating_sub(self.looked_next.0)
    }

    /// The next events, at most `max`: waits for so long at most until there is one, and answers nothing when
    /// none came.
    ///
    /// What was delivered is not delivered again to this handle, committed or not.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`], [`ErrorKind::Poisoned`] when there is nothing more, and never will be;
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`] when the log can't be read there: events before that place
    /// are delivered first. Those of [`Consumer::commit`], when the cursor is moved behind what nobody
    /// wanted.
    pub fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Event>> {
        let host = Arc::clone(&self.committer.host);
        let started_ns = host.monotonic_ns();
        loop {
            let events = self.read(max)?;
            if self.delivered.is_empty() && self.looked_next.0 - self.next.0 >= SKIPPED_MAX {
                self.advance(self.looked_next)?;
            }
            let spent_ns = host.monotonic_ns().saturating_sub(started_ns);
            let left = wait.saturating_sub(Duration::from_nanos(spent_ns));
            if events.is_empty() {
                self.committer.check_goes_on()?;
            }
            if !events.is_empty() || left.is_zero() {
                return Ok(events);
            }
            let log = &self.committer.lookup.log;
            self.committer.announcer.wait_for_record(log, self.looked_next, left);
        }
    }

    /// Reads on, until there are `max` events or no more records.
    fn read(&mut self, max: usize) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        while events.len() < max {
            let wanted = match self.cursor.next() {
                Ok(None) => break,
                Ok(Some(record)) => self.wanted(&record).map(|event| (record.seq, event)),
                Err(error) => Err(error),
            };
            match wanted {
                Ok((seq, event)) => {
                    self.looked_next = seq.next();
                    if let Some(event) = event {
                        self.delivered.push_back(seq);
                        events.push(event);
                    }
                }
                Err(error) => {
                    // Read again from there, when it is asked again.
                    self.cursor = self.committer.lookup.log.cursor(self.looked_next);
                    if events.is_empty() {
                        return Err(error);
                    }
                    break;
                }
            }
        }
        Ok(events)
    }

    /// The event in a record, when there is one and it is wanted.
    fn wanted(&self, record: &Record) -> Result<Option<Event>> {
        let log = &self.committer.lookup.log;
        let body = record.body()?;
        let Some(event) = log.issuer.event(&record.frame(), &body) else { return Ok(None) };
        Ok(if self.filter.wants(log, &event, &body)? { Some(event) } else { None })
    }

    /// Says that everything up to the event at `seq` is dealt with: returns when that is on disk.
    ///
    /// **A repeat**, and an older seq, succeeds and writes nothing: a cursor never goes back.
    ///
    /// # Errors
    /// [`ErrorKind::NotDelivered`] for a seq that this handle was not given; [`ErrorKind::Fenced`] when
    /// another handle has taken over; [`ErrorKind::InDoubt`]: after opening again it is there or not, and
    /// events may be delivered again; [`ErrorKind::Overloaded`], [`ErrorKind::DiskLow`],
    /// [`ErrorKind::Poisoned`], [`ErrorKind::Closed`], [`ErrorKind::Io`], [`ErrorKind::Corrupt`]: not
    /// recorded.
    pub fn commit(&mut self, seq: Seq) -> Result<()> {
        if seq < self.next {
            return Ok(());
        }
        let Ok(place) = self.delivered.binary_search(&seq) else {
            return Err(Error::new(ErrorKind::NotDelivered { seq }));
        };
        // What was passed over behind the last one is done as well.
        let is_last = place + 1 == self.delivered.len();
        self.advance(if is_last { self.looked_next } else { seq.next() })?;
        self.delivered.drain(..=place);
        Ok(())
    }

    /// Records a batch and says, in the same write, that everything up to the event at `seq` is dealt with:
    /// after any crash both are there, or neither. So what a consumer writes into this ledger about an event
    /// is written once.
    ///
    /// **A repeat** is answered as by [`Ledger::linked`](crate::Ledger::linked). Make the key of the batch from
    /// the name of the consumer and the event.
    ///
    /// # Errors
    /// Those of [`Ledger::linked`](crate::Ledger::linked); [`ErrorKind::NotDelivered`] for a seq that this handle
    /// was not given; [`ErrorKind::BatchMember`] with [`ErrorKind::Fenced`] behind the last member when another
    /// handle has taken over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use order_ledger::{Ledger, LinkedBatch, State, Submission, Transition};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?;
    /// let mut desk = ledger.consumer("desk")?;
    /// for event in desk.poll(100, Duration::ZERO)? {
    ///     let batch = LinkedBatch::new(format!("desk/{}", event.seq))
    ///         .transition(Transition::new(event.order, State::Confirmed));
    ///     desk.commit_with(event.seq, batch)?;
    /// }
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    pub fn commit_with(&mut self, seq: Seq, mut batch: LinkedBatch) -> Result<Linked> {
        let Ok(place) = self.delivered.binary_search(&seq) else {
            return Err(Error::new(ErrorKind::NotDelivered { seq }));
        };
        let is_last = place + 1 == self.delivered.len();
        let next = if is_last { self.looked_next } else { seq.next() };
        let consumer = self.name.clone();
        batch.cursor = Some(CursorMove { consumer, epoch: self.epoch, seq, next });
        let linked = self.committer.linked(&batch)?;
        // A batch that another handle recorded has moved the cursor behind the event as well.
        self.next = self.next.max(next);
        self.delivered.drain(..=place);
        Ok(linked)
    }

    fn advance(&mut self, next: Seq) -> Result<()> {
        let advance = Advance::To { epoch: self.epoch, next };
        self.next = self.committer.advance(&self.name, advance)?.next;
        Ok(())
    }

    /// Sets an event aside that can't be dealt with: it goes to a list of its own
    /// ([`Ledger::parked`](crate::Ledger::parked)), and no longer holds up what follows. The cursor does not
    /// move: commit it as the others.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a reason above its limit; those of [`Consumer::commit`].
    pub fn park(&mut self, seq: Seq, why: &str) -> Result<()> {
        if self.delivered.binary_search(&seq).is_err() {
            return Err(Error::new(ErrorKind::NotDelivered { seq }));
        }
        self.say_parked(Parked { seq: seq.0, why: Some(why) })
    }

    /// Takes an event off the list of those that were set aside: it is dealt with after all.
    ///
    /// # Errors
    /// [`ErrorKind::NotDelivered`] when it is not on the list; those of [`Consumer::commit`].
    pub fn unpark(&mut self, seq: Seq) -> Result<()> {
        let parked = self.committer.lookup.parked(&self.name)?;
        if !parked.iter().any(|(other, _)| *other == seq) {
            return Err(Error::new(ErrorKind::NotDelivered { seq }));
        }
        self.say_parked(Parked { seq: seq.0, why: None })
    }

    fn say_parked(&self, parked: Parked<'_>) -> Result<()> {
        let advance = Advance::Park { epoch: self.epoch, parked };
        self.committer.advance(&self.name, advance).map(|_| ())
    }
}
