//! Which orders are in which state, and since when: counted event by event, by whoever reads the log.
//!
//! Always true: after every event from the first one on, in their order, it says what the log says; an event
//! that was counted already is passed over; orders that have come to an end take no memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::metrics::StateMetrics;
use crate::order::{Event, EventBody, Lifecycle, OrderId, Seq, State, Timestamp};

/// Orders by state, with those that are in it for longest: for programs that read a ledger beside its writer.
///
/// Give it every event from [`Seq::FIRST`] on ([`Reader::events`](crate::Reader::events), then
/// [`Follower`](crate::Follower)).
///
/// **Cost**: about 150 bytes for each order that has not come to an end, none for the others; some hundred
/// nanoseconds for each event, beside reading it.
///
/// ```
/// use order_ledger::{Census, Ledger, Reader, Seq, State, Submission};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("orders.ledger");
/// # let ledger = Ledger::open(&path)?;
/// # ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?;
/// let reader = Reader::open(&path)?;
/// let mut census = Census::new(reader.lifecycle()?);
/// for event in reader.events(Seq::FIRST) {
///     census.count(&event?);
/// }
/// assert_eq!(census.states()[0].orders, 1);
/// assert_eq!(census.longest(State::Accepted, 10).len(), 1);
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Census {
    lifecycle: Lifecycle,
    /// Everything before it was counted.
    next: Seq,
    /// Orders by the number of their state.
    counts: BTreeMap<u8, u64>,
    /// Where an order that has not come to an end is, and since when.
    open: HashMap<OrderId, (State, Timestamp)>,
    /// The same by the number of the state.
    by_since: BTreeMap<u8, BTreeSet<(Timestamp, OrderId)>>,
}

impl Census {
    /// Of a ledger with this lifecycle, before its first event.
    #[must_use]
    pub fn new(lifecycle: Lifecycle) -> Census {
        Census {
            lifecycle,
            next: Seq::FIRST,
            counts: BTreeMap::new(),
            open: HashMap::new(),
            by_since: BTreeMap::new(),
        }
    }

    /// Counts what happened. Events must come in their order; one that was counted is passed over.
    pub fn count(&mut self, event: &Event) {
        if event.seq < self.next {
            return;
        }
        self.next = event.seq.next();
        match &event.body {
            EventBody::Accepted { .. } => self.enter(event, State::Accepted),
            EventBody::Refused { .. } => self.enter(event, State::Refused),
            EventBody::Moved { from, to, .. } => {
                if let Some(count) = self.counts.get_mut(&from.number()) {
                    *count = count.saturating_sub(1);
                }
                if let Some((state, since)) = self.open.remove(&event.order)
                    && let Some(those) = self.by_since.get_mut(&state.number())
                {
                    those.remove(&(since, event.order));
                }
                self.enter(event, *to);
            }
            // What is said of an order leaves it where it is.
            _ => {}
        }
    }

    fn enter(&mut self, event: &Event, state: State) {
        *self.counts.entry(state.number()).or_default() += 1;
        if !self.lifecycle.is_terminal(state) {
            self.open.insert(event.order, (state, event.at));
            self.by_since.entry(state.number()).or_default().insert((event.at, event.order));
        }
    }

    /// The first seq that was not counted.
    #[must_use]
    pub fn next(&self) -> Seq {
        self.next
    }

    /// Which state may follow which.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// The states that have orders, by number, for [`Metrics::states`](crate::Metrics::states).
    #[must_use]
    pub fn states(&self) -> Vec<StateMetrics> {
        let there = self.counts.iter().filter(|(_, orders)| **orders > 0);
        let states = there.filter_map(|(number, orders)| {
            let state = State::from_number(*number)?;
            let longest_since = self.longest(state, 1).first().map(|(_, since)| *since);
            Some(StateMetrics {
                longest_since,
                ..StateMetrics::new(&self.lifecycle, state, *orders)
            })
        });
        states.collect()
    }

    /// At most `limit` orders that are in a state, with the time since when: the one that is in it for longest
    /// first. None for a state that orders stay in.
    #[must_use]
    pub fn longest(&self, state: State, limit: usize) -> Vec<(OrderId, Timestamp)> {
        let those = self.by_since.get(&state.number()).into_iter().flatten();
        those.take(limit).map(|(since, order)| (*order, *since)).collect()
    }

    /// How many orders have been in a state since this instant or longer.
    ///
    /// **Cost**: a look at each of them.
    #[must_use]
    pub fn in_since(&self, state: State, since: Timestamp) -> u64 {
        let those = self.by_since.get(&state.number()).into_iter().flatten();
        those.take_while(|(entered, _)| *entered <= since).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Fingerprint;

    fn event(seq: u64, order: u64, body: EventBody) -> Event {
        let order = OrderId::new(0, Seq(order));
        Event { seq: Seq(seq), at: Timestamp::from_unix_ns(seq * 10), order, batch: None, body }
    }

    fn accepted(seq: u64) -> Event {
        event(seq, seq, EventBody::Accepted { fingerprint: Fingerprint([0; 32]) })
    }

    fn moved(seq: u64, order: u64, from: State, to: State) -> Event {
        let (evidence, reason) = (Vec::new(), String::new());
        let body =
            EventBody::Moved { from, to, version: 2, command_key: Vec::new(), evidence, reason };
        event(seq, order, body)
    }

    fn rows(census: &Census) -> Vec<(State, u64, Option<u64>)> {
        let ns = |at: Timestamp| at.as_unix_ns();
        census.states().iter().map(|it| (it.state, it.orders, it.longest_since.map(ns))).collect()
    }

    #[test]
    fn a_census_says_who_is_where_since_when() {
        let mut census = Census::new(Lifecycle::default());
        for seq in 1..=3 {
            census.count(&accepted(seq));
        }
        census.count(&moved(4, 1, State::Accepted, State::Confirmed));
        // Twice: passed over.
        census.count(&moved(4, 1, State::Accepted, State::Confirmed));
        assert_eq!(
            rows(&census),
            [(State::Accepted, 2, Some(20)), (State::Confirmed, 1, Some(40))]
        );
        let longest = census.longest(State::Accepted, 1);
        assert_eq!(longest, [(OrderId::new(0, Seq(2)), Timestamp::from_unix_ns(20))]);
        assert_eq!(census.in_since(State::Accepted, Timestamp::from_unix_ns(29)), 1);
        census.count(&moved(5, 1, State::Confirmed, State::Completed));
        census.count(&moved(6, 2, State::Accepted, State::Cancelled));
        let expected = [
            (State::Accepted, 1, Some(30)),
            (State::Completed, 1, None),
            (State::Cancelled, 1, None),
        ];
        assert_eq!(rows(&census), expected);
        assert_eq!(census.open.len(), 1, "what has come to an end takes no memory");
        assert_eq!(census.next(), Seq(7));
    }
}
