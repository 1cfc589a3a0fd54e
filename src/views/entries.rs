//! Since when orders are in their states: what a record changes on the list that sorts them by that.
//!
//! Always true: an order is on the list once, while it is in a state that it does not stay in for ever; the key that
//! a step takes away is the very one that the entry before it has put there, which is found in the log. An entry
//! that can't be read leaves its key behind: a hint that comes to nothing.
//!
//! **Cost**: most orders take a step soon after the one before it: so many of the newest entries are remembered.

use std::collections::HashMap;
use std::sync::Arc;

use super::layout::{Change, View};
use crate::error::{ErrorKind, Result};
use crate::order::{Lifecycle, Seq, State, Timestamp};
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
}

impl Entry {
    fn key(self, order: Seq) -> Option<Vec<u8>> {
        View::Entered { state: self.state, at: self.at }.key(order)
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
                let entry = Entry { version: 1, state: body.first_state(), at: record.at };
                self.enter(record.seq, entry, &mut changes);
            }
            Body::Moved(moved) => {
                if let Some(left) = self.left_by(moved)? {
                    let key = left.key(moved.order());
                    changes.extend(key.map(|key| (key, Change::Remove)));
                }
                if lifecycle.is_terminal(moved.to()) {
                    self.newest.remove(&moved.order());
                } else {
                    let (version, state, at) = (moved.version, moved.to(), record.at);
                    self.enter(moved.order(), Entry { version, state, at }, &mut changes);
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
        changes.extend(entry.key(order).map(|key| (key, Change::Add)));
    }

    /// The entry that a step leaves behind.
    fn left_by(&self, moved: &Moved<'_>) -> Result<Option<Entry>> {
        let version = moved.version.saturating_sub(1);
        // What was handed in before, and comes again, is remembered as it was later.
        let known = self.newest.get(&moved.order()).filter(|entry| entry.version == version);
        if let Some(entry) = known {
            return Ok(Some(*entry));
        }
        match self.look_for(moved.order(), version) {
            // One record that rotted must not hold up the rest.
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt(_)) => Ok(None),
            found => found,
        }
    }

    /// The entry that has made this version of an order.
    fn look_for(&self, order: Seq, version: u64) -> Result<Option<Entry>> {
        if version <= 1 {
            let Some(began) = self.log.read(order)? else { return Ok(None) };
            let state = began.body()?.first_state();
            return Ok(Some(Entry { version: 1, state, at: began.at }));
        }
        let hash = self.tables.hasher().steps_of(order);
        self.tables.newest(&self.log, order, hash, |seq| {
            let Some(record) = self.log.read(seq)? else { return Ok(None) };
            let body = record.body()?;
            let before = body.moved().filter(|it| it.order() == order && it.version == version);
            Ok(before.map(|it| Entry { version, state: it.to(), at: record.at }))
        })
    }
}
