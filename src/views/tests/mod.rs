//! The views are disposable, and nothing that happens to them changes an answer.
//!
//! Cause of these tests: sled 0.34.7 loses what it flushed, refuses to open, panics, hangs, and drops
//! keys without a word when a bit rots (RELIABILITY F1 to F4). Effect to prevent: a list of orders that
//! lacks one, or a ledger that does not open.

mod closing;
mod damage;
mod doubt;
mod entered;
mod expiring;
mod feeding;
mod kill;
pub(crate) mod support;

use super::{View, Views};
use crate::order::{Order, Seq, State};

use support::TestLog;

/// The seqs of a list, read page by page, and how far the views cover it.
fn list(views: &Views, view: View<'_>, limit: usize) -> (Vec<u64>, Seq) {
    let (mut found, mut after) = (Vec::new(), Seq(0));
    loop {
        let (seqs, covered) = views.page(view, after, limit);
        assert!(seqs.len() <= limit);
        found.extend(seqs.iter().map(|seq| seq.0));
        if covered <= after.next() {
            return (found, covered);
        }
        after = Seq(covered.0 - 1);
    }
}

fn is_on(view: View<'_>, order: &Order) -> bool {
    match view {
        View::Account(account) => order.account == account,
        View::ExternalRef(external_ref) => order.external_ref == external_ref,
        View::State(state) => order.now.state == state,
        View::ExpiresAt(instant) => {
            order.expires_at == Some(instant) && !order.now.state.is_terminal()
        }
        View::OpenNotes
        | View::OpenAlerts
        | View::Entered { .. }
        | View::Due { .. }
        | View::Dispatches(_) => false,
    }
}

/// Holds lists against a naive filter over the log, for the records below `covered`: every list of a
/// short log, a part of those of a long one.
fn assert_lists_are_right(views: &Views, test: &TestLog, covered: Seq) {
    let all = test.all();
    let states = State::ALL.map(View::State);
    let accounts = all.iter().map(|order| View::Account(&order.account));
    let refs = all.iter().map(|order| View::ExternalRef(&order.external_ref));
    let instants = all.iter().filter_map(|order| order.expires_at).map(View::ExpiresAt);
    let mut lists: Vec<View<'_>> =
        states.into_iter().chain(accounts).chain(refs).chain(instants).collect();
    lists.retain(|view| view.prefix().is_some());
    lists.sort_by_key(View::prefix);
    lists.dedup();
    let (step, limits) =
        if all.len() <= 1_000 { (1, &[1, 3, 1_000][..]) } else { (20, &[1_000][..]) };
    for view in lists.into_iter().step_by(step) {
        let right = all.iter().filter(|order| is_on(view, order)).map(|order| order.id().seq().0);
        let right: Vec<u64> = right.filter(|seq| *seq < covered.0).collect();
        for limit in limits {
            assert!(list(views, view, *limit) == (right.clone(), covered), "{view:?}");
        }
    }
}
