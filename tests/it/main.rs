//! The promises of the ledger, from the outside: one module per promise.

mod crash_sim;
mod submit;
mod support;
