//! Many open orders: what does one look of the watch cost as they grow, and what when a thousand of them are due?
//!
//! `cargo bench --bench watch -- --orders 1000000`; 20,000 without it. Half of the orders are watched by the thresholds of
//! their state, half by their own, of thirty days each: none of them is due. Then a thousand come to be due by each.
//! Prints one table.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use order_ledger::{
    Ledger, Lifecycle, Options, OrderId, State, Submission, Transition, WatchOptions, WatchPass,
};

mod support;
#[path = "support/views.rs"]
mod views;

use support::{Dir, done};
use views::wait_for_views;

const ORDERS: u64 = 20_000;
const BATCH: u64 = 1_000;
const DUE: u64 = 1_000;
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let index = arguments.iter().position(|argument| argument == "--orders");
    let orders = index.and_then(|index| arguments.get(index + 1));
    let orders = orders.map_or(ORDERS, |text| done(text.parse()));
    let dir = done(Dir::new("watch"));
    // The thread looks once, when there is nothing yet.
    let watch = WatchOptions::new().look_every(Duration::from_secs(3600)).disk_warn_bytes(0);
    let lifecycle = Lifecycle::default()
        .with_thresholds(State::Accepted, Some(MONTH), None)
        .with_thresholds(State::Confirmed, Some(Duration::ZERO), None);
    let options = Options::new().lifecycle(lifecycle).watch(watch);
    let ledger = done(options.open(dir.join("orders.ledger")));
    let mut table = vec![format!("| {orders} open orders | looked at | ms |\n|---|---|---|")];
    let began = Instant::now();
    let by_state = fill(&ledger, orders);
    let filled = began.elapsed();
    wait_for_views(&ledger);
    let fed = began.elapsed();
    let mut row = |what: &str, raised: u64| {
        let began = Instant::now();
        let pass = ledger.watch_once();
        let ms = began.elapsed().as_secs_f64() * 1e3;
        assert_eq!((pass.raised, pass.failed), (raised, 0), "{what}: {pass:?}");
        let WatchPass { looked, .. } = pass;
        table.push(format!("| {what} | {looked} | {ms:.1} |"));
        wait_for_views(&ledger);
    };
    row("none is due", 0);
    let steps: Vec<_> =
        by_state.iter().map(|order| Transition::new(*order, State::Confirmed)).collect();
    for answer in ledger.transition_many(&steps) {
        done(answer);
    }
    wait_for_views(&ledger);
    row("a thousand have become due by their state", DUE);
    row("they are known", 0);
    let own = |number: u64| order(number).warn_after(Duration::ZERO);
    let own: Vec<_> = (orders..orders + DUE).map(own).collect();
    let own: Vec<_> =
        ledger.submit_many(&own).into_iter().map(|answer| done(answer).receipt.order).collect();
    wait_for_views(&ledger);
    row("a thousand have become due by their own", DUE);
    row("they are known", 0);
    row("and again", 0);
    let ends = by_state.iter().chain(&own);
    let ends: Vec<_> = ends.map(|order| Transition::new(*order, State::Completed)).collect();
    for answer in ledger.transition_many(&ends) {
        done(answer);
    }
    wait_for_views(&ledger);
    row("all of them have gone on", 0);
    row("none is due", 0);
    let mut out = io::stdout().lock();
    let (filled, fed) = (filled.as_secs_f64(), fed.as_secs_f64());
    done(writeln!(
        out,
        "\nfilled in {filled:.1} s, the views in {fed:.1} s\n\n{}",
        table.join("\n")
    ));
    done(ledger.close());
}

/// The order of this number.
fn order(number: u64) -> Submission {
    Submission::new("bench", format!("key-{number}"), "tea")
}

/// So many open orders; answers the first thousand of those that are watched by their state.
fn fill(ledger: &Ledger, orders: u64) -> Vec<OrderId> {
    let mut by_state = Vec::new();
    for begin in (0..orders).step_by(done(usize::try_from(BATCH))) {
        let batch = (begin..orders.min(begin + BATCH)).map(|number| match number % 2 {
            0 => order(number),
            _ => order(number).warn_after(MONTH),
        });
        let answers = ledger.submit_many(&batch.collect::<Vec<_>>());
        let taken = answers.into_iter().map(|answer| done(answer).receipt.order);
        let room = DUE.saturating_sub(by_state.len() as u64);
        by_state.extend(taken.step_by(2).take(done(usize::try_from(room))));
    }
    by_state
}
