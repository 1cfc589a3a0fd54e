//! # What is counted and measured, and what can be wrong
//!
//! [`Ledger::metrics`](crate::Ledger::metrics) takes one snapshot of everything;
//! [`Metrics::to_prometheus`](crate::Metrics::to_prometheus) writes it as text;
//! [`Ledger::health`](crate::Ledger::health) judges it. On the command line `order-ledger check` does the same from
//! the outside, beside a running writer, with exit codes for a monitoring system. A dashboard for Grafana and rules
//! for alerts are in `examples/monitoring`.
//!
//! ## Names
//!
//! *who*: W, the process that writes; R, also a reader beside it (`check`, `serve`). Counters begin at 0 when the
//! ledger is opened. A name whose value is not known is left out.
//!
//! | name | kind | label | who | what it says |
//! |---|---|---|---|---|
//! | `order_ledger_submissions_total` | counter | `outcome` | W | submissions, by what they came to; see below |
//! | `order_ledger_records_total` | counter | `kind` | W | records made durable: `order`, `step`, `note`, `hold`, `cursor` |
//! | `order_ledger_expired_total` | counter | | W | steps that say that the time of an order is over |
//! | `order_ledger_groups_total` | counter | | W | durable writes that records shared |
//! | `order_ledger_written_bytes_total` | counter | | W | bytes of these groups |
//! | `order_ledger_receipt_seconds` | histogram | | W | from the call to the receipt, for each order that `submit` or `submit_many` took or joined |
//! | `order_ledger_queue_wait_seconds` | histogram | | W | wait of the oldest entry of a group before its write began |
//! | `order_ledger_sync_seconds` | histogram | | W | the durable write of a group: what the device takes |
//! | `order_ledger_group_records` | histogram | | W | records of a group |
//! | `order_ledger_queue_orders` | gauge | | W | new orders on their way to disk |
//! | `order_ledger_queue_bytes` | gauge | | W | bytes of these orders |
//! | `order_ledger_queue_others` | gauge | | W | steps, notes and the like on their way |
//! | `order_ledger_queue_orders_max` | gauge | | W | the limit: [`queue_orders_max`](crate::Options::queue_orders_max) |
//! | `order_ledger_queue_bytes_max` | gauge | | W | the limit: [`queue_bytes_max`](crate::Options::queue_bytes_max) |
//! | `order_ledger_queue_oldest_seconds` | gauge | | W | wait so far of the oldest entry that nobody writes yet |
//! | `order_ledger_upkeep_idle_seconds` | gauge | | W | time since the upkeep finished a round; it makes one each second |
//! | `order_ledger_orders` | gauge | `state` | R | orders by their present state |
//! | `order_ledger_oldest_order_age_seconds` | gauge | `state` | W | time since the first of the orders in this state was *accepted* |
//! | `order_ledger_longest_stay_seconds` | gauge | `state` | R | time since the order *came into the state* that is in it for longest |
//! | `order_ledger_alerts_open` | gauge | `level` | R | alerts that are not over: `warn`, `critical`; counted up to 1,000 |
//! | `order_ledger_alerts_unacknowledged` | gauge | | R | of those, the ones that nobody has said to know of |
//! | `order_ledger_alert_oldest_age_seconds` | gauge | | R | time since the oldest of them was raised |
//! | `order_ledger_outbox_dead` | gauge | | R | dispatches that were given up and wait for a person; counted up to 1,000 |
//! | `order_ledger_outbox_oldest_age_seconds` | gauge | | R | time since the oldest open dispatch was recorded |
//! | `order_ledger_outbox_open` | gauge | `state` | W | dispatches that are neither done nor given up, where an outbox runs |
//! | `order_ledger_provider_left_alone` | gauge | `provider` | W | 1: the breaker is not closed |
//! | `order_ledger_provider_left_alone_total` | counter | `provider` | W | how often the breaker opened |
//! | `order_ledger_provider_left_alone_seconds_total` | counter | `provider` | W | for how long it was not closed |
//! | `order_ledger_provider_done_total` | counter | `provider` | W | calls that it did |
//! | `order_ledger_provider_refused_total` | counter | `provider` | W | calls that it refused |
//! | `order_ledger_provider_not_sent_total` | counter | `provider` | W | calls of which nothing came to it |
//! | `order_ledger_provider_unknown_total` | counter | `provider` | W | calls of which nobody knows what became |
//! | `order_ledger_last_seq` | gauge | | R | seq of the last record |
//! | `order_ledger_segments` | gauge | | R | files of the log |
//! | `order_ledger_log_bytes` | gauge | | R | bytes of these files, prepared zeros included |
//! | `order_ledger_key_tables` | gauge | | R | places in which a key is looked for; many for long: the merging is behind |
//! | `order_ledger_disk_free_bytes` | gauge | | R | bytes free on the file system |
//! | `order_ledger_disk_wanted_bytes` | gauge | | R | bytes that must be free for the next file of the log |
//! | `order_ledger_disk_low` | gauge | | W | 1: there is no room for it |
//! | `order_ledger_poisoned` | gauge | | W | 1: nothing is written any more |
//! | `order_ledger_views_up` | gauge | | W | 1: the views answer |
//! | `order_ledger_views_behind_records` | gauge | | W | records that they do not cover yet |
//! | `order_ledger_last_open_seconds` | gauge | | R | how long the last opening took |
//! | `order_ledger_last_open_torn_bytes` | gauge | | R | bytes that it cut off the end of the log |
//! | `order_ledger_last_open_clock_behind_seconds` | gauge | | R | how far the wall clock was behind the last record |
//! | `order_ledger_health` | gauge | | R | 0 ok, 1 warn, 2 critical; of `check` also 3: it can't be looked at |
//! | `order_ledger_health_reason` | gauge | `code` | R | what is wrong; see below |
//!
//! `outcome` is `fresh` (taken), `replayed` (an earlier receipt again; repeated steps, notes and batches count as
//! well), `joined`, `conflict`, `refused` (for good), `refused_for_now`, `invalid`, `overloaded`, `disk_low`, or
//! `failed` (anything else: closed, poisoned, in doubt). Many replays mean clients that did not hear their answer.
//!
//! ## What the figures are worth
//!
//! - Histograms have four buckets for each power of two, up to all 64 bits, in 2 KiB.
//!   [`quantile`](crate::Histogram::quantile) is never below the true value and at most 25 % above it. The text has
//!   one for each power of two, 16 us to 69 s, and 1 to 1,048,576 records: what it counts up to an end is exact.
//! - The clock is asked twice for a blocking `submit` or a whole `submit_many`, and twice for a group, as before
//!   there were metrics. A replay costs one look at the clock, a deferred order none but the first of its round.
//!   So what is deferred is not in `order_ledger_receipt_seconds`: add queue wait and sync instead.
//! - The counts by state of the writer come from the views, as far as they were fed
//!   (`order_ledger_views_behind_records`); while the views are off, or are being opened, the names with `state` are
//!   missing, and nothing else. Asking costs a look at two orders of each state that is not terminal: the one that was
//!   accepted first, and the one that is in it for longest.
//! - The counts by state of a reader come from the log, all of it once, and then what is new
//!   ([`Census`](crate::Census)).
//! - What counting costs, in instructions of the write path: `benches/counts` holds it, at most 2 %.
//!
//! ## Spans
//!
//! With the feature `tracing` what is done is a span of the target `order_ledger`, with how long it took and what came of
//! it, for whatever the program collects spans with. Nothing that a caller keeps here is in a field: no key, no payload,
//! no account, no evidence; an order is looked up by its `seq`.
//!
//! | span | level | fields | from where to where |
//! |---|---|---|---|
//! | `open` | info | `outcome` (`open`, `failed`), `records`, `torn_bytes` | a ledger is opened for writing |
//! | `submit` | debug | `client`, `outcome`, `seq` | the call of [`submit`](crate::Ledger::submit), to the receipt |
//! | `submit_many` | debug | `orders`, `taken` | the call for many: `taken` of them have a receipt |
//! | `transition` | debug | `order`, `to`, `outcome`, `seq` | a step; `seq` is that of its record |
//! | `transition_many` | debug | `steps`, `taken` | the call for many |
//! | `group` | debug | `records`, `first_seq`, `bytes`, `sync_us` | one write that records share; `sync_us` is the durable write of it |
//! | `attempt` | debug | `order`, `dispatch`, `route`, `provider`, `attempt`, `outcome` | a provider is told: the record before, the call, the record behind; its `outcome` is `done`, `refused`, `not_sent` or `unknown` |
//!
//! `outcome` is in the words of the names above, and `in_doubt`. A group is written by whoever leads: it lies in the span
//! of his call, and has the records of others as well; the commit thread has none. What is deferred has no span but its
//! group. Alerts are events of the target `order_ledger::alerts`. Without a subscriber, or with one that wants no such
//! level, a span costs a load; without the feature nothing.
//!
//! ## What can be wrong
//!
//! | code | how bad | what it means | what to do |
//! |---|---|---|---|
//! | `poisoned` | critical | a write or sync failed; nothing is written any more, reads go on | look at the disk, restart; send keys that were in doubt again |
//! | `disk_low` | critical | no room for the next file of the log | free space; nothing needs a repair |
//! | `queue_stuck` | critical | something waits for 10 s and nobody writes it | the device hangs, or a validator does |
//! | `alerts_critical` | critical | critical alerts are open that nobody has acknowledged | `order-ledger alerts --open`; see [`guide::watch`](crate::guide::watch) |
//! | `alerts` | warn | alerts are open | the same |
//! | `dead_letters` | warn | dispatches were given up | `order-ledger outbox list`; see [`guide::outbox`](crate::guide::outbox) |
//! | `provider_left_alone` | warn | a third party does not answer | ask it; nothing is lost |
//! | `disk_nearly_low` | warn | less than two files of the log are free | free space |
//! | `queue_nearly_full` | warn | the queue is full to 80 % | batches, fewer orders at once, a faster disk |
//! | `upkeep_stuck` | warn | no round of upkeep for two minutes | look at the disk; restart |
//! | `views_off` | warn | sled failed again and again | answers are right and lists slow; open again to build them anew |
//! | `views_behind` | warn | more than 100,000 records are not covered | passes by itself |
//! | `opened_with_cut` | warn | a crash left half a group, which was cut | nothing, if there was a crash; else `verify` |
//! | `clock_behind` | warn | the wall clock was behind the last record | look at the time service |
//!
//! `order-ledger check` adds `disk_free` and `oldest` for the limits that it is given.
