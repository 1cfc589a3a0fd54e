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
    /// Where a further run goes on: its `--from`.
    pub next: u64,
    extra: BTreeMap<&'static str, u64>,
    /// What is no count but a high-water mark; the names end in `_max`.
    most: BTreeMap<&'static str, u64>,
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
            next: 0,
            extra: BTreeMap::new(),
            most: BTreeMap::new(),
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

    pub fn most(&mut self, what: &'static str, value: u64) {
        let most = self.most.entry(what).or_default();
        *most = value.max(*most);
    }

    /// A tally for a lane of its own, to be taken in by [`Tally::take_in`].
    pub fn lane(&self) -> Tally {
        Tally::new(&self.rig, self.seed)
    }

    /// Adds what a lane has counted.
    pub fn take_in(&mut self, lane: &Tally) {
        for (mine, theirs) in [
            (&mut self.rounds, lane.rounds),
            (&mut self.checks, lane.checks),
            (&mut self.acknowledged, lane.acknowledged),
            (&mut self.kept, lane.kept),
            (&mut self.lost, lane.lost),
            (&mut self.doubled, lane.doubled),
            (&mut self.refused, lane.refused),
            (&mut self.wrong, lane.wrong),
        ] {
            *mine += theirs;
        }
        for (what, count) in &lane.extra {
            self.add(what, *count);
        }
        for (what, value) in &lane.most {
            self.most(what, *value);
        }
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
            let (rig, seed, round) = (&self.rig, self.seed, self.round);
            eprintln!("{tag} {rig} --seed {seed} round {round}: {what}");
            if self.messages == 1 {
                eprintln!("again: kernel-rigs {rig} --seed {seed} --from {round} --rounds 1");
            }
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
            "{}: rounds {} checks {} acknowledged {} kept {} lost {} doubled {} refused_opens {} wrong {} seconds {seconds:.1} per_second {per_second:.1} next_from {}",
            self.rig,
            self.rounds,
            self.checks,
            self.acknowledged,
            self.kept,
            self.lost,
            self.doubled,
            self.refused,
            self.wrong,
            self.next,
        );
        for (what, count) in self.extra.iter().chain(&self.most) {
            line += &format!(" {what} {count}");
        }
        line
    }

    /// The line for whoever adds up many runs: flat JSON, every number a count that may be added, but for
    /// the names that end in `_max`. `unit`: what this rig calls a round.
    pub fn result(&self, layer: &str, unit: &str) -> String {
        let wall_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let counts = [
            (unit, self.rounds),
            ("violations", self.violations()),
            ("checks", self.checks),
            ("acknowledged", self.acknowledged),
            ("kept", self.kept),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("refused_opens", self.refused),
            ("wrong", self.wrong),
            ("wall_ms", wall_ms),
        ];
        let mut line = format!("RESULT {{\"layer\":\"{layer}\"");
        let more = self.extra.iter().chain(&self.most).map(|(what, count)| (*what, *count));
        for (what, count) in counts.into_iter().chain(more) {
            line += &format!(",\"{what}\":{count}");
        }
        line + "}"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_added_and_high_water_marks_are_not() {
        let mut all = Tally::new("kill", 7);
        for lost in [1, 2] {
            let mut lane = all.lane();
            lane.loss_expected = true;
            lane.rounds = 10;
            lane.lost = lost;
            lane.add("killed_opening", lost);
            lane.most("fds_max", 20 + lost);
            all.take_in(&lane);
        }
        assert_eq!((all.rounds, all.violations()), (20, 3));
        let result = all.result("L7", "kills");
        assert!(result.starts_with("RESULT {\"layer\":\"L7\",\"kills\":20,\"violations\":3,"));
        assert!(result.ends_with("\"killed_opening\":3,\"fds_max\":22}"), "{result}");
    }
}
