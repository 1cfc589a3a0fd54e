//! Errors: first what is on disk, then what to do next.
//!
//! Every error has a [`Certainty`]. That is the question a caller must answer before anything else:
//! was my order recorded? The [`ErrorKind`] says what to do next; there is one kind per different thing
//! to do.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::order::{Field, OrderId, Present, Receipt, Refusal, Seq, State, Timestamp};

/// What is on disk after an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Certainty {
    /// Nothing was recorded: any retry is safe, also with another key.
    NotRecorded,
    /// An order is recorded under this key; this is its receipt.
    Recorded(Receipt),
    /// It may or may not be recorded. Retry with the **same** key, or ask `by_key`; never guess and
    /// never take a new key.
    Unknown,
}

/// What went wrong, by what the caller does next.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A field breaks a limit. Cure: correct the submission; the key is still free.
    Invalid {
        /// What is wrong, in words.
        what: String,
    },
    /// The key was used before for other content. Cure: this is a bug in the caller's keys, or a changed
    /// order; look at the receipt, and take a new key for a new intent.
    Conflict {
        /// The receipt of the order that has the key.
        receipt: Receipt,
        /// The fields that differ.
        differs: Vec<Field>,
    },
    /// The order was refused for good, by the validator or because its client or account is held, now or at an
    /// earlier call: recorded, and the same answer for ever. Cure: none for this key.
    Refused {
        /// The receipt of the refusal.
        receipt: Receipt,
        /// The validator's code and words, or [`Refusal::HELD`] and the reason of the hold.
        refusal: Refusal,
    },
    /// The validator refused the order for now (or panicked). Cure: submit again later, same key.
    RefusedForNow {
        /// The validator's words.
        reason: String,
    },
    /// Too much is waiting to be written. Cure: submit again after `retry_after`, same key.
    Overloaded {
        /// An estimate of when there will be room.
        retry_after: Duration,
    },
    /// There is too little space on the disk for new orders; existing orders may still finish. Cure:
    /// make room; the ledger goes on by itself.
    DiskLow {
        /// Bytes that the file system still has.
        free_bytes: u64,
    },
    /// The outcome is unknown: a write or sync failed under this call, or the caller's time ran out.
    /// Cure: submit the same key again (after [`ErrorKind::Poisoned`]: after opening again).
    InDoubt {
        /// What happened.
        why: String,
    },
    /// An earlier write or sync failed; this handle writes no more. Reads go on. Cure: close and open
    /// again, which reads the disk afresh; look at the device if it comes back.
    Poisoned {
        /// What happened first.
        why: String,
    },
    /// The ledger was closed. Cure: open it.
    Closed,
    /// Another process (or another handle of this one) has the ledger open for writing. Cure: use that
    /// one, or open read-only.
    Locked {
        /// Who holds the lock, when it said so.
        pid: Option<u32>,
    },
    /// The directory is not a ledger. Cure: check the path; an empty or missing directory becomes one.
    NotALedger {
        /// What was found instead.
        what: String,
    },
    /// The ledger was written by a newer version of this program. Nothing was touched. Cure: use that.
    NewerFormat {
        /// The version found.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The ledger's stamp and the options disagree about durability. Cure: open it as what it is.
    DurabilityMismatch {
        /// What the ledger is stamped with.
        ledger: crate::order::Durability,
    },
    /// There is no order with this id. Cure: look it up by its key.
    NoSuchOrder {
        /// The id.
        order: OrderId,
    },
    /// The order has another version, or is in another state, than the command expected: somebody else was
    /// there first. Cure: look at where it stands, decide again, and send a new command.
    VersionMismatch {
        /// Where the order stands.
        now: Present,
    },
    /// The order is in a state that it stays in for ever; also when its time ran out, which is on disk before
    /// this is answered. Cure: none for this order; a correction is a new order.
    AlreadyTerminal {
        /// Where the order stands.
        now: Present,
    },
    /// The lifecycle has no step from where the order stands to the state that was asked for. Cure: another
    /// step first, or another lifecycle.
    NoSuchStep {
        /// Where the order stands.
        now: Present,
        /// The state that was asked for.
        to: State,
    },
    /// The step demands evidence that the command did not bring. Cure: bring it.
    MissingEvidence {
        /// Where the order stands.
        now: Present,
        /// The state that was asked for.
        to: State,
        /// The names of what is missing.
        missing: Vec<String>,
    },
    /// The command key was used before, on the same order, for another command. Nothing of this one was
    /// done. Cure: this is a bug in the caller's keys; take a new key for a new command.
    CommandConflict {
        /// The record of the command that has the key.
        seq: Seq,
        /// In what this one differs.
        differs: Vec<Field>,
    },
    /// The order has no open note there: nothing to be resolved. Nothing was recorded. Cure: look at its notes
    /// for the one that is meant.
    NoOpenNote {
        /// The seq that was named.
        note: Seq,
        /// What has resolved the note there already; `None` when there is no note of the order that waits to be
        /// resolved.
        resolved_by: Option<Seq>,
    },
    /// There is no open alert by this name: nothing to be acknowledged. Nothing was recorded. Cure: look at the
    /// open alerts.
    NoOpenAlert {
        /// The name that was given: the seq of the record that raised it.
        alert: Seq,
        /// When it was over; `None` when no alert was raised there.
        cleared_at: Option<Timestamp>,
    },
    /// There is no dispatch with this name. Cure: look at the dispatches of the order.
    NoSuchDispatch {
        /// The seq that was named.
        dispatch: Seq,
    },
    /// The dispatch is no dead letter: it is done, or the outbox has it. Nothing was recorded. Cure: none needed; look
    /// at where it stands.
    NotDead {
        /// The dispatch.
        dispatch: Seq,
    },
    /// An outbox runs on this ledger already. Cure: use that one, or stop it first.
    OutboxRuns,
    /// A member of a linked batch can't be taken, so nothing of the batch was recorded. Cure: that of the
    /// member's error; then send the batch again, under the same key while it is the same.
    BatchMember {
        /// The first such member, counted from 0; the batch's cursor counts behind the last one.
        index: usize,
        /// What is wrong with it.
        why: Box<ErrorKind>,
    },
    /// Orders or commands of a linked batch are recorded already, outside of it. Nothing of the batch was
    /// recorded. Cure: look at them; leave them out of the batch, or take new keys.
    BatchConflict {
        /// Which members, counted from 0, and the records that they are.
        existing: Vec<(usize, Seq)>,
    },
    /// The key of a linked batch was used before for another one. Nothing of this one was recorded. Cure:
    /// this is a bug in the caller's keys; take a new key for a new batch.
    BatchKeyConflict {
        /// The batch that has the key.
        batch: Seq,
    },
    /// Another handle of this consumer was opened since: it has taken over, and this one moves nothing any
    /// more. Cure: stop; the events since its last commit are delivered to the other one.
    Fenced {
        /// The consumer.
        consumer: String,
    },
    /// The consumer was not given this event, or is done with it. Cure: commit what [`Consumer::poll`]
    /// answered.
    ///
    /// [`Consumer::poll`]: crate::Consumer::poll
    NotDelivered {
        /// The event.
        seq: Seq,
    },
    /// The lifecycle of the options lacks a state that orders of this ledger may be in. No record was
    /// written. Cure: add it, terminal as it was, or open without a lifecycle to use the stored one.
    LifecycleMismatch {
        /// The state that is missing, or not terminal as it was.
        state: State,
    },
    /// The log is damaged. Nothing was changed. Cure: run `order-ledger verify`, restore from a backup;
    /// `order-ledger dump` shows what is provable.
    Corrupt(Damage),
    /// A derived file proves that the log once held records that it holds no more: the log lost data.
    /// Nothing was changed. Cure: restore the missing part of `wal/` from a backup.
    LogLostData {
        /// The last seq that the witness has seen as durable.
        witness_seq: Seq,
        /// The last seq that the log has.
        log_seq: Option<Seq>,
        /// The witness.
        witness: String,
    },
    /// The operating system said no. Cure: as its message says.
    Io {
        /// What was being done.
        doing: String,
        /// The kind of the error.
        kind: std::io::ErrorKind,
    },
    /// The codec of `Orders<T>` could not encode or decode a value. Cure: correct the type, or read the
    /// order's bytes with `get`.
    Codec {
        /// What the codec said.
        what: String,
    },
    /// A page token or query that this ledger can't answer. Cure: correct the query.
    BadQuery {
        /// What is wrong.
        what: String,
    },
}

