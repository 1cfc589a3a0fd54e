//! # Telling third parties
//!
//! A card is to be charged, a parcel booked, a mail sent. Somebody else does it, over a network that loses requests and
//! answers, and your process may die at any moment. What can be promised then?
//!
//! ## In one write with what causes it
//!
//! A [`Dispatch`](crate::Dispatch) is recorded in the same write as the order or the step that causes it:
//! [`LinkedBatch::of_order`](crate::LinkedBatch::of_order), [`of_step`](crate::LinkedBatch::of_step), or any batch of
//! your own. So there is no order without its payment under way, and no payment without an order, whatever crashes.
//! The [`Outbox`](crate::Outbox) does the rest.
//!
//! ## The attempt before the call, the result after it
//!
//! ```text
//!   dispatched -> attempt on disk -> [ the call ] -> result on disk
//!                                    ^^^^^^^^^^^^
//!                       a crash here: nobody knows what happened
//! ```
//!
//! The attempt says who is told, and is on disk before he is. If there is no result behind it when the ledger is opened
//! again, the call may have been made or not, and what it asked for may have been done or not: that is **unknown**. It is
//! never taken for "not sent".
//!
//! ## Four answers
//!
//! | a provider's `send` says | when | what follows |
//! |---|---|---|
//! | [`Done`](crate::Sent::Done) | it is done | the next dispatch of the order |
//! | [`Refused`](crate::Sent::Refused) | no, and for good | the next provider of the route, or a dead letter |
//! | [`NotSent`](crate::Sent::NotSent) | **surely** nothing happened: no connection, turned away at the door | tried again, there or elsewhere |
//! | [`Unknown`](crate::Sent::Unknown) | everything else: a timeout, a broken connection, a 500, an answer that can't be read | found out, see below |
//!
//! The line between the last two is the one that costs money. A timeout is not "not sent": the request arrived and the
//! answer got lost, as often as the other way round. A status code of 500 is no "no". When in doubt: `Unknown`.
//!
//! ## No blind fallback
//!
//! "The first payment provider does not answer, so ask the second" charges a card twice: the first one did it, and could
//! not say so. So while an outcome is unknown nobody else is told. It is found out instead:
//!
//! 1. **Ask**: [`Provider::lookup`](crate::Provider::lookup), by the token. "Absent" is believed only when the attempt is
//!    older than a request can be on its way ([`Route::settle`](crate::Route::settle)); else it arrives afterwards.
//! 2. **Tell the same one again, with the same token**, if it knows repeats
//!    ([`retry_unknown_with_same_token`](crate::Provider::retry_unknown_with_same_token)): an idempotency key. Check how
//!    long it remembers them: a day is shorter than some outages.
//! 3. **Compare lists**: [`Ledger::reconcile`](crate::Ledger::reconcile) records what the provider's list proves.
//! 4. **A person**: after [`age_max`](crate::RetryPolicy::age_max) it becomes a dead letter that says who may have done
//!    it ([`in_doubt`](crate::DispatchEntry::in_doubt)).
//!
//! Once it is known not to have been done, fallbacks are told, as they are after `NotSent` and `Refused`, or while the
//! breaker of a provider is open.
//!
//! [`OnUnknown::FallBack`](crate::OnUnknown::FallBack) skips all that. It is for what does no harm when it is done twice.
//!
//! ## Tokens
//!
//! Each provider gets one [`Token`](crate::Token) per dispatch: 32 characters, a function of the ledger, the order, the
//! dispatch and the provider. It is the same at the first attempt, at the tenth, after a restart, and after
//! [`redrive`](crate::Ledger::redrive). Give it as the idempotency key, and let it stand in the provider's list.
//!
//! ## Order by order
//!
//! The dispatches of one order are dealt with one after the other: nothing is shipped that was not paid. When one becomes
//! a dead letter, those behind it wait for a person, unless its route says
//! [`GoOn`](crate::AfterDead::GoOn). Different orders do not wait for each other.
//!
//! ## What to look at
//!
//! | what | where | what to do |
//! |---|---|---|
//! | dead letters | [`dead_letters`](crate::Ledger::dead_letters), `order-ledger outbox list --dead` | see to the cause, then `redrive`; where it is in doubt, ask the provider first |
//! | the oldest that waits | [`OutboxStats::oldest_open_age`](crate::OutboxStats::oldest_open_age) | is a provider down? are there workers enough? |
//! | unknown outcomes | [`OutboxStats::by_state`](crate::OutboxStats::by_state) | ask the provider for its list, and reconcile |
//! | open breakers | [`ProviderStats::breaker`](crate::ProviderStats::breaker) | call the provider |
//! | routes that nobody has | [`OutboxStats::unrouted`](crate::OutboxStats::unrouted) | a route was renamed: give the old name as well |
//! | how providers did | [`provider_sla`](crate::Ledger::provider_sla), `order-ledger outbox sla`; live: `serve`, `top`, [`OutboxCensus`](crate::OutboxCensus) | |
//! | how long one was left alone | [`ProviderSla::breaker_open`](crate::ProviderSla::breaker_open), for any period that is past | show it to them |
//!
//! A breaker is in the memory of its outbox, and a restart closes it. What it went by is on disk: the attempts and what
//! came of them. So how long it was open is told again from the log, by the same code, for any period, and over restarts:
//! from the last of [`failures_max`](crate::BreakerPolicy::failures_max) attempts in a row without an answer to the next
//! answer. The policy itself is not on disk: say yours
//! ([`provider_sla_with`](crate::Ledger::provider_sla_with), `outbox sla --breaker-failures`).
//!
//! A dead letter is not lost, and a wait is not a failure: every dispatch is done, or on a list that says why not.
//!
//! ## Tried
//!
//! `examples/payments_killed` takes 10,000 orders of TPC-H in a shop that is killed with SIGKILL once a second, 140 times,
//! with providers behind sockets that lose one call in eight, lose one answer in eight, and turn one call in eight away;
//! one of them does again what it is told again. On 2026-11-30: 26,668 calls, 6,906 without an answer, 10,000 charges and
//! 10,000 parcels, none twice. Of each provider's list five charges were then removed, five were added, and five amounts
//! were changed: the reconciliation named those thirty and nothing else.
