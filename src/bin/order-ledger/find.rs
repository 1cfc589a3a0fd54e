//! `find`: the order under a key. The answer to "did my order arrive?".

use order_ledger::Reader;

use crate::args::Find;
use crate::errors::{Exit, Failure};
use crate::get::{not_found, show};
use crate::output::{Out, shown};

pub(crate) fn run(args: &Find, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    match reader.by_key(&args.client.0, &args.key.0)? {
        Some(order) => show(&order, &reader.lifecycle()?, out),
        None => {
            let (client, key) = (shown(&args.client.0), shown(&args.key.0));
            let why = format!("no order of client {client} under key {key}: submitting it is safe");
            not_found(&why, out)
        }
    }
}
