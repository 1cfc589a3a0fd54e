//! From a dispatch to its answer, and from what becomes of one to its record.
//!
//! Always true: a dispatch is in flight under the key of its order's steps, like a note; what becomes of a dispatch is in
//! flight under a key of that dispatch, so that there is at most one such record on its way; each is recorded only if
//! the newest committed record about the dispatch is the one that it was decided by. So of two who want to tell a
//! provider, one does.

use super::existing::{Decided, Done, encode};
use super::queue::{ScopedKey, What};
use super::round::Committed;
use super::{Committer, Counters};
use crate::admission::dispatch::{self, Found};
use crate::error::{Error, ErrorKind, Result};
use crate::order::dispatch::{About, Course};
use crate::order::{Dispatch, Dispatched, How, Seq, Witness};
use crate::tables::hash::RecordKeys;
use crate::wal::record::{self, Pursued};

impl Committer {
    /// Records a dispatch of an order that exists: returns when it is on disk.
    ///
    /// # Errors
    /// `Invalid`, `NoSuchOrder`, `CommandConflict`; those of writing.
    pub(crate) fn dispatch(&self, wanted: &Dispatch) -> Result<Dispatched> {
        let invalid = |what: &str| Err(Error::new(ErrorKind::Invalid { what: what.to_owned() }));
        dispatch::check(wanted)?;
        let About::Order(id) = wanted.about else {
            return invalid("it is of a member of a batch, and here is none");
        };
        if wanted.command_key.is_empty() {
            return invalid("a dispatch alone needs a command key: a repeat would be told twice");
        }
        let order = id.seq();
        let hasher = self.lookup.tables.hasher();
        let key = ScopedKey::of_order(hasher.steps_of(order), order);
        let command = hasher.command(order, &wanted.command_key);
        let done = self.carry_out(&key, &[Some(command)], || {
            if let Some(answer) = dispatch::decide(&self.lookup, id, wanted)? {
                return Ok(Decided::Known(answer));
            }
            let body = dispatch::body_of(wanted, order, 0);
            let record = encode(record::encode_dispatched(&body))?;
            let keys = hasher.keys_of_dispatch(order, &wanted.command_key);
            Ok(Decided::record(&key, record, keys, What::Dispatch { back: 0 }, ()))
        })?;
        Ok(match done {
            Done::Known(answer) => {
                Counters::add(&self.counters.replayed);
                answer
            }
            Done::Recorded(Committed { seq: dispatch, at }, ()) => {
                Dispatched { order: id, dispatch, at, how: How::Fresh }
            }
        })
    }

    /// Records where a dispatch stands from now on, on the word of `by`, if where it stands is what `found` says:
    /// returns when it is on disk. `None`: somebody else was there first, and nothing was recorded.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn pursue(
        &self,
        found: &Found,
        after: &Course,
        by: Witness,
    ) -> Result<Option<Committed>> {
        let Found { order, record: begun, course: before } = found;
        let hash = self.lookup.tables.hasher().pursuits_of(begun.seq);
        let key = ScopedKey::of_dispatch(hash, begun.seq);
        let pursued = Pursued::of(*order, begun.seq, before, after, by);
        let done = self.carry_out(&key, &[Some(hash)], || {
            let newest = self.lookup.course(begun.seq, begun.at)?.newest;
            if newest != before.newest {
                return Ok(Decided::Known(()));
            }
            let record = encode(record::encode_pursued(&pursued))?;
            Ok(Decided::record(&key, record, RecordKeys::one(hash), What::Pursuit, ()))
        })?;
        Ok(match done {
            Done::Known(()) => None,
            Done::Recorded(committed, ()) => Some(committed),
        })
    }

    /// The dispatch at this seq, and where it stands.
    ///
    /// # Errors
    /// `NoSuchDispatch`; `Io`, `Corrupt`.
    pub(crate) fn find_dispatch(&self, dispatch: Seq) -> Result<Found> {
        let found = self.lookup.dispatch(dispatch)?;
        found.ok_or_else(|| Error::new(ErrorKind::NoSuchDispatch { dispatch }))
    }
}
