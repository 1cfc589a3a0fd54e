//! # The life of an order
//!
//! An order that was taken must also be finished, and others must hear of it.
//!
//! ## Steps
//!
//! An order is in one [`State`](crate::State) at a time, and has a version: 1 when it was taken, one more for
//! each step. [`Ledger::transition`](crate::Ledger::transition) has it take a step, and returns when that is on
//! disk. Which steps there are is the [`Lifecycle`](crate::Lifecycle)'s to say: the default one, or yours.
//!
//! Three ways to ask, by what you know:
//!
//! | you know | ask with | a repeat after a lost answer |
//! |---|---|---|
//! | what is to be done, once ("capture payment 9") | [`command_key`](crate::Transition::command_key), made before the first attempt and stored with the intent | is answered with the first result |
//! | how the order looked when you decided | [`expect_version`](crate::Transition::expect_version) | `VersionMismatch`, with where the order stands: look whether it was you |
//! | only where it shall end | neither | succeeds, and writes nothing, if it is there |
//!
//! A worker that takes work from somebody else's list wants the first; a person who clicks in a page that may
//! be old wants the second, together with the first if the click may be sent twice.
//!
//! Checked in this order: the command key, the terminal states (and whether the order has expired), the expected version or state, the step, its
//! evidence. Nothing is written by a step that is refused, and its [`Certainty`](crate::Certainty) is
//! `NotRecorded`.
//!
//! **Evidence** is what must be said for a step to be taken: a lifecycle may demand a tracking number for
//! "shipped", and two signatures for "paid out". The ledger checks that it is there, and keeps it in the
//! history; whether it is true is yours to check before.
//!
//! **Terminal is terminal.** An order that was completed by mistake stays so; the correction is a new order.
//!
//! **Cancelling**: [`Ledger::cancel`](crate::Ledger::cancel) ends an order on which nobody works yet. Where work
//! is in flight it goes to `Cancelling`, and the answer of whoever works on it decides: `Cancelled`, or back.
//!
//! **Notes**: [`Ledger::note`](crate::Ledger::note) keeps words, feedback and disputes with an order, also when it
//! is finished. A note changes nothing about where the order stands. One that is open (a dispute always is) waits
//! for [`Ledger::resolve_note`](crate::Ledger::resolve_note), and [`Ledger::open_notes`](crate::Ledger::open_notes)
//! lists what waits.
//!
//! **Holds**: [`Ledger::hold`](crate::Ledger::hold) takes no new orders of a client or an account until
//! [`Ledger::release`](crate::Ledger::release). Those that come meanwhile are refused for good, each under its key;
//! orders that are there go their way.
//!
//! ## When time runs out
//!
//! An order that was submitted with [`expires_in`](crate::Submission::expires_in) and has not come to an end by
//! then is [`Expired`](crate::State::Expired). The instant is exact, in ledger time (which never goes back, whatever
//! the wall clock does): a step one nanosecond before it is taken, one at it is answered with `AlreadyTerminal`.
//! No lifecycle has such a step: it is the ledger's, from every state that is not terminal.
//!
//! Nobody has to look for that to be so. The step is a record like any other, in the history and in the feed, and
//! is written by whoever comes first: the *sweeper*, a thread of the ledger that sleeps until the next order
//! expires and finds it through the views; or whoever asks for a step of the order too late, before he is
//! answered. So what was answered stays true after a crash, also where the clock of the next machine is slow.
//!
//! - What is read ([`get`](crate::Ledger::get), pages, [`wait_for`](crate::Ledger::wait_for), a replay's `now`)
//!   shows what is recorded. Between the instant and the record, which is some tens of milliseconds, an order is
//!   shown where it stood; [`Order::expires_at`](crate::Order::expires_at) says when its time is over.
//! - A command that was carried out before the instant is repeated behind it with its first answer.
//! - Without views ([`Views::Off`](crate::Views::Off), a relaxed ledger) nobody sweeps: an order whose time is over
//!   is as closed to steps as with them, and is recorded as expired when somebody asks for one.
//! - While the disk is full or the queue is, the sweeper tries again once a second.
//!
//! ## How others hear of it
//!
//! Everything that happens is a record in the log, in one order for everybody.
//! [`Ledger::consumer`](crate::Ledger::consumer) opens a *consumer*: a name with a durable place in that order.
//!
//! ```
//! # use std::time::Duration;
//! # use order_ledger::{Ledger, State, Submission, Transition};
//! # let dir = tempfile::tempdir().unwrap();
//! # let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
//! # let order = ledger.submit(&Submission::new("web", "cart-17", "2 x tea"))?.receipt.order;
//! # ledger.transition(&Transition::new(order, State::Completed))?;
//! let mut mail = ledger.consumer("mail")?;
//! for event in mail.poll(100, Duration::from_secs(1))? {
//!     if event.body.state() == Some(State::Completed) {
//!         // Send it, with `event.seq` as its idempotency key: after a crash it may come again.
//!     }
//!     mail.commit(event.seq)?;
//! }
//! # Ok::<(), order_ledger::Error>(())
//! ```
//!
//! - Each event comes **at least once**, in order, without a gap, and never before it is durable. What you do
//!   with it must bear a repeat: the seq of the event is a key for that.
//! - Commit rarely or often: each commit is a small record with a share of a sync. After a crash everything
//!   behind the last one comes again.
//! - **One handle at a time.** Whoever opens the name takes over; the handle before it can't commit any more
//!   (`Fenced`). So a service that is started twice does not run twice for long.
//! - An event that can't be dealt with is [`park`](crate::Consumer::park)ed: it goes to a list of its own, and
//!   holds up nobody.
//! - A consumer that is slow, stuck or gone costs those who submit nothing, and nothing is dropped for it: the
//!   log keeps everything.
//!
//! [`Ledger::wait_for`](crate::Ledger::wait_for) is for one who waits for one order, such as a request that
//! answers when the order is confirmed. [`Ledger::events`](crate::Ledger::events) reads without a place that is
//! kept.
//!
//! ## What is never removed
//!
//! A consumer that falls behind is never cut off, because nothing is ever removed from the log.
