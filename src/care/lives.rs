//! The lives of orders: each step follows from the one before it.
//!
//! Always true: memory is bounded. What is remembered of a seq takes two bytes, in pages that are let go
//! from the oldest on, so that there are never more than [`PAGES_MAX`]. Of an order that began before them,
//! or before a gap in the log, nothing is known any more, and a step of it is judged by itself. A version is
//! remembered by its last eight bits: one that is off by a multiple of 256 is not noticed. So is the order of an
//! open note, or of an alert. Of orders that expire, the instant is remembered until they have come to an end, for at most
//! [`EXPIRING_MAX`] of them: of one that is older than those it is not known whether it expires.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::dispatches::{Dispatches, Said};
use super::report::{Finding, Severity, at};
use crate::bytes::to_usize;
use crate::order::{AlertChange, AlertKind, OwnState, Seq, State, Timestamp};
use crate::wal::record::Body;

mod alerts;

/// Seqs of one page.
const PAGE_SEQS: u64 = 64 * 1024;
/// Pages that are remembered: 64 MiB, for the last 32 million records.
const PAGES_MAX: usize = 512;
/// Orders that expire and have not come to an end, of which the instant is remembered: about 32 MiB.
const EXPIRING_MAX: usize = 1024 * 1024;
/// In place of a state: the record at this seq began no order.
const NO_ORDER: u8 = 0;
// And those of notes. No state has such a number.
/// A note that waits to be resolved.
const OPEN_NOTE: u8 = 255;
/// One that was resolved.
const RESOLVED_NOTE: u8 = 254;
/// And of alerts, which are not over;
const OPEN_ALERT: u8 = 253;
/// or are.
const CLEARED_ALERT: u8 = 252;

const _: () = assert!(OwnState::MAX < CLEARED_ALERT, "a state is no note, and no alert");

/// States of the caller's own in which an order stays for ever, when the record is a table of states.
pub(crate) fn own_terminal(body: &Body<'_>) -> Vec<State> {
    let Body::Lifecycle(table) = body else { return Vec::new() };
    let Ok(table) = table.lifecycle() else { return Vec::new() };
    let is_end = |state: &State| matches!(state, State::Own(_)) && table.is_terminal(*state);
    table.states().filter(is_end).collect()
}

/// What one record says about the life of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life {
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
    /// Of the frame in the segment.
    pub(crate) offset: u64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Began {
        state: State,
        expires_at: Option<Timestamp>,
    },
    Moved {
        order: Seq,
        version: u64,
        from: State,
        to: State,
    },
    Noted {
        order: Seq,
        asks: bool,
    },
    Resolved {
        order: Seq,
        note: Seq,
    },
    /// `id`: of an alert that was raised before. `order`: of one about an order. `stuck_in`: while that is in this
    /// state.
    Alarmed {
        id: Option<Seq>,
        order: Option<Seq>,
        stuck_in: Option<State>,
        change: AlertChange,
    },
    Dispatched {
        order: Seq,
    },
    Pursued(Said),
    Other,
}

impl What {
    /// What the body of a record of this time says.
    pub(crate) fn of(body: &Body<'_>, at: Timestamp) -> What {
        match body {
            Body::Accepted(_) | Body::Refused(_) => {
                What::Began { state: body.first_state(), expires_at: body.expires_at(at) }
            }
            Body::Moved(moved) => What::Moved {
                order: moved.order(),
                version: moved.version,
                from: moved.from(),
                to: moved.to(),
            },
            Body::Remark(remark) => match (remark.order(), remark.resolves()) {
                (order, None) => What::Noted { order, asks: remark.asks },
                (order, Some(note)) => What::Resolved { order, note },
            },
            Body::Alarm(alarm) => What::Alarmed {
                id: (alarm.id != 0).then_some(Seq(alarm.id)),
                order: alarm.order(),
                stuck_in: alarm.kind().and_then(AlertKind::state),
                change: alarm.change(),
            },
            Body::Dispatched(dispatched) => What::Dispatched { order: dispatched.order() },
            Body::Pursued(pursued) => What::Pursued(Said::of(pursued)),
            Body::Cursor(_)
            | Body::Lifecycle(_)
            | Body::Held(_)
            | Body::Linked(_)
            | Body::Skippable => What::Other,
        }
    }
}

