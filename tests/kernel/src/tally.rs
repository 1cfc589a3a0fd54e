//! Counts, and the one line at the end.

use std::collections::BTreeMap;
use std::time::Instant;

/// Messages that are printed in full; more are only counted.
const MESSAGES_MAX: usize = 20;

/// What a rig has counted.
#[derive(Debug)]
pub struct Tally {
    pub rig: String,
    pub seed: u64,
    pub round: u64,
    /// Cuts, kills, images, or whatever the rig does again and again.
    pub rounds: u64,
    /// Ledgers opened and held against the oracle.
    pub checks: u64,
    /// Acknowledged orders, summed over the checks.
    pub acknowledged: u64,
    pub kept: u64,
    pub lost: u64,
    pub doubled: u64,
    pub refused: u64,
    pub wrong: u64,
    /// Loss is what this run is for (the canary): told apart from a violation.
    pub loss_expected: bool,
    extra: BTreeMap<&'static str, u64>,
    messages: usize,
    started: Instant,
}

impl Tally {
    pub fn new(rig: &str, seed: u64) -> Tally {
        Tally {
            rig: rig.to_owned(),
            seed,
            round: 0,
            rounds: 0,
            checks: 0,
            acknowledged: 0,
            kept: 0,
            lost: 0,
            doubled: 0,
            refused: 0,
            wrong: 0,
            loss_expected: false,
            extra: BTreeMap::new(),
            messages: 0,
            started: Instant::now(),
        }
    }

    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.extra.entry(what).or_default() += count;
    }

    pub fn get(&self, what: &str) -> u64 {
        self.extra.get(what).copied().unwrap_or(0)
    }

    pub fn lost(&mut self, what: String) {
        self.lost += 1;
        if !self.loss_expected {
            self.say("LOST", &what);
        }
    }

    pub fn doubled(&mut self, what: String) {
        self.doubled += 1;
        self.say("DOUBLED", &what);
    }

    pub fn refused(&mut self, what: String) {
        self.refused += 1;
        self.say("REFUSED", &what);
    }

    pub fn wrong(&mut self, what: String) {
        self.wrong += 1;
        self.say("WRONG", &what);
    }

    fn say(&mut self, tag: &str, what: &str) {
        self.messages += 1;
        if self.messages <= MESSAGES_MAX {
            eprintln!("{tag} {} --seed {} round {}: {what}", self.rig, self.seed, self.round);
        }
    }

    /// How many violations there are so far.
    pub fn violations(&self) -> u64 {
        let lost = if self.loss_expected { 0 } else { self.lost };
        lost + self.doubled + self.refused + self.wrong
    }

    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The line of the result.
    pub fn line(&self) -> String {
        let seconds = self.seconds();
        let per_second = self.rounds as f64 / seconds.max(0.001);
        let mut line = format!(
            "{}: rounds {} checks {} acknowledged {} kept {} lost {} doubled {} refused_opens {} wrong {} seconds {seconds:.1} per_second {per_second:.1}",
            self.rig,
            self.rounds,
            self.checks,
            self.acknowledged,
            self.kept,
            self.lost,
            self.doubled,
            self.refused,
            self.wrong,
        );
        for (what, count) in &self.extra {
            line += &format!(" {what} {count}");
        }
        line
    }
}
