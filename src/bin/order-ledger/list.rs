//! `list`: orders by account, state and time, or open notes, page by page.

use order_ledger::{NoteEntry, NotePage, NoteQuery, Order, Page, Query, Reader, State};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::List;
use crate::errors::{Exit, Failure};
use crate::history::said;
use crate::names::{self, name_of};
use crate::output::{Detail, OrderView, Out, shown, table, time};

#[derive(Serialize)]
struct PageView<'a> {
    orders: Vec<OrderView<'a>>,
    next: Option<String>,
}

pub(crate) fn run(args: &List, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    if args.open_notes {
        return open_notes(&reader, args, out);
    }
    let lifecycle = reader.lifecycle()?;
    let state =
        args.state.as_deref().map(|state| names::argument(&lifecycle, state)).transpose()?;
    let (orders, next) = match &args.batch {
        Some(key) => (of_batch(&reader, &key.0)?, None),
        None => {
            let Page { orders, next, .. } = reader.page(&query(args, state))?;
            (orders, next)
        }
    };
    let next = next.map(|next| next.to_string());
    if out.json {
        let detail = Detail::Line;
        let view = |order| OrderView { order, lifecycle: &lifecycle, detail };
        let orders = orders.iter().map(view).collect();
        out.json_line(&PageView { orders, next })?;
        return Ok(Exit::Done);
    }
    let mut rows = table(&["order", "accepted at", "client", "key", "account", "state", "version"]);
    for order in &orders {
        rows.add_row([
            order.id().to_string(),
            time(order.receipt.accepted_at),
            shown(&order.client),
            shown(&order.key),
            shown(&order.account),
            name_of(&lifecycle, order.now.state).into_owned(),
            order.now.version.to_string(),
        ]);
    }
    out.line(rows)?;
    if let Some(next) = next {
        out.line(format!("more: --after {next}"))?;
    }
    Ok(Exit::Done)
}

/// The notes that wait to be resolved.
fn open_notes(reader: &Reader, args: &List, out: &mut Out) -> Result<Exit, Failure> {
    let mut query = NoteQuery::open().limit(usize::from(args.limit));
    if let Some(after) = args.after {
        query = query.after(after);
    }
    let NotePage { notes, next, .. } = reader.open_notes(&query)?;
    let next = next.map(|next| next.to_string());
    if out.json {
        let notes: Vec<_> = notes.iter().map(note_line).collect();
        out.json_line(&json!({"notes": notes, "next": next}))?;
        return Ok(Exit::Done);
    }
    let mut rows = table(&["seq", "at", "order", "kind", "author", "text"]);
    for note in &notes {
        rows.add_row([
            note.seq.to_string(),
            time(note.at),
            note.order.to_string(),
            note.kind.to_string(),
            shown(&note.author),
            shown(&note.text),
        ]);
    }
    out.line(rows)?;
    if let Some(next) = next {
        out.line(format!("more: --after {next}"))?;
    }
    Ok(Exit::Done)
}

/// An open note as JSON.
fn note_line(note: &NoteEntry) -> Value {
    json!({
        "seq": note.seq.0,
        "at": time(note.at),
        "order_id": note.order.as_u64(),
        "kind": note.kind.name(),
        "author": said(&note.author),
        "text": said(&note.text),
    })
}

/// The orders that a linked batch took or changed; none when there is no such batch.
fn of_batch(reader: &Reader, key: &[u8]) -> Result<Vec<Order>, Failure> {
    let mut orders = Vec::new();
    for event in reader.batch(key)?.map(|batch| batch.events).unwrap_or_default() {
        orders.extend(reader.get(event.order)?);
    }
    Ok(orders)
}

fn query(args: &List, state: Option<State>) -> Query {
    let mut query = Query::all().limit(usize::from(args.limit));
    if let Some(account) = &args.account {
        query = query.account(account.0.as_slice());
    }
    if let Some(external_ref) = &args.external_ref {
        query = query.external_ref(external_ref.0.as_slice());
    }
    if let Some(until) = args.until {
        query = query.until(until);
    }
    if let Some(state) = state {
        query = query.state(state);
    }
    if let Some(since) = args.since {
        query = query.since(since);
    }
    if let Some(after) = args.after {
        query = query.after(after);
    }
    query
}
