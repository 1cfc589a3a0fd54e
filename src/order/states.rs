//! A lifecycle written as a Rust enum.

use std::time::Duration;

use super::lifecycle::{Lifecycle, LifecycleError, StateRule};
use super::state::State;

/// The states of a lifecycle as an enum of the caller's own: what follows what stands in a `match`, and the
/// compiler sees to it that no state is forgotten.
///
/// [`Lifecycle::of`] makes the table of it; [`Orders::with_states`](crate::Orders::with_states) speaks in it.
///
/// **What it must say**: [`ALL`](OrderStates::ALL) names every variant; [`state`](OrderStates::state) gives each a
/// state of its own, which is stored and never changes its meaning; one variant is [`State::Accepted`], where
/// every order begins. [`State::Refused`] and [`State::Expired`] need no variant: they are the ledger's to enter.
///
/// ```
/// use order_ledger::{Lifecycle, OrderStates, State};
///
/// #[derive(Clone, Copy, PartialEq, Debug)]
/// enum Parcel { New, Packed, Delivered, Returned }
///
/// impl OrderStates for Parcel {
///     const ALL: &'static [Parcel] = &[Parcel::New, Parcel::Packed, Parcel::Delivered, Parcel::Returned];
///
///     fn state(self) -> State {
///         const PACKED: State = State::own(100).unwrap();
///         const RETURNED: State = State::own(101).unwrap();
///         match self {
///             Parcel::New => State::Accepted,
///             Parcel::Packed => PACKED,
///             Parcel::Delivered => State::Completed,
///             Parcel::Returned => RETURNED,
///         }
///     }
///
///     fn name(self) -> &'static str {
///         match self {
///             Parcel::Packed => "packed",
///             Parcel::Returned => "returned",
///             known => known.state().name(),
///         }
///     }
///
///     fn next(self) -> &'static [Parcel] {
///         match self {
///             Parcel::New => &[Parcel::Packed],
///             Parcel::Packed => &[Parcel::Delivered, Parcel::Returned],
///             Parcel::Delivered | Parcel::Returned => &[],
///         }
///     }
///
///     fn evidence(self, to: Parcel) -> &'static [&'static str] {
///         match to {
///             Parcel::Delivered => &["signed_by"],
///             _ => &[],
///         }
///     }
/// }
///
/// let lifecycle = Lifecycle::of::<Parcel>()?;
/// assert!(lifecycle.is_terminal(Parcel::Returned.state()));
/// assert_eq!(Parcel::from_state(State::Completed), Some(Parcel::Delivered));
/// # Ok::<(), order_ledger::LifecycleError>(())
/// ```
pub trait OrderStates: Copy + 'static {
    /// Every variant.
    const ALL: &'static [Self];

    /// The state that is stored: one of the ledger's own, or one by [`State::own`]. Two variants never have the
    /// same.
    fn state(self) -> State;

    /// The states that may follow. None: an order stays in this one for ever.
    fn next(self) -> &'static [Self];

    /// The name, a to z, 0 to 9 and `_`: for a state of the ledger's own it must be its name, which is what the
    /// default gives. A state of the caller's own needs one.
    fn name(self) -> &'static str {
        self.state().name()
    }

    /// The names of what a step from here to there must bring along. Default: nothing.
    fn evidence(self, to: Self) -> &'static [&'static str] {
        let _ = to;
        &[]
    }

    /// After how long in this state an order is worth a look. Default: never.
    fn warn_after(self) -> Option<Duration> {
        None
    }

    /// After how long in this state an order needs somebody. Default: never.
    fn critical_after(self) -> Option<Duration> {
        None
    }

    /// The variant that is stored as this state; `None` when there is none.
    #[must_use]
    fn from_state(state: State) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.state() == state)
    }
}

/// The ledger's own states, with the steps of the default [`Lifecycle`].
impl OrderStates for State {
    const ALL: &'static [State] = &State::ALL;

    fn state(self) -> State {
        self
    }

    fn next(self) -> &'static [State] {
        super::lifecycle::default_next(self)
    }

    fn from_state(state: State) -> Option<State> {
        Some(state)
    }
}

impl Lifecycle {
    /// The table that an enum describes, checked as one that is put together by hand.
    ///
    /// # Errors
    /// [`LifecycleError`] names the state and what is wrong with it.
    pub fn of<S: OrderStates>() -> Result<Lifecycle, LifecycleError> {
        S::ALL
            .iter()
            .fold(Lifecycle::builder(), |table, from| {
                let (state, name) = (from.state(), from.name());
                let mut rule = match from.next() {
                    [] => StateRule::terminal(state, name),
                    _ => StateRule::new(state, name),
                };
                rule.warn_after = from.warn_after();
                rule.critical_after = from.critical_after();
                from.next().iter().fold(table.state(rule), |table, to| {
                    table.edge_with(state, to.state(), from.evidence(*to).iter().copied())
                })
            })
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_16_the_ledgers_own_states_as_an_enum_are_the_default_lifecycle() {
        assert_eq!(Lifecycle::of::<State>(), Ok(Lifecycle::default()));
    }

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Wrong {
        Begin,
        Twice,
    }

    impl OrderStates for Wrong {
        const ALL: &'static [Wrong] = &[Wrong::Begin, Wrong::Twice];

        fn state(self) -> State {
            State::Accepted
        }

        fn next(self) -> &'static [Wrong] {
            &[]
        }
    }

    #[test]
    fn rule_16_an_enum_that_makes_no_sense_is_refused_like_a_table() {
        let error = Lifecycle::of::<Wrong>().unwrap_err();
        assert_eq!(error.state(), State::Accepted);
    }
}
