//! What the figures mean, in plain words: is the disk to be believed, what does an order cost, what limits
//! it, what to do.
//!
//! Always true: it follows from what was measured and from nothing else; what can't be told is not claimed.
//! Above all, no time proves that a disk flushes: only one that is too short to be true says something.

/// Shorter than any flush of a drive that we know: what is left is a cache that survives a power cut behind a
/// short way, or no flush at all.
const FAST_US: f64 = 20.0;
/// Shorter than a turn of any rotating disk (4 ms at 15,000 a minute), with room for a lucky position.
const FAST_ROTATING_US: f64 = 1000.0;
/// Flash without a protected cache has to write before it answers; few such drives do that in less.
const PROTECTED_US: f64 = 300.0;
/// Above it, a drive with flash is busy, worn, or behind a network.
const SLOW_US: f64 = 5000.0;
/// A submit contains a durable write: a ratio below this was measured beside disturbed raw writes.
const RATIO_VALID_MIN: f64 = 0.8;
/// Up to this the disk is what limits.
const RATIO_DISK_MAX: f64 = 1.5;
/// A rate that is reached to this part counts as reached.
const REACHED_MIN: f64 = 0.95;

/// What the verdict is about. Times in microseconds, at p50 where nothing else is said.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) file_system: String,
    pub(crate) is_rotating: bool,
    pub(crate) is_debug_build: bool,
    /// Size of a raw write: of one order, 4 KiB at least.
    pub(crate) raw_kib: usize,
    pub(crate) raw_us: f64,
    pub(crate) lone_us: f64,
    pub(crate) lone_over_raw: f64,
    pub(crate) lone_per_s: f64,
    pub(crate) threads: u16,
    pub(crate) threads_per_s: f64,
    pub(crate) threads_per_write: f64,
    pub(crate) batch: usize,
    pub(crate) batches_per_s: f64,
    pub(crate) batch_over_raw: f64,
    pub(crate) in_flight: usize,
    pub(crate) deferred_per_s: f64,
    pub(crate) rate: u32,
    pub(crate) paced_per_s: f64,
    pub(crate) paced_p99_us: f64,
    pub(crate) paced_max_us: f64,
    /// Rows that began beside background work of the ledger.
    pub(crate) unsettled: u32,
}

/// What is to be thought of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disk {
    Plausible,
    /// It may not really flush.
    SuspiciouslyFast,
    /// It is none.
    Memory,
}

impl Disk {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Disk::Plausible => "plausible",
            Disk::SuspiciouslyFast => "suspiciously_fast",
            Disk::Memory => "memory",
        }
    }
}

impl Seen {
    pub(crate) fn disk(&self) -> Disk {
        let least = if self.is_rotating { FAST_ROTATING_US } else { FAST_US };
        match self.file_system.as_str() {
            "tmpfs" | "ramfs" => Disk::Memory,
            _ if self.raw_us < least => Disk::SuspiciouslyFast,
            _ => Disk::Plausible,
        }
    }

