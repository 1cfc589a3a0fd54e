//! Since when orders are in their states: what a record changes on the lists that sort them by that.
//!
//! Always true: while an order is in a state that it does not stay in for ever, it is on the list of that state once,
//! of which there are two: of those that have thresholds of their own, and of the others; and it is once on the list of
//! each level that it reaches by its own.
//! The keys that a step takes away are the very ones that the entry before it has put there, which is found in the log.
//! An entry that can't be read leaves its keys behind: hints that come to nothing.
//!
//! **Cost**: most orders take a step soon after the one before it: so many of the newest entries are remembered. A log
//! without an order that has thresholds of its own is not asked for any.

use std::collections::HashMap;
use std::sync::Arc;

use super::layout::{Change, View};
use crate::error::{ErrorKind, Result};
use crate::order::thresholds::Thresholds;
use crate::order::{AlertLevel, Lifecycle, Seq, State, Timestamp};
use crate::tables::Tables;
use crate::wal::log::{Log, Record};
use crate::wal::record::{Body, Moved};

/// Orders whose entry is remembered: some 2 MiB. Then all are forgotten, which costs a look for each once more.
const REMEMBERED_MAX: usize = 32 * 1024;

/// When an order entered a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    /// Of the order, from then on.
    version: u64,
    state: State,
    at: Timestamp,
    /// Of the order.
    own: Thresholds,
}

impl Entry {
    fn keys(self, order: Seq) -> Vec<Vec<u8>> {
        let Entry { state, at, own, .. } = self;
        let due = |level| View::Due { level, at: own.due_at(level, at)? }.key(order);
        let entered = View::Entered { state, own: !own.is_none(), at }.key(order);
        AlertLevel::ALL.into_iter().filter_map(due).chain(entered).collect()
    }
}

/// What is known of entries, and where the others are found.
pub(super) struct Entries {
    log: Arc<Log>,
    tables: Arc<Tables>,
    newest: HashMap<Seq, Entry>,
}

impl Entries {
    pub(super) fn new(log: Arc<Log>, tables: Arc<Tables>) -> Entries {
        Entries { log, tables, newest: HashMap::new() }
    }

    /// What the record changes on the list. Records are handed in by seq; one may be handed in again.
    pub(super) fn changes(
        &mut self,
        lifecycle: &Lifecycle,
        record: &Record,
        body: &Body<'_>,
    ) -> Result<Vec<(Vec<u8>, Change)>> {
        let mut changes = Vec::new();
        match body {
            Body::Accepted(_) => {
                let (state, own) = (body.first_state(), body.own_thresholds());
                let entry = Entry { version: 1, state, at: record.at, own };
                self.enter(record.seq, entry, &mut changes);
            }
            Body::Moved(moved) => {
                let left = self.left_by(moved)?;
                if let Some(left) = left {
                    changes.extend(
                        left.keys(moved.order()).into_iter().map(|key| (key, Change::Remove)),
                    );
                }
                if lifecycle.is_terminal(moved.to()) {
                    self.newest.remove(&moved.order());
                } else {
                    let (version, state, at) = (moved.version, moved.to(), record.at);
                    let own = match left {
                        Some(left) => left.own,
                        None => readable(self.own_thresholds(moved.order()))?.unwrap_or_default(),
                    };
                    self.enter(moved.order(), Entry { version, state, at, own }, &mut changes);
                }
            }
            _ => {}
        }
        Ok(changes)
    }

    fn enter(&mut self, order: Seq, entry: Entry, changes: &mut Vec<(Vec<u8>, Change)>) {
        if self.newest.len() >= REMEMBERED_MAX {
            self.newest.clear();
        }
        self.newest.insert(order, entry);
        changes.extend(entry.keys(order).into_iter().map(|key| (key, Change::Add)));
    }

    /// The entry that a step leaves behind.
    fn left_by(&self, moved: &Moved<'_>) -> Result<Option<Entry>> {
        let version = moved.version.saturating_sub(1);
        // What was handed in before, and comes again, is remembered as it was later.
        let known = self.newest.get(&moved.order()).filter(|entry| entry.version == version);
        if let Some(entry) = known {
            return Ok(Some(*entry));
        }
        Ok(readable(self.look_for(moved.order(), version))?.flatten())
    }

    /// The entry that has made this version of an order.
    fn look_for(&self, order: Seq, version: u64) -> Result<Option<Entry>> {
        if version <= 1 {
            let Some(began) = self.log.read(order)? else { return Ok(None) };
            let body = began.body()?;
            let (state, own) = (body.first_state(), body.own_thresholds());
            return Ok(Some(Entry { version: 1, state, at: began.at, own }));
        }
        let own = self.own_thresholds(order)?;
        let hash = self.tables.hasher().steps_of(order);
        self.tables.newest(&self.log, order, hash, |seq| {
            let Some(record) = self.log.read(seq)? else { return Ok(None) };
            let body = record.body()?;
            let before = body.moved().filter(|it| it.order() == order && it.version == version);
            Ok(before.map(|it| Entry { version, state: it.to(), at: record.at, own }))
        })
    }

    /// Those of the order, when it has any.
    fn own_thresholds(&self, order: Seq) -> Result<Thresholds> {
        if !self.log.has_own_thresholds() {
            return Ok(Thresholds::default());
        }
        let Some(began) = self.log.read(order)? else { return Ok(Thresholds::default()) };
        Ok(began.body()?.own_thresholds())
    }
}

/// What was read; `None` when it has rotted: one record must not hold up the rest.
fn readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt(_)) => Ok(None),
        read => read.map(Some),
    }
}
