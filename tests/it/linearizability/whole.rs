//! Do all keys together fit into one row of orders, which only grows, one number after the other?
//!
//! The orders that are there in the end, by number, are the row. At each moment callers can see a front
//! part of it, of some length. Each answer says something about that length between its question and
//! its end: one that shows order `n` says *at least n*, one that finds it missing *less than n*, a list of `n`
//! orders *exactly n*; the call that took order `n` says *less than n* when it was asked and *at least n* when it was
//! told.
//!
//! Such lengths exist, and never shrink, if and only if no answer that said *at least n* was told before a
//! question was asked whose answer says *less than n*. (If so, let the length at each moment be the largest
//! that was told by then: it is small enough for every question when it is asked, large enough when
//! it is told, and in between it may go through every length on the way.) Orders whose caller was not
//! told are checked for a caller who may have been it; which of several is left open, as the search per
//! key decides that.

use std::collections::{HashMap, HashSet};

use super::history::{Call, Did, How, Moment, Shown};
use super::per_key;

/// What one answer says about the length, as far as it says anything.
struct Says {
    asked_at: Moment,
    told_at: Moment,
    at_least: Option<u64>,
    at_most: Option<u64>,
}

/// # Errors
/// What does not fit.
pub(crate) fn check(calls: &[Call], row: &[Shown]) -> Result<(), String> {
    check_row(row)?;
    for call in calls {
        check_against(call, row)?;
        if !call.was_durable {
            return Err(format!("revealed before it was durable: {call:?}"));
        }
    }
    let says: Vec<Says> = calls.iter().filter_map(|call| says(call, row)).collect();
    check_growth(&says)?;
    for shown in row {
        check_taker(calls, &says, shown)?;
    }
    calls.iter().try_for_each(|call| check_joined(calls, call))
}

/// Numbers are dense, and no key has two orders.
fn check_row(row: &[Shown]) -> Result<(), String> {
    let mut keys = HashSet::new();
    for (number, shown) in (1..).zip(row) {
        if shown.proof.order != number {
            return Err(format!("the order behind number {} is {shown:?}", number - 1));
        }
        if !keys.insert(shown.key) {
            return Err(format!("key {} has two orders", shown.key));
        }
    }
    Ok(())
}

/// What was revealed is in the row, as it was revealed.
fn check_against(call: &Call, row: &[Shown]) -> Result<(), String> {
    let at = |order: u64| row.get(usize::try_from(order).ok()?.checked_sub(1)?);
    let wrong = |what: &str| Err(format!("{what}: {call:?}"));
    for shown in call.revealed() {
        if at(shown.proof.order) != Some(shown) {
            return wrong("an order was shown that is not there in the end");
        }
    }
    match &call.did {
        Did::Took { key, content, proof, .. } => match at(proof.order) {
            Some(taken) if (taken.key, taken.content, taken.proof) == (*key, *content, *proof) => {
                Ok(())
            }
            _ => wrong("an acknowledged order is not there in the end"),
        },
        Did::Conflicted { key, content, proof } => match at(proof.order) {
            Some(winner)
                if (winner.key, winner.proof) == (*key, *proof) && winner.content != *content =>
            {
                Ok(())
            }
            _ => wrong("a conflict with an order that is not there in the end"),
        },
        Did::Listed { all } if !row.starts_with(all) => wrong("a list with a hole"),
        _ => Ok(()),
    }
}

fn says(call: &Call, row: &[Shown]) -> Option<Says> {
    let number_of = |key: u32| row.iter().find(|shown| shown.key == key).map(|it| it.proof.order);
    let (at_least, at_most) = match &call.did {
        Did::Took { how: How::Fresh, proof, .. } => (Some(proof.order), Some(proof.order - 1)),
        Did::Took { proof, .. } | Did::Conflicted { proof, .. } => (Some(proof.order), None),
        Did::Found { shown: Some(shown), .. } | Did::Got { shown: Some(shown), .. } => {
            (Some(shown.proof.order), None)
        }
        Did::Found { key, shown: None } | Did::TookNothing { key } => {
            (None, number_of(*key).map(|number| number - 1))
        }
        Did::Got { order, shown: None } => (None, order.checked_sub(1)),
        Did::Listed { all } => (Some(all.len() as u64), Some(all.len() as u64)),
        Did::InDoubt { .. } => (None, None),
    };
    if at_least.is_none() && at_most.is_none() {
        return None;
    }
    Some(Says { asked_at: call.asked_at, told_at: call.told_at, at_least, at_most })
}

