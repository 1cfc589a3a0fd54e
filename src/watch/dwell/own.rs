//! Reading the log for orders that have thresholds of their own.
//!
//! In the log they lie by when they entered their state, and not by when they are due: so all of it is read that may
//! tell of one, and those that are due first are kept, no more than a page of them. Those files are told by the kinds
//! of their records. Where the views cover nothing, only orders that begin there can be on the list, and no step is
//! looked at: it says nothing that the order which took it does not.

use std::collections::BTreeMap;

use super::{Listed, Place, Search, Wanted};
use crate::admission::alert::Stands;
use crate::error::Result;
use crate::order::Seq;
use crate::wal::log::Record;
use crate::wal::record::{has_own_thresholds, is_accepted, is_step};

impl Search<'_> {
    /// Reads the log from here on, and merges what it finds with what the views have named.
    pub(super) fn scan_own(&mut self, from: Seq) -> Result<()> {
        let begins = |kind| is_accepted(kind) && has_own_thresholds(kind);
        let may_tell = |kind| begins(kind) || (from > Seq::FIRST && is_step(kind));
        let named = std::mem::take(&mut self.found.orders);
        let mut first = Firsts { orders: BTreeMap::new(), limit: self.wanted.limit, more: false };
        for Listed { place, stands } in named {
            first.add(place, stands);
        }
        for (part_from, part_to) in self.files(from, may_tell) {
            let mut cursor = self.lookup.log.cursor(part_from);
            while cursor.position() < part_to {
                let Some(record) = self.next(&mut cursor)? else { break };
                if !may_tell(record.kind) {
                    continue;
                }
                self.found.cost += 1;
                if let Some(order) = self.told_of(&record, from)? {
                    self.add(order, &mut first)?;
                }
            }
        }
        self.found.more |= first.more;
        let place_last = first.orders.last_key_value().map(|(place, _)| *place);
        // Whatever is not on the page is behind it, or not due.
        self.found.looked = match self.found.more {
            true => place_last.or(self.wanted.after),
            false => Some((self.wanted.until, Seq(u64::MAX))),
        };
        let listed = |(place, stands)| Listed { place, stands };
        self.found.orders = first.orders.into_iter().map(listed).collect();
        Ok(())
    }

    /// The order with thresholds of its own that a record tells of, if it does, and no other record from here on does
    /// that begins it.
    fn told_of(&self, record: &Record, from: Seq) -> Result<Option<Seq>> {
        let body = record.body()?;
        let Some(moved) = body.moved() else { return Ok(Some(record.seq)) };
        let order = moved.order();
        if order >= from {
            return Ok(None);
        }
        match self.lookup.log.read(order) {
            Err(error) if self.wanted.passes_damage && super::is_damage(&error) => Ok(None),
            began => Ok(began?.filter(|began| has_own_thresholds(began.kind)).map(|_| order)),
        }
    }

    fn add(&self, order: Seq, first: &mut Firsts) -> Result<()> {
        let Wanted { list, after, until, .. } = self.wanted;
        let Some(stands) = self.stands(order)?.flatten() else { return Ok(()) };
        let place = list.instant_of(&stands).map(|at| (at, order));
        let is_wanted =
            |place: &Place| place.0 <= until && after.is_none_or(|after| *place > after);
        if let Some(place) = place.filter(is_wanted) {
            first.add(place, stands);
        }
        Ok(())
    }
}

/// The first so many of what is added.
struct Firsts {
    orders: BTreeMap<Place, Stands>,
    limit: usize,
    /// There were others.
    more: bool,
}

impl Firsts {
    fn add(&mut self, place: Place, stands: Stands) {
        self.orders.insert(place, stands);
        if self.orders.len() > self.limit {
            self.more |= self.orders.pop_last().is_some();
        }
    }
}
