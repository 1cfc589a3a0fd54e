//! How many orders of a store are in which state: counted while it is audited and fed, so that asking costs
//! no look at the store.
//!
//! Always true: it counts the keys of the lists by state and no others; it says what the store says, up to the
//! record that the store covers, and is as disposable.

use std::collections::BTreeMap;

use super::layout::{self, Change};
use crate::order::State;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally(
    /// By the state's number; none is zero.
    BTreeMap<u8, u64>,
);

impl Tally {
    /// A key came into the store, or went.
    pub(super) fn note(&mut self, key: &[u8], change: Change) {
        let Some(state) = layout::state_of(key) else { return };
        let count = self.0.entry(state.number()).or_default();
        *count = match change {
            Change::Add => count.saturating_add(1),
            Change::Remove => count.saturating_sub(1),
        };
        if *count == 0 {
            self.0.remove(&state.number());
        }
    }

    /// The states that have orders, by number.
    pub(super) fn states(&self) -> Vec<(State, u64)> {
        let known = |(number, count): (&u8, &u64)| Some((State::from_number(*number)?, *count));
        self.0.iter().filter_map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{Seq, Timestamp};
    use crate::views::View;

    #[test]
    fn only_the_lists_by_state_are_counted() {
        let mut tally = Tally::default();
        let accepted = |seq| View::State(State::Accepted).key(Seq(seq)).unwrap();
        let others =
            [View::Account(b"x"), View::OpenNotes, View::ExpiresAt(Timestamp::from_unix_ns(1))];
        for view in others {
            tally.note(&view.key(Seq(1)).unwrap(), Change::Add);
        }
        tally.note(layout::WATERMARK_KEY, Change::Add);
        assert_eq!(tally, Tally::default());
        tally.note(&accepted(1), Change::Add);
        tally.note(&accepted(2), Change::Add);
        tally.note(&View::State(State::Completed).key(Seq(1)).unwrap(), Change::Add);
        tally.note(&accepted(1), Change::Remove);
        assert_eq!(tally.states(), [(State::Accepted, 1), (State::Completed, 1)]);
        tally.note(&accepted(2), Change::Remove);
        assert_eq!(tally.states(), [(State::Completed, 1)]);
    }
}
