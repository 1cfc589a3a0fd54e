//! Pages of orders (SEMANTICS rule 24): the same answers whatever becomes of the views.

use order_ledger::{ErrorKind, Ledger, Options, Order, Query, State, Timestamp, Views};

use crate::support::{Machine, order};

/// All orders of a query, page by page.
fn all(ledger: &Ledger, query: &Query) -> Vec<Order> {
    let mut query = query.clone();
    let mut orders = Vec::new();
    loop {
        let page = ledger.page(&query).unwrap();
        orders.extend(page.orders);
        match page.next {
            // A token survives a command line.
            Some(next) => query = query.after(next.to_string().parse().unwrap()),
            None => return orders,
        }
    }
}

fn check(ledger: &Ledger, count: u64) {
    let every: Vec<Order> = ledger.orders().map(Result::unwrap).collect();
    assert_eq!(every.len() as u64, count);
    assert_eq!(all(ledger, &Query::all().limit(7)), every);
    for account in 0..7 {
        let account = format!("account-{account}").into_bytes();
        let expected: Vec<_> = every.iter().filter(|it| it.account == account).cloned().collect();
        assert_eq!(all(ledger, &Query::all().account(account).limit(3)), expected);
    }
    let by_ref = all(ledger, &Query::all().external_ref("PO-5"));
    assert_eq!(by_ref.len(), 1);
    assert_eq!(by_ref[0].key, b"key-5");
    assert_eq!(all(ledger, &Query::all().state(State::Accepted)), every);
    assert!(all(ledger, &Query::all().state(State::Completed)).is_empty());
    let middle = every[every.len() / 2].receipt.accepted_at;
    let later = Timestamp::from_unix_ns(middle.as_unix_ns() + 1);
    let (before, since) = (Query::all().until(middle), Query::all().since(middle));
    assert_eq!(all(ledger, &since), every[every.len() / 2..]);
    assert_eq!(all(ledger, &before), every[..every.len() / 2]);
    assert_eq!(all(ledger, &since.until(later)).len(), 1);
}

#[test]
fn rule_24_pages_are_right_in_the_simulator() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    for n in 1..=200 {
        ledger.submit(&order(n)).unwrap();
    }
    check(&ledger, 200);
    // A page that was begun goes on where it was, though more was written meanwhile.
    let first = ledger.page(&Query::all().limit(150)).unwrap();
    ledger.submit(&order(201)).unwrap();
    let rest = ledger.page(&Query::all().after(first.next.unwrap())).unwrap();
    assert_eq!((rest.orders.len(), rest.next), (51, None));
}

#[test]
fn rule_24_pages_are_right_with_sled_without_it_and_with_garbage_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let options = Options::new().segment_bytes(1 << 20);
    let ledger = options.open(&path).unwrap();
    for batch in (1..=300).map(order).collect::<Vec<_>>().chunks(100) {
        assert!(ledger.submit_many(batch).iter().all(Result::is_ok));
        check(&ledger, ledger.stats().unwrap().orders);
    }
    ledger.close().unwrap();

    let ledger = options.clone().views(Views::Off).open(&path).unwrap();
    check(&ledger, 300);
    ledger.close().unwrap();

    let ledger = options.open(&path).unwrap();
    check(&ledger, 300);
    ledger.close().unwrap();

    // Every file of the views becomes garbage.
    let mut spoiled = 0;
    let mut dirs = vec![path.join("derived")];
    while let Some(dir) = dirs.pop() {
        for entry in dir.read_dir().unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else {
                let mut file = std::fs::File::create(entry.path()).unwrap();
                std::io::Write::write_all(&mut file, &[0xa5; 3000]).unwrap();
                spoiled += 1;
            }
        }
    }
    assert!(spoiled >= 3, "the views had {spoiled} files");
    let ledger = options.open(&path).unwrap();
    check(&ledger, 300);
    ledger.submit(&order(301)).unwrap();
    check(&ledger, 301);
    ledger.close().unwrap();

    std::fs::remove_dir_all(path.join("derived")).unwrap();
    let ledger = options.open(&path).unwrap();
    check(&ledger, 301);
}

#[test]
fn a_limit_out_of_bounds_is_a_bad_query() {
    let ledger = Machine::new(2).open();
    for limit in [0, Query::LIMIT_MAX + 1] {
        let error = ledger.page(&Query::all().limit(limit)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadQuery { .. }), "{error}");
    }
}
