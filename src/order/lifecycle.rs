//! Which state of an order may follow which: the table that every ledger has, or a caller's own.
//!
//! Always true of a [`Lifecycle`] that was built: an order begins in [`State::Accepted`]; every other state
//! can be reached from there; terminal states have no edge out, all others have one; numbers and names are
//! unique. [`State::Refused`] and [`State::Expired`] are the ledger's to enter, so no edge leads there.

use std::fmt;
use std::time::Duration;

use super::state::State;

/// Most states of one lifecycle. Source: SEMANTICS rule 16.
pub(crate) const STATES_MAX: usize = 250;
/// Most edges of one lifecycle: its record stays below 256 KiB.
pub(crate) const EDGES_MAX: usize = 4_096;
/// Longest name of a state or of a piece of evidence, in bytes: a to z, 0 to 9 and `_`.
pub(crate) const NAME_BYTES_MAX: usize = 32;
/// Most pieces of evidence that one edge may demand, and that one transition may bring.
pub(crate) const EVIDENCE_MAX: usize = 16;

/// One state of a lifecycle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateRule {
    pub(crate) state: State,
    pub(crate) name: String,
    pub(crate) terminal: bool,
    pub(crate) warn_after: Option<Duration>,
    pub(crate) critical_after: Option<Duration>,
}

impl StateRule {
    /// A state that an order passes through.
    ///
    /// For a state of the ledger's own (such as [`State::Confirmed`]) the name must be its name.
    pub fn new(state: State, name: impl Into<String>) -> StateRule {
        StateRule {
            state,
            name: name.into(),
            terminal: false,
            warn_after: None,
            critical_after: None,
        }
    }

    /// A state that an order stays in for ever.
    pub fn terminal(state: State, name: impl Into<String>) -> StateRule {
        StateRule { terminal: true, ..StateRule::new(state, name) }
    }

    /// An order that stays longer than this is worth a look, unless it says otherwise itself
    /// ([`Submission::warn_after`](crate::Submission::warn_after)). Stored with the table, for whoever watches.
    #[must_use]
    pub fn warn_after(mut self, after: Duration) -> StateRule {
        self.warn_after = Some(after);
        self
    }

    /// An order that stays longer than this needs somebody now. Stored with the table, for whoever watches.
    #[must_use]
    pub fn critical_after(mut self, after: Duration) -> StateRule {
        self.critical_after = Some(after);
        self
    }

    /// One of the ledger's own, as every lifecycle has it.
    fn known(state: State) -> StateRule {
        StateRule { terminal: state.is_terminal(), ..StateRule::new(state, state.name()) }
    }
}

/// A step that an order may take.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Edge {
    pub(crate) from: u8,
    pub(crate) to: u8,
    /// Names of what a transition must bring along.
    pub(crate) evidence: Vec<String>,
}

/// Which state may follow which.
///
/// The default one:
///
/// | from | to |
/// |---|---|
/// | accepted | confirmed, in_progress, partly_done, completed, cancelling, cancelled, failed |
/// | confirmed | in_progress, partly_done, completed, cancelling, cancelled, failed |
/// | in_progress | partly_done, completed, cancelling, failed |
/// | partly_done | completed, cancelling, failed |
/// | cancelling | cancelled, or back: in_progress, partly_done, completed, failed |
///
/// Steps forward may leave states out: not everybody confirms. Once somebody works on an order it is not
/// cancelled at once but asked to be ([`State::Cancelling`]); the answer decides.
///
/// **Stored**: in the log, when it is not the default; a ledger that was used with one is opened with it
/// unless [`Options::lifecycle`](crate::Options::lifecycle) gives another, which must have every state
/// of the stored one, terminal where that is.
///
/// ```
/// use order_ledger::{Lifecycle, State, StateRule};
/// const PACKED: State = State::own(100).unwrap();
/// let own = Lifecycle::builder()
///     .state(StateRule::new(PACKED, "packed"))
///     .edge(State::Accepted, PACKED)
///     .edge_with(PACKED, State::Completed, ["tracking_number"])
///     .edge(State::Accepted, State::Cancelled)
///     .build()?;
/// assert_eq!(own.name_of(PACKED), Some("packed"));
/// assert!(own.is_terminal(State::Completed));
/// # Ok::<(), order_ledger::LifecycleError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lifecycle {
    /// By number.
    states: Vec<StateRule>,
    /// By from, then to.
    edges: Vec<Edge>,
}

