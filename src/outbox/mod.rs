//! Tells third parties: each thing once as far as they can tell repeats, and nobody else while it is not known.
//!
//! - [`provider`]: a third party, as a program writes it: [`Provider`], [`Call`], [`Found`]
//! - [`route`]: who is told in which order, and how patiently: [`Route`], [`RetryPolicy`]
//! - [`breaker`]: a provider that does not answer is left alone for a while
//! - [`decide`]: what is to be done next about a dispatch, as a table: pure
//! - [`board`]: which dispatches wait, order by order, and until when
//! - [`engine`]: does it: the attempt on disk, the call, the result on disk
//! - [`running`]: [`Outbox`], with threads or step by step; [`stats`]: how it is
//! - [`reconcile`]: what we hold against their list; [`sla`]: how providers did in a period; [`census`]: how they do,
//!   event by event
//!
//! Always true: the attempt, with its provider, is durable before the provider is called, and its result after; an
//! attempt without a result is unknown, never "not sent"; nobody else is called while it is unknown, unless the route
//! says so; the dispatches of one order are dealt with one after the other. The engine writes by the one door
//! (`commit`), which records what becomes of a dispatch only if it stands where the engine had found it.

pub(crate) mod board;
pub(crate) mod breaker;
pub(crate) mod census;
pub(crate) mod decide;
pub(crate) mod engine;
pub(crate) mod provider;
pub(crate) mod reconcile;
pub(crate) mod route;
pub(crate) mod running;
pub(crate) mod sla;
pub(crate) mod stats;

pub use breaker::{BreakerPolicy, BreakerState};
pub use census::{OutboxCensus, ProviderStanding};
pub use provider::{Call, Found, Provider};
pub use reconcile::{
    Compared, ComparedItem, Difference, OurFields, Reconcile, Reconciliation, TheirItem,
};
pub use route::{AfterDead, OnRefused, OnUnknown, RetryPolicy, Route};
pub use running::{Outbox, OutboxBuilder, Ran};
pub use sla::ProviderSla;
pub use stats::{OutboxStats, ProviderStats};
