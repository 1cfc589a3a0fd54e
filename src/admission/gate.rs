//! The last check: is there room for one more, in the queue, in the client's share, on the disk?
//!
//! Plain counting, under the queue's lock. Always true: what was let in is counted until
//! [`Gate::leave`]; a full queue or disk refuses before a byte is written; a client is counted in one place.

use std::collections::HashMap;

/// How much may wait to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GateLimits {
    pub(crate) orders_max: usize,
    pub(crate) bytes_max: usize,
    /// Share of the two above that one client may hold, in percent.
    pub(crate) client_share_percent: usize,
}

#[derive(Debug)]
pub(crate) struct Gate {
    limits: GateLimits,
    total: Load,
    /// A client beside the others, whatever it has in the queue: one that comes again and again, alone, is told by
    /// its name and neither hashed nor allocated.
    first: (Box<[u8]>, Load),
    /// Those that have something in the queue.
    others: HashMap<Box<[u8]>, Load>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Load {
    orders: usize,
    bytes: usize,
}

impl Gate {
    pub(crate) fn new(limits: GateLimits) -> Gate {
        Gate { limits, total: Load::default(), first: Default::default(), others: HashMap::new() }
    }

    /// Lets in one order of `bytes` from `client`; false when there is no room.
    pub(crate) fn enter(&mut self, client: &[u8], bytes: usize) -> bool {
        self.enter_together(client, 1, bytes)
    }

    /// Lets in so many orders of `bytes` together, or none of them.
    ///
    /// An empty queue takes anything, so that no limit can keep an order out for ever; the same holds for a
    /// client's share.
    pub(crate) fn enter_together(&mut self, client: &[u8], orders: usize, bytes: usize) -> bool {
        let GateLimits { orders_max, bytes_max, client_share_percent } = self.limits;
        let fits = |load: Load, percent: usize| {
            load.orders == 0
                || (load.orders + orders <= orders_max.saturating_mul(percent) / 100
                    && load.bytes + bytes <= bytes_max.saturating_mul(percent) / 100)
        };
        if !fits(self.total, 100) {
            return false;
        }
        match self.load_of(client) {
            Some(own) if !fits(*own, client_share_percent) => return false,
            Some(own) => own.add(orders, bytes),
            None => {
                self.others.insert(client.into(), Load { orders, bytes });
            }
        }
        self.total.add(orders, bytes);
        true
    }

    /// So many orders of a client, with so many bytes together, are written or have failed.
    pub(crate) fn leave(&mut self, client: &[u8], orders: usize, bytes: usize) {
        self.total.remove(orders, bytes);
        if let Some(load) = self.load_of(client) {
            load.remove(orders, bytes);
            if load.orders == 0 && !self.others.is_empty() {
                self.others.remove(client);
            }
        }
    }

    /// What a client has in the queue; `None` when that is nothing and the place beside the others is taken.
    fn load_of(&mut self, client: &[u8]) -> Option<&mut Load> {
        let (name, load) = &mut self.first;
        if **name != *client {
            if load.orders > 0 || self.others.contains_key(client) {
                return self.others.get_mut(client);
            }
            *name = client.into();
        }
        Some(load)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.total.bytes
    }

    pub(crate) fn orders(&self) -> usize {
        self.total.orders
    }
}

impl Load {
    fn add(&mut self, orders: usize, bytes: usize) {
        self.orders += orders;
        self.bytes += bytes;
    }

    fn remove(&mut self, orders: usize, bytes: usize) {
        self.orders = self.orders.saturating_sub(orders);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_33_the_queue_is_bounded_in_orders_and_bytes_with_a_share_per_client() {
        let limits = GateLimits { orders_max: 4, bytes_max: 100, client_share_percent: 50 };
        let mut gate = Gate::new(limits);
        assert!(gate.enter(b"a", 10) && gate.enter(b"a", 10));
        assert!(!gate.enter(b"a", 10), "the share in orders");
        assert!(gate.enter(b"b", 40));
        assert!(!gate.enter(b"b", 20), "the share in bytes");
        assert!(!gate.enter(b"c", 50), "the queue in bytes");
        assert!(gate.enter(b"c", 5));
        assert!(!gate.enter(b"d", 1), "the queue in orders");
        gate.leave(b"a", 1, 10);
        assert!(gate.enter(b"d", 1));
        assert!(!gate.enter(b"a", 1), "full again");
        for (client, bytes) in [(b"a", 10), (b"b", 40), (b"c", 5), (b"d", 1)] {
            gate.leave(client, 1, bytes);
        }
        assert_eq!((gate.orders(), gate.bytes(), gate.others.len()), (0, 0, 0));
        assert!(gate.enter(b"a", 10) && gate.enter(b"a", 20));
        gate.leave(b"a", 2, 30);
        assert_eq!((gate.orders(), gate.bytes(), gate.others.len()), (0, 0, 0));
        assert!(gate.enter(b"a", 1000), "an empty queue takes any one order");
        gate.leave(b"a", 1, 1000);
        assert!(gate.enter(b"b", 10) && gate.enter(b"b", 10));
        assert!(!gate.enter_together(b"a", 3, 3), "not in part");
        assert!(gate.enter_together(b"a", 2, 3));
        gate.leave(b"a", 2, 3);
        gate.leave(b"b", 2, 20);
        assert!(gate.enter_together(b"a", 100, 1000), "an empty queue takes anything");
    }

    /// Whoever comes first, and goes, and comes again.
    #[test]
    fn a_client_is_counted_in_one_place_whichever_that_is() {
        let limits = GateLimits { orders_max: 10, bytes_max: 100, client_share_percent: 20 };
        let mut gate = Gate::new(limits);
        assert!(
            gate.enter(b"a", 1) && gate.enter(b"b", 1),
            "one beside the others, one among them"
        );
        gate.leave(b"a", 1, 1);
        // The place is free, but this one is counted already.
        assert!(gate.enter(b"b", 1));
        assert!(!gate.enter(b"b", 1), "its share");
        assert!(gate.enter(b"c", 1) && gate.enter(b"c", 1));
        assert!(!gate.enter(b"c", 1), "its share");
        gate.leave(b"b", 2, 2);
        assert!(gate.others.is_empty() && *gate.first.0 == *b"c");
        assert!(gate.enter(b"b", 1) && gate.enter(b"b", 1));
        assert!(!gate.enter(b"b", 1), "its share");
        gate.leave(b"b", 2, 2);
        gate.leave(b"c", 2, 2);
        assert_eq!((gate.orders(), gate.bytes(), gate.others.len()), (0, 0, 0));
        // An empty name, which is that of the place when nobody had it yet.
        let mut gate = Gate::new(limits);
        assert!(gate.enter(b"", 1) && gate.enter(b"", 1) && !gate.enter(b"", 1));
    }
}
