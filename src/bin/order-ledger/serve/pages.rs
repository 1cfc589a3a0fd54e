//! What is on the pages.
//!
//! Always true: everything that comes from an order, a request or an error is put in by maud, which escapes it; no
//! page has a script, and none needs one.

use std::time::Duration;

use maud::{DOCTYPE, Markup, html};
use order_ledger::{
    EventBody, HealthStatus, NoteEntry, Order, OrderId, PageToken, State, StateMetrics, Timestamp,
};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::site::{Look, Whole};
use crate::check::spoken;
use crate::history::what;
use crate::names::name_of;
use crate::output::{content, own_thresholds, shown, time};

pub(super) const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; }
header { display: flex; gap: 1rem; flex-wrap: wrap; align-items: baseline; border-bottom: 1px solid #8888; }
header a { font-weight: bold; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; }
th[scope=row] { width: 12rem; font-weight: normal; color: #777; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
td { overflow-wrap: anywhere; }
form { display: flex; gap: .5rem; flex-wrap: wrap; margin: .5rem 0; }
input { font: inherit; min-width: 12rem; } button { font: inherit; }
.ok { color: #080; } .warn { color: #a60; } .critical { color: #c00; font-weight: bold; }
.aside { color: #777; }
";

fn page(title: &str, look: Option<&Look>, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href="/style.css";
            }
            body {
                header {
                    a href="/" { "order-ledger" }
                    @if let Some(look) = look {
                        span.aside { "ledger " (look.metrics.ledger) }
                        span.aside { "as of " (time(look.metrics.at)) }
                    }
                }
                main { (body) }
            }
        }
    };
    page.into_string()
}

pub(super) fn first(look: &Look) -> String {
    let metrics = &look.metrics;
    let status = metrics.health.status;
    let states = metrics.states.as_deref().unwrap_or_default();
    let total: u64 = states.iter().map(|it| it.orders).sum();
    let body = html! {
        h1 { "Orders" }
        p {
            "Health: " span class=(status.name()) { (status) }
        }
        @if !metrics.health.reasons.is_empty() {
            ul {
                @for reason in &metrics.health.reasons {
                    li {
                        span class=(reason.status.name()) { (reason.code) } ": " (reason.text) ". "
                        span.aside { "What to do: " (reason.advice) }
                    }
                }
            }
        }
        (search())
        h2 { "By state" }
        table {
            thead { tr {
                th { "state" } th.number { "orders" } th { "longest in it" }
            } }
            tbody {
                @for state in states { (state_row(look, state)) }
                tr { td { "all" } td.number { (total) } td {} }
            }
        }
        @for (state, orders) in &look.longest {
            @if !orders.is_empty() {
                h2 { "Longest in state " (name_of(&look.lifecycle, *state)) }
                (stays(look, orders))
            }
        }
        h2 { "Log" }
        table { tbody {
            (fact("last seq", &metrics.last_seq.map_or("none".into(), |seq| seq.to_string())))
            (fact("files", &metrics.segments.to_string()))
            (fact("bytes of the files", &metrics.log_bytes.to_string()))
            @if let Some(free) = metrics.disk_free_bytes { (fact("bytes free", &free.to_string())) }
            @if let Some(opened) = &metrics.last_open {
                (fact("last opening took", &format!("{:.3} s", Duration::from_nanos(opened.elapsed_ns).as_secs_f64())))
            }
        } }
        p.aside { "For programs: " a href="/metrics" { "metrics" } ", " a href="/health" { "health" } "." }
    };
    page("orders", Some(look), &body)
}

/// Did my order arrive?
fn search() -> Markup {
    html! {
        h2 { "Did my order arrive?" }
        form action="/find" method="get" {
            input name="client" aria-label="client" placeholder="client";
            input name="key" aria-label="key" placeholder="key";
            button { "find by key" }
        }
        form action="/find" method="get" {
            input name="order" aria-label="receipt or number" placeholder="receipt or number";
            button { "find by receipt or number" }
        }
        form action="/find" method="get" {
            input name="ref" aria-label="number elsewhere" placeholder="number elsewhere";
            button { "find by number elsewhere" }
            span.aside { "reads the log; a large one takes a while" }
        }
    }
}

fn state_row(look: &Look, state: &StateMetrics) -> Markup {
    html! {
        tr {
            td {
                @if look.lifecycle.is_terminal(state.state) { (state.name) }
                @else { a href={ "/state/" (state.name) } { (state.name) } }
            }
            td.number { (state.orders) }
            td { @if let Some(since) = state.longest_since { (age(look, since)) } }
        }
    }
}

/// Orders with the time since when they are where they are.
fn stays(look: &Look, orders: &[(OrderId, Timestamp)]) -> Markup {
    html! {
        table {
            thead { tr { th { "order" } th { "for" } th { "since" } } }
            tbody {
                @for (order, since) in orders {
                    tr {
                        td { (link(*order)) }
                        td { (age(look, *since)) }
                        td { (time(*since)) }
                    }
                }
            }
        }
    }
}

pub(super) fn state(look: &Look, state: State, orders: &[(OrderId, Timestamp)]) -> String {
    let name = name_of(&look.lifecycle, state);
    let all = look.metrics.states.iter().flatten().find(|it| it.state == state);
    let all = all.map_or(0, |it| it.orders);
    let body = html! {
        h1 { "Orders in state " (name) }
        p { (all) " orders; those that are in it for longest first." }
        @if look.lifecycle.is_terminal(state) {
            p { "Orders stay in it, and are not listed." }
        } @else {
            (stays(look, orders))
        }
    };
    page(&name, Some(look), &body)
}

pub(super) fn found(
    look: &Look,
    orders: &[Order],
    external_ref: &[u8],
    next: Option<PageToken>,
) -> String {
    let body = html! {
        h1 { "Orders with number " (shown(external_ref)) " elsewhere" }
        table {
            thead { tr {
                th { "order" } th { "accepted at" } th { "client" } th { "key" } th { "account" } th { "state" }
            } }
            tbody {
                @for order in orders {
                    tr {
                        td { (link(order.id())) }
                        td { (time(order.receipt.accepted_at)) }
                        td { (shown(&order.client)) }
                        td { (shown(&order.key)) }
                        td { (shown(&order.account)) }
                        td { (name_of(&look.lifecycle, order.now.state)) }
                    }
                }
            }
        }
        @if let Some(next) = next {
            p { a href={ "/find?ref=" (percent_encode(external_ref, NON_ALPHANUMERIC)) "&after=" (next) } { "more" } }
        }
    };
    page("found", Some(look), &body)
}

pub(super) fn order(look: &Look, whole: &Whole) -> String {
    let order = &whole.order;
    let state = name_of(&look.lifecycle, order.now.state);
    let optional =
        [("external ref", &order.external_ref), ("kind", &order.kind), ("account", &order.account)];
    let body = html! {
        h1 { "Order " (order.id()) ": " (state) }
        table { tbody {
            (fact("accepted at", &time(order.receipt.accepted_at)))
            (fact("state", &format!("{state} (version {})", order.now.version)))
            (fact("client", &shown(&order.client)))
            (fact("key", &shown(&order.key)))
            @for (name, bytes) in optional {
                @if !bytes.is_empty() { (fact(name, &shown(bytes))) }
            }
            @if order.schema != 0 { (fact("schema", &order.schema.to_string())) }
            @if let Some(instant) = order.expires_at { (fact("expires at", &time(instant))) }
            @for (name, after) in own_thresholds(order) { (fact(name, &after)) }
            @if let Some(refusal) = &order.refusal {
                (fact("refused", &format!("{} (code {})", shown(refusal.reason.as_bytes()), refusal.code)))
            }
            @if let Some(old) = order.corrects {
                tr { th scope="row" { "corrects" } td { (link(old)) } }
            }
            @if !whole.corrections.is_empty() {
                tr { th scope="row" { "corrected by" } td {
                    @for id in &whole.corrections { (link(*id)) " " }
                } }
            }
            (fact("receipt", &order.receipt.to_string()))
            (fact("fingerprint", &order.receipt.fingerprint.to_string()))
            tr { th scope="row" { "content" } td { pre { (content(&order.payload)) } } }
        } }
        h2 { "What happened" }
        table {
            thead { tr { th { "seq" } th { "at" } th { "state" } th { "what" } } }
            tbody {
                @for event in &whole.events {
                    tr {
                        td { (event.seq) }
                        td { (time(event.at)) }
                        td { (step(look, &event.body)) }
                        td { (what(&event.body)) }
                    }
                }
            }
        }
        @if whole.notes.iter().any(NoteEntry::is_open) {
            p.warn { "A note of it waits to be resolved." }
        }
    };
    page(&format!("order {}", order.id()), Some(look), &body)
}

/// From which state to which, where the event says so.
fn step(look: &Look, body: &EventBody) -> String {
    let name = |state| name_of(&look.lifecycle, state);
    match body {
        EventBody::Moved { from, to, .. } => format!("{} to {}", name(*from), name(*to)),
        other => other.state().map(|state| name(state).into_owned()).unwrap_or_default(),
    }
}

pub(super) fn not_found(why: &str) -> String {
    let body = html! {
        h1 { "Not found" }
        p { (shown(why.as_bytes())) }
        (search())
    };
    page("not found", None, &body)
}

pub(super) fn broken(what: &str, advice: &str) -> String {
    let body = html! {
        h1.critical { "The ledger can't be read" }
        p { (what) }
        p { "What to do: " (advice) }
    };
    page(HealthStatus::Critical.name(), None, &body)
}

fn fact(name: &str, value: &str) -> Markup {
    html! { tr { th scope="row" { (name) } td { (value) } } }
}

fn link(order: OrderId) -> Markup {
    html! { a href={ "/order/" (order) } { (order) } }
}

fn age(look: &Look, since: Timestamp) -> String {
    let ns = look.metrics.at.as_unix_ns().saturating_sub(since.as_unix_ns());
    spoken(Duration::from_nanos(ns))
}