/// Where an order stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stand {
    /// Or [`NO_ORDER`], [`OPEN_NOTE`], [`RESOLVED_NOTE`], [`OPEN_ALERT`], [`CLEARED_ALERT`].
    state: u8,
    /// The last eight bits; of a note or an alert, those of its order.
    version: u8,
}

const NOTHING: Stand = Stand { state: NO_ORDER, version: 0 };

/// What is remembered of the orders of the log so far.
#[derive(Debug)]
pub(crate) struct Lives {
    /// The pages behind each other; the first one begins at `first_page`.
    pages: VecDeque<Vec<Stand>>,
    first_page: u64,
    /// From here on every record is known.
    known_from: Seq,
    /// Behind the last record.
    next: Seq,
    /// States of the caller's own in which an order stays for ever, by every table of the log so far. They
    /// never stop being it.
    terminal: BTreeSet<State>,
    pages_max: usize,
    /// When orders expire that have not come to an end.
    expiring: BTreeMap<Seq, Timestamp>,
    /// Of every order from here on, if it is known at all, it is known whether it expires.
    expiry_known_from: Seq,
    expiring_max: usize,
    dispatches: Dispatches,
}

impl Stand {
    /// Of the record that began an order, or tells of one.
    fn is_order(self) -> bool {
        !matches!(self.state, NO_ORDER | OPEN_NOTE | RESOLVED_NOTE | OPEN_ALERT | CLEARED_ALERT)
    }
}

impl Lives {
    pub(crate) fn new() -> Lives {
        Lives {
            pages: VecDeque::new(),
            first_page: 0,
            known_from: Seq::FIRST,
            next: Seq::FIRST,
            terminal: BTreeSet::new(),
            pages_max: PAGES_MAX,
            expiring: BTreeMap::new(),
            expiry_known_from: Seq::FIRST,
            expiring_max: EXPIRING_MAX,
            dispatches: Dispatches::new(),
        }
    }

    /// Takes in the records of the file at `path`, in order, and reports the steps that can't be. `terminal`:
    /// what the tables among them say. A state is never in use before the first table that has it.
    pub(crate) fn take_in(
        &mut self,
        path: &str,
        lives: &[Life],
        terminal: &BTreeSet<State>,
        found: &mut dyn FnMut(Finding),
    ) {
        self.terminal.extend(terminal);
        for life in lives {
            if life.seq != self.next {
                self.forget(life.seq);
            }
            let (stand, wrong) = match life.what {
                What::Began { state, expires_at } => {
                    self.remember_expiry(life.seq, expires_at);
                    (Stand { state: state.number(), version: 1 }, None)
                }
                What::Moved { order, version, from, to } => {
                    (NOTHING, self.step(life, order, version, (from, to)))
                }
                What::Noted { order, asks } => {
                    let stand = Stand { state: OPEN_NOTE, version: last_bits(order.0) };
                    (
                        if asks { stand } else { NOTHING },
                        self.of_order(life.seq, order, "a note about"),
                    )
                }
                What::Resolved { order, note } => (NOTHING, self.resolve(life.seq, order, note)),
                What::Alarmed { id, order, stuck_in, change } => {
                    let version = order.map_or(0, |order| last_bits(order.0));
                    let stand = Stand { state: OPEN_ALERT, version };
                    let wrong = self.alarm(life.seq, id, (order, stuck_in), change);
                    (if id.is_none() { stand } else { NOTHING }, wrong)
                }
                What::Dispatched { order } => {
                    self.dispatches.begin(life.seq, order);
                    (NOTHING, self.of_order(life.seq, order, "a dispatch of"))
                }
                What::Pursued(said) => (NOTHING, self.dispatches.pursue(said)),
                What::Other => (NOTHING, None),
            };
            self.push(stand);
            if let Some(what) = wrong {
                let place = at(path).offset(life.offset).seqs(life.seq, Some(life.seq.next()));
                found(place.found(Severity::Log, what));
            }
        }
    }

