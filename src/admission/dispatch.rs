//! Decides about a dispatch and about what may become of one; finds dispatches and where they stand.
//!
//! The order of the checks is fixed: the order exists, command key. Looks at committed state only: whoever asks has
//! made sure that no other command of the order, and nothing else about the dispatch, is on its way.
//!
//! A dispatch is found by its order; what becomes of it is found by the dispatch, and the newest record of that says
//! all of it.

use super::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::consumer::is_consumer_name;
use crate::order::dispatch::Course;
use crate::order::limits::{COMMAND_KEY_BYTES_MAX, DISPATCH_BYTES_MAX, ROUTE_BYTES_MAX};
use crate::order::{
    Dispatch, DispatchEntry, Dispatched, Event, Field, How, OrderId, Seq, Timestamp,
};
use crate::wal::issuer::batch_of;
use crate::wal::log::Record;
use crate::wal::record;

/// Checks the limits of a dispatch.
///
/// # Errors
/// `Invalid`; nothing is recorded, and the command key stays free.
pub(crate) fn check(dispatch: &Dispatch) -> Result<()> {
    let invalid = |what: String| Err(Error::new(ErrorKind::Invalid { what }));
    if !is_consumer_name(&dispatch.route) {
        let max = ROUTE_BYTES_MAX;
        return invalid(format!("the name of a route is 1 to {max} visible ASCII characters"));
    }
    for (name, bytes, max) in [
        ("body", dispatch.body.len(), DISPATCH_BYTES_MAX),
        ("command_key", dispatch.command_key.len(), COMMAND_KEY_BYTES_MAX),
    ] {
        if bytes > max {
            return invalid(format!("{name} has {bytes} bytes; allowed are 0 to {max}"));
        }
    }
    Ok(())
}

/// The body that records a dispatch of `order`, or of the order that begins `back` records in front of it.
pub(crate) fn body_of(dispatch: &Dispatch, order: Seq, back: u16) -> record::Dispatched<'_> {
    record::Dispatched {
        order: if back > 0 { 0 } else { order.0 },
        back,
        route: &dispatch.route,
        command_key: &dispatch.command_key,
        body: &dispatch.body,
    }
}

/// Decides by what is committed about a dispatch of an order that exists; `None`: it is to be recorded.
///
/// # Errors
/// `NoSuchOrder`, `CommandConflict`; `Io` or `Corrupt` when it is not known.
pub(crate) fn decide(
    lookup: &Lookup,
    order: OrderId,
    dispatch: &Dispatch,
) -> Result<Option<Dispatched>> {
    if !lookup.is_order(order)? {
        return Err(Error::new(ErrorKind::NoSuchOrder { order }));
    }
    if dispatch.command_key.is_empty() {
        return Ok(None);
    }
    let Some(record) = lookup.command(order.seq(), &dispatch.command_key)? else { return Ok(None) };
    let differs = differs(dispatch, &record)?;
    match differs.is_empty() {
        true => Ok(Some(answer(order, &record, How::Replayed))),
        false => Err(Error::new(ErrorKind::CommandConflict { seq: record.seq, differs })),
    }
}

pub(crate) fn answer(order: OrderId, record: &Record, how: How) -> Dispatched {
    Dispatched { order, dispatch: record.seq, at: record.at, how }
}

/// In what a command differs from the one that was recorded under its key.
fn differs(wanted: &Dispatch, record: &Record) -> Result<Vec<Field>> {
    let body = record.body()?;
    let Some(found) = body.dispatched() else { return Ok(vec![Field::Command]) };
    let same = [
        (Field::Command, found.route == wanted.route),
        (Field::Payload, found.body == wanted.body),
    ];
    Ok(same.into_iter().filter_map(|(field, same)| (!same).then_some(field)).collect())
}

/// A dispatch and where it stands.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) order: Seq,
    pub(crate) record: Record,
    pub(crate) course: Course,
}

