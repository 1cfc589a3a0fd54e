//! The promises of the ledger, from the outside: one module per promise.

mod submit;