/// What may follow a state by the default lifecycle.
pub(super) fn default_next(from: State) -> &'static [State] {
    use State::{
        Accepted, Cancelled, Cancelling, Completed, Confirmed, Failed, InProgress, PartlyDone,
    };
    match from {
        Accepted => &[Confirmed, InProgress, PartlyDone, Completed, Cancelling, Cancelled, Failed],
        Confirmed => &[InProgress, PartlyDone, Completed, Cancelling, Cancelled, Failed],
        InProgress => &[PartlyDone, Completed, Cancelling, Failed],
        PartlyDone => &[Completed, Cancelling, Failed],
        Cancelling => &[Cancelled, InProgress, PartlyDone, Completed, Failed],
        _ => &[],
    }
}

impl Default for Lifecycle {
    fn default() -> Lifecycle {
        let edges = State::ALL.into_iter().flat_map(|from| {
            let edge = move |to: &State| Edge {
                from: from.number(),
                to: to.number(),
                evidence: Vec::new(),
            };
            default_next(from).iter().map(edge)
        });
        let mut edges: Vec<Edge> = edges.collect();
        edges.sort_unstable();
        Lifecycle { states: State::ALL.map(StateRule::known).into(), edges }
    }
}

impl Lifecycle {
    /// Begins a table of the caller's own.
    pub fn builder() -> LifecycleBuilder {
        LifecycleBuilder { states: Vec::new(), edges: Vec::new() }
    }

    /// The table with these rows, checked.
    pub(crate) fn from_parts(
        states: Vec<StateRule>,
        edges: Vec<Edge>,
    ) -> Result<Lifecycle, LifecycleError> {
        LifecycleBuilder { states, edges }.build()
    }

    /// The states, by number.
    pub fn states(&self) -> impl Iterator<Item = State> + '_ {
        self.states.iter().map(|rule| rule.state)
    }

    /// Every rule, by number.
    pub(crate) fn rules(&self) -> &[StateRule] {
        &self.states
    }

    pub(crate) fn edges(&self) -> &[Edge] {
        &self.edges
    }

    fn rule(&self, state: State) -> Option<&StateRule> {
        self.states.iter().find(|rule| rule.state == state)
    }

    /// The name of a state; `None` when the table does not have it.
    #[must_use]
    pub fn name_of(&self, state: State) -> Option<&str> {
        self.rule(state).map(|rule| rule.name.as_str())
    }

    /// The state with this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<State> {
        self.states.iter().find(|rule| rule.name == name).map(|rule| rule.state)
    }

    /// Whether an order stays in this state for ever; also true of a state that the table does not have.
    #[must_use]
    pub fn is_terminal(&self, state: State) -> bool {
        self.rule(state).is_none_or(|rule| rule.terminal)
    }

    /// After how long in this state an order is worth a look, and needs somebody.
    #[must_use]
    pub fn thresholds(&self, state: State) -> (Option<Duration>, Option<Duration>) {
        self.rule(state).map_or((None, None), |rule| (rule.warn_after, rule.critical_after))
    }

    /// The same table with other thresholds for one of its states: after how long in it an order is worth a look,
    /// and needs somebody. `None`: never. No effect on a state that the table does not have.
    ///
    /// ```
    /// use std::time::Duration;
    /// use order_ledger::{Lifecycle, State};
    /// const HOUR: Duration = Duration::from_secs(3600);
    /// let watched = Lifecycle::default().with_thresholds(State::Accepted, Some(HOUR), Some(4 * HOUR));
    /// assert_eq!(watched.thresholds(State::Accepted), (Some(HOUR), Some(4 * HOUR)));
    /// ```
    #[must_use]
    pub fn with_thresholds(
        mut self,
        state: State,
        warn_after: Option<Duration>,
        critical_after: Option<Duration>,
    ) -> Lifecycle {
        if let Some(rule) = self.states.iter_mut().find(|rule| rule.state == state) {
            (rule.warn_after, rule.critical_after) = (warn_after, critical_after);
        }
        self
    }

    /// Whether an order may go from one state to the other.
    #[must_use]
    pub fn allows(&self, from: State, to: State) -> bool {
        self.demanded(from, to).is_some()
    }

    /// The names of what a transition must bring along; `None` when there is no such step.
    #[must_use]
    pub fn demanded(&self, from: State, to: State) -> Option<&[String]> {
        let wanted = (from.number(), to.number());
        let place = self.edges.binary_search_by_key(&wanted, |edge| (edge.from, edge.to)).ok()?;
        self.edges.get(place).map(|edge| edge.evidence.as_slice())
    }

    /// Why a ledger that was used with `stored` can't be used with this one: a state of it that is not
    /// here, or not terminal where it was (or the other way round).
    pub(crate) fn misses_of(&self, stored: &Lifecycle) -> Option<State> {
        let fits = |rule: &&StateRule| {
            self.rule(rule.state).is_some_and(|own| own.terminal == rule.terminal)
        };
        stored.states.iter().find(|rule| !fits(rule)).map(|rule| rule.state)
    }
}

