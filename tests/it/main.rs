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
mod deferred;
mod keys;
mod overload;
mod receipts;
mod submit;
mod support;
mod time;
mod typed;
mod validator;
