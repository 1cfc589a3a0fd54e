//! What is counted of the write path, and where: once for each group, or for what failed.
//!
//! Always true: the clock is asked for a group, for a blocking call and for a whole batch, and never for each
//! order of many; whatever is counted was decided before.

use std::sync::atomic::Ordering;

use super::expiry;
use super::queue::{Pending, What};
use crate::error::{Error, ErrorKind};
use crate::metrics::Counters;
use crate::wal::writer::Appended;

/// How many records of a group are what.
#[derive(Default)]
struct Kinds {
    orders: u64,
    refused: u64,
    steps: u64,
    notes: u64,
    holds: u64,
    cursors: u64,
    others: u64,
}

impl Kinds {
    /// For each record of each group: no iterator stands between.
    #[inline]
    fn add(&mut self, part: &Pending) {
        match &part.what {
            What::Order(order) => {
                self.orders += 1;
                self.refused += u64::from(order.refusal.is_some());
            }
            What::Step(_) => self.steps += 1,
            What::Remark => self.notes += 1,
            What::Hold => self.holds += 1,
            What::Cursor => self.cursors += 1,
            What::Alert
            | What::Dispatch { .. }
            | What::Pursuit
            | What::Lifecycle
            | What::Linked { .. } => self.others += 1,
        }
    }
}

/// A group is on disk. `waiting_since_ns`: since when its oldest entry waited, or 0.
#[inline]
pub(super) fn count_group(
    counters: &Counters,
    group: &[&Pending],
    appended: &Appended,
    waiting_since_ns: u64,
) {
    let records = match group {
        // Mostly, where orders come one by one.
        [alone]
            if alone.members.is_empty()
                && matches!(&alone.what, What::Order(order) if order.refusal.is_none()) =>
        {
            Counters::add(&counters.fresh);
            1
        }
        _ => count_kinds(counters, group),
    };
    Counters::add_many(&counters.written_bytes, appended.bytes);
    let sync_ns = appended.write_ended_ns.saturating_sub(appended.write_began_ns);
    counters.sync_ns.record(sync_ns);
    counters.group_records.record(records);
    if waiting_since_ns > 0 {
        let waited_ns = appended.write_began_ns.saturating_sub(waiting_since_ns);
        counters.queue_wait_ns.record(waited_ns);
    }
}

/// Counts the records of a group by what they are, and answers how many there are.
fn count_kinds(counters: &Counters, group: &[&Pending]) -> u64 {
    let mut kinds = Kinds::default();
    for pending in group {
        kinds.add(pending);
        pending.members.iter().for_each(|member| kinds.add(member));
    }
    let Kinds { orders, refused, steps, notes, holds, cursors, others } = kinds;
    Counters::add_many(&counters.fresh, orders);
    Counters::add_many(&counters.refused, refused);
    Counters::add_many(&counters.steps, steps);
    Counters::add_many(&counters.notes, notes);
    Counters::add_many(&counters.holds, holds);
    Counters::add_many(&counters.cursors, cursors);
    Counters::add_many(&counters.others, others);
    if steps > 0 {
        let expired = group.iter().filter(|pending| expiry::is_expiry(pending)).count();
        Counters::add_many(&counters.expired, expired as u64);
    }
    orders + steps + notes + holds + cursors + others
}

/// So many submissions came to nothing, by this error.
#[cold]
pub(super) fn count_failures(counters: &Counters, error: &Error, submissions: u64) {
    let counter = match error.kind() {
        // Counted where they are answered: the key has an order.
        ErrorKind::Conflict { .. } | ErrorKind::Refused { .. } => return,
        ErrorKind::RefusedForNow { .. } => &counters.refused_for_now,
        ErrorKind::Invalid { .. } => &counters.invalid,
        ErrorKind::Overloaded { .. } => &counters.overloaded,
        ErrorKind::DiskLow { .. } => &counters.disk_low,
        _ => &counters.failed,
    };
    Counters::add_many(counter, submissions);
}

/// Something is about to wait in the queue. Under its lock; only the first of a round says since when.
#[inline]
pub(super) fn note_waiting(counters: &Counters, called_ns: Option<u64>) {
    let Some(called_ns) = called_ns else { return };
    if counters.waiting_since_ns.load(Ordering::Relaxed) == 0 {
        // 0 says that nothing waits.
        counters.waiting_since_ns.store(called_ns.max(1), Ordering::Relaxed);
    }
}