/// Where the log is damaged.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Damage {
    /// The file, relative to the ledger's directory.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// The first seq that can't be read.
    pub first_seq: Option<Seq>,
    /// The last seq that is known to be affected.
    pub last_seq: Option<Seq>,
    /// What is wrong there, expected and found.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        match (self.first_seq, self.last_seq) {
            (Some(first), Some(last)) if first == last => write!(f, " (seq {first})")?,
            (Some(first), Some(last)) => write!(f, " (seq {first} to {last})")?,
            (Some(first), None) => write!(f, " (from seq {first})")?,
            _ => {}
        }
        write!(f, ": {}", self.what)
    }
}

/// An error of the ledger: [`certainty`](Error::certainty) first, then [`kind`](Error::kind).
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    /// Nothing was recorded, although errors of this kind mostly don't know.
    is_not_recorded: bool,
    path: Option<PathBuf>,
    source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync + 'static>>,
}

/// The result of a call to the ledger.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with the certainty that its kind has by nature.
    pub(crate) fn new(kind: ErrorKind) -> Error {
        Error { inner: Box::new(Inner { kind, is_not_recorded: false, path: None, source: None }) }
    }

    /// The operating system said no while `doing` something.
    pub(crate) fn io(doing: impl Into<String>, error: std::io::Error) -> Error {
        let mut made = Error::new(ErrorKind::Io { doing: doing.into(), kind: error.kind() });
        made.inner.source = Some(std::sync::Arc::new(error));
        made
    }

    /// The same error of a call that had found the key free and has written nothing.
    pub(crate) fn not_recorded(mut self) -> Error {
        self.inner.is_not_recorded = true;
        self
    }

    /// The same error with the directory it is about.
    pub(crate) fn at(mut self, path: impl Into<PathBuf>) -> Error {
        self.inner.path = Some(path.into());
        self
    }

    /// The same error with what caused it.
    pub(crate) fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Error {
        let source: Box<dyn std::error::Error + Send + Sync + 'static> = source.into();
        self.inner.source = Some(source.into());
        self
    }

    /// What is on disk: the first thing to look at.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        match &self.inner.kind {
            _ if self.inner.is_not_recorded => Certainty::NotRecorded,
            ErrorKind::Conflict { receipt, .. } | ErrorKind::Refused { receipt, .. } => {
                Certainty::Recorded(*receipt)
            }
            ErrorKind::InDoubt { .. } => Certainty::Unknown,
            // The log could not be read: it may well hold an order under the key.
            ErrorKind::Io { .. } | ErrorKind::Corrupt(_) | ErrorKind::LogLostData { .. } => {
                Certainty::Unknown
            }
            _ => Certainty::NotRecorded,
        }
    }

    /// What went wrong, by what to do next.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.inner.kind
    }

    /// The ledger's directory, when the error is about one.
    #[must_use]
    pub fn path(&self) -> Option<&std::path::Path> {
        self.inner.path.as_deref()
    }

    /// What to do next, as a sentence for an operator.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match &self.inner.kind {
            ErrorKind::Invalid { .. } => {
                "correct the order and submit it again; its key is still free"
            }
            ErrorKind::Conflict { .. } => {
                "the key belongs to another order: take a new key for a new order"
            }
            ErrorKind::Refused { .. } => "the refusal is final for this key",
            ErrorKind::RefusedForNow { .. } => "submit it again later with the same key",
            ErrorKind::Overloaded { .. } => "submit it again after a pause with the same key",
            ErrorKind::DiskLow { .. } => "make room on the disk; the ledger goes on by itself",
            ErrorKind::InDoubt { .. } => "submit it again with the same key; never with a new one",
            ErrorKind::Poisoned { .. } => {
                "close the ledger and open it again; check the device if this comes back"
            }
            ErrorKind::Closed => "open the ledger again",
            ErrorKind::Locked { .. } => "stop the process that has it open, or read it read-only",
            ErrorKind::NotALedger { .. } => "check the path",
            ErrorKind::NewerFormat { .. } => "use a newer version of order-ledger",
            ErrorKind::DurabilityMismatch { .. } => "open it with the durability it was made with",
            ErrorKind::NoSuchOrder { .. } => "look the order up by its key",
            ErrorKind::VersionMismatch { .. } => "look at where the order stands, and decide again",
            ErrorKind::AlreadyTerminal { .. } => {
                "the order is finished; a correction is a new order"
            }
            ErrorKind::NoSuchStep { .. } => "take another step first",
            ErrorKind::MissingEvidence { .. } => "send the command again with the evidence",
            ErrorKind::CommandConflict { .. } => {
                "the key belongs to another command: take a new key for a new command"
            }
            ErrorKind::NoOpenNote { .. } => "look at the order's notes for the one that is meant",
            ErrorKind::NoOpenAlert { .. } => "look at the open alerts for the one that is meant",
            ErrorKind::BatchMember { .. } => "see to that member, then send the batch again",
            ErrorKind::BatchConflict { .. } => {
                "leave out of the batch what is recorded already, or take new keys"
            }
            ErrorKind::BatchKeyConflict { .. } => {
                "the key belongs to another batch: take a new key for a new batch"
            }
            ErrorKind::NoSuchDispatch { .. } => "look at the dispatches of the order",
            ErrorKind::NotDead { .. } => "nothing needs to be done; look at where it stands",
            ErrorKind::OutboxRuns => "use the outbox that runs, or stop it first",
            ErrorKind::Fenced { .. } => "stop: another handle of the consumer has taken over",
            ErrorKind::NotDelivered { .. } => "commit what poll answered",
            ErrorKind::LifecycleMismatch { .. } => {
                "add the state to the lifecycle, or open without one to use what is stored"
            }
            ErrorKind::Corrupt(_) => {
                "run `order-ledger verify`, then restore the file from a backup"
            }
            ErrorKind::LogLostData { .. } => {
                "restore the missing part of wal/ from a backup; nothing was changed"
            }
            ErrorKind::Io { .. } => "see the system's message",
            ErrorKind::Codec { .. } => "correct the type, or read the order's bytes",
            ErrorKind::BadQuery { .. } => "correct the query",
        }
    }
}