    /// Judges a step, and remembers where it leads; what is wrong with it, in words.
    fn step(
        &mut self,
        life: &Life,
        order: Seq,
        version: u64,
        (from, to): (State, State),
    ) -> Option<String> {
        let is_end = from.is_terminal() || self.terminal.contains(&from);
        let after_the_end =
            || is_end.then(|| format!("a step of order {order} after {from}, which is terminal"));
        if order >= life.seq {
            return Some(format!("a step of order {order}, which has not begun yet"));
        }
        let Some(stand) = self.stand(order) else { return after_the_end() };
        let before = *stand;
        if !before.is_order() {
            return Some(format!("a step of order {order}, and no order began there"));
        }
        // Whatever is wrong with it: the next one follows from what this one says.
        *stand = Stand { state: to.number(), version: last_bits(version) };
        if before.version != last_bits(version.wrapping_sub(1)) {
            let stood = before.version;
            return Some(format!(
                "a step of order {order} to version {version}, which does not follow from the one \
                 before it (its version ends in {stood})"
            ));
        }
        if before.state != from.number() {
            let stood = State::from_number(before.state).unwrap_or(State::Accepted);
            return Some(format!("a step of order {order} from {from}, and it stands at {stood}"));
        }
        after_the_end().or_else(|| self.out_of_time(life.at, order, to))
    }

    /// What is wrong with the time of a step, in words: an order expires at its instant, and then only.
    fn out_of_time(&mut self, at: Timestamp, order: Seq, to: State) -> Option<String> {
        let expires_at = self.expiring.get(&order).copied();
        if to.is_terminal() || self.terminal.contains(&to) {
            self.expiring.remove(&order);
        }
        if order < self.expiry_known_from {
            return None;
        }
        match (expires_at, to == State::Expired) {
            (None, true) => {
                Some(format!("a step of order {order} to expired, and it does not expire"))
            }
            (Some(instant), true) if at < instant => {
                Some(format!("a step of order {order} to expired before it expires"))
            }
            (Some(instant), false) if at >= instant => {
                Some(format!("a step of order {order} to {to} when it has expired"))
            }
            _ => None,
        }
    }

    fn remember_expiry(&mut self, order: Seq, expires_at: Option<Timestamp>) {
        let Some(instant) = expires_at else { return };
        self.expiring.insert(order, instant);
        if self.expiring.len() > self.expiring_max
            && let Some((oldest, _)) = self.expiring.pop_first()
        {
            self.expiry_known_from = oldest.next();
        }
    }

    /// Judges what is of an order, such as a note; what is wrong with it, in words.
    fn of_order(&mut self, seq: Seq, order: Seq, what: &str) -> Option<String> {
        if order >= seq {
            return Some(format!("{what} order {order}, which has not begun yet"));
        }
        let is_order = self.stand(order)?.is_order();
        (!is_order).then(|| format!("{what} order {order}, and no order began there"))
    }

    /// Judges what resolves a note, and remembers that it is resolved.
    fn resolve(&mut self, seq: Seq, order: Seq, note: Seq) -> Option<String> {
        if note >= seq {
            return Some(format!("it resolves the note at {note}, which was not made yet"));
        }
        let stand = self.stand(note)?;
        let before = *stand;
        match before.state {
            OPEN_NOTE => {
                stand.state = RESOLVED_NOTE;
                (before.version != last_bits(order.0)).then(|| {
                    format!("it resolves the note at {note}, which is not of order {order}")
                })
            }
            RESOLVED_NOTE => {
                Some(format!("it resolves the note at {note}, which was resolved before"))
            }
            _ => Some(format!("it resolves the note at {note}, and no note waits there for that")),
        }
    }

    /// Where an order stands, if that is remembered.
    fn stand(&mut self, order: Seq) -> Option<&mut Stand> {
        if order < self.known_from {
            return None;
        }
        let page = to_usize((order.0 / PAGE_SEQS).checked_sub(self.first_page)?);
        self.pages.get_mut(page)?.get_mut(to_usize(order.0 % PAGE_SEQS))
    }