    /// One paragraph each; the first is about the disk.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec![self.of_the_disk(), self.of_one()];
        words.extend([self.of_many(), self.of_batches(), self.of_the_rate()]);
        if self.is_debug_build {
            words.push(
                "This is a debug build: everything that is not the disk is slower than it need be."
                    .into(),
            );
        }
        if self.unsettled > 0 {
            words.push(format!(
                "Before {} of the rows the ledger still kept lists of earlier orders: they shared the machine.",
                self.unsettled
            ));
        }
        words
    }

    fn of_the_disk(&self) -> String {
        let (kib, p50) = (self.raw_kib, time(self.raw_us));
        let file_system = &self.file_system;
        let reason = match self.disk() {
            Disk::Memory => {
                return format!(
                    "No disk: {file_system} is memory, and nothing in it survives a power cut or a restart. The \
                     figures say what the CPU takes. Name a directory on the disk that the orders will be on."
                );
            }
            Disk::SuspiciouslyFast if self.is_rotating => {
                "it calls itself a rotating disk, and one needs milliseconds"
            }
            Disk::SuspiciouslyFast => "hardly any drive flushes in that time",
            Disk::Plausible => {
                let kind = match self.raw_us {
                    // The times are of small writes.
                    _ if self.raw_kib > 4 => "its size",
                    ..PROTECTED_US => {
                        "a drive whose cache survives a power cut, or for a host that has one"
                    }
                    ..SLOW_US => "flash that really flushes",
                    _ => "a rotating disk, a network, or a busy drive",
                };
                return format!(
                    "A durable write of {kib} KiB takes {p50} on this disk (p50): plausible for {kind}. No time proves that it \
                     flushes; a power cut does."
                );
            }
        };
        format!(
            "A durable write of {kib} KiB takes {p50} on this disk (p50): suspiciously fast, for {reason}. Either a cache answers \
             that survives a power cut, or it does not really flush, and then orders can be lost. Find out which (the \
             drive's or the host's data sheet: power loss protection; write cache of a virtual disk) before you trust it."
        )
    }

    fn of_one(&self) -> String {
        let ratio = self.lone_over_raw;
        let write = match self.disk() {
            Disk::Memory => "raw write",
            _ => "durable write of this disk",
        };
        let sentence = format!(
            "A lone submit costs {ratio:.2} times one {write} (median of the rounds; p50 {} to {}), {}/s from one thread",
            time(self.lone_us),
            time(self.raw_us),
            count(self.lone_per_s)
        );
        let limit = match (self.disk(), ratio) {
            (_, ..RATIO_VALID_MIN) => {
                "less than the write that it contains, so something disturbed the raw writes: measure again on a \
                 quieter machine before you compare"
            }
            (Disk::Memory, _) => "the CPU limits it, for there is no disk",
            (_, ..=RATIO_DISK_MAX) => {
                "the disk limits it, and only a faster disk makes one order faster"
            }
            _ => {
                "beside that write its time goes into the CPU, and for large orders into preparing the log's \
                 next file; measure again if this machine is busy"
            }
        };
        format!("{sentence}: {limit}.")
    }

    fn of_many(&self) -> String {
        let times = self.threads_per_s / self.lone_per_s.max(1e-9);
        let threads = match self.threads {
            1 => "1 thread takes".to_owned(),
            threads => format!("{threads} threads take"),
        };
        let next = match self.threads_per_write >= f64::from(self.threads) * 0.5 {
            true => "more threads share it further",
            false => {
                "more threads would hardly share it further: hand in batches, or keep tickets in flight"
            }
        };
        format!(
            "{threads} {}/s together, {times:.1} times as many as one: {:.1} orders share a write; {next}.",
            count(self.threads_per_s),
            self.threads_per_write
        )
    }

    fn of_batches(&self) -> String {
        let limit = match (self.disk(), self.batch_over_raw) {
            (Disk::Memory, _) => "the CPU limits them".to_owned(),
            (_, ..=RATIO_DISK_MAX) => "the disk limits them".to_owned(),
            (_, ratio) => format!(
                "a batch takes {ratio:.1} times a raw write of its size: beside that write its time goes into \
                 the CPU and into preparing the log's next file"
            ),
        };
        format!(
            "submit_many of {} takes {}/s, {} tickets in flight from one thread {}/s; {limit}.",
            self.batch,
            count(self.batches_per_s),
            self.in_flight,
            count(self.deferred_per_s)
        )
    }

    fn of_the_rate(&self) -> String {
        let rate = count(f64::from(self.rate));
        let (p99, slowest) = (time(self.paced_p99_us), time(self.paced_max_us));
        match self.paced_per_s >= f64::from(self.rate) * REACHED_MIN {
            true => format!(
                "At {rate} orders/s 99 of 100 were durable within {p99} of when they were due, the slowest \
                 within {slowest}."
            ),
            false => format!(
                "At {rate} orders/s it did not keep up: {}/s were reached, and the slowest was durable {slowest} \
                 after it was due. Send fewer, from more threads, or in batches.",
                count(self.paced_per_s)
            ),
        }
    }
}

