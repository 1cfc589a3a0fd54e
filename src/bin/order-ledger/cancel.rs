//! `cancel`: at once where the lifecycle allows it, else by asking.

use crate::args::Cancel;
use crate::errors::{Exit, Failure};
use crate::output::Out;
use crate::transition::answer::{About, Answer};
use crate::{get, opening, transition};

pub(crate) fn run(args: &Cancel, out: &mut Out) -> Result<Exit, Failure> {
    let settings = opening::settings(&args.opening)?;
    let (reader, _) = settings.look(&args.dir.path)?;
    let about = About::argument(&args.order, None);
    let order = match get::wanted(&reader, &args.order)? {
        Ok(order) => order.id(),
        Err(why) => return transition::show(&Answer::no_such_order(about, why), out),
    };
    drop(reader);
    transition::take(&settings, &args.dir.path, about, out, |ledger| {
        ledger.cancel(order, args.reason.as_str())
    })
}
