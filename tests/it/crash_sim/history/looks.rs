//! Looks at everything that is watched, acknowledges alerts, and holds what came of it against the book.

use order_ledger::disk::Host;
use order_ledger::{AlertChange, AlertEvent, Ledger, Seq, Timestamp};

use super::super::alarms::{Asked, Sort};
use super::super::steps::Told;
use super::super::stuck::stays;
use super::History;

impl History<'_> {
    /// What was told of alerts since somebody asked last.
    fn take_alerts(&self) -> Vec<AlertEvent> {
        std::mem::take(&mut *self.alerts.lock().unwrap())
    }

    /// Everything that is watched is looked at once.
    pub(super) fn look(&mut self, ledger: &Ledger) {
        if !self.plan.setup.watched {
            return;
        }
        self.listen();
        let lost = ledger.poisoned().is_some();
        self.book.alarms.asks(Asked::Look);
        let begun = Timestamp::from_unix_ns(self.host.wall_ns()).max(self.book.latest_at());
        let pass = ledger.watch_once();
        // What was seen beside was seen before this answer.
        self.listen();
        let trouble = self.trouble(ledger);
        let events = self.take_alerts();
        self.count_alerts(&events);
        let in_doubt = trouble.poisoned && !lost;
        self.book.alarms.looked(pass, events, in_doubt, trouble);
        if in_doubt {
            self.book.others_failed();
        }
        self.figures.looks += 1;
        self.figures.looks_failed += u64::from(pass.failed > 0);
        self.settle(ledger, Vec::new());
        if pass.failed == 0 && !self.armed && !trouble.poisoned && self.random.chance(1, 2) {
            let seen = self.seen(ledger);
            self.book.alarms.listed(&seen.alerts);
            self.book.alarms.complete(&seen.orders, &self.book.lifecycle, begun);
        }
    }

    fn count_alerts(&mut self, events: &[AlertEvent]) {
        for event in events {
            let figures = &mut self.figures;
            *match event.change {
                AlertChange::Raised => &mut figures.alerts_raised,
                AlertChange::Escalated => &mut figures.alerts_escalated,
                AlertChange::Reminded => &mut figures.alerts_reminded,
                AlertChange::Cleared => &mut figures.alerts_cleared,
                _ => continue,
            } += 1;
        }
    }

    /// Somebody knows of the alert of this number.
    pub(super) fn acknowledge(&mut self, ledger: &Ledger, number: usize) {
        if self.plan.setup.watched {
            self.knows(ledger, self.book.alarms.pick(number));
        }
    }

    fn knows(&mut self, ledger: &Ledger, id: Seq) {
        self.listen();
        let lost = ledger.poisoned().is_some();
        // Looking costs calls of the disk, of which one may be to fail.
        let stays = (!self.armed && !lost).then(|| {
            let alert = ledger.alert(id).unwrap()?;
            let order = ledger.get(alert.subject.order()?).unwrap()?;
            let history = ledger.history(order.id()).unwrap();
            Some(stays(&Told { order, history }))
        });
        let stays = stays.map(Option::unwrap_or_default);
        let by = format!("person {}", self.figures.steps);
        self.book.alarms.asks(Asked::Knows(id, by.clone()));
        let answer =
            ledger.acknowledge_alert(id, by, vec![b'n'; usize::try_from(id.0 % 90).unwrap()]);
        self.listen();
        let trouble = self.trouble(ledger);
        let events = self.take_alerts();
        let sort = self.book.alarms.acknowledged(answer, events, stays.as_deref(), lost, trouble);
        match sort {
            Sort::Fresh => self.figures.alerts_acknowledged += 1,
            Sort::Again => self.figures.alerts_known_before += 1,
            Sort::Refused => self.figures.alerts_not_open += 1,
            Sort::InDoubt => {
                self.know_again.push(id);
                self.book.others_failed();
            }
            Sort::Failed => {}
        }
        self.settle(ledger, Vec::new());
    }

    /// Whoever was told that it is in doubt says again that he knows.
    pub(super) fn know_again(&mut self, ledger: &Ledger) {
        for id in std::mem::take(&mut self.know_again) {
            self.knows(ledger, id);
        }
    }
}
