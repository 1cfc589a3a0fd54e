#![doc = include_str!("../README.md")]
//!
//! # Where to read
//!
//! The modules in the order in which a newcomer should read them; imports point up this list only, which a
//! test holds.
//!
//! - `order`: the words, pure values: [`Submission`], [`Transition`], [`Note`], [`Dispatch`], [`Hold`], [`Lifecycle`], [`Receipt`],
//!   [`limits`]
//! - `error`: [`Error`]: what is on disk, and what to do next
//! - [`disk`]: the edge: the only place for files, clock, sleep and randomness, real or simulated
//! - `wal`: the truth: format, groups, segments. Knows seqs and not what they mean
//! - `tables`: fast answers, ours: which key has which seq
//! - `admission`: decides about a submission and writes nothing: limits, duplicates, [`Validator`], queue
//! - `commit`: the one write path: admit, append, sync, apply, publish, answer; [`Ticket`]
//! - `feed`: what happened, in order, at least once: [`Consumer`]
//! - `views`: lists that are asked for, in sled: derived, disposable, never believed for absence
//! - `recovery`: the only place where the parts meet at opening: torn or rotten, as a table
//! - `care`: reads every byte and says what is wrong: [`verify()`]
//! - `watch`: finds what stands still or fails, and says so once
//! - `ledger`: the front door: [`Ledger`], [`Options`], [`Reader`], [`Orders`]
//! - `outbox`: tells third parties: [`Outbox`], [`Provider`], [`Route`]; and holds what we say against what they do:
//!   [`Reconcile`]
//! - `metrics`: what is counted of all that, a leaf: [`Metrics`], [`Histogram`], [`Health`]
//! - `spans`: what is done and for how long, for programs that collect it with `tracing`
//! - [`guide`]: for reading: [what an order costs](guide::cost)

mod admission;
mod bytes;
mod care;
mod commit;
pub mod disk;
mod error;
mod feed;
pub mod guide;
mod ledger;
mod metrics;
mod mix;
mod order;
mod outbox;
mod recovery;
mod spans;
mod sync;
mod tables;
mod views;
mod wal;
mod watch;

pub use admission::validator::{Committed, Validator, Verdict};
pub use care::{Finding, Severity, Soundness, VerifyReport, verify, verify_on, verify_with};
pub use commit::ticket::Ticket;
pub use error::{Certainty, Damage, Error, ErrorKind, Result};
pub use feed::{Consumer, EventFilter, ParkedEvent};
pub use ledger::{
    Activity, AlertIter, AlertMetrics, Census, DispatchPage, DispatchQuery, EventIter, Follower,
    GroupPadding, Health, HealthReason, HealthStatus, Ledger, LogWrites, Metrics, NotePage,
    NoteQuery, Options, OrderIter, Orders, OutboxMetrics, Page, PageToken, ProviderMetrics, Query,
    QueueMetrics, Reader, StateMetrics, Stats, Submissions, TypedConsumer, TypedEvent, TypedPage,
    Views, ViewsStats,
};
pub use metrics::Histogram;
pub use order::limits;
pub use order::{
    Acknowledgement, Alert, AlertChange, AlertEvent, AlertKind, AlertLevel, AlertSubject, Batch,
    Dispatch, DispatchEntry, DispatchState, Dispatched, Durability, Event, EventBody, EventKind,
    Evidence, Expect, Field, Fingerprint, Hold, HoldChange, HoldEntry, How, LedgerId, Lifecycle,
    LifecycleBuilder, LifecycleError, Linked, LinkedBatch, LinkedResult, Note, NoteEntry, NoteKind,
    Noted, Order, OrderId, OrderStates, Outcome, OwnState, Present, Receipt, ReceiptError, Refusal,
    Resolution, ResolutionEntry, Sent, Seq, State, StateRule, Submission, Timestamp, Token,
    Transition, Transitioned, UnknownAlertLevel, UnknownNoteKind, UnknownState, Witness,
};
pub use outbox::{
    AfterDead, BreakerPolicy, BreakerState, Call, Compared, ComparedItem, Difference, Found,
    OnRefused, OnUnknown, OurFields, Outbox, OutboxBuilder, OutboxCensus, OutboxStats, Provider,
    ProviderSla, ProviderStanding, ProviderStats, Ran, Reconcile, Reconciliation, RetryPolicy,
    Route, TheirItem,
};
pub use recovery::report::RecoveryReport;
pub use watch::pass::WatchPass;
pub use watch::{
    AlertPage, AlertQuery, StuckOrder, StuckPage, StuckQuery, StuckToken, WatchOptions,
};
