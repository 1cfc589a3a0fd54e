//! What is done is told to programs that collect spans: how long it took and what came of it, and nothing that a caller
//! keeps here.
//!
//! The story: the slow order was found in the traces, and with it, in every field, what the customer had ordered. Both
//! went to the company that keeps the traces.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use order_ledger::{
    Call, Dispatch, LinkedBatch, Outbox, Provider, Ran, Route, Sent, State, Submission, Transition,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::support::{Machine, order};

/// A span as it was told.
#[derive(Clone, Debug)]
struct Told {
    name: &'static str,
    level: Level,
    /// Every field that it may have.
    names: BTreeSet<&'static str>,
    said: BTreeMap<&'static str, String>,
    /// The span that it lies in.
    inside: Option<&'static str>,
    ended: bool,
}

/// Keeps every span of ours.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    spans: Vec<Told>,
    entered: Vec<u64>,
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Kept {
    /// Ids begin at 1.
    fn of(&mut self, id: &Id) -> &mut Told {
        &mut self.spans[usize::try_from(id.into_u64()).unwrap() - 1]
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "order_ledger"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut kept = self.0.lock().unwrap();
        let metadata = span.metadata();
        let inside = kept.entered.last().copied();
        let inside = inside.map(|id| kept.of(&Id::from_u64(id)).name);
        let mut said = BTreeMap::new();
        span.record(&mut Fields(&mut said));
        let names = metadata.fields().iter().map(|field| field.name()).collect();
        let (name, level) = (metadata.name(), *metadata.level());
        kept.spans.push(Told { name, level, names, said, inside, ended: false });
        Id::from_u64(kept.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.0.lock().unwrap().of(id).said));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().entered.push(id.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().entered.pop();
    }

    fn try_close(&self, id: Id) -> bool {
        self.0.lock().unwrap().of(&id).ended = true;
        true
    }
}

/// Does this with somebody who collects, and answers what was told.
fn told(work: impl FnOnce()) -> Vec<Told> {
    let collector = Collector::default();
    // Where there is one collector, `tracing` asks that of the thread which comes to a span first, and remembers the
    // answer for all: another test may come first, and has none. Of two it asks both.
    let other = tracing::Dispatch::new(Collector::default());
    tracing::subscriber::with_default(collector.clone(), work);
    drop(other);
    let kept = collector.0.lock().unwrap();
    assert!(kept.entered.is_empty() && kept.spans.iter().all(|it| it.ended), "{:?}", kept.spans);
    kept.spans.clone()
}

struct Pay;

impl Provider for Pay {
    fn name(&self) -> &'static str {
        "pay"
    }

    fn send(&self, call: &Call) -> Sent {
        match call.attempt {
            1 => Sent::Unknown { why: "SECRET".into() },
            _ => Sent::Done { reference: b"SECRET".to_vec() },
        }
    }

    fn retry_unknown_with_same_token(&self) -> bool {
        true
    }
}

/// One of everything, in the order in which it is done.
fn everything() -> Vec<Told> {
    let machine = Machine::new(1);
    told(|| {
        let ledger = machine.open();
        let secret =
            Submission::new("web", "SECRET", "SECRET").account("SECRET").external_ref("SECRET");
        let id = ledger.submit(&secret).unwrap().receipt.order;
        ledger.submit(&secret).unwrap();
        ledger.submit(&Submission::new("web", "SECRET", "other")).unwrap_err();
        assert!(ledger.submit_many(&[order(1), order(2)]).iter().all(Result::is_ok));
        let step = Transition::new(id, State::Confirmed).evidence("signature", "SECRET");
        ledger.transition(&step.reason("SECRET").command_key("SECRET")).unwrap();
        ledger.transition(&Transition::new(id, State::Accepted)).unwrap_err();
        let steps = ledger.transition_many(&[Transition::new(id, State::Completed)]);
        assert!(steps[0].is_ok());
        let batch = LinkedBatch::of_order(order(3));
        ledger.linked(&batch.dispatch(Dispatch::of_member(0, "payment", "SECRET"))).unwrap();
        let outbox = Outbox::builder()
            .provider(Pay)
            .route(Route::new("payment", "pay"))
            .step_by_step(&ledger);
        let outbox = outbox.unwrap();
        while outbox.stats().open > 0 {
            if let Ran::Idle { next: Some(next) } = outbox.run_once().unwrap() {
                machine.host.advance(next);
            }
        }
        drop(outbox);
        ledger.close().unwrap();
    })
}

