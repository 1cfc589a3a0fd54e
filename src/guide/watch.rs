//! # Watching: what to alert on, and what to do
//!
//! An order that was submitted and never came back is found by somebody: by the customer, or by the ledger. Here it
//! is the ledger.
//!
//! ## Two questions
//!
//! - **What is stuck now?** [`Ledger::stuck`](crate::Ledger::stuck) (`order-ledger stuck`) lists orders that have
//!   been in their state for longer than the lifecycle says is worth a look. It looks at where orders stand, and needs
//!   nobody who watches. Ask it from a dashboard.
//! - **Who was told, and who knows?** With [`Options::watch`](crate::Options::watch) (or `order-ledger watch`) the
//!   ledger raises *alerts*: records in the log, one for each order that stands still, raised once. Page people by
//!   those.
//!
//! ## Thresholds
//!
//! For each state that orders pass through, say after how long one is worth a look (*warn*), and when it needs somebody
//! (*critical*): [`StateRule::warn_after`](crate::StateRule::warn_after) and
//! [`critical_after`](crate::StateRule::critical_after), or
//! [`Lifecycle::with_thresholds`](crate::Lifecycle::with_thresholds) for the default lifecycle. They are stored with
//! it, so that every process that looks at the ledger agrees. A state without them is not watched.
//!
//! Time counts from the step by which the order entered the state, in ledger time, which never goes back. A step into
//! another state and back begins it anew; notes, holds and alerts do not.
//!
//! ## An order that is not like the others
//!
//! One that may wait for a week on purpose, or that is worth ten others, says so when it is submitted:
//! [`Submission::warn_after`](crate::Submission::warn_after) and
//! [`critical_after`](crate::Submission::critical_after) (fields of the same names in the lines of `order-ledger
//! submit`, in seconds). They replace those of its states, both of them and in every state that is not terminal, also in
//! one that is not watched otherwise, and are counted in the same way. With `Duration::MAX` the order is never stuck.
//! They are a part of what was submitted: on disk with it, unchanged for ever, and the same key with others is a
//! conflict. So send the ones that the intent was made with, and not those of today's configuration.
//!
//! Where all orders that do a thing may take long ("on backorder"), that is a state, with thresholds of its own; and
//! whoever wants other thresholds for orders that are there already, and have none of their own, gives the lifecycle
//! others, and opens again.
//!
//! ## The life of an alert
//!
//! | what happens | when | what it is good for |
//! |---|---|---|
//! | raised | once for each stay of an order in a state, at the first threshold that has passed | page, or open a ticket |
//! | escalated | once, when a warning becomes critical; whoever knew of it is asked again | page louder |
//! | reminded | every [`remind_every`](crate::WatchOptions::remind_every), while nobody has acknowledged it | ask again |
//! | acknowledged | [`Ledger::acknowledge_alert`](crate::Ledger::acknowledge_alert), `order-ledger alerts --ack` | stop asking |
//! | cleared | when it is over: nobody closes an alert by hand | close the ticket |
//!
//! A restart, a kill or a power cut neither repeats an alert nor forgets one: before anything is recorded the log is
//! asked, under the lock by which everything is written. An alert about an order is over at the instant at which the
//! order leaves the state, for whoever asks ([`Ledger::alerts`](crate::Ledger::alerts)); the record that says so
//! follows with the next look.
//!
//! Alerts of orders are part of their [`history`](crate::Ledger::history) and of the feed
//! ([`EventBody::Alerted`](crate::EventBody::Alerted), [`EventKind::Alerted`](crate::EventKind::Alerted)): a consumer
//! gets each at least once. [`WatchOptions::on_alert`](crate::WatchOptions::on_alert), the feature `tracing`, and
//! `watch --exec` and `--webhook` hear of each at most once: they are quick, and a crash between the record and the
//! call loses the call. Whoever must not miss one reads the feed, or lists what is open.
//!
//! ## What to do for each
//!
//! | alert | it says | do |
//! |---|---|---|
//! | `stuck_order` | an order has been in a state for too long | look at its `history`: who was to take the next step, and was it told? Take the step, cancel it, or note what is waited for and acknowledge |
//! | `consumer_lag` | a consumer is so many records behind, or its oldest event waits for so long | is it running? Is it parked on one event (`parked`)? Start it again: nothing is lost, it goes on where it was |
//! | `disk_low` warn | little room is left | make room, or move the ledger, before it is critical |
//! | `disk_low` critical | new orders are refused; steps of existing ones are still taken | make room now: orders are taken again by themselves |
//! | `sync_latency` | one write in a hundred takes too long | is something else writing to the disk? Is the device failing (SMART)? `order-ledger bench` beside it says what the disk takes |
//! | `unreturned` | a client submits what was taken already: it does not hear the answers | look at its timeouts (shorter than ours?), at the network between, at a job that starts over. No order is doubled by it |
//! | `verify_failed` | a verification has found damage, or could not tell ([`Ledger::report_verify`](crate::Ledger::report_verify)) | stop writing, copy the directory, read what `order-ledger verify` says; restore from a copy if it is the log, delete `derived/` if it is not |
//! | `breaker_open` | a third party fails so often that it is not called | call them; orders wait or take another way |
//! | `outbox_age` | something waits for a third party for too long | is it down, or is one order stuck in front of others? |
//! | `dead_letter` | something for a third party was given up | a person decides: send it again, or do it by hand |
//!
//! ## Cost
//!
//! A look costs what became due since the one before, some reads for each open alert, and two for each dispatch that
//! was given up (the first thousand); it does not grow with the orders that are open ([`WatchPass::looked`](crate::WatchPass::looked) counts).
//! That is by the views. While they are opened, or built again, orders with thresholds of their own are left to the
//! looks that follow; [`Ledger::stuck`](crate::Ledger::stuck) answers meanwhile. Without them
//! ([`Views::Off`](crate::Views::Off), a relaxed ledger) each look reads the part of the log that has become old enough
//! since the last, and the first one after opening reads all of it; where anything was ever dispatched, or an order has
//! thresholds of its own, each look reads the files that tell of that: look less often then
//! ([`look_every`](crate::WatchOptions::look_every)). An alert is two to four small records in its life, each a share of
//! a sync.
