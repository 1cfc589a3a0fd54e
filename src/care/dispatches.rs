//! The lives of dispatches: an attempt counts on from the one before it, and a result follows from an attempt.
//!
//! Always true: memory is bounded. A dispatch is remembered until it is done, and at most [`REMEMBERED_MAX`] of them;
//! of one that is older than those, or that lies before a gap in the log, nothing is known, and what becomes of it is
//! not judged.

use std::collections::BTreeMap;

use crate::order::{Seq, Witness};
use crate::wal::record::{ATTEMPT, DEAD, DONE, Pursued, REDRIVEN};

/// Dispatches that are remembered: about 64 MiB.
const REMEMBERED_MAX: usize = 1024 * 1024;

/// What one record says about a dispatch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    order: Seq,
    dispatch: Seq,
    what: u8,
    by: Witness,
    attempts: u32,
    was_dead: bool,
}

impl Said {
    pub(crate) fn of(pursued: &Pursued<'_>) -> Said {
        let Pursued { what, attempts, was_dead, .. } = *pursued;
        let (order, dispatch, by) = (pursued.order(), pursued.dispatch(), pursued.by());
        Said { order, dispatch, what, by, attempts, was_dead }
    }
}

/// Where a dispatch stands.
#[derive(Clone, Copy, Debug)]
struct Stand {
    order: Seq,
    attempts: u32,
    /// What was said last; 0: nothing.
    last: u8,
}

/// What is remembered of the dispatches of the log so far.
#[derive(Debug)]
pub(crate) struct Dispatches {
    open: BTreeMap<Seq, Stand>,
    /// Of every dispatch from here on it is known whether it is there, and open.
    known_from: Seq,
    remembered_max: usize,
}

impl Dispatches {
    pub(crate) fn new() -> Dispatches {
        let (open, known_from) = (BTreeMap::new(), Seq::FIRST);
        Dispatches { open, known_from, remembered_max: REMEMBERED_MAX }
    }

    /// A dispatch of this order was recorded at `seq`.
    pub(crate) fn begin(&mut self, seq: Seq, order: Seq) {
        self.open.insert(seq, Stand { order, attempts: 0, last: 0 });
        if self.open.len() > self.remembered_max
            && let Some((oldest, _)) = self.open.pop_first()
        {
            self.known_from = self.known_from.max(oldest.next());
        }
    }

    /// Records in front of `next` are missing.
    pub(crate) fn forget(&mut self, next: Seq) {
        self.open.clear();
        self.known_from = next;
    }

    /// Judges what became of a dispatch, and remembers it; what is wrong with it, in words.
    pub(crate) fn pursue(&mut self, said: Said) -> Option<String> {
        let Said { order, dispatch, what, by, attempts, was_dead } = said;
        if dispatch < self.known_from {
            return None;
        }
        let Some(stand) = self.open.get_mut(&dispatch) else {
            return Some(format!(
                "it says what became of the dispatch at {dispatch}, and none waits there"
            ));
        };
        let before = *stand;
        // Whatever is wrong with it: the next one follows from what this one says.
        (stand.attempts, stand.last) = (attempts, what);
        if what == DONE {
            self.open.remove(&dispatch);
        }
        if before.order != order {
            return Some(format!("the dispatch at {dispatch} is not of order {order}"));
        }
        if was_dead != (before.last == DEAD) {
            return Some(format!(
                "it is wrong about whether the dispatch at {dispatch} was given up"
            ));
        }
        let expected = before.attempts.saturating_add(u32::from(what == ATTEMPT));
        if attempts != expected {
            return Some(format!(
                "it speaks of attempt {attempts} of the dispatch at {dispatch}, and not of {expected}"
            ));
        }
        let is_result = !matches!(what, ATTEMPT | DEAD | REDRIVEN);
        (is_result && by == Witness::Provider && before.last != ATTEMPT)
            .then(|| format!("a result of the dispatch at {dispatch} without an attempt before it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::{NOT_SENT, REFUSED, UNKNOWN};

    fn said(what: u8, attempts: u32) -> Said {
        let was_dead = what == REDRIVEN;
        let (order, dispatch, by) = (Seq(1), Seq(2), Witness::Provider);
        Said { order, dispatch, what, by, attempts, was_dead }
    }

    fn wrong(all: &[Said]) -> Vec<String> {
        let mut dispatches = Dispatches::new();
        dispatches.begin(Seq(2), Seq(1));
        all.iter().filter_map(|said| dispatches.pursue(*said)).collect()
    }

    #[test]
    fn what_follows_from_each_other_is_not_remarked_on() {
        let sound = [
            said(ATTEMPT, 1),
            said(NOT_SENT, 1),
            said(ATTEMPT, 2),
            // Cut off, and tried again.
            said(ATTEMPT, 3),
            said(UNKNOWN, 3),
            Said { by: Witness::Lookup, ..said(NOT_SENT, 3) },
            said(DEAD, 3),
            said(REDRIVEN, 3),
            said(ATTEMPT, 4),
            said(DONE, 4),
        ];
        assert!(wrong(&sound).is_empty(), "{:?}", wrong(&sound));
    }

    #[test]
    fn rule_33_what_cannot_have_become_of_a_dispatch_is_found() {
        let once = said(ATTEMPT, 1);
        for (broken, part) in [
            (vec![said(DONE, 0)], "without an attempt"),
            (vec![once, said(NOT_SENT, 1), said(REFUSED, 1)], "without an attempt"),
            (vec![said(ATTEMPT, 2)], "attempt 2"),
            (vec![once, said(DONE, 1), said(ATTEMPT, 2)], "none waits"),
            (vec![Said { dispatch: Seq(3), ..once }], "none waits"),
            (vec![Said { order: Seq(9), ..once }], "not of order 9"),
            (vec![once, said(NOT_SENT, 1), said(REDRIVEN, 1)], "given up"),
            (vec![said(DEAD, 0), said(ATTEMPT, 1)], "given up"),
        ] {
            let found = wrong(&broken);
            assert_eq!(found.len(), 1, "{broken:?}: {found:?}");
            assert!(found[0].contains(part), "{found:?}");
        }
    }

    #[test]
    fn what_is_too_old_to_be_remembered_is_not_judged() {
        let mut dispatches = Dispatches { remembered_max: 2, ..Dispatches::new() };
        for seq in 2..5 {
            dispatches.begin(Seq(seq), Seq(1));
        }
        assert_eq!(dispatches.pursue(said(DONE, 7)), None);
        let third = Said { dispatch: Seq(3), ..said(DONE, 7) };
        assert!(dispatches.pursue(third).is_some());
        dispatches.forget(Seq(9));
        assert_eq!(dispatches.pursue(Said { dispatch: Seq(4), ..third }), None);
    }
}
