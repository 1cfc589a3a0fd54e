//! Looks at all of a ledger after an opening, with a reader before it, and at other content under a known key; holds
//! what is there against the book.

use std::collections::BTreeMap;

use order_ledger::disk::Host;
use order_ledger::{
    AlertQuery, ErrorKind, Field, Ledger, NoteQuery, Order, Result, Seq, Soundness, Submission,
    Timestamp, verify_on,
};

use super::super::batches::CONSUMER;
use super::super::beside::{self, Seen};
use super::super::known::Fate;
use super::super::plan::{Key, Patience};
use super::super::steps::Told;
use super::super::stuck::{self, with_patience};
use super::History;

impl History<'_> {
    /// Looks with a reader before anybody repairs anything.
    pub(super) fn look_beside(&mut self) {
        let has_ledger = self.disk.files().iter().any(|(path, _)| path == "LEDGER");
        if !has_ledger || self.disk.is_off() || self.armed {
            return;
        }
        // After a kill a reader makes the tail durable before it believes it; else no byte changes.
        let settled = self.disk.pending_units() == 0;
        let before = self.disk.digest("");
        match beside::read(&self.disk, &self.host) {
            Ok(seen) => {
                if settled {
                    assert_eq!(before, self.disk.digest(""), "a reader changed a byte");
                }
                let may_lose = self.may_lose || self.plan.setup.relaxed;
                self.book.check(&seen, may_lose, &mut self.figures);
                self.check_stuck(&seen);
            }
            Err(error) => panic!("reading refused after a crash: {error}"),
        }
        if !self.tore_oddly {
            self.verify("as the crash left it");
        }
    }

    /// Nothing that a crash may leave behind is damage.
    pub(super) fn verify(&mut self, when: &str) {
        let report = verify_on(self.disk.as_disk(), &self.host, &mut |_, _| {}).unwrap();
        let soundness = report.soundness();
        assert_eq!(soundness, Soundness::Sound, "{when}, verify found {:?}", report.findings);
        self.figures.verified += 1;
    }

    pub(super) fn check(&mut self, ledger: &Ledger) {
        let seen = self.seen(ledger);
        self.book.check(&seen, self.may_lose, &mut self.figures);
        self.may_lose = false;
        self.check_stuck(&seen);
        let (all, stats) = (&seen.orders, &seen.stats);
        assert_eq!(stats.orders, all.len() as u64);
        let mut states = BTreeMap::new();
        all.iter().for_each(|told| *states.entry(told.order.now.state).or_default() += 1);
        assert_eq!(stats.states, states.into_iter().collect::<Vec<_>>());
        let open = ledger.open_notes(&NoteQuery::open().limit(10_000)).unwrap();
        let open: Vec<u64> = open.notes.iter().map(|note| note.seq.0).collect();
        assert_eq!(open, self.book.open_notes(), "the list of open notes");
        self.check_posts(ledger, &seen);
        if self.plan.setup.watched {
            self.check_alerts(ledger, &seen);
        }
        let full = self.random.chance(1, 4);
        for known in &self.book.known {
            if !full && !self.random.chance(1, 8) {
                continue;
            }
            let (client, key) = (known.submission.client(), known.submission.key());
            let by_key = ledger.by_key(client, key).unwrap();
            let there = match &known.fate {
                Fate::Acknowledged(receipt) | Fate::Refused(receipt, _) => {
                    let there = ledger.get(receipt.order).unwrap();
                    assert!(there.is_some(), "get and orders disagree");
                    there
                }
                _ => None,
            };
            assert_eq!(by_key, there, "by_key and orders disagree");
        }
    }

    /// All of a ledger.
    pub(super) fn seen(&self, ledger: &Ledger) -> Seen {
        let told = |order: Result<Order>| {
            let order = order.unwrap();
            let history = ledger.history(order.id()).unwrap();
            Told { order, history }
        };
        // Each reads all of the log.
        let alerts = match self.plan.setup.watched {
            true => ledger.alert_events(Seq::FIRST).map(Result::unwrap).collect(),
            false => Vec::new(),
        };
        let stuck = self.plan.has_thresholds().then(|| {
            let wall = Timestamp::from_unix_ns(self.host.wall_ns());
            stuck::ask(wall, |query| ledger.stuck(query)).unwrap()
        });
        Seen {
            orders: ledger.orders().map(told).collect(),
            holds: ledger.holds().unwrap(),
            alerts,
            stuck,
            stats: ledger.stats().unwrap(),
            cursor: ledger.consumer_next(CONSUMER).unwrap(),
        }
    }

    /// Who is stuck is told by a plain reading as well.
    pub(super) fn check_stuck(&mut self, seen: &Seen) {
        let Some(stuck) = &seen.stuck else { return };
        let (by_state, own) = stuck.check(&seen.orders, &self.book.lifecycle);
        self.figures.stuck_by_state += by_state;
        self.figures.stuck_by_own += own;
    }

    fn check_alerts(&self, ledger: &Ledger, seen: &Seen) {
        let mut expected = self.book.alarms.now(&seen.orders);
        let all = ledger.alerts(&AlertQuery::all().limit(AlertQuery::LIMIT_MAX)).unwrap();
        assert_eq!(all.alerts, expected, "all alerts");
        expected.retain(order_ledger::Alert::is_open);
        let open = ledger.alerts(&AlertQuery::open().limit(AlertQuery::LIMIT_MAX)).unwrap();
        assert_eq!(open.alerts, expected, "the alerts that are open");
    }

    /// Other content under a known key.
    pub(super) fn conflict(&mut self, ledger: &Ledger, key: Key) {
        let known = &self.book.known[key];
        let (Fate::Acknowledged(receipt) | Fate::Refused(receipt, _)) = &known.fate else { return };
        let (receipt, submission, expires_in) = (*receipt, &known.submission, known.expires_in);
        if self.plan.has_patience() && key.is_multiple_of(2) {
            return self.conflict_of_thresholds(ledger, key);
        }
        let mut payload = submission.payload().to_vec();
        payload.push(b'!');
        let other = Submission::new(submission.client(), submission.key(), payload)
            .account(b"account 9".to_vec());
        let other = match expires_in {
            Some(duration) => other.expires_in(duration),
            None => other,
        };
        let other = with_patience(other, known.patience);
        match ledger.submit(&other).map_err(|error| error.kind().clone()) {
            Err(ErrorKind::Conflict { receipt: found, differs }) => {
                assert_eq!(found, receipt);
                assert_eq!(differs, [Field::Account, Field::Payload]);
            }
            Err(ErrorKind::Io { .. }) if self.is_troubled() => {}
            // Only a reader has seen it; the ledger's own sync has failed.
            Err(ErrorKind::InDoubt { .. }) if self.book.may_be_in_doubt(key) => {}
            other => panic!("{other:?}"),
        }
    }

    /// The same content but for after how long it is stuck.
    fn conflict_of_thresholds(&mut self, ledger: &Ledger, key: Key) {
        let known = &self.book.known[key];
        let Some(receipt) = self.book.receipt(key) else { return };
        let Patience { warn_ns, critical_ns } = known.patience;
        let other_ns = |ns: Option<u64>| Some(ns.map_or(7, |ns| ns / 2 + 1));
        let patience = match key % 4 {
            0 => Patience { warn_ns: other_ns(warn_ns), critical_ns },
            _ => Patience { warn_ns, critical_ns: other_ns(critical_ns) },
        };
        if patience == known.patience {
            return;
        }
        match ledger.submit(&with_patience(known.submission.clone(), patience)) {
            Err(error) => match error.kind() {
                ErrorKind::Conflict { receipt: found, differs } => {
                    assert_eq!((*found, &differs[..]), (receipt, &[Field::Thresholds][..]));
                    self.figures.thresholds_in_conflict += 1;
                }
                ErrorKind::Io { .. } if self.is_troubled() => {}
                ErrorKind::InDoubt { .. } if self.book.may_be_in_doubt(key) => {}
                other => panic!("{other:?}"),
            },
            Ok(outcome) => panic!("taken with other thresholds: {outcome:?}"),
        }
    }
}
