//! What is to be done next about a dispatch: a pure function of where it stands, its route, the time and the breakers.
//!
//! First row that fits. *In doubt*: it is not known whether some provider has done it.
//!
//! | where it stands | what is to be done |
//! |---|---|
//! | done, given up | nothing |
//! | in doubt, of a provider that the route does not have | nothing: a person must |
//! | in doubt, older than the route allows, and it was looked for | give up, in doubt |
//! | in doubt, and it is not time yet | wait |
//! | in doubt | look it up, and see [`after_lookup`] |
//! | tried, and older than the route allows | give up |
//! | refused, and the route gives up then | give up |
//! | not sent, and it is not time yet | wait |
//! | refused, or not sent too often, by the last provider | give up |
//! | else | the first provider, from its own on, that its breaker lets pass; none does: wait |
//!
//! What a lookup said, while in doubt:
//!
//! | it said | what is to be done |
//! |---|---|
//! | done, refused | that is the outcome |
//! | absent, and the attempt is old enough | it was not sent |
//! | else: the provider knows repeats, and may be told once more | tell it again, with the same token |
//! | else: the provider knows repeats, and was told too often | give up, in doubt |
//! | else: the route falls back (**which can do it twice**) and somebody is left | the next provider |
//! | else | wait, and look again |
//!
//! Always true: under [`OnUnknown::Hold`] no row leads from doubt to another provider.

use super::provider::Found;
use super::route::{OnRefused, OnUnknown, Route, behind};
use crate::order::dispatch::{Course, Lane, Progress};
use crate::order::{Sent, Seq, Timestamp};

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Nothing,
    /// A person must do something: the route does not have the provider.
    Stuck,
    Wait(Timestamp),
    /// Ask this provider what became of its token.
    LookUp(usize),
    /// Tell this provider, for the so-many-th time in a row.
    Attempt {
        provider: usize,
        of_provider: u32,
    },
    GiveUp {
        why: String,
    },
    /// It is known now.
    Settle(Sent),
}

/// What is known besides, in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Looked {
    /// The newest record about the dispatch: when there is another, this is worth nothing.
    pub(crate) behind: Seq,
    /// How often it was looked up since its newest record.
    pub(crate) times: u32,
    /// Not to be looked up before this time.
    pub(crate) again_at: Option<Timestamp>,
}

impl Looked {
    /// Nothing is known besides this record.
    pub(crate) fn not_yet(behind: Seq) -> Looked {
        Looked { behind, times: 0, again_at: None }
    }
}

/// Whether a provider's breaker lets a call pass; `Err`: not before that time.
pub(crate) type Passes<'a> = &'a dyn Fn(usize) -> Result<(), Timestamp>;

/// The next action. An attempt that was cut off is in doubt: see [`Course::cut_off`].
pub(crate) fn decide(
    course: &Course,
    route: &Route,
    now: Timestamp,
    looked: Looked,
    passes: Passes<'_>,
) -> Action {
    if course.lane() != Some(Lane::Open) {
        return Action::Nothing;
    }
    let is_too_old = now >= behind(course.since, route.retry.age_max);
    let wait = |until: Option<Timestamp>| until.filter(|until| now < *until).map(Action::Wait);
    if is_held(course, route) {
        let Some(provider) = route.place_of(&course.doubt) else { return Action::Stuck };
        if is_too_old && looked.times > 0 {
            let why = "it is not known whether it was done, and it took too long";
            return Action::GiveUp { why: why.to_owned() };
        }
        let until = course.again_at.max(looked.again_at);
        return wait(until).unwrap_or(Action::LookUp(provider));
    }
    if is_too_old && is_begun(course) {
        return Action::GiveUp { why: "it took too long".to_owned() };
    }
    let place = route.place_of(&course.provider);
    let from = match (&course.progress, place) {
        (Progress::Sent(Sent::Refused { why, .. }), _) if route.on_refused == OnRefused::GiveUp => {
            return Action::GiveUp { why: format!("refused by {}: {why}", course.provider) };
        }
        (Progress::Sent(Sent::Refused { .. }), Some(place)) => place + 1,
        (Progress::Sent(Sent::NotSent { .. }), Some(place)) => {
            match course.of_provider >= route.retry.attempts_max {
                true => place + 1,
                false => match wait(course.again_at) {
                    Some(wait) => return wait,
                    None => place,
                },
            }
        }
        _ => 0,
    };
    next_provider(course, route, from, passes).unwrap_or_else(|| Action::GiveUp {
        why: match &course.progress {
            Progress::Sent(Sent::Refused { why, .. }) => {
                format!("refused, and no provider is left: {why}")
            }
            Progress::Sent(Sent::NotSent { why }) => {
                format!("tried too often, and no provider is left: {why}")
            }
            _ => "no provider is left".to_owned(),
        },
    })
}

