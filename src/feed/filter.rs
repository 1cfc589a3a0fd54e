//! What a consumer wants to hear of: looked at before an event is delivered.

use crate::error::Result;
use crate::order::{Event, EventKind, State};
use crate::wal::log::Log;
use crate::wal::record::{Body, Submitted};

/// Which events a consumer is given; all, when nothing is asked for.
///
/// Filters add up. Events that are passed over count as done.
///
/// **Cost**: a filter by account, kind or reference reads the order's first record for each of its steps and notes.
///
/// ```
/// use order_ledger::{EventFilter, State};
/// let finished = EventFilter::all().state(State::Completed).state(State::Cancelled).account("ALFKI");
/// # let _ = finished;
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct EventFilter {
    states: Vec<State>,
    kinds: Vec<EventKind>,
    account: Option<Vec<u8>>,
    kind: Option<Vec<u8>>,
    ref_prefix: Option<Vec<u8>>,
}

impl EventFilter {
    /// Every event.
    pub fn all() -> EventFilter {
        EventFilter::default()
    }

    /// Only events that bring an order into this state, or another one that is asked for.
    pub fn state(mut self, state: State) -> EventFilter {
        self.states.push(state);
        self
    }

    /// Only events of this kind, or another one that is asked for: notes, and nothing else. Together with
    /// [`EventFilter::state`] only events that bring an order somewhere are left.
    pub fn event_kind(mut self, kind: EventKind) -> EventFilter {
        self.kinds.push(kind);
        self
    }

    /// Only orders of this account, compared bytewise.
    pub fn account(mut self, account: impl Into<Vec<u8>>) -> EventFilter {
        self.account = Some(account.into());
        self
    }

    /// Only orders of this kind ([`Submission::kind`](crate::Submission::kind)), compared bytewise.
    pub fn kind(mut self, kind: impl Into<Vec<u8>>) -> EventFilter {
        self.kind = Some(kind.into());
        self
    }

    /// Only orders whose external ref begins with this.
    pub fn external_ref_prefix(mut self, prefix: impl Into<Vec<u8>>) -> EventFilter {
        self.ref_prefix = Some(prefix.into());
        self
    }

    /// Whether a record that says `body` about an order is wanted.
    pub(crate) fn wants(&self, log: &Log, event: &Event, body: &Body<'_>) -> Result<bool> {
        let is_wanted_state = |state| self.states.contains(&state);
        if !self.states.is_empty() && !event.body.state().is_some_and(is_wanted_state) {
            return Ok(false);
        }
        if !self.kinds.is_empty() && !self.kinds.contains(&event.body.kind()) {
            return Ok(false);
        }
        if self.account.is_none() && self.kind.is_none() && self.ref_prefix.is_none() {
            return Ok(true);
        }
        if let Some(submitted) = body.submitted() {
            return Ok(self.wants_order(submitted));
        }
        let Some(record) = log.read(event.order.seq())? else { return Ok(false) };
        Ok(record.body()?.submitted().is_some_and(|submitted| self.wants_order(submitted)))
    }

    fn wants_order(&self, submitted: &Submitted<'_>) -> bool {
        let is_wanted =
            |wanted: &Option<Vec<u8>>, found| wanted.as_deref().is_none_or(|it| it == found);
        is_wanted(&self.account, submitted.account)
            && is_wanted(&self.kind, submitted.kind)
            && self
                .ref_prefix
                .as_deref()
                .is_none_or(|prefix| submitted.external_ref.starts_with(prefix))
    }
}
