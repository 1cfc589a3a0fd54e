//! `hold`: takes no new orders of a client or an account, takes them again, or shows what is held.

use order_ledger::{HoldChange, HoldEntry, How, Reader};
use serde_json::{Value, json};

use crate::args::Hold;
use crate::errors::{Exit, Failure};
use crate::history::said;
use crate::opening;
use crate::output::{Out, shown, table, time};

pub(crate) fn run(args: &Hold, out: &mut Out) -> Result<Exit, Failure> {
    if args.list {
        return list(args, out);
    }
    let bytes = |given: &Option<crate::args::Bytes>| {
        given.as_ref().map(|given| given.0.clone()).unwrap_or_default()
    };
    let (client, account) = (bytes(&args.client), bytes(&args.account));
    if client.is_empty() && account.is_empty() {
        return Err(Failure::Usage {
            what: "a hold names a client, an account, or both".into(),
            advice: "give --client, --account, or --list".into(),
        });
    }
    let hold = match client.is_empty() {
        true => order_ledger::Hold::any_client(account),
        false => order_ledger::Hold::client(client).account(account),
    };
    let hold = hold.reason(args.reason.as_str()).by(bytes(&args.by));
    let settings = opening::settings(&args.opening)?;
    // A mistyped path must not make a ledger.
    drop(settings.look(&args.dir.path)?);
    let ledger = settings.options().open(&args.dir.path)?;
    let changed = match args.release {
        true => ledger.release(&hold),
        false => ledger.hold(&hold),
    };
    let answered = changed.map_err(Failure::from).and_then(|it| answer(args.release, it, out));
    // Also when it failed, or the output is gone.
    let closed = ledger.close();
    answered?;
    closed?;
    Ok(Exit::Done)
}

fn answer(release: bool, change: HoldChange, out: &mut Out) -> Result<(), Failure> {
    let outcome = match change.how {
        How::Fresh => "fresh",
        // Whatever else there may be one day: it was so before.
        _ => "replayed",
    };
    let (seq, at) = (change.seq.map(|seq| seq.0), change.at.map(time));
    let word = if release { "released" } else { "held" };
    match out.json {
        true => out.json_line(&json!({"outcome": outcome, "is": word, "seq": seq, "at": at}))?,
        false => match (change.how, seq) {
            (How::Fresh, Some(seq)) => out.line(format!("{word} (seq {seq})"))?,
            (_, Some(seq)) => out.line(format!("{word} already (seq {seq})"))?,
            (_, None) => out.line("never held: nothing to be released")?,
        },
    }
    out.flush()
}

fn list(args: &Hold, out: &mut Out) -> Result<Exit, Failure> {
    let holds = Reader::open(&args.dir.path)?.holds()?;
    if out.json {
        for hold in &holds {
            out.json_line(&line(hold))?;
        }
        return Ok(Exit::Done);
    }
    let mut rows = table(&["seq", "since", "client", "account", "reason", "by"]);
    let scope = |bytes: &[u8]| if bytes.is_empty() { "any".to_owned() } else { shown(bytes) };
    for hold in &holds {
        rows.add_row([
            hold.seq.to_string(),
            time(hold.at),
            scope(&hold.client),
            scope(&hold.account),
            shown(hold.reason.as_bytes()),
            shown(&hold.by),
        ]);
    }
    out.line(rows)?;
    Ok(Exit::Done)
}

/// A hold as JSON: a client or an account that is null is any.
fn line(hold: &HoldEntry) -> Value {
    let scope = |bytes: &[u8]| (!bytes.is_empty()).then(|| said(bytes));
    json!({
        "seq": hold.seq.0,
        "at": time(hold.at),
        "client": scope(&hold.client),
        "account": scope(&hold.account),
        "reason": hold.reason,
        "by": said(&hold.by),
    })
}