/// Two handles on the same failure: every call that waited for one group gets the same error.
impl Clone for Error {
    fn clone(&self) -> Error {
        Error {
            inner: Box::new(Inner {
                kind: self.inner.kind.clone(),
                is_not_recorded: self.inner.is_not_recorded,
                path: self.inner.path.clone(),
                source: self.inner.source.clone(),
            }),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.inner.path {
            write!(f, "{}: ", path.display())?;
        }
        match &self.inner.kind {
            ErrorKind::Invalid { what } => write!(f, "invalid: {what}"),
            ErrorKind::Conflict { receipt, differs } => {
                write!(f, "the key belongs to order {} with other content:", receipt.order)?;
                differs.iter().try_for_each(|field| write!(f, " {field}"))
            }
            ErrorKind::Refused { receipt, refusal } => write!(
                f,
                "refused for good as order {} (code {}): {}",
                receipt.order, refusal.code, refusal.reason
            ),
            ErrorKind::RefusedForNow { reason } => write!(f, "refused for now: {reason}"),
            ErrorKind::Overloaded { retry_after } => {
                write!(f, "overloaded: try again in {} ms", retry_after.as_millis())
            }
            ErrorKind::DiskLow { free_bytes } => {
                write!(f, "too little space on the disk for new orders ({free_bytes} bytes free)")
            }
            ErrorKind::InDoubt { why } => {
                write!(f, "it is not known whether this is recorded: {why}")
            }
            ErrorKind::Poisoned { why } => {
                write!(f, "not recorded: the ledger stopped writing after a failure: {why}")
            }
            ErrorKind::Closed => write!(f, "the ledger is closed"),
            ErrorKind::Locked { pid: Some(pid) } => {
                write!(f, "the ledger is open for writing in process {pid}")
            }
            ErrorKind::Locked { pid: None } => {
                write!(f, "the ledger is open for writing in another process")
            }
            ErrorKind::NotALedger { what } => write!(f, "not a ledger: {what}"),
            ErrorKind::NewerFormat { found, known } => {
                write!(f, "format version {found} is newer than this program, which knows {known}")
            }
            ErrorKind::DurabilityMismatch { ledger } => {
                write!(f, "this ledger is {ledger}, and the options ask for the other kind")
            }
            ErrorKind::NoSuchOrder { order } => write!(f, "there is no order {order}"),
            ErrorKind::VersionMismatch { now } => write!(
                f,
                "the order is in state {} with version {}, which is not what was expected",
                now.state, now.version
            ),
            ErrorKind::AlreadyTerminal { now } => {
                write!(f, "the order is in state {} for ever", now.state)
            }
            ErrorKind::NoSuchStep { now, to } => {
                write!(f, "there is no step from the state {} to {to}", now.state)
            }
            ErrorKind::MissingEvidence { now, to, missing } => {
                write!(f, "the step from {} to {to} demands evidence:", now.state)?;
                missing.iter().try_for_each(|name| write!(f, " {name}"))
            }
            ErrorKind::CommandConflict { seq, differs } => {
                write!(f, "the command key belongs to the command at seq {seq}, with another:")?;
                differs.iter().try_for_each(|field| write!(f, " {field}"))
            }
            ErrorKind::NoOpenNote { note, resolved_by: Some(seq) } => {
                write!(f, "the note at seq {note} was resolved already, at seq {seq}")
            }
            ErrorKind::NoOpenNote { note, resolved_by: None } => {
                write!(f, "at seq {note} there is no note of this order that waits to be resolved")
            }
            ErrorKind::NoOpenAlert { alert, cleared_at: Some(_) } => {
                write!(f, "the alert at seq {alert} is over already")
            }
            ErrorKind::NoOpenAlert { alert, cleared_at: None } => {
                write!(f, "at seq {alert} no alert was raised")
            }
            ErrorKind::NoSuchDispatch { dispatch } => {
                write!(f, "there is no dispatch at seq {dispatch}")
            }
            ErrorKind::NotDead { dispatch } => {
                write!(f, "the dispatch at seq {dispatch} is no dead letter")
            }
            ErrorKind::OutboxRuns => write!(f, "an outbox runs on this ledger already"),
            ErrorKind::BatchMember { index, .. } => {
                write!(f, "nothing of the batch is recorded: member {index}")?;
                match &self.inner.source {
                    Some(source) => write!(f, ": {source}"),
                    None => Ok(()),
                }
            }
            ErrorKind::BatchConflict { existing } => {
                write!(f, "nothing of the batch is recorded: members are there already:")?;
                existing.iter().try_for_each(|(index, seq)| write!(f, " {index} (seq {seq})"))
            }
            ErrorKind::BatchKeyConflict { batch } => {
                write!(f, "the key belongs to the batch at seq {batch}, which has other members")
            }
            ErrorKind::Fenced { consumer } => {
                write!(f, "another handle of the consumer {consumer} has taken over")
            }
            ErrorKind::NotDelivered { seq } => {
                write!(f, "the consumer was not given the event at seq {seq}, or is done with it")
            }
            ErrorKind::LifecycleMismatch { state } => write!(
                f,
                "orders of this ledger may be in the state {state}, which the lifecycle lacks or treats \
                 otherwise"
            ),
            ErrorKind::Corrupt(damage) => write!(f, "the log is damaged: {damage}"),
            ErrorKind::LogLostData { witness_seq, log_seq, witness } => {
                write!(
                    f,
                    "the log lost data: {witness} has seen seq {witness_seq} durable, the log ends "
                )?;
                match log_seq {
                    Some(seq) => write!(f, "at seq {seq}"),
                    None => write!(f, "before the first record"),
                }
            }
            ErrorKind::Io { doing, kind } => match &self.inner.source {
                Some(source) => write!(f, "{doing}: {source}"),
                None => write!(f, "{doing}: {kind}"),
            },
            ErrorKind::Codec { what } => write!(f, "codec: {what}"),
            ErrorKind::BadQuery { what } => write!(f, "bad query: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}
