//! Is there an order of a key's calls, each between its question and its answer, in which one order store
//! that does one thing at a time would have given the same answers?
//!
//! Keys are independent of each other, so that each can be looked at alone (Herlihy and Wing: a history is
//! linearizable if it is so for each object). The search is that of Wing and Gong, with the states that
//! were seen kept as Lowe does.
//!
//! Why not the tester of `stateright`, the one in Rust that is well kept: a call without an answer may
//! there take effect at any later time, here only before the next opening has ended; a thread there has
//! one call at a time, here tickets that it waits for later; and it keeps no states that were seen.

use std::collections::HashSet;

use super::history::{Call, Content, Did, How, Key, Moment, Proof};

/// The key as the store knows it: nothing, or what was taken under it. The receipt of an order that was
/// taken without an answer is not known before somebody is shown it.
type State = Option<(Content, Option<Proof>)>;

/// Most calls of one key: the calls that are done are bits of a number.
const CALLS_MAX: usize = 128;

/// # Errors
/// The calls of a key that have no order.
pub(crate) fn check(calls: &[Call], key: Key, number: Option<u64>) -> Result<(), String> {
    let mut own: Vec<&Call> = calls.iter().filter(|call| is_of(call, key, number)).collect();
    own.sort_by_key(|call| call.asked_at);
    assert!(own.len() <= CALLS_MAX, "{} calls of one key", own.len());
    let mut search = Search { calls: &own, seen: HashSet::new() };
    if search.goes_on(0, None) {
        return Ok(());
    }
    Err(format!("no order of these calls of key {key} explains their answers: {own:#?}"))
}

/// `number` is that of the key's order in the end.
fn is_of(call: &Call, key: Key, number: Option<u64>) -> bool {
    match &call.did {
        Did::Took { key: own, .. }
        | Did::Conflicted { key: own, .. }
        | Did::TookNothing { key: own }
        | Did::InDoubt { key: own, .. }
        | Did::Found { key: own, .. } => *own == key,
        Did::Got { shown: Some(shown), .. } => shown.key == key,
        Did::Got { order, shown: None } => Some(*order) == number,
        // Of the whole history.
        Did::Listed { .. } => false,
    }
}

struct Search<'a> {
    calls: &'a [&'a Call],
    seen: HashSet<(u128, State)>,
}

impl Search<'_> {
    /// Whether the calls that are not `done` can follow on `state`.
    fn goes_on(&mut self, done: u128, state: State) -> bool {
        let open = |index: &usize| done & (1 << index) == 0;
        let left: Vec<usize> = (0..self.calls.len()).filter(open).collect();
        let Some(first_told) = left.iter().map(|index| self.calls[*index].told_at).min() else {
            return true;
        };
        if !self.seen.insert((done, state)) {
            return false;
        }
        left.into_iter().filter(|index| self.calls[*index].asked_at < first_told).any(|index| {
            let nexts = after(state, &self.calls[index].did);
            nexts.into_iter().flatten().any(|next| self.goes_on(done | (1 << index), next))
        })
    }
}

/// The states that a call may lead to; none when the store would have answered something else.
fn after(state: State, did: &Did) -> [Option<State>; 2] {
    let one = |next: Option<State>| [next, None];
    match *did {
        Did::Took { content, how: How::Fresh, proof, .. } => {
            one(state.is_none().then_some(Some((content, Some(proof)))))
        }
        // A joiner is answered after the one it joined.
        Did::Took { content, how: How::Replayed | How::Joined, proof, .. } => {
            one(show(state, |taken| taken == content, proof))
        }
        Did::Conflicted { content, proof, .. } => one(show(state, |taken| taken != content, proof)),
        Did::TookNothing { .. } => one(state.is_none().then_some(None)),
        Did::InDoubt { content, .. } => match state {
            None => [Some(None), Some(Some((content, None)))],
            Some(_) => one(Some(state)),
        },
        Did::Found { shown: None, .. } | Did::Got { shown: None, .. } => {
            one(state.is_none().then_some(None))
        }
        Did::Found { key, shown: Some(shown) } => match shown.key == key {
            true => one(show(state, |taken| taken == shown.content, shown.proof)),
            false => one(None),
        },
        Did::Got { order, shown: Some(shown) } => match shown.proof.order == order {
            true => one(show(state, |taken| taken == shown.content, shown.proof)),
            false => one(None),
        },
        Did::Listed { .. } => one(Some(state)),
    }
}

/// The state after somebody was shown `proof`, if that could be.
fn show(state: State, fits: impl Fn(Content) -> bool, proof: Proof) -> Option<State> {
    let (content, known) = state?;
    let same = known.is_none_or(|known| known == proof);
    (fits(content) && same).then_some(Some((content, Some(proof))))
}

/// When a call that took an order, or may have, was under way.
pub(crate) fn may_have_taken(call: &Call, of: Key, what: Content) -> Option<(Moment, Moment)> {
    match call.did {
        Did::Took { key, content, how: How::Fresh, .. } | Did::InDoubt { key, content }
            if key == of && content == what =>
        {
            Some((call.asked_at, call.told_at))
        }
        _ => None,
    }
}
