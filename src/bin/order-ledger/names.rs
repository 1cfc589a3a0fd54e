//! The names of states, as the lifecycle of a ledger gives them.

use std::borrow::Cow;

use order_ledger::{Lifecycle, State};

use crate::errors::Failure;

/// The name of a state; of one that the lifecycle does not have, the name that every ledger knows.
pub(crate) fn name_of(lifecycle: &Lifecycle, state: State) -> Cow<'_, str> {
    match lifecycle.name_of(state) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(state.to_string()),
    }
}

/// The state that a name means: the lifecycle's own names first, then those that every ledger knows.
pub(crate) fn state(lifecycle: &Lifecycle, name: &str) -> Result<State, String> {
    if let Some(state) = lifecycle.by_name(name).or_else(|| name.parse().ok()) {
        return Ok(state);
    }
    let names: Vec<_> = lifecycle.states().map(|state| name_of(lifecycle, state)).collect();
    Err(format!("there is no state {name:?}; the states are: {}", names.join(", ")))
}

/// The same for a name that was given as an argument.
pub(crate) fn argument(lifecycle: &Lifecycle, name: &str) -> Result<State, Failure> {
    state(lifecycle, name).map_err(|what| Failure::Usage {
        what,
        advice: "see `order-ledger lifecycle` for the states and the steps between them".into(),
    })
}
