//! Reading, the same for a ledger that is open for writing and one that is only looked at.

use std::sync::Arc;

use super::query::{self, Page, Query};
use crate::admission::dedupe::Lookup;
use crate::error::Result;
use crate::feed::ParkedEvent;
use crate::order::{Event, Lifecycle, Order, OrderId, Present, Seq};
use crate::views::Views;
use crate::wal::log::Cursor;

#[derive(Clone)]
pub(crate) struct Reads {
    pub(crate) lookup: Lookup,
    /// Hints for pages; without them the log answers alone.
    pub(crate) views: Option<Arc<Views>>,
    /// Where the log ended when it was opened for writing: whoever made an attempt before is no more. The first seq
    /// for those who only read.
    pub(crate) opened_next: Seq,
}

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").field("lookup", &self.lookup).finish_non_exhaustive()
    }
}

impl Reads {
    pub(crate) fn get(&self, order: OrderId) -> Result<Option<Order>> {
        if order.partition() != self.lookup.log.issuer.partition {
            return Ok(None);
        }
        match self.lookup.log.read(order.seq())? {
            Some(record) => self.lookup.order(&record),
            None => Ok(None),
        }
    }

    /// Where an order stands; `None` when there is none.
    pub(crate) fn present(&self, order: OrderId) -> Result<Option<Present>> {
        if order.partition() != self.lookup.log.issuer.partition {
            return Ok(None);
        }
        let Some(record) = self.lookup.log.read(order.seq())? else { return Ok(None) };
        Ok(self.lookup.standing(&record)?.map(|standing| standing.now))
    }

    pub(crate) fn by_key(&self, client: &[u8], key: &[u8]) -> Result<Option<Order>> {
        self.lookup.by_key(client, key)
    }

    pub(crate) fn history(&self, order: OrderId) -> Result<Vec<Event>> {
        if order.partition() != self.lookup.log.issuer.partition {
            return Ok(Vec::new());
        }
        match self.lookup.log.read(order.seq())? {
            Some(record) => self.lookup.history(&record),
            None => Ok(Vec::new()),
        }
    }

    /// The lifecycle that was stored last, or the default one.
    pub(crate) fn lifecycle(&self) -> Result<Lifecycle> {
        Ok(self.lookup.stored_lifecycle()?.unwrap_or_default())
    }

    pub(crate) fn page(&self, query: &Query) -> Result<Page> {
        query::page(&self.lookup, self.views.as_deref(), query)
    }

    pub(crate) fn events(&self, from: Seq) -> EventIter {
        EventIter { reads: self.clone(), cursor: self.lookup.log.cursor(from), failed: false }
    }

    /// The events that a consumer has set aside.
    pub(crate) fn parked(&self, consumer: &str) -> Result<Vec<ParkedEvent>> {
        let log = &self.lookup.log;
        let mut events = Vec::new();
        for (seq, why) in self.lookup.parked(consumer)? {
            let Some(record) = log.read(seq)? else { continue };
            let event = log.issuer.event(&record.frame(), &record.body()?);
            events.extend(event.map(|event| ParkedEvent { event, why }));
        }
        Ok(events)
    }

    pub(crate) fn orders(&self) -> OrderIter {
        OrderIter { reads: self.clone(), cursor: self.lookup.log.cursor(Seq::FIRST), failed: false }
    }
}

/// Every order of a ledger, in the order of acceptance, read from the log alone.
///
/// Ends at the last record that was durable when it got there; ends after the first error.
pub struct OrderIter {
    reads: Reads,
    cursor: Cursor,
    failed: bool,
}

impl std::fmt::Debug for OrderIter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrderIter").field("next", &self.cursor.position()).finish_non_exhaustive()
    }
}

impl Iterator for OrderIter {
    type Item = Result<Order>;

    fn next(&mut self) -> Option<Result<Order>> {
        while !self.failed {
            let order = match self.cursor.next() {
                Ok(None) => return None,
                Ok(Some(record)) => self.reads.lookup.order(&record).transpose(),
                Err(error) => Some(Err(error)),
            };
            // A record that began no order is passed over.
            if let Some(order) = order {
                self.failed = order.is_err();
                return Some(order);
            }
        }
        None
    }
}

/// Everything that happened to orders, in the order of the log.
///
/// Ends at the last record that was durable when it got there, and goes on from there when it is asked
/// again; ends for good after the first error.
pub struct EventIter {
    reads: Reads,
    cursor: Cursor,
    failed: bool,
}

impl std::fmt::Debug for EventIter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventIter").field("next", &self.cursor.position()).finish_non_exhaustive()
    }
}

impl EventIter {
    /// The first seq that was not looked at.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.cursor.position()
    }
}

impl Iterator for EventIter {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        while !self.failed {
            let log = &self.reads.lookup.log;
            let event = match self.cursor.next() {
                Ok(None) => return None,
                Ok(Some(record)) => {
                    record.body().map(|body| log.issuer.event(&record.frame(), &body)).transpose()
                }
                Err(error) => Some(Err(error)),
            };
            // A record that is about no order is passed over.
            if let Some(event) = event {
                self.failed = event.is_err();
                return Some(event);
            }
        }
        None
    }
}
