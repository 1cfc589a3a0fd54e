//! Decides, writes nothing: may this submission become a record, or what is its answer?
//!
//! The order of the checks is fixed (SEMANTICS, "Order of checks in submit"), so that a replay succeeds
//! under overload, with a failing validator and on a full disk:
//!
//! 1. [`limits`]
//! 2. committed key: [`dedupe`]
//! 3. key in flight: `commit::queue` holds the map, under its lock
//! 4. [`hold`] on client or account
//! 5. [`validator`]
//! 6. queue, share and disk space: [`gate`]
//!
//! A step of an order that exists has an order of its own: [`transition`], by where the order stands
//! ([`standing`]); so has a note about one, or what resolves it: [`note`]. A linked batch is decided about as a
//! whole: [`linked`]. What becomes of an alert: [`alert`]; what third parties are to be told: [`dispatch`].
//!
//! Reads tables and the log; knows nothing of groups, syncs or waiters.

pub(crate) mod alert;
pub(crate) mod dedupe;
pub(crate) mod dispatch;
pub(crate) mod gate;
pub(crate) mod hold;
pub(crate) mod limits;
pub(crate) mod linked;
pub(crate) mod note;
pub(crate) mod standing;
pub(crate) mod transition;
pub(crate) mod validator;
