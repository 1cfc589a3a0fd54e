//! The table, in markdown: everything measured, beside the floor, the best peer and the target.

use std::io::{self, Write};

use crate::contender::{Kind, OURS, Who};
use crate::figures::{Figures, What};
use crate::sample::Rounds;
use crate::targets;

pub(crate) fn print(out: &mut impl Write, figures: &Figures) -> io::Result<()> {
    writeln!(out, "| what | who | median | least..most | x core | x best peer | target |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for what in What::ALL {
        let best_peer = figures.best(what, Kind::Peer);
        for (who, rounds) in sorted(figures, what) {
            let over = |that: Option<&Rounds>| {
                that.map_or_else(String::new, |that| number(rounds.over(that).median()))
            };
            let target = if who == OURS { targets::verdicts(figures, what) } else { String::new() };
            writeln!(
                out,
                "| {} | {} | {} | {}..{} | {} | {} | {target} |",
                what.title(),
                who.name,
                format!("{} {}", number(rounds.median()), what.unit()).trim_end(),
                number(rounds.least()),
                number(rounds.most()),
                over(figures.core(what)),
                over(best_peer.as_ref()),
            )?;
        }
    }
    writeln!(out)
}

/// The ledger, the floors, the peers; the best of each first.
pub(crate) fn sorted(figures: &Figures, what: What) -> Vec<(Who, &Rounds)> {
    let mut row: Vec<_> = figures.row(what).collect();
    let sign = if what.is_time() { 1.0 } else { -1.0 };
    row.sort_by(|(one, left), (other, right)| {
        let by_figure = (sign * left.median()).total_cmp(&(sign * right.median()));
        (one.kind, *one != OURS).cmp(&(other.kind, *other != OURS)).then(by_figure)
    });
    row
}

/// Three digits that count, or whole numbers.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
