//! What needs somebody, on the first page of `serve`: alerts, orders that stand still, third parties.
//!
//! The story: the page showed how many orders there were, and it was green. The one order that had stood still since
//! Friday was among them, and the payment service that did not answer was on no page at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use order_ledger::{
    Call, Dispatch, Ledger, Lifecycle, LinkedBatch, Options, Outbox, Provider, RetryPolicy, Route,
    Sent, State, StuckQuery, Submission, Transition, WatchOptions,
};

use super::run::Place;
use super::serve::{HOSTILE, start};

/// Does not answer, with words that somebody else has written; or does.
struct Pay(Arc<AtomicBool>);

impl Provider for Pay {
    fn name(&self) -> &str {
        "acme<b>pay"
    }

    fn send(&self, _: &Call) -> Sent {
        match self.0.load(Ordering::Relaxed) {
            true => Sent::Done { reference: HOSTILE.into() },
            false => Sent::NotSent { why: HOSTILE.into() },
        }
    }

    fn retry_unknown_with_same_token(&self) -> bool {
        true
    }
}

/// Orders are stuck as soon as they are accepted, and need somebody after an hour.
fn open(place: &Place) -> Ledger {
    let (at_once, hour) = (Some(Duration::ZERO), Some(Duration::from_secs(3600)));
    let lifecycle = Lifecycle::default().with_thresholds(State::Accepted, at_once, hour);
    let watch = WatchOptions::new().look_every(Duration::from_millis(20)).disk_warn_bytes(0);
    let options = Options::new().segment_bytes(1 << 20).lifecycle(lifecycle).watch(watch);
    options.open(place.ledger()).unwrap()
}

/// Waits for something that threads are to do.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn what_needs_somebody_is_on_the_first_page_and_gone_when_it_is_over() {
    let place = Place::new();
    let ledger = open(&place);
    let submit = |n: u64| {
        let order = Submission::new("web", format!("k{n}"), HOSTILE);
        ledger.submit(&order).unwrap().receipt.order
    };
    let orders: Vec<_> = (0..25).map(submit).collect();
    // What an order says itself counts for it: this one may wait, and needs nobody.
    let patient = Submission::new("web", "patient", HOSTILE).warn_after(Duration::from_secs(3600));
    ledger.submit(&patient).unwrap();
    let alerts = || ledger.alerts(&order_ledger::AlertQuery::open()).unwrap().alerts;
    until("raised", || alerts().len() == 25);
    let known = alerts()[24].clone();
    ledger.acknowledge_alert(known.id, &HOSTILE[..60], HOSTILE).unwrap();
    let server = start(&place, &[]);
    let page = server.get("/").body;
    for part in [
        "Alerts that are open: 25",
        "and 5 more: <code>order-ledger alerts --open</code>",
        "Orders that stand still for too long: 25",
        "and 5 more: <code>order-ledger stuck</code>",
        "<span class=\"warn\">nobody</span>",
        "only the process that writes knows",
        "<span class=\"warn\">alerts</span>",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(!page.contains("Third parties"), "there are none: {page}");
    // Those that nobody knows of come first, and there are more of them than fit.
    assert!(!page.contains("&lt;script&gt;"), "{page}");
    // The list is the one of `stuck`, and leads to the orders.
    let (_, listed) = page.split_once("stand still for too long").unwrap();
    let (listed, _) = listed.split_once("</table>").unwrap();
    for it in ledger.stuck(&StuckQuery::all().limit(20)).unwrap().orders {
        let link = format!("<a href=\"/order/{0}\">{0}</a>", it.order);
        assert!(listed.contains(&link), "{} is missing in {listed}", it.order);
    }
    let health = server.get("/health");
    assert_eq!(health.status, 200, "worth a look, and no more: {}", health.body);
    assert!(
        server.get("/metrics").body.contains("\norder_ledger_alerts_open{level=\"warn\"} 25\n")
    );
    // All but the acknowledged one and two more go on.
    for order in &orders[2..24] {
        ledger.transition(&Transition::new(*order, State::Completed)).unwrap();
    }
    // And this one is stuck in a state that has no thresholds.
    let urgent = Submission::new("web", "urgent", "tea").critical_after(Duration::ZERO);
    let urgent = ledger.submit(&urgent).unwrap().receipt.order;
    ledger.transition(&Transition::new(urgent, State::InProgress)).unwrap();
    until("raised", || alerts().len() == 4);
    let page = server.get("/").body;
    let (_, listed) = page.split_once("stand still for too long: 4").unwrap();
    let (first, _) = listed.split_once("</tr><tr>").unwrap();
    let (_, first) = first.split_once("<tbody>").unwrap();
    assert!(first.contains(&format!("/order/{urgent}")) && first.contains("critical"), "{first}");
    ledger.transition(&Transition::new(urgent, State::Completed)).unwrap();
    let page = server.get("/").body;
    for part in ["Alerts that are open: 3", "Orders that stand still for too long: 3"] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(!page.contains(" more: <code>"), "{page}");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "who knows: {page}");
    ledger.close().unwrap();
}

#[test]
fn third_parties_are_on_the_first_page_as_the_log_tells_them() {
    let place = Place::new();
    let ledger = open(&place);
    for n in 0..8 {
        let order = Submission::new("web", format!("k{n}"), "tea");
        let pay = Dispatch::of_member(0, if n == 7 { "parcel" } else { "payment" }, "8.40");
        ledger.linked(&LinkedBatch::of_order(order).dispatch(pay)).unwrap();
    }
    let up = Arc::new(AtomicBool::new(false));
    let retry = RetryPolicy {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(5),
        ..RetryPolicy::default()
    };
    let breaker =
        order_ledger::BreakerPolicy { open_for: Duration::from_millis(50), ..Default::default() };
    let outbox = Outbox::builder()
        .provider(Pay(Arc::clone(&up)))
        .route(
            Route::new("payment", "acme<b>pay")
                .retry(RetryPolicy { attempts_max: 10_000, ..retry }),
        )
        .breaker(breaker)
        .start(&ledger)
        .unwrap();
    until("left alone", || outbox.stats().providers[0].breaker_opened > 0);
    until("all were told", || outbox.stats().by_state.get("waiting") == Some(&1));
    let server = start(&place, &[]);
    let page = server.get("/").body;
    for part in [
        "Third parties",
        "1 dispatches that nobody was told about yet, 0 given up",
        "acme&lt;b&gt;pay",
        "<td class=\"number\">7</td>",
        "<span class=\"critical\">for ",
        "not sent: &lt;script&gt;",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(!page.contains("<script") && !page.contains("<b>pay"), "{page}");
    up.store(true, Ordering::Relaxed);
    until("done", || outbox.stats().open == 1);
    let page = server.get("/").body;
    for part in ["<td class=\"number\">0</td>", "done, &lt;script&gt;", "1 x, "] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(!page.contains("<span class=\"critical\">for "), "{page}");
    assert!(server.get("/metrics").body.contains("\norder_ledger_outbox_dead 0\n"));
    outbox.stop().unwrap();
    ledger.close().unwrap();
}
