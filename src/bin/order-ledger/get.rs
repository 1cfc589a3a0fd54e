//! `get`: one order, by its number or its receipt.

use order_ledger::{Lifecycle, Order, Reader};
use serde_json::json;

use crate::args::{Get, Wanted};
use crate::errors::{Exit, Failure};
use crate::output::{Detail, OrderView, Out, order_table};

pub(crate) fn run(args: &Get, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    match wanted(&reader, &args.order)? {
        Ok(order) => show(&order, &reader.lifecycle()?, out),
        Err(why) => not_found(&why, out),
    }
}

/// The order that is asked for, or why there is none.
pub(crate) fn wanted(reader: &Reader, wanted: &Wanted) -> Result<Result<Order, String>, Failure> {
    let (id, receipt) = match wanted {
        Wanted::Id(id) => (*id, None),
        Wanted::Receipt(receipt) => (receipt.order, Some(receipt)),
    };
    if let Some(other) = receipt.filter(|receipt| receipt.ledger != reader.id()) {
        let (theirs, ours) = (other.ledger, reader.id());
        return Ok(Err(format!("the receipt is of ledger {theirs}, and this is ledger {ours}")));
    }
    Ok(match (reader.get(id)?, receipt) {
        (None, None) => Err(format!("there is no order {id}")),
        (None, Some(_)) => Err(format!(
            "there is no order {id}, although the receipt is of this ledger: run verify"
        )),
        (Some(order), Some(receipt)) if order.receipt != *receipt => {
            Err(format!("order {id} is another one than the receipt says: run verify"))
        }
        (Some(order), _) => Ok(order),
    })
}

pub(crate) fn show(order: &Order, lifecycle: &Lifecycle, out: &mut Out) -> Result<Exit, Failure> {
    match out.json {
        true => out.json_line(&OrderView { order, lifecycle, detail: Detail::Full })?,
        false => out.line(order_table(order, lifecycle))?,
    }
    Ok(Exit::Done)
}

pub(crate) fn not_found(why: &str, out: &mut Out) -> Result<Exit, Failure> {
    match out.json {
        true => out.json_line(&json!({"found": false, "why": why}))?,
        false => out.line(why)?,
    }
    Ok(Exit::No)
}
