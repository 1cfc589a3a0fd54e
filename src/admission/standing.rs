//! Where an order stands: its state and version, and the records that brought it there.
//!
//! The tables only give hints: each record is read from the log and the order that it names is compared.
//! Always true: the answer is that of the newest step of the order that may be read, and an order without
//! one stands where it began.

use super::dedupe::Lookup;
use crate::error::{Damage, Error, ErrorKind, Result};
use crate::order::{Event, Lifecycle, Order, Present, Seq, State};
use crate::tables::hash::KeyHash;
use crate::wal::format::WAL_DIR;
use crate::wal::frame::Frame;
use crate::wal::log::Record;
use crate::wal::record::Body;

/// Where an order stands, and the record that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) now: Present,
    /// The newest step, or the record that began the order.
    pub(crate) last: Seq,
}

impl Lookup {
    /// Where the order stands that `record` began; `None` when it began none.
    ///
    /// **Cost**: one look into the tables; one read of the log when the order has taken a step.
    ///
    /// # Errors
    /// `Io` or `Corrupt`: then it is not known.
    pub(crate) fn standing(&self, record: &Record) -> Result<Option<Standing>> {
        let body = record.body()?;
        if body.submitted().is_none() {
            return Ok(None);
        }
        self.standing_of(record.seq, body.first_state()).map(Some)
    }

    /// The same for an order that began at `order` in the state `first`.
    pub(crate) fn standing_of(&self, order: Seq, first: State) -> Result<Standing> {
        let began = Standing { now: Present { state: first, version: 1 }, last: order };
        // A ledger that only takes orders does not pay for what others do with them.
        if !self.log.has_steps() {
            return Ok(began);
        }
        let newest = self.newest_of(order, self.tables.hasher().steps_of(order), |body| {
            body.moved()
                .filter(|moved| moved.order() == order)
                .map(|moved| Present { state: moved.to(), version: moved.version })
        })?;
        Ok(match newest {
            Some((record, now)) => Standing { now, last: record.seq },
            None => began,
        })
    }

    /// The record of the command that an order was given under this key, if it was: a step, a note, or what
    /// resolves one.
    pub(crate) fn command(&self, order: Seq, command_key: &[u8]) -> Result<Option<Record>> {
        let hash = self.tables.hasher().command(order, command_key);
        let found = self.newest_of(order, hash, |body| {
            (body.command()? == (order, command_key)).then_some(())
        })?;
        Ok(found.map(|(record, ())| record))
    }

    /// The lifecycle that was stored last; `None` when none ever was.
    pub(crate) fn stored_lifecycle(&self) -> Result<Option<Lifecycle>> {
        let hash = self.tables.hasher().lifecycle();
        let found = self.newest_of(Seq::FIRST, hash, |body| match body {
            Body::Lifecycle(table) => table.lifecycle().ok(),
            _ => None,
        })?;
        Ok(found.map(|(_, lifecycle)| lifecycle))
    }

    /// The newest record under this hash, not before `since`, that is the wanted one.
    pub(crate) fn newest_of<T>(
        &self,
        since: Seq,
        hash: KeyHash,
        wanted: impl Fn(&Body<'_>) -> Option<T>,
    ) -> Result<Option<(Record, T)>> {
        self.tables.newest(&self.log, since, hash, |seq| {
            // A seq that is not readable yet is still in flight (I3).
            let Some(record) = self.log.read(seq)? else { return Ok(None) };
            let found = wanted(&record.body()?);
            Ok(found.map(|found| (record, found)))
        })
    }

    /// The order that `record` began, as it stands now.
    pub(crate) fn order(&self, record: &Record) -> Result<Option<Order>> {
        self.order_at(&record.frame(), &record.body()?)
    }

    /// The order that the record at `frame` began, as it stands now.
    pub(crate) fn order_at(&self, frame: &Frame<'_>, body: &Body<'_>) -> Result<Option<Order>> {
        let Some(mut order) = self.log.issuer.order(frame, body) else { return Ok(None) };
        order.now = self.standing_of(frame.seq, order.now.state)?.now;
        Ok(Some(order))
    }

    /// Everything that happened to the order that `record` began, first to last; empty when it began none.
    ///
    /// # Errors
    /// `Corrupt` also when a step is missing: the versions of an order are dense.
    pub(crate) fn history(&self, record: &Record) -> Result<Vec<Event>> {
        let issuer = &self.log.issuer;
        let order = record.seq;
        let body = record.body()?;
        if body.submitted().is_none() {
            return Ok(Vec::new());
        }
        let mut events: Vec<_> = issuer.event(&record.frame(), &body).into_iter().collect();
        let hash = self.tables.hasher().steps_of(order);
        let steps = self.tables.candidates_since(&self.log, order, hash)?;
        let (mut state, mut version) = (body.first_state(), 1);
        for seq in steps.into_iter().rev() {
            let Some(record) = self.log.read(seq)? else { continue };
            let body = record.body()?;
            let Some(moved) = body.moved().filter(|moved| moved.order() == order) else { continue };
            version += 1;
            if (moved.version, moved.from()) != (version, state) {
                return Err(out_of_step(seq, order));
            }
            state = moved.to();
            events.extend(issuer.event(&record.frame(), &body));
        }
        self.add_notes(order, &mut events)?;
        self.add_alerts(order, &mut events)?;
        self.add_dispatches(order, &mut events)?;
        Ok(events)
    }
}

/// The error for a step that does not follow from the one before it.
fn out_of_step(seq: Seq, order: Seq) -> Error {
    Error::new(ErrorKind::Corrupt(Damage {
        file: WAL_DIR.into(),
        offset: None,
        first_seq: Some(seq),
        last_seq: Some(seq),
        what: format!("the step does not follow from the one before it of order {order}"),
    }))
}
