//! Which orders are in which state, and since when: counted event by event, by whoever reads the log.
//!
//! Always true: after every event from the first one on, in their order, it says what the log says; an event
//! that was counted already is passed over; orders that have come to an end take no memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::metrics::StateMetrics;
use crate::admission::alert::StateEntry;
use crate::order::thresholds::Thresholds;
use crate::order::{AlertLevel, Event, EventBody, Lifecycle, OrderId, Seq, State, Timestamp};
use crate::watch::StuckOrder;
use crate::watch::stuck::{before, watched};

/// Orders by state, with those that are in it for longest: for programs that read a ledger beside its writer.
///
/// Give it every event from [`Seq::FIRST`] on ([`Reader::events`](crate::Reader::events), then
/// [`Follower`](crate::Follower)).
///
/// **Cost**: about 200 bytes for each order that has not come to an end, none for the others; some hundred
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
    /// Where an order that has not come to an end is, and since when, and the thresholds of its own.
    open: HashMap<OrderId, (StateEntry, Thresholds)>,
    /// Those without, by the number of the state and since when.
    by_since: BTreeMap<u8, Places>,
    /// The same of those that have thresholds of their own.
    own_by_since: BTreeMap<u8, Places>,
    /// Those once more, by when they are worth a look.
    own_by_due: Places,
}

/// Orders by an instant.
type Places = BTreeSet<(Timestamp, OrderId)>;

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
            own_by_since: BTreeMap::new(),
            own_by_due: Places::new(),
        }
    }

    /// Counts what happened. Events must come in their order; one that was counted is passed over.
    pub fn count(&mut self, event: &Event) {
        if event.seq < self.next {
            return;
        }
        self.next = event.seq.next();
        match &event.body {
            EventBody::Accepted { warn_after, critical_after, .. } => {
                self.enter(event, State::Accepted, Thresholds::of((*warn_after, *critical_after)));
            }
            EventBody::Refused { .. } => self.enter(event, State::Refused, Thresholds::default()),
            EventBody::Moved { from, to, .. } => {
                if let Some(count) = self.counts.get_mut(&from.number()) {
                    *count = count.saturating_sub(1);
                }
                let own = self.leave(event.order);
                self.enter(event, *to, own);
            }
            // What is said of an order leaves it where it is.
            _ => {}
        }
    }

    fn enter(&mut self, event: &Event, state: State, own: Thresholds) {
        *self.counts.entry(state.number()).or_default() += 1;
        if self.lifecycle.is_terminal(state) {
            return;
        }
        let (order, since) = (event.order, event.at);
        self.open.insert(order, (StateEntry { state, since }, own));
        self.by_since_of(own).entry(state.number()).or_default().insert((since, order));
        let due = own.due_at(AlertLevel::Warn, since);
        self.own_by_due.extend(due.map(|due| (due, order)));
    }

    /// Takes an order away from where it is; answers the thresholds of its own.
    fn leave(&mut self, order: OrderId) -> Thresholds {
        let Some((StateEntry { state, since }, own)) = self.open.remove(&order) else {
            return Thresholds::default();
        };
        if let Some(those) = self.by_since_of(own).get_mut(&state.number()) {
            those.remove(&(since, order));
        }
        if let Some(due) = own.due_at(AlertLevel::Warn, since) {
            self.own_by_due.remove(&(due, order));
        }
        own
    }

    fn by_since_of(&mut self, own: Thresholds) -> &mut BTreeMap<u8, Places> {
        if own.is_none() { &mut self.by_since } else { &mut self.own_by_since }
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
        let [some, others] = self.places(state);
        let mut longest: Vec<_> = some.take(limit).chain(others.take(limit)).copied().collect();
        longest.sort_unstable();
        longest.truncate(limit);
        longest.into_iter().map(|(since, order)| (order, since)).collect()
    }

    /// How many orders have been in a state since this instant or longer.
    ///
    /// **Cost**: a look at each of them.
    #[must_use]
    pub fn in_since(&self, state: State, since: Timestamp) -> u64 {
        let count = |those: Those<'_>| those.take_while(|it| it.0 <= since).count() as u64;
        self.places(state).map(count).into_iter().sum()
    }

    /// At most `limit` orders that are stuck at `now`, in ledger time, and how many there are in all: the worst first,
    /// then those that stand longest. Who is on the list, and how bad it is, is as
    /// [`Reader::stuck`](crate::Reader::stuck) has it.
    ///
    /// **Cost**: a look at each of them.
    #[must_use]
    pub fn stuck(&self, now: Timestamp, limit: usize) -> (Vec<StuckOrder>, u64) {
        let (mut found, mut total) = (Vec::new(), 0);
        for (state, thresholds) in watched(&self.lifecycle) {
            let first_ns = thresholds.first_ns(AlertLevel::Warn);
            let Some(until) = first_ns.and_then(|first_ns| before(now, first_ns)) else { continue };
            let [those, _] = self.places(state);
            let stuck = those.take_while(|(since, _)| *since <= until);
            total += stuck.clone().count() as u64;
            // Of each state those that stand longest: none of the others can be among the first.
            found.extend(stuck.take(limit).filter_map(|(since, order)| {
                StuckOrder::of(*order, StateEntry { state, since: *since }, thresholds, now)
            }));
        }
        let due = self.own_by_due.iter().take_while(|(due, _)| *due <= now);
        let own = due.filter_map(|(_, order)| {
            let (entry, own) = self.open.get(order)?;
            StuckOrder::of(*order, *entry, *own, now)
        });
        let of_states = found.len();
        found.extend(own);
        total += (found.len() - of_states) as u64;
        found.sort_by_key(|it| (std::cmp::Reverse(it.level), it.since, it.order));
        found.truncate(limit);
        (found, total)
    }

    /// Orders in a state, by since when: those without thresholds of their own, and the others.
    fn places(&self, state: State) -> [Those<'_>; 2] {
        [&self.by_since, &self.own_by_since].map(|by_since| {
            let those: Option<&Places> = by_since.get(&state.number());
            those.map(BTreeSet::iter).unwrap_or_default()
        })
    }
}

/// Orders of a state.
type Those<'a> = std::collections::btree_set::Iter<'a, (Timestamp, OrderId)>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Fingerprint;

    fn event(seq: u64, order: u64, body: EventBody) -> Event {
        let order = OrderId::new(0, Seq(order));
        Event { seq: Seq(seq), at: Timestamp::from_unix_ns(seq * 10), order, batch: None, body }
    }

    fn accepted(seq: u64) -> Event {
        let (fingerprint, warn_after, critical_after) = (Fingerprint([0; 32]), None, None);
        event(seq, seq, EventBody::Accepted { fingerprint, warn_after, critical_after })
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
