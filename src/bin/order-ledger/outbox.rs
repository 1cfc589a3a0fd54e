//! `outbox`: what third parties are to be told, what waits for a person, and how providers did.

use std::time::Duration;

use order_ledger::{
    BreakerPolicy, DispatchEntry, DispatchPage, DispatchQuery, DispatchState, ErrorKind, Ledger,
    ProviderSla, Reader, Seq,
};
use serde_json::{Map, Value, json};

use crate::args::{Outbox, OutboxCommand, OutboxList, Redrive, Sla};
use crate::errors::{Exit, Failure, certainty_name};
use crate::history::said;
use crate::opening;
use crate::output::{Out, shown, table, time};
use crate::transition::answer::word;

pub(crate) fn run(args: &Outbox, out: &mut Out) -> Result<Exit, Failure> {
    match &args.command {
        OutboxCommand::List(args) => list(args, out),
        OutboxCommand::Redrive(args) => redrive(args, out),
        OutboxCommand::Sla(args) => sla(args, out),
    }
}

fn list(args: &OutboxList, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    let mut query = DispatchQuery::all().limit(usize::from(args.limit));
    if let Some(route) = &args.route {
        query = query.route(route.as_str());
    }
    if let Some(after) = args.after {
        query = query.after(after);
    }
    let page = if args.dead { reader.dead_letters(&query) } else { reader.open_dispatches(&query) };
    let DispatchPage { dispatches, next, .. } = page?;
    let next = next.map(|next| next.to_string());
    if out.json {
        let dispatches: Vec<_> = dispatches.iter().map(line).collect();
        out.json_line(&json!({"dispatches": dispatches, "next": next}))?;
        return Ok(Exit::Done);
    }
    let names = ["dispatch", "order", "at", "route", "state", "provider", "attempts", "why"];
    let mut rows = table(&names);
    for entry in &dispatches {
        let (provider, why) = said_of(&entry.state);
        let doubt = entry.in_doubt.as_deref().filter(|doubt| Some(*doubt) != provider);
        let doubt = doubt.map(|doubt| format!("{doubt} may have done it; ")).unwrap_or_default();
        rows.add_row([
            entry.dispatch.to_string(),
            entry.order.to_string(),
            time(entry.at),
            entry.route.clone(),
            entry.state.name().to_owned(),
            provider.unwrap_or_default().to_owned(),
            entry.attempts.to_string(),
            format!("{doubt}{}", shown(why.unwrap_or_default().as_bytes())),
        ]);
    }
    out.line(rows)?;
    if let Some(next) = next {
        out.line(format!("more: --after {next}"))?;
    }
    Ok(Exit::Done)
}

/// The provider that a state is about, and why it is so.
fn said_of(state: &DispatchState) -> (Option<&str>, Option<&str>) {
    match state {
        DispatchState::Attempting { provider } | DispatchState::Done { provider, .. } => {
            (Some(provider), None)
        }
        DispatchState::Retrying { provider, why, .. }
        | DispatchState::Unknown { provider, why }
        | DispatchState::Refused { provider, why, .. } => (Some(provider), Some(why)),
        DispatchState::Dead { why } => (None, Some(why)),
        _ => (None, None),
    }
}

/// A dispatch as JSON.
fn line(entry: &DispatchEntry) -> Value {
    let mut fields = Map::new();
    let mut put = |field: &str, value: Value| fields.insert(field.to_owned(), value);
    put("dispatch", entry.dispatch.0.into());
    put("order_id", entry.order.as_u64().into());
    put("at", time(entry.at).into());
    put("route", entry.route.as_str().into());
    put("state", entry.state.name().into());
    put("attempts", entry.attempts.into());
    put("changed_at", time(entry.changed_at).into());
    let (provider, why) = said_of(&entry.state);
    for (field, value) in
        [("provider", provider), ("in_doubt", entry.in_doubt.as_deref()), ("why", why)]
    {
        if let Some(value) = value {
            put(field, value.into());
        }
    }
    match &entry.state {
        DispatchState::Retrying { at, .. } => {
            put("retry_at", time(*at).into());
        }
        DispatchState::Refused { code, .. } => {
            put("code", (*code).into());
        }
        _ => {}
    }
    put("body", said(&entry.body));
    fields.into()
}

fn redrive(args: &Redrive, out: &mut Out) -> Result<Exit, Failure> {
    let settings = opening::settings(&args.opening)?;
    // A mistyped path must not make a ledger.
    drop(settings.look(&args.dir.path)?);
    let ledger = settings.options().open(&args.dir.path)?;
    let done = redrive_all(&ledger, args, out);
    // Also when it failed, or the output is gone.
    let closed = ledger.close();
    let exit = done?;
    closed?;
    Ok(exit)
}

