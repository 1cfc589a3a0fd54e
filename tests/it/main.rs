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
mod exhaustive;
mod fixtures;
mod keys;
mod log_rules;
mod overload;
mod pages;
mod receipts;
mod rig;
#[cfg(order_ledger_shuttle)]
mod schedules;
mod submit;
mod support;
mod tidy;
mod time;
mod typed;
mod validator;
mod watched;