    fn push(&mut self, stand: Stand) {
        let (page, place) = (self.next.0 / PAGE_SEQS, to_usize(self.next.0 % PAGE_SEQS));
        if self.pages.is_empty() {
            self.first_page = page;
        }
        if self.first_page + self.pages.len() as u64 <= page {
            let bytes = to_usize(PAGE_SEQS);
            let mut fresh = Vec::with_capacity(bytes);
            // Behind a gap a page begins in the middle.
            fresh.resize(place, NOTHING);
            self.pages.push_back(fresh);
        }
        if let Some(last) = self.pages.back_mut() {
            last.push(stand);
        }
        if self.pages.len() > self.pages_max && self.pages.pop_front().is_some() {
            self.first_page += 1;
            self.known_from = self.known_from.max(Seq(self.first_page * PAGE_SEQS));
        }
        self.next = self.next.next();
    }

    /// Records are missing in front of `next`, or it is not known which: what they said about any order
    /// before is not known either.
    fn forget(&mut self, next: Seq) {
        self.pages.clear();
        self.expiring.clear();
        self.dispatches.forget(next);
        self.known_from = next;
        self.next = next;
    }
}

fn last_bits(version: u64) -> u8 {
    let [last, ..] = version.to_le_bytes();
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record at this seq, whose time has the same number.
    fn life(seq: u64, what: What) -> Life {
        Life { seq: Seq(seq), at: Timestamp::from_unix_ns(seq), offset: 0, what }
    }

    fn began(seq: u64) -> Life {
        life(seq, What::Began { state: State::Accepted, expires_at: None })
    }

    fn expiring(seq: u64, instant_ns: u64) -> Life {
        let expires_at = Some(Timestamp::from_unix_ns(instant_ns));
        life(seq, What::Began { state: State::Accepted, expires_at })
    }

    fn moved(seq: u64, order: u64, version: u64, from: State, to: State) -> Life {
        life(seq, What::Moved { order: Seq(order), version, from, to })
    }

    fn wrong(lives: &mut Lives, records: &[Life]) -> Vec<String> {
        let (mut found, none) = (Vec::new(), BTreeSet::new());
        lives.take_in("file", records, &none, &mut |finding| found.push(finding.place.what));
        found
    }

    #[test]
    fn steps_that_follow_from_each_other_are_not_remarked_on() {
        use State::{Accepted, Completed, Confirmed};
        let mut lives = Lives::new();
        let records = [
            began(1),
            began(2),
            moved(3, 1, 2, Accepted, Confirmed),
            moved(4, 2, 2, Accepted, Completed),
            moved(5, 1, 3, Confirmed, Completed),
        ];
        assert!(wrong(&mut lives, &records).is_empty());
    }

    fn noted(seq: u64, order: u64, asks: bool) -> Life {
        life(seq, What::Noted { order: Seq(order), asks })
    }

    fn resolved(seq: u64, order: u64, note: u64) -> Life {
        life(seq, What::Resolved { order: Seq(order), note: Seq(note) })
    }

    #[test]
    fn a_note_is_of_an_order_and_is_resolved_once_for_it() {
        use State::{Accepted, Completed, Confirmed};
        let sound = [
            began(1),
            noted(2, 1, false),
            noted(3, 1, true),
            moved(4, 1, 2, Accepted, Completed),
            // Also when it is finished.
            noted(5, 1, true),
            resolved(6, 1, 5),
            resolved(7, 1, 3),
        ];
        let mut lives = Lives::new();
        assert!(wrong(&mut lives, &sound).is_empty());
        let behind = [
            (resolved(8, 1, 3), "resolved before"),
            (resolved(9, 1, 2), "no note waits"),
            (resolved(10, 1, 1), "no note waits"),
            (resolved(11, 1, 11), "not made yet"),
            (noted(12, 12, true), "not begun yet"),
            (noted(13, 4, true), "no order began there"),
            (began(14), ""),
            (noted(15, 14, true), ""),
            (resolved(16, 1, 15), "not of order 1"),
            (noted(17, 15, false), "no order began there"),
            (moved(18, 15, 2, Accepted, Confirmed), "no order began there"),
        ];
        for (life, words) in behind {
            let found = wrong(&mut lives, &[life]);
            assert_eq!(found.len(), usize::from(!words.is_empty()), "{life:?}: {found:?}");
            assert!(found.iter().all(|what| what.contains(words)), "{life:?}: {found:?}");
        }
        // Behind a gap nothing is known of what was before it.
        assert!(wrong(&mut lives, &[resolved(30, 1, 3), noted(31, 4, true)]).is_empty());
    }

    #[test]
    fn rule_31_an_order_expires_at_its_instant_and_then_only() {
        use State::{Accepted, Completed, Confirmed, Expired};
        let sound = [
            expiring(1, 5),
            expiring(2, 5),
            expiring(3, 9),
            // One nanosecond before, at the instant, and behind it.
            moved(4, 1, 2, Accepted, Completed),
            moved(5, 2, 2, Accepted, Expired),
            moved(6, 3, 2, Accepted, Confirmed),
            began(7),
            moved(8, 7, 2, Accepted, Confirmed),
            began(9),
            moved(10, 3, 3, Confirmed, Expired),
        ];
        assert_eq!(wrong(&mut Lives::new(), &sound), [""; 0]);
        for (records, words) in [
            (vec![expiring(1, 3), began(2), moved(3, 1, 2, Accepted, Confirmed)], "has expired"),
            (vec![expiring(1, 3), moved(2, 1, 2, Accepted, Expired)], "before it expires"),
            (vec![began(1), moved(2, 1, 2, Accepted, Expired)], "does not expire"),
            (
                vec![
                    expiring(1, 2),
                    moved(2, 1, 2, Accepted, Expired),
                    moved(3, 1, 3, Expired, Completed),
                ],
                "terminal",
            ),
        ] {
            let found = wrong(&mut Lives::new(), &records);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(words), "{found:?}");
        }
    }

    #[test]
    fn of_how_many_orders_it_is_remembered_when_they_expire_is_bounded() {
        use State::{Accepted, Confirmed, Expired};
        let mut lives = Lives { expiring_max: 2, ..Lives::new() };
        let records = [
            expiring(1, 4),
            expiring(2, 4),
            expiring(3, 100),
            // Forgotten, so that nothing is said.
            moved(4, 1, 2, Accepted, Confirmed),
            moved(5, 2, 2, Accepted, Expired),
            moved(6, 3, 2, Accepted, Expired),
        ];
        assert_eq!(wrong(&mut lives, &records).len(), 1);
        assert!(lives.expiring.is_empty(), "who has come to an end is forgotten");
        // Behind a gap nothing is known of what was before.
        assert!(
            wrong(&mut lives, &[expiring(7, 8), moved(9, 7, 2, Accepted, Confirmed)]).is_empty()
        );
    }

    #[test]
    fn after_a_gap_only_what_began_behind_it_is_judged() {
        use State::{Accepted, Completed, Confirmed, InProgress};
        let mut lives = Lives::new();
        assert!(wrong(&mut lives, &[began(1), began(2)]).is_empty());
        let behind = [
            moved(9, 1, 7, InProgress, Confirmed),
            began(10),
            moved(11, 5, 2, Accepted, Confirmed),
            moved(12, 2, 3, Completed, Confirmed),
            moved(13, 10, 3, Accepted, Confirmed),
        ];
        let found = wrong(&mut lives, &behind);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("terminal") && found[1].contains("does not follow"), "{found:?}");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest() {
        use State::{Accepted, Confirmed};
        let mut lives = Lives { pages_max: 2, ..Lives::new() };
        let many: Vec<_> = (1..=4 * PAGE_SEQS).map(began).collect();
        assert!(wrong(&mut lives, &many).is_empty());
        assert_eq!(lives.pages.len(), 2);
        let next = 4 * PAGE_SEQS + 1;
        let late = [
            // Too old to be judged.
            moved(next, 5, 9, Confirmed, Accepted),
            moved(next + 1, 4 * PAGE_SEQS - 1, 9, Confirmed, Accepted),
            moved(next + 2, 4 * PAGE_SEQS, 2, Accepted, Confirmed),
        ];
        assert_eq!(wrong(&mut lives, &late).len(), 1);
    }

    #[test]
    fn terminal_states_of_a_table_of_the_callers_are_terminal() {
        let packed = State::own(100).unwrap();
        let step = [
            began(1),
            moved(2, 1, 2, State::Accepted, packed),
            moved(3, 1, 3, packed, State::Failed),
        ];
        assert!(wrong(&mut Lives::new(), &step).is_empty(), "it is not known to be one");
        let mut lives = Lives::new();
        lives.terminal.insert(packed);
        assert_eq!(wrong(&mut lives, &step).len(), 1);
    }
}
