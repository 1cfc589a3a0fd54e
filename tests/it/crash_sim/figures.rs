//! What a run came to: a crash test in which nothing is lost proves nothing.

/// Counts, by name.
macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        #[derive(Clone, Debug, Default)]
        pub(super) struct Figures {
            $($(#[$doc])* pub(super) $name: u64,)*
        }

        impl Figures {
            pub(super) fn add(&mut self, other: &Figures) {
                let longest = self.longest_life.max(other.longest_life);
                let most = self.most_notes.max(other.most_notes);
                $(self.$name += other.$name;)*
                (self.longest_life, self.most_notes) = (longest, most);
            }

            pub(super) fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

figures! {
    seeds,
    steps,
    acknowledged,
    power_cuts,
    kills,
    opens,
    opens_cut_off,
    cut_off_three_in_a_row,
    sectors_dropped,
    sectors_torn,
    sectors_garbage,
    sectors_stale,
    extents_dropped,
    names_dropped,
    torn_tails,
    resealed,
    runs_rebuilt,
    segments,
    in_doubt_there,
    in_doubt_gone,
    io_errors,
    full_disks,
    relaxed_lost,
    slow_calls,
    /// Orders of a second submitter, handed in while a call of the first one was on its way.
    handed_in_between,
    looked_at_between,
    /// Plans with a table of states of their own.
    own_tables,
    /// Steps of orders that were taken, and what else came of asking for one.
    moved,
    moves_replayed,
    moves_refused,
    moves_in_conflict,
    versions_missed,
    /// Somebody was told that an order has expired: who asked for a step of it, or who looked. The sweeper has
    /// recorded this many.
    expired_told,
    expired_shown,
    expired_swept,
    /// A reader has made a step durable, and seen it, before the ledger had its answer.
    moves_seen_early,
    moves_in_doubt_there,
    moves_in_doubt_gone,
    /// The same command once more, after opening has told what became of it.
    asked_again,
    relaxed_moves_lost,
    /// The most steps of one order.
    longest_life,
    /// Notes and resolutions that were recorded, and what else came of asking for one.
    noted,
    notes_replayed,
    notes_in_conflict,
    notes_refused,
    notes_in_doubt_there,
    notes_in_doubt_gone,
    /// The most notes and resolutions of one order.
    most_notes,
    /// Holds and releases that were recorded, and those that found nothing to be changed.
    holds_changed,
    holds_unchanged,
    holds_in_doubt,
    held_orders,
    /// Linked batches that were recorded, and what else came of sending one.
    linked,
    linked_replayed,
    linked_refused,
    linked_in_conflict,
    linked_in_doubt_there,
    linked_in_doubt_gone,
    linked_again,
    /// Events that the consumer was given, and those that it has dealt with in a batch.
    delivered,
    dealt_with,
    cursors_moved,
    cursors_in_doubt_there,
    cursors_in_doubt_gone,
    /// Orders that were found to be stuck, by the thresholds of their state and by their own.
    stuck_by_state,
    stuck_by_own,
    thresholds_in_conflict,
    /// Looks at everything that is watched, and what they recorded.
    looks,
    looks_failed,
    alerts_raised,
    alerts_escalated,
    alerts_reminded,
    alerts_cleared,
    alerts_in_doubt_there,
    alerts_in_doubt_gone,
    /// Somebody knew of an alert, and what else came of saying so.
    alerts_acknowledged,
    alerts_known_before,
    alerts_not_open,
    acknowledged_in_doubt_there,
    acknowledged_in_doubt_gone,
    /// What others are to be told, recorded alone, and what else came of asking for that.
    dispatched_alone,
    dispatches_replayed,
    dispatches_in_conflict,
    dispatches_in_doubt_there,
    dispatches_in_doubt_gone,
    /// What the outbox did, what third parties were told, and what openings found cut off between the two records.
    sent,
    sends_failed,
    attempts_cut_off,
    dead_letters,
    redriven,
    dispatches_done,
    provider_calls,
    provider_repeats,
    /// Events that a follower has shown, how often it read on in the middle of a call, and kills of the writer beside it.
    followed,
    followed_between,
    kills_beside_follower,
    read_between,
    second_openers,
    /// Logs that `verify` was asked about: as a crash left them, and at the end.
    verified,
    /// Ledgers that rotted or whose disk lied: refused, or read with an error, or the same as before.
    rotten_refused,
    rotten_partly,
    rotten_harmless,
}

impl Figures {
    pub(super) fn assert_that_something_of_each_kind_happened(&self) {
        for (name, value) in self.named() {
            assert!(value > 0, "{name} is 0: this kind of thing never happened");
        }
    }
}