/// Puts a [`Lifecycle`] together.
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing before it is built"]
pub struct LifecycleBuilder {
    states: Vec<StateRule>,
    edges: Vec<Edge>,
}

impl LifecycleBuilder {
    /// Adds a state. Those of the ledger's own that edges name need not be added.
    pub fn state(mut self, rule: StateRule) -> LifecycleBuilder {
        self.states.push(rule);
        self
    }

    /// Adds a step.
    pub fn edge(self, from: State, to: State) -> LifecycleBuilder {
        self.edge_with(from, to, [""; 0])
    }

    /// Adds a step that demands evidence by these names: a transition without them is refused.
    pub fn edge_with(
        mut self,
        from: State,
        to: State,
        evidence: impl IntoIterator<Item = impl Into<String>>,
    ) -> LifecycleBuilder {
        let evidence = evidence.into_iter().map(Into::into).collect();
        self.edges.push(Edge { from: from.number(), to: to.number(), evidence });
        self
    }

    /// The table, checked.
    ///
    /// # Errors
    /// [`LifecycleError`] names the state and what is wrong with it.
    pub fn build(self) -> Result<Lifecycle, LifecycleError> {
        let LifecycleBuilder { mut states, mut edges } = self;
        let named = edges.iter().flat_map(|edge| [edge.from, edge.to]);
        let always = [State::Accepted, State::Refused, State::Expired];
        let implied = named.filter_map(State::from_number).chain(always);
        for state in implied.collect::<Vec<_>>() {
            let is_there = states.iter().any(|rule| rule.state == state);
            if !is_there && !matches!(state, State::Own(_)) {
                states.push(StateRule::known(state));
            }
        }
        states.sort_by_key(|rule| rule.state.number());
        edges.sort_unstable();
        let lifecycle = Lifecycle { states, edges };
        lifecycle.check_states()?;
        lifecycle.check_edges()?;
        lifecycle.check_paths()?;
        Ok(lifecycle)
    }
}

