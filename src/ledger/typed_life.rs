//! The life of typed orders: steps in the caller's states, pages and events with values.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::query::Query;
use super::typed::{Orders, decode};
use crate::error::{Error, ErrorKind, Result};
use crate::feed::{Consumer, EventFilter};
use crate::order::{
    Event, EventBody, Linked, LinkedBatch, Order, OrderId, OrderStates, Seq, State, Transition,
    Transitioned,
};

/// A page of typed orders.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TypedPage<T> {
    /// The orders, in the order of acceptance, and their values.
    pub orders: Vec<(Order, T)>,
    /// Where to go on; `None` at the end.
    pub next: Option<super::query::PageToken>,
}

/// What happened to a typed order.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct TypedEvent<T, S> {
    /// What happened.
    pub event: Event,
    /// The state the order is in after it; `None` for one that the enum has no variant for.
    pub state: Option<S>,
    /// The value, when this event began the order.
    pub value: Option<T>,
}

impl<T: Serialize + DeserializeOwned, S: OrderStates> Orders<T, S> {
    /// A step to this state, for a key, an expected version or evidence before it is handed to
    /// [`Ledger::transition`](crate::Ledger::transition) or put into a batch.
    #[must_use]
    pub fn step(&self, order: OrderId, to: S) -> Transition {
        Transition::new(order, to.state())
    }

    /// Has an order take a step: returns when it is on disk. See
    /// [`Ledger::transition`](crate::Ledger::transition).
    ///
    /// # Errors
    /// Those of [`Ledger::transition`](crate::Ledger::transition).
    pub fn transition(&self, order: OrderId, to: S) -> Result<Transitioned> {
        self.ledger.transition(&self.step(order, to))
    }

    /// Where an order stands, and its version; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::LifecycleMismatch`] for a state that the enum has no variant for (also
    /// [`State::Refused`] and [`State::Expired`], when it leaves them out); [`ErrorKind::Io`],
    /// [`ErrorKind::Corrupt`].
    pub fn state(&self, order: OrderId) -> Result<Option<(S, u64)>> {
        let Some(order) = self.ledger.get(order)? else { return Ok(None) };
        Ok(Some((in_enum(order.now.state)?, order.now.version)))
    }

    /// Waits until the order is in one of these states, for so long at most, and answers where it stands. See
    /// [`Ledger::wait_for`](crate::Ledger::wait_for).
    ///
    /// # Errors
    /// Those of [`Ledger::wait_for`](crate::Ledger::wait_for) and of [`Orders::state`].
    pub fn wait_for(&self, order: OrderId, states: &[S], timeout: Duration) -> Result<S> {
        let states: Vec<State> = states.iter().map(|it| it.state()).collect();
        in_enum(self.ledger.wait_for(order, &states, timeout)?.state)
    }

    /// A page of orders with their values. See [`Ledger::page`](crate::Ledger::page).
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] when the payload of one is not a `T`: read the page from the ledger to see which;
    /// those of [`Ledger::page`](crate::Ledger::page).
    pub fn page(&self, query: &Query) -> Result<TypedPage<T>> {
        let page = self.ledger.page(query)?;
        let typed = |order: Order| decode(&order.payload).map(|value| (order, value));
        let orders = page.orders.into_iter().map(typed).collect::<Result<_>>()?;
        Ok(TypedPage { orders, next: page.next })
    }

    /// Opens a consumer of what happens to these orders. See [`Ledger::consumer`](crate::Ledger::consumer).
    ///
    /// # Errors
    /// Those of [`Ledger::consumer`](crate::Ledger::consumer).
    pub fn consumer(&self, name: &str) -> Result<TypedConsumer<T, S>> {
        Ok(TypedConsumer { consumer: self.ledger.consumer(name)?, orders: self.clone() })
    }
}

/// A [`Consumer`] whose events come with values and in the caller's states.
#[derive(Debug)]
pub struct TypedConsumer<T, S = State> {
    consumer: Consumer,
    orders: Orders<T, S>,
}

impl<T: Serialize + DeserializeOwned, S: OrderStates> TypedConsumer<T, S> {
    /// Which events are delivered from now on. See [`Consumer::filter`].
    #[must_use]
    pub fn filter(mut self, filter: EventFilter) -> TypedConsumer<T, S> {
        self.consumer = self.consumer.filter(filter);
        self
    }

    /// The next events, at most `max`. See [`Consumer::poll`].
    ///
    /// # Errors
    /// Those of [`Consumer::poll`]. An event whose order has no `T` in it is delivered without a value, so
    /// that it can be parked.
    pub fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<TypedEvent<T, S>>> {
        let events = self.consumer.poll(max, wait)?;
        events.into_iter().map(|event| self.typed(event)).collect()
    }

    fn typed(&self, event: Event) -> Result<TypedEvent<T, S>> {
        let begins = matches!(event.body, EventBody::Accepted { .. } | EventBody::Refused { .. });
        let order = if begins { self.orders.ledger.get(event.order)? } else { None };
        let value = order.and_then(|order| decode(&order.payload).ok());
        Ok(TypedEvent { state: event.body.state().and_then(S::from_state), event, value })
    }

    /// Everything up to the event at `seq` is dealt with. See [`Consumer::commit`].
    ///
    /// # Errors
    /// Those of [`Consumer::commit`].
    pub fn commit(&mut self, seq: Seq) -> Result<()> {
        self.consumer.commit(seq)
    }

    /// The same, in one write with what follows from it. See [`Consumer::commit_with`].
    ///
    /// # Errors
    /// Those of [`Consumer::commit_with`].
    pub fn commit_with(&mut self, seq: Seq, batch: LinkedBatch) -> Result<Linked> {
        self.consumer.commit_with(seq, batch)
    }

    /// Sets an event aside that can't be dealt with. See [`Consumer::park`].
    ///
    /// # Errors
    /// Those of [`Consumer::park`].
    pub fn park(&mut self, seq: Seq, why: &str) -> Result<()> {
        self.consumer.park(seq, why)
    }
}

fn in_enum<S: OrderStates>(state: State) -> Result<S> {
    S::from_state(state).ok_or_else(|| Error::new(ErrorKind::LifecycleMismatch { state }))
}
