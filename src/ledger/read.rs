//! Reading, the same for a ledger that is open for writing and one that is only looked at.

use std::sync::Arc;

use super::query::{self, Page, Query};
use crate::admission::dedupe::Lookup;
use crate::error::Result;
use crate::order::{Event, Lifecycle, Order, OrderId, Seq};
use crate::views::Views;
use crate::wal::log::Cursor;

#[derive(Clone)]
pub(crate) struct Reads {
    pub(crate) lookup: Lookup,
    /// Hints for pages; without them the log answers alone.
    pub(crate) views: Option<Arc<Views>>,
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

    pub(crate) fn by_key(&self, client: &[u8], key: &[u8]) -> Result<Option<Order>> {
        let hash = self.lookup.hash(client, key);
        match self.lookup.committed(hash, client, key)? {
            Some(record) => self.lookup.order(&record),
            None => Ok(None),
        }
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
