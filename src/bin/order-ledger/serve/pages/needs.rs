//! What needs somebody, on the first page: open alerts, orders that stand still, third parties.
//!
//! Always true: every list ends, and says how many more there are and which command lists them.

use std::time::Duration;

use maud::{Markup, html};
use order_ledger::{Alert, ProviderStanding, StuckOrder};

use super::{age, link};
use crate::alerts::about;
use crate::check::spoken;
use crate::history::told;
use crate::names::name_of;
use crate::output::{shown, time};
use crate::serve::site::Look;
use crate::watched::troubles::{Listed, Troubles};

pub(super) fn somebody(look: &Look, troubles: &Troubles) -> Markup {
    let Troubles { alerts, still, .. } = troubles;
    html! {
        h2 { "Alerts that are open: " (alerts.total()) }
        @if !alerts.first.is_empty() {
            table {
                thead { tr {
                    th { "level" } th { "what" } th { "about" } th { "since" } th { "for" } th { "known to" } th { "detail" }
                } }
                tbody { @for alert in &alerts.first { (alert_row(look, alert)) } }
            }
            (rest(alerts, "order-ledger alerts --open"))
        }
        h2 { "Orders that stand still for too long: " (still.total()) }
        @if !still.first.is_empty() {
            table {
                thead { tr {
                    th { "level" } th { "order" } th { "state" } th { "for" } th { "allowed" } th { "since" }
                } }
                tbody { @for it in &still.first { (still_row(look, it)) } }
            }
            (rest(still, "order-ledger stuck"))
        }
        @if !look.lifecycle.states().any(|state| look.lifecycle.thresholds(state) != (None, None)) {
            p.aside { "No state of this ledger says how long is too long." }
        }
    }
}

fn rest<T>(list: &Listed<T>, command: &str) -> Markup {
    html! {
        @if let Some(rest) = list.rest() { p { (rest) ": " code { (command) } } }
    }
}

fn alert_row(look: &Look, alert: &Alert) -> Markup {
    html! {
        tr {
            td { span class=(alert.level.name()) { (alert.level) } }
            td { (alert.kind) }
            td {
                @match alert.subject.order() {
                    Some(order) => { "order " (link(order)) }
                    None => (about(&alert.subject)),
                }
            }
            td { (time(alert.since)) }
            td { (age(look, alert.since)) }
            td {
                @match &alert.acknowledged {
                    Some(known) => { (shown(&known.by)) ", " (time(known.at)) }
                    None => { span.warn { "nobody" } }
                }
            }
            td { (shown(alert.detail.as_bytes())) }
        }
    }
}

fn still_row(look: &Look, it: &StuckOrder) -> Markup {
    html! {
        tr {
            td { span class=(it.level.name()) { (it.level) } }
            td { (link(it.order)) }
            td { (name_of(&look.lifecycle, it.state)) }
            td { (spoken(it.dwell)) }
            td { (spoken(it.threshold)) }
            td { (time(it.since)) }
        }
    }
}

pub(super) fn third_parties(look: &Look, troubles: &Troubles) -> Markup {
    let Troubles { providers, waiting, dead, .. } = troubles;
    if providers.first.is_empty() && *waiting == 0 && *dead == 0 {
        return html! {};
    }
    html! {
        h2 { "Third parties" }
        p {
            (waiting) " dispatches that nobody was told about yet, " (dead) " given up"
            @if *dead > 0 { ": " code { "order-ledger outbox list --dead" } }
        }
        table {
            thead { tr {
                th { "provider" } th.number { "open" } th.number { "in doubt" } th.number { "attempts" }
                th.number { "unknown" } th.number { "answered" } th { "half within" } th { "99 % within" }
                th { "left alone" } th { "last result" }
            } }
            tbody { @for it in &providers.first { (provider_row(look, it)) } }
        }
        (rest(providers, "order-ledger outbox sla"))
        p.aside {
            "Counted from the log, since it began. A provider is left alone from the fifth attempt in a row without an "
            "answer to the next answer; a program whose breaker has another rule knows better."
        }
    }
}

fn provider_row(look: &Look, it: &ProviderStanding) -> Markup {
    let within = |part| it.latency_ns.quantile(part).map(Duration::from_nanos);
    let last = it.last.as_ref().map(|(at, sent)| (time(*at), told(sent)));
    html! {
        tr {
            td { (it.provider) }
            td.number { (it.open) }
            td.number { (it.in_doubt) }
            td.number { (it.attempts) }
            td.number { (it.unknown) }
            td.number { (percent(it)) }
            td { @if let Some(ns) = within(0.5) { (format!("{ns:.1?}")) } }
            td { @if let Some(ns) = within(0.99) { (format!("{ns:.1?}")) } }
            td {
                @if let Some(since) = it.breaker_open_since {
                    span.critical { "for " (age(look, since)) }
                } @else if it.breaker_opened > 0 {
                    (it.breaker_opened) " x, " (spoken(it.breaker_open))
                }
            }
            td { @if let Some((at, told)) = last { (told) " " span.aside { (at) } } }
        }
    }
}

/// Attempts that were answered.
pub(crate) fn percent(it: &ProviderStanding) -> String {
    let answered = (it.done + it.refused).saturating_mul(10_000).checked_div(it.attempts);
    answered.map(|part| format!("{}.{:02} %", part / 100, part % 100)).unwrap_or_default()
}
