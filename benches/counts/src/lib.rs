//! What is counted: the operations by name, and how many orders each run of one takes.
//!
//! Always true: the benches in `benches/operations` have these names, and work on as many orders as stands here;
//! the program that compares gets no list from anywhere else.

/// Something of the ledger that is counted.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The name of its bench.
    pub name: &'static str,
    /// Orders that one run of the bench works on.
    pub orders: usize,
    /// What it is, for the table.
    pub what: &'static str,
}

macro_rules! operations {
    ($($constant:ident $name:literal $orders:literal $what:literal)*) => {
        $(#[doc = $what] pub const $constant: usize = $orders;)*

        /// All of them, in the order of the table.
        pub const OPERATIONS: &[Operation] =
            &[$(Operation { name: $name, orders: $orders, what: $what },)*];
    };
}

operations! {
    BUILD "build" 1_000 "a submission from its parts"
    SUBMIT "submit" 500 "fresh orders, one by one, a group for each"
    SUBMIT_MANY "submit_many" 2_000 "fresh orders in batches of 1,000"
    SUBMIT_MANY_HASHED "submit_many_hashed" 1_000 "the same with SHA-256 of the content"
    SUBMIT_MANY_LARGE "submit_many_large" 500 "the same with payloads of 4 KiB"
    SUBMIT_INTO_MERGED "submit_into_merged" 200 "the same into a ledger of 16 sealed segments"
    DEFERRED "deferred" 640 "fresh orders, 64 in flight, a group for each 64"
    REPLAY "replay" 1_000 "the same orders again, one by one"
    REPLAY_HASHED "replay_hashed" 500 "the same with SHA-256 of the content"
    REPLAY_MANY "replay_many" 1_000 "the same orders again, in one batch"
    CONFLICT "conflict" 1_000 "other orders under known keys, one by one"
    GET_OPEN "get_open" 1_000 "by id, from the segment that is written"
    GET_SEALED "get_sealed" 500 "by id, from sealed segments"
    BY_KEY_OPEN "by_key_open" 1_000 "by key, with the keys in memory"
    BY_KEY_SEALED "by_key_sealed" 500 "by key, from the tables of three sealed segments"
    BY_KEY_MERGED "by_key_merged" 500 "by key, from one table merged from 16"
    BY_KEY_ABSENT "by_key_absent" 500 "a key that was never seen, in the same ledger"
    TRANSITION "transition" 500 "steps, one by one, a group for each"
    TRANSITION_MANY "transition_many" 1_000 "steps of 1,000 orders in a batch"
    LINKED "linked" 1_000 "orders in linked batches of 10"
    EVENTS "events" 1_000 "events that a consumer reads"
    OPEN_KILLED "open_killed" 2_000 "opening after a kill: the last segment is scanned"
    SCAN "scan" 2_000 "every order from the log, decoded"
    VERIFY "verify" 2_000 "every byte read and checked"
    SEAL "seal" 300 "the upkeep that seals a full segment"
    MERGE "merge" 1_200 "the upkeep that seals a fourth segment and merges four tables"
    RECEIPT_PRINT "receipt_print" 1_000 "a receipt as text"
    RECEIPT_PARSE "receipt_parse" 1_000 "a receipt from its text"
}

#[cfg(test)]
mod tests {
    use super::OPERATIONS;

    #[test]
    fn names_are_given_once_and_nothing_is_counted_over_no_orders() {
        let names: std::collections::BTreeSet<_> = OPERATIONS.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), OPERATIONS.len());
        assert!(OPERATIONS.iter().all(|it| it.orders > 0));
    }
}