/// Microseconds for people: three digits and a unit.
pub(crate) fn time(us: f64) -> String {
    match us {
        ..10.0 => format!("{us:.1} us"),
        ..1000.0 => format!("{us:.0} us"),
        ..10_000.0 => format!("{:.2} ms", us / 1e3),
        ..1_000_000.0 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.1} s", us / 1e6),
    }
}

/// A number for people: whole, with commas.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            file_system: "ext4".into(),
            is_rotating: false,
            is_debug_build: false,
            raw_kib: 4,
            raw_us: 115.0,
            lone_us: 120.0,
            lone_over_raw: 1.04,
            lone_per_s: 8000.0,
            threads: 8,
            threads_per_s: 32_000.0,
            threads_per_write: 4.5,
            batch: 1000,
            batches_per_s: 1_000_000.0,
            batch_over_raw: 2.1,
            in_flight: 64,
            deferred_per_s: 200_000.0,
            rate: 16_000,
            paced_per_s: 16_000.0,
            paced_p99_us: 900.0,
            paced_max_us: 12_000.0,
            unsettled: 0,
        }
    }

    fn says(seen: &Seen, words: &str) {
        let all = seen.words().join("\n");
        assert!(all.contains(words), "no {words:?} in {all}");
    }

    #[test]
    fn a_disk_that_answers_sooner_than_a_flush_can_is_not_believed() {
        for (raw_us, is_rotating, disk, words) in [
            (115.0, false, Disk::Plausible, "plausible for a drive whose cache survives"),
            (900.0, false, Disk::Plausible, "plausible for flash"),
            (8000.0, true, Disk::Plausible, "plausible for a rotating disk"),
            (5.0, false, Disk::SuspiciouslyFast, "it does not really flush"),
            (200.0, true, Disk::SuspiciouslyFast, "calls itself a rotating disk"),
        ] {
            let seen = Seen { raw_us, is_rotating, ..seen() };
            assert_eq!(seen.disk(), disk);
            says(&seen, words);
        }
        // A large write says nothing about the kind of disk.
        says(&Seen { raw_kib: 400, raw_us: 8000.0, ..seen() }, "plausible for its size");
    }

    #[test]
    fn memory_is_no_disk_however_long_it_takes() {
        for raw_us in [2.0, 5000.0] {
            let seen = Seen { file_system: "tmpfs".into(), raw_us, ..seen() };
            assert_eq!(seen.disk(), Disk::Memory);
            says(&seen, "nothing in it survives a power cut");
            says(&seen, "the CPU limits it");
        }
    }

    #[test]
    fn what_a_lone_submit_costs_is_only_judged_when_it_can_be() {
        says(
            &seen(),
            "costs 1.04 times one durable write of this disk (median of the rounds; p50 120 us to 115 us), 8,000/s",
        );
        says(&seen(), "the disk limits it");
        says(&Seen { lone_over_raw: 0.5, ..seen() }, "disturbed the raw writes");
        says(&Seen { lone_over_raw: 3.0, ..seen() }, "goes into the CPU");
    }

    #[test]
    fn what_to_do_follows_from_what_limits() {
        says(
            &seen(),
            "4.0 times as many as one: 4.5 orders share a write; more threads share it further",
        );
        says(&Seen { threads_per_write: 2.0, ..seen() }, "hand in batches");
        says(&seen(), "a batch takes 2.1 times a raw write of its size");
        says(&Seen { batch_over_raw: 1.2, ..seen() }, "the disk limits them");
        says(&seen(), "within 900 us of when they were due, the slowest within 12 ms");
        says(&Seen { paced_per_s: 9_000.0, ..seen() }, "did not keep up: 9,000/s were reached");
        says(&Seen { is_debug_build: true, ..seen() }, "debug build");
        says(&Seen { unsettled: 2, ..seen() }, "Before 2 of the rows");
    }

    #[test]
    fn numbers_are_written_for_people() {
        let numbers = [0.0, 999.4, 1000.0, 1_234_567.0].map(count);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
        let times = [1.23, 115.4, 1234.0, 45_600.0, 2_500_000.0].map(time);
        assert_eq!(times, ["1.2 us", "115 us", "1.23 ms", "46 ms", "2.5 s"]);
    }
}
