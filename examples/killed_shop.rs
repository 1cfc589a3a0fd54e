//! A shop that is killed again and again while two payment services, one of them flaky, and a carrier are told about
//! its orders: `cargo run --release --example killed_shop [ORDERS] [MILLISECONDS BETWEEN KILLS]`
//!
//! The orders are those of TPC-H, 10,000 unless it is said otherwise, and the shop gets a kill -9 each second. Each is
//! paid, shipped and completed. The services live in this process and survive; they count what they did, by token and by
//! order. In the end:
//!
//! - every order is completed, or on a list that a person can act on;
//! - no order was charged twice, by the same service or by both, and none that is completed was charged never;
//! - a reconciliation finds each difference that was planted into the list of the flaky service, and no other.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use order_ledger::{
    BreakerPolicy, Call, Compared, Dispatch, DispatchQuery, EventBody, Found, Ledger, LinkedBatch,
    Outbox, Provider, Reconcile, RetryPolicy, Route, Sent, State, Submission, TheirItem, Timestamp,
    Transition,
};
use tpchgen::generators::OrderGenerator;

type Tried<T> = Result<T, Box<dyn Error>>;

const ORDERS: usize = 10_000;
const KILL_EVERY_MS: u64 = 1_000;
/// A caller waits no longer for an answer.
const PATIENCE: Duration = Duration::from_millis(40);
/// Orders that are taken before the next look at anything else.
const BATCH: usize = 200;

fn main() -> Tried<()> {
    let mut args = std::env::args().skip(1);
    let first = args.next();
    if first.as_deref() == Some("shop") {
        let (dir, address) = (args.next().ok_or("a directory")?, args.next().ok_or("an address")?);
        return shop(Path::new(&dir), &address, args.next().ok_or("a number")?.parse()?);
    }
    let orders = first.map_or(Ok(ORDERS), |number| number.parse())?;
    let every_ms = args.next().map_or(Ok(KILL_EVERY_MS), |number| number.parse())?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("orders.ledger");
    let services = Services::start()?;
    let began = Instant::now();
    let kills = keep_shop_open(&path, &services, orders, Duration::from_millis(every_ms))?;
    report(&format!("{orders} orders, {kills} kills, {:.1?}", began.elapsed()));
    check(&path, &services, orders)
}