/// The length never shrinks.
fn check_growth(says: &[Says]) -> Result<(), String> {
    let mut told: Vec<&Says> = says.iter().filter(|it| it.at_least.is_some()).collect();
    told.sort_by_key(|it| it.told_at);
    let mut asked: Vec<&Says> = says.iter().filter(|it| it.at_most.is_some()).collect();
    asked.sort_by_key(|it| it.asked_at);
    let (mut length, mut behind) = (0, told.into_iter().peekable());
    for question in asked {
        while let Some(answer) = behind.next_if(|answer| answer.told_at < question.asked_at) {
            length = length.max(answer.at_least.unwrap_or(0));
        }
        if question.at_most.is_some_and(|most| most < length) {
            return Err(format!(
                "at {} callers had been told of {length} orders; who asked then was told of at most {:?}",
                question.asked_at, question.at_most
            ));
        }
    }
    Ok(())
}

/// Somebody took this order, at a moment at which it can have been taken.
fn check_taker(calls: &[Call], says: &[Says], shown: &Shown) -> Result<(), String> {
    let number = shown.proof.order;
    let missing = |it: &&Says| it.at_most.is_some_and(|most| most < number);
    let there = |it: &&Says| it.at_least.is_some_and(|least| least >= number);
    let from = says.iter().filter(missing).map(|it| it.asked_at).max().unwrap_or(0);
    let to = says.iter().filter(there).map(|it| it.told_at).min().unwrap_or(Moment::MAX);
    let takers =
        calls.iter().filter_map(|call| per_key::may_have_taken(call, shown.key, shown.content));
    let mut fitting = takers.filter(|(asked_at, told_at)| *asked_at < to && *told_at > from);
    match fitting.next() {
        Some(_) => Ok(()),
        None => Err(format!("nobody can have taken {shown:?} between {from} and {to}")),
    }
}

/// Who joined was under way together with somebody who took the order, or may have.
fn check_joined(calls: &[Call], joined: &Call) -> Result<(), String> {
    let Did::Took { key, content, how: How::Joined, .. } = joined.did else { return Ok(()) };
    let together = calls.iter().filter(|call| call.life == joined.life).any(|call| {
        per_key::may_have_taken(call, key, content).is_some_and(|(asked_at, told_at)| {
            asked_at < joined.told_at && told_at > joined.asked_at
        })
    });
    if together { Ok(()) } else { Err(format!("joined nobody: {joined:?}")) }
}

/// Both checks, of a history whose last call is a list of what is there in the end.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_history(calls: &[Call]) -> Result<(), String> {
    let last = calls.iter().max_by_key(|call| call.asked_at).map(|call| &call.did);
    let Some(Did::Listed { all: row }) = last else {
        return Err("the history does not end with a list".to_owned());
    };
    let numbers: HashMap<u32, u64> = row.iter().map(|it| (it.key, it.proof.order)).collect();
    let mut keys: Vec<u32> = calls.iter().flat_map(keys_of).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        per_key::check(calls, key, numbers.get(&key).copied())?;
    }
    check(calls, row)
}

fn keys_of(call: &Call) -> Vec<u32> {
    match &call.did {
        Did::Took { key, .. }
        | Did::Conflicted { key, .. }
        | Did::TookNothing { key }
        | Did::InDoubt { key, .. }
        | Did::Found { key, .. } => vec![*key],
        Did::Got { .. } | Did::Listed { .. } => call.revealed().iter().map(|it| it.key).collect(),
    }
}
