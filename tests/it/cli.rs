//! The command line from the outside: every command, every exit code, every kind of broken input.
//!
//! - [`submit`]: lines in, receipts out; [`broken`]: input and ledgers that are not what they should be
//! - [`failing`]: a device that says no; a directory that vanishes; an output that is closed
//! - [`notes`]: what is noted about orders, and who is held
//! - [`outbox`]: what third parties are to be told, and what they say they did
//! - [`steps`]: orders take steps; [`own_lifecycle`]: states of one's own; [`expiry`]: orders that expire
//! - [`tail`]: what happens, as it happens; [`alerts`]: what stands still
//! - [`read`]: the commands that only look; [`damage`]: what `verify` finds
//! - [`kills`]: kill -9 in the middle; [`drill`]: kills and power cuts as the user makes them
//! - `serve`: a ledger as web pages, also in a real browser
//! - [`check`]: whether something is wrong
//! - [`bench`]: what the disk takes and what an order costs
//! - [`northwind`]: 830 real orders, submitted and led through their life

mod alerts;
mod bench;
mod broken;
mod check;
mod damage;
mod drill;
mod expiry;
mod failing;
mod kills;
mod northwind;
mod notes;
mod outbox;
mod own_lifecycle;
mod read;
mod run;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod serve_troubles;
mod steps;
mod submit;
mod tail;
mod told;