#[test]
fn every_call_group_and_attempt_is_a_span_with_what_came_of_it() {
    let spans = everything();
    let rows = |name: &str, field: &str| -> Vec<String> {
        let of = spans.iter().filter(|it| it.name == name);
        of.map(|it| it.said.get(field).cloned().unwrap_or_else(|| "-".into())).collect()
    };
    assert_eq!(rows("open", "outcome"), ["open"]);
    assert_eq!(rows("submit", "outcome"), ["fresh", "replayed", "conflict"]);
    assert_eq!(rows("submit", "client"), ["web"; 3]);
    // The first record is the lifecycle's or the order's: whichever, both calls say the same.
    let seqs = rows("submit", "seq");
    assert!(seqs[0] == seqs[1] && seqs[0] != "-" && seqs[2] == "-", "{seqs:?}");
    assert_eq!(
        (rows("submit_many", "orders"), rows("submit_many", "taken")),
        (vec!["2".into()], vec!["2".into()])
    );
    assert_eq!(rows("transition", "to"), ["confirmed", "accepted"]);
    assert_eq!(rows("transition", "outcome"), ["fresh", "refused"]);
    assert_eq!(rows("transition", "order"), [&seqs[0][..]; 2]);
    assert_eq!(rows("transition_many", "taken"), ["1"]);
    assert_eq!(rows("attempt", "outcome"), ["unknown", "done"]);
    assert_eq!(
        (rows("attempt", "attempt"), rows("attempt", "provider")),
        (vec!["1".into(), "2".into()], vec!["pay".into(); 2])
    );
    assert_eq!(rows("attempt", "route"), ["payment"; 2]);
    // Groups lie in the calls that had them written, one after the other without a gap.
    let groups: Vec<_> = spans.iter().filter(|it| it.name == "group").collect();
    let inside: Vec<_> = groups.iter().filter_map(|it| it.inside).collect();
    for call in ["submit", "submit_many", "transition", "transition_many", "attempt"] {
        assert!(inside.contains(&call), "{inside:?}");
    }
    let number = |told: &Told, field: &str| told.said[field].parse::<u64>().unwrap();
    for pair in groups.windows(2) {
        let next = number(pair[0], "first_seq") + number(pair[0], "records");
        assert_eq!(number(pair[1], "first_seq"), next);
        assert!(number(pair[0], "bytes") > 0 && pair[0].said.contains_key("sync_us"));
    }
}

/// Effect to prevent: what customers order is in the traces.
#[test]
fn no_field_says_what_a_caller_keeps_here() {
    let said = format!("{:?}", everything());
    assert!(said.contains("payment") && !said.contains("SECRET"), "{said}");
}

/// Every span and every field stands in the guide, and nothing else does.
#[test]
fn the_guide_lists_every_span_with_its_fields() {
    let guide = include_str!("../../src/guide/metrics.rs");
    let (_, spans) = guide.split_once("## Spans").unwrap();
    let (spans, _) = spans.split_once("## What can be wrong").unwrap();
    let quoted = |cell: &str| -> BTreeSet<String> {
        // What is in brackets are values.
        let names =
            cell.split('(').next().unwrap().to_owned() + cell.split_once(')').map_or("", |it| it.1);
        names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let rows = spans.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let listed: BTreeSet<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.split(" | ").collect();
            (cells[0].trim_matches('`').to_owned(), cells[1].to_owned(), quoted(cells[2]))
        })
        .collect();
    let there: BTreeSet<_> = everything()
        .iter()
        .map(|it| {
            let fields = it.names.iter().map(|name| (*name).to_owned()).collect();
            (it.name.to_owned(), it.level.as_str().to_lowercase(), fields)
        })
        .collect();
    assert_eq!(there, listed);
}
