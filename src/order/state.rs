//! The states of an order: those that every ledger knows, and the numbers of a caller's own.
//!
//! Always true: a state is its number, on disk and in memory; numbers below 100 are the ledger's, and never
//! given to another state; which state may follow which is [`lifecycle`](super::lifecycle)'s.

use std::fmt;
use std::str::FromStr;

/// Where an order stands.
///
/// Stored as its number; a number is never given to another state. Numbers from 100 are for callers'
/// own lifecycles: [`State::own`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum State {
    /// Durable and ours to carry out.
    Accepted,
    /// The recipient has confirmed it.
    Confirmed,
    /// Somebody works on it.
    InProgress,
    /// A part of it is done.
    PartlyDone,
    /// Done. Terminal.
    Completed,
    /// A cancellation was asked for while work was in flight.
    Cancelling,
    /// Cancelled. Terminal.
    Cancelled,
    /// Refused for good by the validator. Terminal.
    Refused,
    /// Its time ran out. Terminal.
    Expired,
    /// It could not be carried out. Terminal.
    Failed,
    /// One of the caller's own [`Lifecycle`](crate::Lifecycle), which knows its name and whether it is terminal.
    Own(OwnState),
}

/// The number of a state of a caller's own: [`OwnState::MIN`] to [`OwnState::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OwnState(u8);

impl OwnState {
    /// The smallest number. Those below are kept for the ledger's own states.
    pub const MIN: u8 = 100;
    /// The largest number.
    pub const MAX: u8 = 249;

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// What the printed form of a state of the caller's own begins with; its number follows.
const OWN_PREFIX: &str = "own_";

impl State {
    /// Every state that every ledger knows, by number.
    pub const ALL: [State; 10] = [
        State::Accepted,
        State::Confirmed,
        State::InProgress,
        State::PartlyDone,
        State::Completed,
        State::Cancelling,
        State::Cancelled,
        State::Refused,
        State::Expired,
        State::Failed,
    ];

    /// The number that is stored on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            State::Accepted => 1,
            State::Confirmed => 2,
            State::InProgress => 3,
            State::PartlyDone => 4,
            State::Completed => 5,
            State::Cancelling => 6,
            State::Cancelled => 7,
            State::Refused => 8,
            State::Expired => 9,
            State::Failed => 10,
            State::Own(own) => own.0,
        }
    }

    /// The state with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<State> {
        Some(match number {
            1 => State::Accepted,
            2 => State::Confirmed,
            3 => State::InProgress,
            4 => State::PartlyDone,
            5 => State::Completed,
            6 => State::Cancelling,
            7 => State::Cancelled,
            8 => State::Refused,
            9 => State::Expired,
            10 => State::Failed,
            OwnState::MIN..=OwnState::MAX => State::Own(OwnState(number)),
            _ => return None,
        })
    }

    /// A state of the caller's own; `None` for a number outside [`OwnState::MIN`] to [`OwnState::MAX`].
    ///
    /// ```
    /// # use order_ledger::State;
    /// const PACKED: State = State::own(100).unwrap();
    /// assert_eq!(PACKED.to_string(), "own_100");
    /// assert_eq!(State::own(5), None);
    /// ```
    #[must_use]
    pub const fn own(number: u8) -> Option<State> {
        match number {
            OwnState::MIN..=OwnState::MAX => Some(State::Own(OwnState(number))),
            _ => None,
        }
    }

    /// Whether an order stays in this state for ever. False for a state of the caller's own: its
    /// [`Lifecycle`](crate::Lifecycle) knows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            State::Completed | State::Cancelled | State::Refused | State::Expired | State::Failed
        )
    }

    /// The name, as the command line and the metrics print it; `own` for a state of the caller's own, whose
    /// name is in its [`Lifecycle`](crate::Lifecycle).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Accepted => "accepted",
            State::Confirmed => "confirmed",
            State::InProgress => "in_progress",
            State::PartlyDone => "partly_done",
            State::Completed => "completed",
            State::Cancelling => "cancelling",
            State::Cancelled => "cancelled",
            State::Refused => "refused",
            State::Expired => "expired",
            State::Failed => "failed",
            State::Own(_) => "own",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Own(own) => write!(f, "{OWN_PREFIX}{}", own.0),
            known => f.write_str(known.name()),
        }
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<State, UnknownState> {
        let own = || State::own(text.strip_prefix(OWN_PREFIX)?.parse().ok()?);
        let known = Self::ALL.into_iter().find(|state| state.name() == text);
        // Printed again, so that no second spelling of a number is taken.
        known.or_else(own).filter(|state| state.to_string() == text).ok_or(UnknownState)
    }
}

/// The text names no state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownState;

impl fmt::Display for UnknownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a state; the states are:")?;
        State::ALL.iter().try_for_each(|state| write!(f, " {state}"))?;
        write!(f, " and {OWN_PREFIX}{} to {OWN_PREFIX}{}", OwnState::MIN, OwnState::MAX)
    }
}

impl std::error::Error for UnknownState {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_from_its_number_and_its_name() {
        let own = [100, 249].map(|number| State::own(number).unwrap());
        for state in State::ALL.into_iter().chain(own) {
            assert_eq!(State::from_number(state.number()), Some(state));
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        for number in [0, 11, 99, 250, 255] {
            assert_eq!(State::from_number(number), None, "{number}");
            assert_eq!(State::own(number), None, "{number}");
        }
        assert_eq!(State::own(5), None, "a number of the ledger's");
        for text in ["shipped", "own", "own_", "own_5", "own_0100", "own_250", "Accepted"] {
            assert_eq!(text.parse::<State>(), Err(UnknownState), "{text}");
        }
    }
}
