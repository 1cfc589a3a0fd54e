//! The promises of the ledger, from the outside: one module per promise.
//!
//! The build for schedules (`schedules`) leaves out what is long to build and does not run there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by failing, in its helpers as well"
)]
#![cfg_attr(order_ledger_shuttle, allow(dead_code, reason = "shared with what is left out"))]

mod alerts;
mod beside;
#[cfg(feature = "cli")]
mod cli;
#[cfg(not(order_ledger_shuttle))]
mod crash_sim;
mod deferred;
mod derived;
#[cfg(not(order_ledger_shuttle))]
mod descriptors;
#[cfg(not(order_ledger_shuttle))]
mod edges;
#[cfg(not(order_ledger_shuttle))]
mod error_loops;
mod evidence;
#[cfg(not(order_ledger_shuttle))]
mod examples;
#[cfg(not(order_ledger_shuttle))]
mod exhaustive;
mod expiry;
#[cfg(not(order_ledger_shuttle))]
mod false_alarms;
mod feed;
#[cfg(not(order_ledger_shuttle))]
mod fixtures;
mod follow;
mod holds;
mod keys;
mod layers;
mod lifecycle;
mod linearizability;
mod linked;
#[cfg(not(order_ledger_shuttle))]
mod log_rules;
#[cfg(not(order_ledger_shuttle))]
mod merged;
#[cfg(not(order_ledger_shuttle))]
mod metrics;
mod notes;
#[cfg(not(order_ledger_shuttle))]
mod outbox;
mod overload;
mod pages;
mod receipts;
mod rig;
#[cfg(not(order_ledger_shuttle))]
mod rot_matrix;
#[cfg(order_ledger_shuttle)]
mod schedules;
mod seeds;
#[cfg(all(feature = "tracing", not(order_ledger_shuttle)))]
mod spans;
mod submit;
mod support;
mod third_parties;
mod tidy;
mod time;
#[cfg(not(order_ledger_shuttle))]
mod tpch;
mod typed;
mod validator;
mod watched;