/// Whether anybody was told yet, or again. What waits behind something else does not grow old.
pub(crate) fn is_begun(course: &Course) -> bool {
    !matches!(course.progress, Progress::None | Progress::Redriven { .. })
}

/// Whether nobody but the provider in doubt may be told.
fn is_held(course: &Course, route: &Route) -> bool {
    // Where the route falls back, the one in doubt is asked before anybody else is told, and not behind that.
    let fell_back = course.provider != course.doubt;
    !course.doubt.is_empty() && (route.on_unknown == OnUnknown::Hold || !fell_back)
}

/// The first provider from `from` on that may be called; `None`: there is none from there on.
fn next_provider(
    course: &Course,
    route: &Route,
    from: usize,
    passes: Passes<'_>,
) -> Option<Action> {
    let mut earliest: Option<Timestamp> = None;
    for provider in from..route.providers.len() {
        match passes(provider) {
            Ok(()) => {
                let is_same = route.place_of(&course.provider) == Some(provider);
                let told = if is_same { course.of_provider } else { 0 };
                let of_provider = told.saturating_add(1);
                return Some(Action::Attempt { provider, of_provider });
            }
            Err(until) => earliest = Some(earliest.map_or(until, |other| other.min(until))),
        }
    }
    earliest.map(Action::Wait)
}

/// The next action when the provider in doubt was asked.
pub(crate) fn after_lookup(
    course: &Course,
    route: &Route,
    now: Timestamp,
    found: Option<Found>,
    knows_repeats: bool,
    pause_until: Timestamp,
    passes: Passes<'_>,
) -> Action {
    let is_absent = match found {
        Some(Found::Done { reference }) => return Action::Settle(Sent::Done { reference }),
        Some(Found::Refused { code, why }) => return Action::Settle(Sent::Refused { code, why }),
        Some(Found::Absent) => true,
        None => false,
    };
    let settled_at = behind(course.at, route.settle);
    if is_absent && now >= settled_at {
        let why = "the provider does not know the token".to_owned();
        return Action::Settle(Sent::NotSent { why });
    }
    let Some(provider) = route.place_of(&course.doubt) else { return Action::Stuck };
    if knows_repeats {
        if course.of_provider >= route.retry.attempts_max {
            let why = "it is not known whether it was done, and it was tried too often";
            return Action::GiveUp { why: why.to_owned() };
        }
        return match passes(provider) {
            Ok(()) => {
                let of_provider = course.of_provider.saturating_add(1);
                Action::Attempt { provider, of_provider }
            }
            Err(until) => Action::Wait(until.max(pause_until)),
        };
    }
    if route.on_unknown == OnUnknown::FallBack
        && let Some(action) = next_provider(course, route, provider + 1, passes)
    {
        return action;
    }
    Action::Wait(if is_absent { pause_until.min(settled_at) } else { pause_until })
}

/// Where a dispatch stands when an attempt (`course`) was answered.
pub(crate) fn answered(course: &Course, route: &Route, sent: Sent, again_at: Timestamp) -> Course {
    let was_in_doubt = course.doubt == course.provider;
    let mut after = Course { again_at: None, ..course.clone() };
    let is_last = course.of_provider >= route.retry.attempts_max;
    match sent {
        Sent::Done { .. } | Sent::Refused { .. } => {
            if was_in_doubt {
                after.doubt.clear();
            }
            after.progress = Progress::Sent(sent);
        }
        // This time nothing happened; the time before, something may have.
        Sent::NotSent { why } if was_in_doubt => {
            after.again_at = Some(again_at);
            after.progress = Progress::Sent(Sent::Unknown { why });
        }
        Sent::NotSent { .. } => {
            after.again_at = (!is_last).then_some(again_at);
            after.progress = Progress::Sent(sent);
        }
        Sent::Unknown { .. } => {
            after.again_at = Some(again_at);
            after.doubt.clone_from(&course.provider);
            after.progress = Progress::Sent(sent);
        }
    }
    after
}

/// Where a dispatch stands when it became known what became of its provider in doubt.
pub(crate) fn settled(course: &Course, sent: Sent) -> Course {
    let (provider, doubt) = (course.doubt.clone(), String::new());
    Course { progress: Progress::Sent(sent), provider, doubt, again_at: None, ..course.clone() }
}

#[cfg(test)]
mod tests;
