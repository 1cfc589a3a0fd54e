//! The states of an order.
//!
//! Only the first states can be reached today: [`State::Accepted`] and [`State::Refused`]. The numbers
//! of the others are fixed already, because they are stored on disk.

use std::fmt;
use std::str::FromStr;

/// Where an order stands in the default lifecycle.
///
/// Stored as its number; a number is never given to another state. Numbers from 100 are for callers'
/// own lifecycles.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
#[repr(u8)]
pub enum State {
    /// Durable and ours to carry out.
    Accepted = 1,
    /// The recipient has confirmed it.
    Confirmed = 2,
    /// Somebody works on it.
    InProgress = 3,
    /// A part of it is done.
    PartlyDone = 4,
    /// Done. Terminal.
    Completed = 5,
    /// A cancellation was asked for while work was in flight.
    Cancelling = 6,
    /// Cancelled. Terminal.
    Cancelled = 7,
    /// Refused for good by the validator. Terminal.
    Refused = 8,
    /// Its time ran out. Terminal.
    Expired = 9,
    /// It could not be carried out. Terminal.
    Failed = 10,
}

impl State {
    /// Every state of the default lifecycle, by number.
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
        self as u8
    }

    /// The state with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<State> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// Whether an order stays in this state for ever.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            State::Completed | State::Cancelled | State::Refused | State::Expired | State::Failed
        )
    }

    /// The name, as the command line and the metrics print it.
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
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<State, UnknownState> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or(UnknownState)
    }
}

/// The text names no state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownState;

impl fmt::Display for UnknownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a state; the states are:")?;
        State::ALL.iter().try_for_each(|state| write!(f, " {state}"))
    }
}

impl std::error::Error for UnknownState {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_from_its_number_and_its_name() {
        for state in State::ALL {
            assert_eq!(State::from_number(state.number()), Some(state));
            assert_eq!(state.name().parse(), Ok(state));
        }
        assert_eq!(State::from_number(0), None);
        assert_eq!("shipped".parse::<State>(), Err(UnknownState));
    }
}