impl Lifecycle {
    fn check_states(&self) -> Result<(), LifecycleError> {
        let wrong = |state, what| Err(LifecycleError { state, what });
        if self.states.len() > STATES_MAX {
            return wrong(State::Accepted, Wrong::TooMany);
        }
        for (index, rule) in self.states.iter().enumerate() {
            let others = self.states.get(index + 1..).unwrap_or_default();
            if others.iter().any(|other| other.state == rule.state) {
                return wrong(rule.state, Wrong::Twice);
            }
            if others.iter().any(|other| other.name == rule.name) {
                return wrong(rule.state, Wrong::NameTaken);
            }
            if !is_name(&rule.name) {
                return wrong(rule.state, Wrong::BadName);
            }
            let known = StateRule::known(rule.state);
            match rule.state {
                State::Own(_) if rule.name.parse::<State>().is_ok() => {
                    return wrong(rule.state, Wrong::NameTaken);
                }
                State::Own(_) => {}
                _ if (&known.name, known.terminal) != (&rule.name, rule.terminal) => {
                    return wrong(rule.state, Wrong::NotYours);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_edges(&self) -> Result<(), LifecycleError> {
        if self.edges.len() > EDGES_MAX {
            return Err(LifecycleError { state: State::Accepted, what: Wrong::TooMany });
        }
        for (index, edge) in self.edges.iter().enumerate() {
            let state = |number| State::from_number(number).unwrap_or(State::Accepted);
            let (from, to) = (state(edge.from), state(edge.to));
            for state in [from, to] {
                if self.rule(state).is_none() {
                    return Err(LifecycleError { state, what: Wrong::Missing });
                }
            }
            let behind = self.edges.get(index + 1);
            let what = if self.is_terminal(from) {
                Wrong::ExitOfTerminal
            } else if matches!(to, State::Accepted | State::Refused | State::Expired) {
                Wrong::NotToEnter
            } else if from == to
                || behind.is_some_and(|next| (next.from, next.to) == (edge.from, edge.to))
            {
                Wrong::EdgeTwice
            } else if edge.evidence.len() > EVIDENCE_MAX
                || !edge.evidence.iter().all(|it| is_name(it))
            {
                Wrong::BadEvidence
            } else {
                continue;
            };
            return Err(LifecycleError {
                state: if what == Wrong::ExitOfTerminal { from } else { to },
                what,
            });
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<(), LifecycleError> {
        let mut reached = vec![State::Accepted, State::Refused, State::Expired];
        let mut next = 0;
        while let Some(from) = reached.get(next).copied() {
            next += 1;
            for edge in self.edges.iter().filter(|edge| edge.from == from.number()) {
                let to = State::from_number(edge.to).filter(|to| !reached.contains(to));
                reached.extend(to);
            }
        }
        for rule in &self.states {
            let state = rule.state;
            if !reached.contains(&state) {
                return Err(LifecycleError { state, what: Wrong::NeverReached });
            }
            let has_exit = self.edges.iter().any(|edge| edge.from == state.number());
            if !rule.terminal && !has_exit {
                return Err(LifecycleError { state, what: Wrong::DeadEnd });
            }
        }
        Ok(())
    }
}

/// Whether this is a name that can stand in a command line, a label and a file.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// Why a table was not built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LifecycleError {
    state: State,
    what: Wrong,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    TooMany,
    Twice,
    NameTaken,
    BadName,
    NotYours,
    Missing,
    ExitOfTerminal,
    NotToEnter,
    EdgeTwice,
    BadEvidence,
    NeverReached,
    DeadEnd,
}

impl LifecycleError {
    /// The state that it is about.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }
}

impl fmt::Display for LifecycleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state;
        match self.what {
            Wrong::TooMany => {
                write!(f, "a lifecycle has at most {STATES_MAX} states and {EDGES_MAX} edges")
            }
            Wrong::Twice => write!(f, "the state {state} is there twice"),
            Wrong::NameTaken => write!(f, "the name of the state {state} belongs to another one"),
            Wrong::BadName => write!(
                f,
                "the name of the state {state} is not 1 to {NAME_BYTES_MAX} of a to z, 0 to 9 and _"
            ),
            Wrong::NotYours => {
                write!(f, "the name of the state {state}, and whether it is terminal, are fixed")
            }
            Wrong::Missing => write!(f, "an edge names the state {state}, which is not there"),
            Wrong::ExitOfTerminal => write!(f, "the state {state} is terminal and has an edge out"),
            Wrong::NotToEnter => write!(f, "only the ledger puts an order into the state {state}"),
            Wrong::EdgeTwice => {
                write!(f, "an edge to the state {state} is there twice, or comes from itself")
            }
            Wrong::BadEvidence => write!(
                f,
                "an edge to the state {state} demands more than {EVIDENCE_MAX} pieces of evidence, or one \
                 whose name is not 1 to {NAME_BYTES_MAX} of a to z, 0 to 9 and _"
            ),
            Wrong::NeverReached => write!(f, "no order can get into the state {state}"),
            Wrong::DeadEnd => {
                write!(
                    f,
                    "the state {state} has no edge out, and is not terminal: add one, or make it so"
                )
            }
        }
    }
}

impl std::error::Error for LifecycleError {}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKED: State = State::own(100).unwrap();
    const SENT: State = State::own(101).unwrap();

    fn own() -> LifecycleBuilder {
        Lifecycle::builder()
            .state(StateRule::new(PACKED, "packed").warn_after(Duration::from_secs(60)))
            .state(StateRule::terminal(SENT, "sent"))
            .edge(State::Accepted, PACKED)
            .edge_with(PACKED, SENT, ["tracking_number"])
            .edge(PACKED, State::Cancelled)
    }

    #[test]
    fn rule_16_the_default_table_passes_its_own_checks() {
        let default = Lifecycle::default();
        let built = Lifecycle::from_parts(default.states.clone(), default.edges.clone()).unwrap();
        assert_eq!(built, default);
        assert!(default.allows(State::Accepted, State::Completed));
        assert!(default.allows(State::Cancelling, State::InProgress), "back");
        assert!(!default.allows(State::InProgress, State::Cancelled), "only by way of Cancelling");
        for terminal in State::ALL.into_iter().filter(|state| state.is_terminal()) {
            assert!(State::ALL.into_iter().all(|to| !default.allows(terminal, to)));
        }
    }

    #[test]
    fn rule_16_a_table_of_ones_own_knows_its_names_edges_and_demands() {
        let own = own().build().unwrap();
        assert_eq!((own.name_of(PACKED), own.by_name("sent")), (Some("packed"), Some(SENT)));
        assert!(
            own.is_terminal(SENT) && own.is_terminal(State::Refused) && !own.is_terminal(PACKED)
        );
        assert_eq!(own.demanded(PACKED, SENT), Some(&["tracking_number".to_owned()][..]));
        assert_eq!(own.demanded(State::Accepted, PACKED), Some(&[][..]));
        assert_eq!(own.demanded(State::Accepted, SENT), None);
        assert_eq!(own.thresholds(PACKED), (Some(Duration::from_secs(60)), None));
        assert_eq!(own.states().count(), 6, "the two, Accepted, Refused, Expired, Cancelled");
        assert_eq!(own.name_of(State::Confirmed), None);
    }

    #[test]
    fn rule_16_a_table_is_checked_when_it_is_built() {
        let wrong = |builder: LifecycleBuilder| builder.build().map_err(|error| error.what);
        let extra = State::own(102).unwrap();
        let cases = [
            (own().state(StateRule::new(PACKED, "again")), Wrong::Twice),
            (own().state(StateRule::new(extra, "packed")), Wrong::NameTaken),
            (own().state(StateRule::new(extra, "accepted")), Wrong::NameTaken),
            (own().state(StateRule::new(extra, "own_103")), Wrong::NameTaken),
            (own().state(StateRule::new(extra, "Packed!")), Wrong::BadName),
            (own().state(StateRule::new(extra, "")), Wrong::BadName),
            (own().state(StateRule::new(State::Failed, "failed")), Wrong::NotYours),
            (own().state(StateRule::terminal(State::Failed, "broken")), Wrong::NotYours),
            (own().edge(PACKED, extra), Wrong::Missing),
            (own().edge(SENT, State::Failed), Wrong::ExitOfTerminal),
            (own().edge(PACKED, State::Accepted), Wrong::NotToEnter),
            (own().edge(PACKED, State::Refused), Wrong::NotToEnter),
            (own().edge(PACKED, State::Expired), Wrong::NotToEnter),
            (own().edge(PACKED, PACKED), Wrong::EdgeTwice),
            (own().edge(PACKED, State::Cancelled), Wrong::EdgeTwice),
            (own().edge_with(PACKED, State::Failed, ["No Name"]), Wrong::BadEvidence),
            (
                own().edge_with(PACKED, State::Failed, vec!["a"; EVIDENCE_MAX + 1]),
                Wrong::BadEvidence,
            ),
            (own().state(StateRule::terminal(extra, "lost")), Wrong::NeverReached),
            (own().state(StateRule::new(extra, "stuck")).edge(PACKED, extra), Wrong::DeadEnd),
            (Lifecycle::builder(), Wrong::DeadEnd),
        ];
        for (builder, expected) in cases {
            assert_eq!(wrong(builder.clone()), Err(expected), "{builder:?}");
        }
        assert!(own().edge(PACKED, State::Failed).build().is_ok());
        let many = (100..=249).fold(own(), |builder, number| match State::own(number) {
            Some(state) if number > 101 => {
                let name = format!("state_{number}");
                builder.state(StateRule::terminal(state, name)).edge(PACKED, state)
            }
            _ => builder,
        });
        assert!(many.build().is_ok());
    }

    #[test]
    fn rule_16_another_table_fits_when_it_has_every_stored_state_as_it_was() {
        let stored = own().build().unwrap();
        let lost = State::own(102).unwrap();
        let more =
            own().state(StateRule::terminal(lost, "lost")).edge(PACKED, lost).build().unwrap();
        assert_eq!(more.misses_of(&stored), None);
        assert_eq!(stored.misses_of(&more), Some(lost));
        assert_eq!(Lifecycle::default().misses_of(&stored), Some(PACKED));
        let exit = Lifecycle::builder()
            .state(StateRule::new(PACKED, "packed"))
            .state(StateRule::new(SENT, "sent"))
            .edge(State::Accepted, PACKED)
            .edge(PACKED, SENT)
            .edge(SENT, State::Cancelled)
            .build()
            .unwrap();
        assert_eq!(exit.misses_of(&stored), Some(SENT), "terminal, and not any more");
    }
}
