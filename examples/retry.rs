//! A client that never orders twice: `cargo run --example retry`
//!
//! 1. Make the key once, when the intent is born, and store both before the first attempt.
//! 2. Submit. Whatever comes back other than a receipt, ask for its certainty first.
//! 3. Unknown: the same key again, after opening again when the ledger is poisoned. Never a new key.
//!
//! Here the disk fails under the first attempt (a simulated one, feature `sim`); the order's bytes may or
//! may not have arrived, and the program does not need to know.

use std::path::Path;

use order_ledger::disk::sim::{Fault, SimDisk, SimHost};
use order_ledger::{Certainty, ErrorKind, Ledger, Options, Receipt, Submission};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let dir = tempfile::tempdir()?;
    let intents = dir.path().join("intents");
    store(&intents, "cart-17-7f3a9c", r#"{"sku":"tea","quantity":2}"#)?;

    let disk = SimDisk::new(1);
    let open = || -> order_ledger::Result<Ledger> {
        let options = Options::new().segment_bytes(1024 * 1024).disk_reserve_bytes(0);
        options.open_simulated(disk.as_disk(), SimHost::new(1).as_host())
    };
    let ledger = open()?;
    disk.fail_call(2, Fault::Eio); // the write goes through, its sync does not

    let receipt = deliver(ledger, open, &intents)?;
    report(&format!("order {}: {receipt}", receipt.order));
    assert_eq!(open()?.orders().count(), 1);
    Ok(())
}

/// The intent and its key, durable before anything is sent. A real program keeps them in its database.
fn store(intents: &Path, key: &str, order: &str) -> Fallible<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(intents)?;
    writeln!(file, "{key} {order}")?;
    Ok(file.sync_all()?)
}

/// Submits the stored intent until its fate is known.
fn deliver(
    mut ledger: Ledger,
    open: impl Fn() -> order_ledger::Result<Ledger>,
    intents: &Path,
) -> Fallible<Receipt> {
    let stored = std::fs::read_to_string(intents)?;
    let (key, order) = stored.trim().split_once(' ').ok_or("the file of intents is empty")?;
    let order = Submission::new("web-shop", key, order);
    for attempt in 1..=5 {
        let error = match ledger.submit(&order) {
            Ok(outcome) => {
                report(&format!("attempt {attempt}: {}", outcome.how));
                return Ok(outcome.receipt);
            }
            Err(error) => error,
        };
        report(&format!("attempt {attempt}: {error}; {}", error.advice()));
        match (error.certainty(), error.kind()) {
            // The key has an order: this one with other content, or a refusal. Not ours to repeat.
            (Certainty::Recorded(_), _) => return Err(error.into()),
            // Nothing will change by itself.
            (_, ErrorKind::Invalid { .. }) => return Err(error.into()),
            // A pause, and again. A real program waits longer each time.
            (Certainty::NotRecorded, ErrorKind::Overloaded { retry_after }) => {
                wait(*retry_after);
            }
            // In doubt, or refused for now: the same key. A poisoned ledger has to be opened again.
            _ => {
                if ledger.poisoned().is_some() {
                    drop(ledger);
                    ledger = open()?;
                }
            }
        }
    }
    Err("no receipt after 5 attempts; the intent stays stored".into())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program may sleep; the library goes through its host"
)]
fn wait(pause: std::time::Duration) {
    std::thread::sleep(pause);
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn report(line: &str) {
    println!("{line}");
}