/// Runs the shop until it has nothing left to do, and kills it meanwhile.
fn keep_shop_open(path: &Path, services: &Services, orders: usize, every: Duration) -> Tried<u64> {
    let mut kills = 0;
    loop {
        let mut shop = Command::new(std::env::current_exe()?)
            .arg("shop")
            .arg(path)
            .args([&services.address, &orders.to_string()])
            .spawn()?;
        let opened = Instant::now();
        loop {
            if let Some(status) = shop.try_wait()? {
                return if status.success() {
                    Ok(kills)
                } else {
                    Err("the shop has failed".into())
                };
            }
            if opened.elapsed() >= every {
                shop.kill()?;
                shop.wait()?;
                kills += 1;
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

// The shop.

fn shop(path: &Path, address: &str, orders: usize) -> Tried<()> {
    let ledger = Ledger::open(path)?;
    let patient = RetryPolicy {
        base: Duration::from_millis(5),
        cap: Duration::from_millis(50),
        attempts_max: 20,
        age_max: Duration::from_secs(3600),
    };
    let party = |name| Remote { name, address: address.to_owned() };
    let settle = 2 * PATIENCE;
    let _outbox = Outbox::builder()
        .provider(party("flaky-pay"))
        .provider(party("steady-pay"))
        .provider(party("carrier"))
        .route(
            Route::new("payment", "flaky-pay").fallback("steady-pay").retry(patient).settle(settle),
        )
        .route(Route::new("shipping", "carrier").retry(patient).settle(settle))
        .breaker(BreakerPolicy { failures_max: 5, open_for: Duration::from_millis(100) })
        .workers(16)
        .start(&ledger)?;
    let mut desk = ledger.consumer("desk")?;
    let mut taken = first_free(&ledger, orders)?;
    loop {
        for row in OrderGenerator::new(1.0, 1, 1).iter().take(orders).skip(taken).take(BATCH) {
            let order = Submission::new("tpch", format!("order-{taken}"), row.to_string());
            let batch = LinkedBatch::of_order(order);
            ledger.linked(&batch.dispatch(Dispatch::of_member(
                0,
                "payment",
                row.o_totalprice.to_string(),
            )))?;
            taken += 1;
        }
        let is_all_read = go_on(&ledger, &mut desk)?;
        let waits = !ledger.open_dispatches(&DispatchQuery::all().limit(1))?.dispatches.is_empty();
        if taken == orders && is_all_read && !waits && desk.lag() == 0 {
            return Ok(());
        }
    }
}

/// How many orders were taken: in their order, so that the first key that is free tells.
fn first_free(ledger: &Ledger, orders: usize) -> Tried<usize> {
    let (mut from, mut to) = (0, orders);
    while from < to {
        let middle = usize::midpoint(from, to);
        match ledger.by_key("tpch", format!("order-{middle}"))? {
            Some(_) => from = middle + 1,
            None => to = middle,
        }
    }
    Ok(from)
}

/// Has orders take the step that follows from what happened, with the cursor in the same write. Answers whether there
/// was nothing more.
fn go_on(ledger: &Ledger, desk: &mut order_ledger::Consumer) -> Tried<bool> {
    let events = desk.poll(500, Duration::from_millis(1))?;
    let last = events.last().map(|event| event.seq);
    for event in events {
        let EventBody::Reported { dispatch, report: Sent::Done { .. }, .. } = event.body else {
            continue;
        };
        let told = ledger.dispatches(event.order)?;
        let told = told.iter().find(|it| it.dispatch == dispatch).ok_or("a dispatch")?;
        let step = |to| Transition::new(event.order, to).command_key(told.route.as_bytes());
        let batch = LinkedBatch::new(format!("desk/{}", event.seq));
        let batch = match &*told.route {
            "payment" => batch.transition(step(State::Confirmed)).dispatch(
                Dispatch::new(event.order, "shipping", told.body.clone()).command_key("ship"),
            ),
            _ => batch.transition(step(State::Completed)),
        };
        desk.commit_with(event.seq, batch)?;
    }
    match last {
        Some(seq) => desk.commit(seq)?,
        None => return Ok(true),
    }
    Ok(false)
}

/// A service that is asked over the network, a connection for each question.
struct Remote {
    name: &'static str,
    address: String,
}

impl Remote {
    /// The answer; `Err(false)`: surely nothing was sent.
    fn ask(&self, what: &str, call: &Call) -> Result<String, bool> {
        let mut stream = TcpStream::connect(&self.address).map_err(|_| false)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|_| false)?;
        let body = String::from_utf8_lossy(&call.body);
        let request =
            format!("{what} {} {} {} {body}\n", self.name, call.token, call.order.as_u64());
        stream.write_all(request.as_bytes()).map_err(|_| true)?;
        let mut line = String::new();
        match BufReader::new(stream).read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => Ok(line.trim_end().to_owned()),
            _ => Err(true),
        }
    }
}

impl Provider for Remote {
    fn name(&self) -> &str {
        self.name
    }

    fn send(&self, call: &Call) -> Sent {
        match self.ask("do", call).as_deref().map(|line| line.split_once(' ').unwrap_or((line, "")))
        {
            Ok(("done", reference)) => Sent::Done { reference: reference.as_bytes().to_vec() },
            Ok(("refused", why)) => Sent::Refused { code: 1, why: why.to_owned() },
            Ok(("busy", _)) | Err(false) => Sent::NotSent { why: "busy, or not there".to_owned() },
            _ => Sent::Unknown { why: "no answer".to_owned() },
        }
    }

    fn lookup(&self, call: &Call) -> Option<Found> {
        match self.ask("find", call).ok()?.split_once(' ')? {
            ("done", reference) => Some(Found::Done { reference: reference.as_bytes().to_vec() }),
            ("absent", _) => Some(Found::Absent),
            _ => None,
        }
    }
}

// The services.

/// What a service did for one token.
#[derive(Clone, Debug)]
struct Effect {
    order: u64,
    reference: String,
    amount: String,
    /// How often it was told about it.
    told: u32,
}

/// What each service did, by token.
type Books = BTreeMap<String, HashMap<String, Effect>>;

struct Services {
    address: String,
    books: Arc<Mutex<Books>>,
}

impl Services {
    fn start() -> Tried<Services> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let books = Arc::new(Mutex::new(Books::new()));
        let kept = Arc::clone(&books);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let books = Arc::clone(&kept);
                std::thread::spawn(move || answer(stream, &books, number as u64));
            }
        });
        Ok(Services { address, books })
    }

    fn books(&self) -> Books {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers one question. `number` is what chance is made of.
fn answer(mut stream: TcpStream, books: &Mutex<Books>, number: u64) -> Option<()> {
    let mut line = String::new();
    BufReader::new(stream.try_clone().ok()?).read_line(&mut line).ok()?;
    let mut words = line.trim_end().splitn(5, ' ');
    let (what, name, token) = (words.next()?, words.next()?, words.next()?);
    let (order, amount) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    // Splitmix64, so that one number says nothing about the next.
    let mut dice = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    dice = (dice ^ (dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let percent = (dice ^ (dice >> 27)) % 100;
    let known = || {
        let books = books.lock().unwrap_or_else(PoisonError::into_inner);
        books.get(name).and_then(|book| book.get(token)).map(|effect| effect.reference.clone())
    };
    if what == "find" {
        let said =
            known().map_or_else(|| "absent -".to_owned(), |reference| format!("done {reference}"));
        return writeln!(stream, "{said}").ok();
    }
    // How the flaky one fails: busy; slow, and never does it; and of every fifth it does, the answer is lost.
    let (busy, slow, lost) = match name {
        "flaky-pay" => (10, 20, 40),
        _ => (2, 2, 2),
    };
    match percent {
        _ if percent < busy => return writeln!(stream, "busy").ok(),
        _ if percent < slow => {
            std::thread::sleep(2 * PATIENCE);
            return None;
        }
        // By the order, so that whoever asks again hears the same.
        _ if name != "carrier" && order % 50 == 7 && known().is_none() => {
            return writeln!(stream, "refused by {name}").ok();
        }
        _ => {}
    }
    let reference = {
        let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
        let book = books.entry(name.to_owned()).or_default();
        let next = book.len();
        let effect = book.entry(token.to_owned()).or_insert_with(|| Effect {
            order,
            reference: format!("{name}-{next}"),
            amount,
            told: 0,
        });
        effect.told += 1;
        effect.reference.clone()
    };
    if percent < lost {
        return None;
    }
    writeln!(stream, "done {reference}").ok()
}

// The end.

fn check(path: &Path, services: &Services, orders: usize) -> Tried<()> {
    let ledger = Ledger::open(path)?;
    let books = services.books();
    let mut charged: HashMap<u64, u32> = HashMap::new();
    let (mut told, mut effects) = (0, 0);
    for name in ["flaky-pay", "steady-pay"] {
        for effect in books.get(name).into_iter().flat_map(HashMap::values) {
            *charged.entry(effect.order).or_default() += 1;
            (told, effects) = (told + effect.told, effects + 1);
        }
    }
    let mut for_a_person = std::collections::HashSet::new();
    let mut query = DispatchQuery::all().limit(1000);
    loop {
        let page = ledger.dead_letters(&query)?;
        for_a_person.extend(page.dispatches.iter().map(|it| it.order.as_u64()));
        let Some(next) = page.next else { break };
        query = query.after(next);
    }
    let (mut seen, mut completed) = (0, 0);
    for order in ledger.orders() {
        let order = order?;
        let id = order.id().as_u64();
        let times = charged.get(&id).copied().unwrap_or(0);
        assert!(times <= 1, "order {id} was charged {times} times");
        seen += 1;
        if order.now.state == State::Completed {
            completed += 1;
            assert_eq!(times, 1, "order {id} is completed and was not charged");
        } else {
            assert!(for_a_person.contains(&id), "order {id} is {:?} and on no list", order.now);
        }
    }
    assert_eq!(seen, orders);
    report(&format!(
        "{completed} completed, each charged once; {} for a person",
        for_a_person.len()
    ));
    report(&format!("{effects} charges; the services were told {told} times of what they did"));
    reconcile(&ledger, &books)?;
    ledger.close()?;
    Ok(())
}

/// Plants differences into the list of the flaky service, and looks for them.
fn reconcile(ledger: &Ledger, books: &Books) -> Tried<()> {
    let mut theirs: Vec<TheirItem> = books
        .get("flaky-pay")
        .into_iter()
        .flatten()
        .map(|(token, effect)| TheirItem {
            token: token.clone(),
            reference: effect.reference.clone().into_bytes(),
            fields: BTreeMap::from([("amount".to_owned(), effect.amount.clone())]),
        })
        .collect();
    theirs.sort_by(|one, other| one.token.cmp(&other.token));
    let period = Reconcile::new(
        "payment",
        "flaky-pay",
        Timestamp::from_unix_ns(0),
        Timestamp::from_unix_ns(u64::MAX),
    );
    let period = period.our_fields(|ours| {
        BTreeMap::from([("amount".to_owned(), String::from_utf8_lossy(&ours.body).into_owned())])
    });
    let clean = ledger.reconcile(&period, &theirs)?;
    assert!(
        clean.is_clean(),
        "{:?}",
        clean.items.iter().find(|it| it.compared != Compared::Matched)
    );
    // Three that they forgot, two that we never heard of, four of which the amount is another.
    let planted = (3.min(theirs.len() / 4), 2, 4.min(theirs.len() / 4));
    theirs.drain(..planted.0);
    for item in theirs.iter_mut().take(planted.2) {
        item.fields.insert("amount".to_owned(), "0.01".to_owned());
    }
    for number in 0..planted.1 {
        theirs
            .push(TheirItem { token: format!("never-heard-of-{number}"), ..TheirItem::default() });
    }
    for _ in 0..2 {
        let found = ledger.reconcile(&period, &theirs)?;
        let counts =
            [Compared::OnlyOurs, Compared::OnlyTheirs, Compared::Differs].map(|it| found.count(it));
        assert_eq!(counts, [planted.0, planted.1, planted.2], "planted, and found");
        assert_eq!(found.count(Compared::Matched), theirs.len() - planted.1 - planted.2);
    }
    let (gone, extra, other) = planted;
    report(&format!(
        "reconciled: {gone} only ours, {extra} only theirs, {other} that differ, as planted"
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn report(line: &str) {
    println!("{line}");
}
