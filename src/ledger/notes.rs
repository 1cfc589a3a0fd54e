//! What is noted about orders, on the handle: notes, what resolves them, and reading both.

use super::Ledger;
use super::open_notes::{self, NotePage, NoteQuery};
use super::read::Reads;
use crate::admission::note::Wanted;
use crate::error::Result;
use crate::order::{Note, NoteEntry, Noted, OrderId, Resolution};

#[cfg(doc)]
use crate::error::ErrorKind;

impl Ledger {
    /// Notes something about an order: returns when it is on disk. The order may be in any state, also finished;
    /// neither its state nor its version changes.
    ///
    /// **Durability**: on `Ok` the note is there after a process kill and after a power cut, once.
    ///
    /// **Idempotency**: with a command key it is noted once, and a repeat is answered with the first result.
    /// Without one each call makes a note of its own: after an answer in doubt, look at [`Ledger::notes`].
    ///
    /// **Limits**: see [`limits`](crate::limits). Notes are let in when new orders are not, like steps.
    ///
    /// **Cost**: one write and one sync, shared with everything else that is written at the same time. Notes
    /// and steps of one order are written one after the other.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`], [`ErrorKind::NoSuchOrder`], [`ErrorKind::CommandConflict`] (the command key
    ///   belongs to another command of the order, which may be a step): nothing was recorded, and the same call
    ///   will say the same;
    /// - [`ErrorKind::Overloaded`], [`ErrorKind::DiskLow`], [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]:
    ///   not recorded;
    /// - [`ErrorKind::InDoubt`]: unknown; after opening again send the same command, or look at the notes;
    /// - [`ErrorKind::Io`], [`ErrorKind::Corrupt`]: the order could not be read; nothing was written.
    ///
    /// An example is at [`Note`].
    pub fn note(&self, note: &Note) -> Result<Noted> {
        self.inner.committer.note(Wanted::Note(note))
    }

    /// Notes many things with one sync, or a few: independent results, in the order of the input. Notes of the
    /// same order are written in the order in which they stand, with a sync each.
    ///
    /// **Durability, idempotency, errors**: of each result as for [`Ledger::note`].
    #[must_use = "each note has a result of its own"]
    pub fn note_many(&self, notes: &[Note]) -> Vec<Result<Noted>> {
        let many: Vec<_> = notes.iter().map(Wanted::Note).collect();
        self.inner.committer.note_many(&many)
    }

    /// Resolves an open note: returns when it is on disk.
    ///
    /// **Durability**: on `Ok` it is there after a process kill and after a power cut.
    ///
    /// **Idempotency**: without a command key, resolving what is resolved already succeeds, writes nothing, and
    /// is answered with the resolution that is there. With one, the resolution of that command is recorded once,
    /// and a repeat is answered with the first result.
    ///
    /// # Errors
    /// [`ErrorKind::NoOpenNote`] when the order has no such note, when it was not to be resolved, or when another
    /// command has resolved it; nothing was recorded. Else those of [`Ledger::note`].
    ///
    /// An example is at [`Note`].
    pub fn resolve_note(&self, resolution: &Resolution) -> Result<Noted> {
        self.inner.committer.note(Wanted::Resolution(resolution))
    }

    /// What was noted about an order, first to last, with what resolved it; empty when there is no such order.
    ///
    /// Shows only what is durable; a caller finds what it was acknowledged at once.
    ///
    /// **Cost**: a read of the log for each note, and one more for what resolves it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn notes(&self, order: OrderId) -> Result<Vec<NoteEntry>> {
        self.inner.reads.notes(order)
    }

    /// A page of notes that wait to be resolved, in the order in which they were made.
    ///
    /// Shows only what is durable; a caller finds what it was acknowledged at once, also while the views lag,
    /// are rebuilt, or are off: what they do not cover is read from the log.
    ///
    /// ```
    /// use order_ledger::{Ledger, Note, NoteKind, NoteQuery, Submission};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// # let order = ledger.submit(&Submission::new("web", "1", "tea"))?.receipt.order;
    /// ledger.note(&Note::new(order, NoteKind::Feedback, "very good tea"))?;
    /// let call = ledger.note(&Note::new(order, NoteKind::Note, "call them back").open())?;
    /// let dispute = ledger.note(&Note::new(order, NoteKind::Dispute, "not what I ordered"))?;
    /// let mut query = NoteQuery::open().limit(1);
    /// let first = ledger.open_notes(&query)?;
    /// assert_eq!(first.notes[0].seq, call.seq);
    /// query = query.after(first.next.unwrap());
    /// assert_eq!(ledger.open_notes(&query)?.notes[0].seq, dispute.seq);
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn open_notes(&self, query: &NoteQuery) -> Result<NotePage> {
        self.inner.reads.open_notes(query)
    }
}

impl Reads {
    pub(crate) fn notes(&self, order: OrderId) -> Result<Vec<NoteEntry>> {
        if order.partition() != self.lookup.log.issuer.partition {
            return Ok(Vec::new());
        }
        self.lookup.notes(order.seq())
    }

    pub(crate) fn open_notes(&self, query: &NoteQuery) -> Result<NotePage> {
        open_notes::page(&self.lookup, self.views.as_deref(), query)
    }
}
