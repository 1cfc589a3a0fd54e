//! `list`: orders by account, state and time, page by page.

use std::str::FromStr;

use order_ledger::{Order, Reader, Seq};
use serde::Serialize;

use crate::args::List;
use crate::errors::{Exit, Failure};
use crate::output::{Detail, Out, OrderView, shown, table, time};

#[derive(Serialize)]
struct PageView<'a> {
    orders: Vec<OrderView<'a>>,
    next: Option<String>,
}

pub(crate) fn run(args: &List, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    let Page { orders, next } = page(&reader, args)?;
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

/// Where a page ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token(Seq);

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "after-{}", self.0)
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Token, &'static str> {
        let seq = text.strip_prefix("after-").and_then(|seq| seq.parse().ok());
        seq.map(|seq| Token(Seq(seq))).ok_or("not a page token (one looks like after-42)")
    }
}

struct Page {
    orders: Vec<Order>,
    next: Option<Token>,
}

/// The orders that are asked for. The one place that knows how a page is made.
fn page(reader: &Reader, args: &List) -> Result<Page, Failure> {
    let limit = usize::from(args.limit);
    let mut orders: Vec<Order> = Vec::new();
    for order in reader.orders() {
        let order = order?;
        let fits = args.account.as_ref().is_none_or(|account| account.0 == order.account)
            && args.state.is_none_or(|state| state == order.now.state)
            && args.since.is_none_or(|since| order.receipt.accepted_at >= since)
            && args.after.is_none_or(|after| order.id().seq() > after.0);
        if fits {
            if orders.len() == limit {
                let next = orders.last().map(|last| Token(last.id().seq()));
                return Ok(Page { orders, next });
            }
            orders.push(order);
        }
    }
    Ok(Page { orders, next: None })
}
