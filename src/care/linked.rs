//! Linked batches: the members of a head are the records behind it, in its group, and nowhere else.

use crate::order::Seq;
use crate::wal::frame::Frame;
use crate::wal::record::{Body, distance_of};

/// What is expected within one group.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    /// The head that was found last, how many members it has, and how many of them were found.
    open: Option<(Seq, u16, u16)>,
}

impl Linked {
    /// Takes in the next record of the group, and says what is wrong with it.
    pub(crate) fn take_in(&mut self, frame: &Frame<'_>, body: &Body<'_>) -> Option<String> {
        let distance = distance_of(frame.version, frame.body);
        let expected = match &mut self.open {
            Some((_, members, found)) if *found < *members => {
                *found += 1;
                Some(*found)
            }
            _ => None,
        };
        if let Body::Linked(head) = body {
            self.open = Some((frame.seq, head.members, 0));
        }
        match (expected, distance) {
            (None, None) => None,
            (Some(expected), Some(distance)) if expected == distance => None,
            (None, Some(_)) => {
                Some("a member of a linked batch that has no such member".to_owned())
            }
            (Some(expected), _) => {
                Some(format!("not the member {expected} of the linked batch before it"))
            }
        }
    }

    /// What is missing at the end of the group.
    pub(crate) fn end(self) -> Option<String> {
        let (head, members, found) = self.open?;
        (found < members)
            .then(|| format!("the linked batch at seq {head} has {found} of its {members} members"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{Submission, Timestamp};
    use crate::wal::record::{self, Encoded, LinkedHead};

    fn head(members: u16) -> Encoded {
        let head = LinkedHead { key: b"k", members, salt: [1; 16], fingerprint: [2; 32] };
        record::encode_linked(&head).unwrap()
    }

    fn order() -> Encoded {
        record::encode(&Submission::new("web", "k", "tea"), [1; 16], None).unwrap()
    }

    fn member(distance: u16) -> Encoded {
        let mut order = order();
        order.put_behind_head(distance);
        order
    }

    /// How many complaints there are about a group of these records.
    fn complaints(records: &[Encoded]) -> usize {
        let mut linked = Linked::default();
        let mut found = 0;
        for (seq, record) in (7..).zip(records) {
            let at = Timestamp::from_unix_ns(seq);
            let (kind, version, body) = (record.kind, record.version, &record.bytes[..]);
            let frame = Frame { seq: Seq(seq), at, kind, version, body };
            let body = record::decode(kind, version, body).unwrap();
            found += usize::from(linked.take_in(&frame, &body).is_some());
        }
        found + usize::from(linked.end().is_some())
    }

    #[test]
    fn rule_33_a_batch_that_is_not_whole_and_a_member_without_one_are_found() {
        assert_eq!(complaints(&[order(), order()]), 0);
        let whole = [order(), head(2), member(1), member(2), order(), head(1), member(1)];
        assert_eq!(complaints(&whole), 0);
        assert_eq!(complaints(&whole[..6]), 1, "a member is missing at the end");
        assert_eq!(complaints(&[head(2), member(1), order()]), 1, "in the middle");
        assert_eq!(complaints(&[head(2), member(2), member(1)]), 2, "in another order");
        assert_eq!(complaints(&[member(1), order()]), 1, "no head");
        assert_eq!(complaints(&[head(1), member(1), member(2)]), 1, "one too many");
        assert_eq!(complaints(&[head(2), head(1), member(1)]), 1, "a head in place of a member");
    }
}
