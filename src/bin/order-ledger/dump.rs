//! `dump`: every order as a JSON line, read from the log alone.

use order_ledger::Reader;

use crate::args::Dump;
use crate::errors::{Exit, Failure};
use crate::output::{Detail, OrderView, Out};
use crate::progress::{Progress, Unit};

pub(crate) fn run(args: &Dump, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    let lifecycle = reader.lifecycle()?;
    let progress = Progress::new(reader.stats()?.orders, Unit::Things, true);
    for (done, order) in (1..).zip(reader.orders()) {
        let order = match order {
            Ok(order) => order,
            Err(error) => {
                // What was readable is an answer; it must not be lost in the buffer.
                out.flush()?;
                return Err(error.into());
            }
        };
        out.json_line(&OrderView { order: &order, lifecycle: &lifecycle, detail: Detail::Dump })?;
        progress.set(done);
    }
    Ok(Exit::Done)
}
