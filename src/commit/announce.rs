//! Who waits for something to happen to orders, and is told after it is durable.
//!
//! Always true: whoever waits has looked after it began to wait, so that nothing slips between; nobody who
//! waits keeps the writer waiting: it takes a lock that is held for a look and no longer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Pending, What};
use crate::order::Seq;
use crate::sync::{Condvar, Mutex};
use crate::wal::log::Log;

#[derive(Debug, Default)]
pub(crate) struct Announcer {
    waiting: Mutex<Waiting>,
    /// Something was published, or it is over.
    published: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// How many wait for anything.
    for_any: usize,
    for_order: HashMap<Seq, ForOrder>,
    over: bool,
}

/// Those who wait for one order.
#[derive(Debug)]
struct ForOrder {
    waiting: usize,
    /// Steps of the order since somebody waits.
    steps: u64,
    stepped: Arc<Condvar>,
}

impl Announcer {
    /// A group is durable and may be read.
    pub(crate) fn published(&self, group: &[&Pending]) {
        let mut waiting = self.waiting.lock();
        if waiting.for_any > 0 {
            self.published.notify_all();
        }
        if waiting.for_order.is_empty() {
            return;
        }
        for part in group.iter().flat_map(|pending| pending.all()) {
            let What::Step(step) = &part.what else { continue };
            if let Some(order) = waiting.for_order.get_mut(&step.order) {
                order.steps += 1;
                order.stepped.notify_all();
            }
        }
    }

    /// Nothing will be published any more.
    pub(crate) fn end(&self) {
        let mut waiting = self.waiting.lock();
        waiting.over = true;
        self.published.notify_all();
        waiting.for_order.values().for_each(|order| {
            order.stepped.notify_all();
        });
    }

    pub(crate) fn is_over(&self) -> bool {
        self.waiting.lock().over
    }

    /// Waits until a record at `next` may be read, for so long at most, or until it is over.
    pub(crate) fn wait_for_record(&self, log: &Log, next: Seq, timeout: Duration) {
        let mut waiting = self.waiting.lock();
        waiting.for_any += 1;
        let goes_on = |waiting: &mut Waiting| !waiting.over && log.readable_next() <= next;
        self.published.wait_while_for(&mut waiting, goes_on, timeout);
        waiting.for_any -= 1;
    }

    /// Begins to wait for steps of an order.
    pub(crate) fn watch(&self, order: Seq) -> Watch<'_> {
        let mut waiting = self.waiting.lock();
        let entry = waiting.for_order.entry(order).or_insert_with(|| ForOrder {
            waiting: 0,
            steps: 0,
            stepped: Arc::new(Condvar::new()),
        });
        entry.waiting += 1;
        let (seen, stepped) = (entry.steps, Arc::clone(&entry.stepped));
        Watch { announcer: self, order, seen, stepped }
    }
}

/// Somebody who waits for one order.
pub(crate) struct Watch<'a> {
    announcer: &'a Announcer,
    order: Seq,
    /// How many steps were taken when it last looked.
    seen: u64,
    stepped: Arc<Condvar>,
}

impl Watch<'_> {
    /// Waits until the order has taken a step since this was called last, or was made; for so long at most,
    /// or until it is over.
    pub(crate) fn wait(&mut self, timeout: Duration) {
        let (order, seen) = (self.order, self.seen);
        let steps = |waiting: &Waiting| waiting.for_order.get(&order).map_or(seen, |it| it.steps);
        let mut waiting = self.announcer.waiting.lock();
        let goes_on = |waiting: &mut Waiting| !waiting.over && steps(waiting) == seen;
        self.stepped.wait_while_for(&mut waiting, goes_on, timeout);
        self.seen = steps(&waiting);
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut waiting = self.announcer.waiting.lock();
        if let Some(entry) = waiting.for_order.get_mut(&self.order) {
            entry.waiting -= 1;
            if entry.waiting == 0 {
                waiting.for_order.remove(&self.order);
            }
        }
    }
}
