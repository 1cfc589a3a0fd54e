//! The promises of the ledger, from the outside: one module per promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by failing, in its helpers as well"
)]

mod beside;
#[cfg(feature = "cli")]
mod cli;
mod crash_sim;
mod deferred;
mod derived;
mod descriptors;
mod edges;
mod error_loops;
mod evidence;
mod false_alarms;
mod fixtures;
mod keys;
mod layers;
mod log_rules;
mod overload;
mod pages;
mod receipts;
mod rig;
mod rot_matrix;
#[cfg(order_ledger_shuttle)]
mod schedules;
mod submit;
mod support;
mod tidy;
mod time;
mod typed;
mod validator;