impl Lookup {
    /// The dispatch at this seq, and where it stands; `None` when there is none.
    ///
    /// **Cost**: a read for the dispatch, one for the newest record about it.
    pub(crate) fn dispatch(&self, dispatch: Seq) -> Result<Option<Found>> {
        let Some(record) = self.log.read(dispatch)? else { return Ok(None) };
        self.dispatch_of(record)
    }

    /// The same for a record that was read.
    pub(crate) fn dispatch_of(&self, record: Record) -> Result<Option<Found>> {
        let Some(order) = record.body()?.dispatched().map(record::Dispatched::order) else {
            return Ok(None);
        };
        let course = self.course(record.seq, record.at)?;
        Ok(Some(Found { order, record, course }))
    }

    /// Where the dispatch stands that was recorded there and then.
    pub(crate) fn course(&self, dispatch: Seq, at: Timestamp) -> Result<Course> {
        let hash = self.tables.hasher().pursuits_of(dispatch);
        let newest = self.newest_of(dispatch, hash, |body| {
            let pursued = body.pursued().filter(|it| it.dispatch() == dispatch);
            // Its place and time are the record's.
            pursued.map(|it| it.course(Seq(0), at))
        })?;
        Ok(match newest {
            Some((record, course)) => Course { newest: record.seq, at: record.at, ..course },
            None => Course::begin(dispatch, at),
        })
    }

    /// As callers see it. An attempt that was made before `opened_next` was cut off: who made it is no more.
    pub(crate) fn dispatch_entry(&self, found: Found, opened_next: Seq) -> Result<DispatchEntry> {
        let Found { order, record, course } = found;
        let body = record.body()?;
        let (route, told) = match body.dispatched() {
            Some(it) => (it.route.to_owned(), it.body.to_vec()),
            None => (String::new(), Vec::new()),
        };
        let course = if course.newest < opened_next { course.cut_off() } else { course };
        Ok(DispatchEntry {
            dispatch: record.seq,
            at: record.at,
            order: OrderId::new(self.log.issuer.partition, order),
            batch: batch_of(&record.frame()),
            route,
            body: told,
            state: course.state(),
            attempts: course.attempts,
            in_doubt: (!course.doubt.is_empty()).then_some(course.doubt),
            changed_at: course.at,
        })
    }

    /// The dispatches of an order, first to last.
    ///
    /// **Cost**: two reads for each.
    pub(crate) fn dispatches(&self, order: Seq) -> Result<Vec<Found>> {
        // A ledger without dispatches does not pay for them.
        if !self.log.has_dispatches() {
            return Ok(Vec::new());
        }
        let hash = self.tables.hasher().dispatches_of(order);
        let mut dispatches = Vec::new();
        for seq in self.tables.candidates_since(&self.log, order, hash)?.into_iter().rev() {
            dispatches.extend(self.dispatch(seq)?.filter(|found| found.order == order));
        }
        Ok(dispatches)
    }

    /// Adds the dispatches of an order, and what became of them, to what else happened to it.
    pub(super) fn add_dispatches(&self, order: Seq, events: &mut Vec<Event>) -> Result<()> {
        let before = events.len();
        for Found { record, .. } in self.dispatches(order)? {
            events.extend(self.log.issuer.event(&record.frame(), &record.body()?));
            let dispatch = record.seq;
            let hash = self.tables.hasher().pursuits_of(dispatch);
            for seq in self.tables.candidates_since(&self.log, dispatch, hash)? {
                let Some(record) = self.log.read(seq)? else { continue };
                let body = record.body()?;
                if body.pursued().is_some_and(|pursued| pursued.dispatch() == dispatch) {
                    events.extend(self.log.issuer.event(&record.frame(), &body));
                }
            }
        }
        if events.len() > before {
            events.sort_by_key(|event| event.seq);
        }
        Ok(())
    }
}
