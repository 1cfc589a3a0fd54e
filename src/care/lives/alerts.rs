//! The lives of alerts: each is raised about what is so, and nothing happens to it when it is over.
//!
//! Always true: what is remembered of an alert is what [`Lives`] remembers of a seq: whether it is over, and the last
//! eight bits of its order.

use super::{CLEARED_ALERT, Lives, OPEN_ALERT, last_bits};
use crate::order::{AlertChange, Seq, State};

impl Lives {
    /// Judges what happened to an alert, and remembers whether it is over; what is wrong with it, in words. That an
    /// order has left the state which it was stuck in can't be told when it is over: it may be in it again.
    pub(super) fn alarm(
        &mut self,
        seq: Seq,
        id: Option<Seq>,
        (order, stuck_in): (Option<Seq>, Option<State>),
        change: AlertChange,
    ) -> Option<String> {
        if let Some(order) = order {
            if order >= seq {
                return Some(format!("an alert about order {order}, which has not begun yet"));
            }
            let stand = self.stand(order).copied();
            if stand.is_some_and(|stand| !stand.is_order()) {
                return Some(format!("an alert about order {order}, and no order began there"));
            }
            // While it is acknowledged the order may go on; what the watch itself says is true when it is written.
            let is_now = !matches!(change, AlertChange::Cleared | AlertChange::Acknowledged);
            let stands = stand.and_then(|stand| State::from_number(stand.state));
            if let (true, Some(wanted), Some(stands)) = (is_now, stuck_in, stands)
                && wanted != stands
            {
                return Some(format!(
                    "an alert that order {order} is stuck in {wanted}, and it stands at {stands}"
                ));
            }
        }
        let id = id?;
        if id >= seq {
            return Some(format!("it is about the alert at {id}, which was not raised yet"));
        }
        let stand = self.stand(id)?;
        let before = *stand;
        if change == AlertChange::Cleared && before.state == OPEN_ALERT {
            stand.state = CLEARED_ALERT;
        }
        match before.state {
            OPEN_ALERT => (before.version != order.map_or(0, |order| last_bits(order.0)))
                .then(|| format!("it is about the alert at {id}, which is about something else")),
            CLEARED_ALERT => Some(format!("it is about the alert at {id}, which is over")),
            _ => Some(format!("it is about the alert at {id}, and none was raised there")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Life, What};
    use super::*;
    use crate::order::Timestamp;

    /// The record at this seq, whose time has the same number.
    fn life(seq: u64, what: What) -> Life {
        Life { seq: Seq(seq), at: Timestamp::from_unix_ns(seq), offset: 0, what }
    }

    fn began(seq: u64) -> Life {
        life(seq, What::Began { state: State::Accepted, expires_at: None })
    }

    fn moved(seq: u64, order: u64, version: u64, from: State, to: State) -> Life {
        life(seq, What::Moved { order: Seq(order), version, from, to })
    }

    fn wrong(lives: &mut Lives, records: &[Life]) -> Vec<String> {
        let (mut found, none) = (Vec::new(), BTreeSet::new());
        lives.take_in("file", records, &none, &mut |finding| found.push(finding.place.what));
        found
    }

    fn noted(seq: u64, order: u64) -> Life {
        life(seq, What::Noted { order: Seq(order), asks: false })
    }

    fn alarmed(seq: u64, id: u64, order: u64, state: State, change: AlertChange) -> Life {
        let (id, order) = ((id > 0).then_some(Seq(id)), (order > 0).then_some(Seq(order)));
        let stuck_in = order.map(|_| state);
        life(seq, What::Alarmed { id, order, stuck_in, change })
    }

    #[test]
    fn an_alert_is_raised_about_what_is_so_and_nothing_happens_to_it_when_it_is_over() {
        use AlertChange::{Acknowledged, Cleared, Escalated, Raised, Reminded};
        use State::{Accepted, Completed, Confirmed};
        let sound = [
            began(1),
            alarmed(2, 0, 1, Accepted, Raised),
            alarmed(3, 0, 0, Accepted, Raised),
            alarmed(4, 2, 1, Accepted, Reminded),
            alarmed(5, 2, 1, Accepted, Acknowledged),
            alarmed(6, 2, 1, Accepted, Escalated),
            moved(7, 1, 2, Accepted, Confirmed),
            alarmed(8, 2, 1, Accepted, Cleared),
            alarmed(9, 0, 1, Confirmed, Raised),
            alarmed(10, 3, 0, Accepted, Cleared),
            moved(11, 1, 3, Confirmed, Completed),
            alarmed(12, 9, 1, Confirmed, Cleared),
        ];
        let mut lives = Lives::new();
        assert_eq!(wrong(&mut lives, &sound), [""; 0]);
        let behind = [
            (alarmed(13, 2, 1, Accepted, Cleared), "which is over"),
            (alarmed(14, 2, 1, Accepted, Acknowledged), "which is over"),
            (alarmed(15, 0, 1, Accepted, Raised), "stands at completed"),
            (alarmed(16, 0, 2, Accepted, Raised), "no order began there"),
            (alarmed(17, 0, 18, Accepted, Raised), "not begun yet"),
            (alarmed(18, 19, 0, Accepted, Cleared), "not raised yet"),
            (alarmed(19, 1, 0, Accepted, Cleared), "none was raised there"),
            (alarmed(20, 0, 0, Accepted, Raised), ""),
            (alarmed(21, 20, 1, Accepted, Cleared), "about something else"),
            (noted(22, 20), "no order began there"),
            (moved(23, 2, 2, Accepted, Confirmed), "no order began there"),
        ];
        for (life, words) in behind {
            let found = wrong(&mut lives, &[life]);
            assert_eq!(found.len(), usize::from(!words.is_empty()), "{life:?}: {found:?}");
            assert!(found.iter().all(|what| what.contains(words)), "{life:?}: {found:?}");
        }
        // Behind a gap nothing is known of what was before it.
        assert!(wrong(&mut lives, &[alarmed(40, 2, 1, Accepted, Cleared)]).is_empty());
    }
}