fn redrive_all(ledger: &Ledger, args: &Redrive, out: &mut Out) -> Result<Exit, Failure> {
    let dispatches = match args.all {
        true => dead_letters(ledger, args.route.as_deref())?,
        false => args.dispatches.iter().map(|dispatch| Seq(*dispatch)).collect(),
    };
    let mut exit = Exit::Done;
    for dispatch in dispatches {
        let error = match ledger.redrive(dispatch, args.why.as_str()) {
            Ok(()) => {
                match out.json {
                    true => {
                        out.json_line(&json!({"dispatch": dispatch.0, "outcome": "redriven"}))?;
                    }
                    false => out.line(format!("dispatch {dispatch}: on its way again"))?,
                }
                out.flush()?;
                continue;
            }
            Err(error) => error,
        };
        if !matches!(error.kind(), ErrorKind::NoSuchDispatch { .. } | ErrorKind::NotDead { .. }) {
            return Err(error.into());
        }
        exit = Exit::SomeLines;
        let advice = error.advice();
        match out.json {
            true => out.json_line(&json!({
                "dispatch": dispatch.0,
                "outcome": "refused",
                "certainty": certainty_name(error.certainty()),
                "error": word(error.kind()),
                "why": error.to_string(),
                "advice": advice,
            }))?,
            false => out.line(format!("{}: {error}\nnext: {advice}", word(error.kind())))?,
        }
    }
    Ok(exit)
}

/// Every dead letter.
fn dead_letters(ledger: &Ledger, route: Option<&str>) -> Result<Vec<Seq>, Failure> {
    let (mut query, mut found) = (DispatchQuery::all(), Vec::new());
    if let Some(route) = route {
        query = query.route(route);
    }
    loop {
        let page = ledger.dead_letters(&query)?;
        found.extend(page.dispatches.iter().map(|entry| entry.dispatch));
        let Some(next) = page.next else { return Ok(found) };
        query = query.after(next);
    }
}

fn sla(args: &Sla, out: &mut Out) -> Result<Exit, Failure> {
    let (since, until) = args.period.ends();
    let breaker = BreakerPolicy { failures_max: args.breaker_failures, ..BreakerPolicy::default() };
    let providers = Reader::open(&args.dir.path)?.provider_sla_with(since, until, breaker)?;
    if out.json {
        for provider in &providers {
            out.json_line(&sla_line(provider))?;
        }
        return Ok(Exit::Done);
    }
    out.line(sla_table(&providers))?;
    Ok(Exit::Done)
}

pub(crate) fn sla_line(it: &ProviderSla) -> Value {
    let ns = |latency: Option<Duration>| latency.map(|it| u64::try_from(it.as_nanos()).ok());
    json!({
        "provider": it.provider,
        "attempts": it.attempts,
        "done": it.done,
        "refused": it.refused,
        "not_sent": it.not_sent,
        "unknown": it.unknown,
        "success_ppm": it.success_ppm(),
        "unknown_ppm": it.unknown_ppm(),
        "latency_ns_p50": ns(it.latency_p50),
        "latency_ns_p95": ns(it.latency_p95),
        "latency_ns_p99": ns(it.latency_p99),
        "latency_ns_max": ns(it.latency_max),
        "breaker_opened": it.breaker_opened,
        "breaker_open_ns": ns(Some(it.breaker_open)),
    })
}

pub(crate) fn sla_table(providers: &[ProviderSla]) -> comfy_table::Table {
    let mut rows = table(&[
        "provider",
        "attempts",
        "done",
        "refused",
        "not sent",
        "unknown",
        "answered",
        "p50",
        "p95",
        "p99",
        "max",
        "left alone",
    ]);
    let shown = |latency: Option<Duration>| latency.map(|it| format!("{it:.1?}"));
    for it in providers {
        let ppm = it.success_ppm();
        rows.add_row([
            it.provider.clone(),
            it.attempts.to_string(),
            it.done.to_string(),
            it.refused.to_string(),
            it.not_sent.to_string(),
            it.unknown.to_string(),
            format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100),
            shown(it.latency_p50).unwrap_or_default(),
            shown(it.latency_p95).unwrap_or_default(),
            shown(it.latency_p99).unwrap_or_default(),
            shown(it.latency_max).unwrap_or_default(),
            match it.breaker_open.is_zero() {
                true => String::new(),
                false => format!("{}, {:.1?}", it.breaker_opened, it.breaker_open),
            },
        ]);
    }
    rows
}
