//! `list`: orders by account, state and time, page by page.

use order_ledger::{Page, Query, Reader};
use serde::Serialize;

use crate::args::List;
use crate::errors::{Exit, Failure};
use crate::output::{Detail, OrderView, Out, shown, table, time};

#[derive(Serialize)]
struct PageView<'a> {
    orders: Vec<OrderView<'a>>,
    next: Option<String>,
}

pub(crate) fn run(args: &List, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    let Page { orders, next, .. } = reader.page(&query(args))?;
    let next = next.map(|next| next.to_string());
    if out.json {
        let orders = orders.iter().map(|order| OrderView { order, detail: Detail::Line }).collect();
        out.json_line(&PageView { orders, next })?;
        return Ok(Exit::Done);
    }
    let mut rows = table(&["order", "accepted at", "client", "key", "account", "state"]);
    for order in &orders {
        rows.add_row([
            order.id().to_string(),
            time(order.receipt.accepted_at),
            shown(&order.client),
            shown(&order.key),
            shown(&order.account),
            order.now.state.to_string(),
        ]);
    }
    out.line(rows)?;
    if let Some(next) = next {
        out.line(format!("more: --after {next}"))?;
    }
    Ok(Exit::Done)
}

fn query(args: &List) -> Query {
    let mut query = Query::all().limit(usize::from(args.limit));
    if let Some(account) = &args.account {
        query = query.account(account.0.as_slice());
    }
    if let Some(state) = args.state {
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
