//! The picture: a bar per contender, a group of bars per row, as plain SVG.
//!
//! Each group has a scale of its own, from zero to its longest bar: batches are a hundred times as quick
//! as single orders, and on one scale nothing else could be seen. Colours follow the reader's.

use std::io::{self, Write};

use crate::contender::{Kind, Who};
use crate::figures::{Figures, What};
use crate::sample::Rounds;
use crate::table::{number, sorted};

const ROWS: [What; 5] =
    [What::Lone, What::Threads8, What::Threads64, What::Batches, What::Sustained];

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 16.0;
/// Where the bars begin, and how long the longest is; the numbers stand behind them.
const BARS_X: f64 = 230.0;
const BARS_LEN: f64 = 420.0;
const HEAD: f64 = 62.0;
const BAR: f64 = 15.0;
const LINE: f64 = 20.0;
const GROUP_HEAD: f64 = 30.0;

/// Light as written; dark where the reader asks for it.
const STYLE: &str = "
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .title { font-size: 17px; font-weight: 600; }
    .group { font-weight: 600; }
    .note, .value { fill: #59636e; }
    .ours { fill: #0969da; }
    .core { fill: #818b98; }
    .raw { fill: #c4ccd5; }
    .peer { fill: #bc8c3c; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .note, .value { fill: #9198a1; }
      .ours { fill: #4493f8; }
      .core { fill: #7d8590; }
      .raw { fill: #484f58; }
      .peer { fill: #d0a45a; }
    }
";

/// `notes` stand under the title, in small.
pub(crate) fn draw(out: &mut impl Write, figures: &Figures, notes: &str) -> io::Result<()> {
    let groups: Vec<_> = ROWS
        .into_iter()
        .map(|what| (what, sorted(figures, what)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let mut height = HEAD + MARGIN;
    for (_, bars) in &groups {
        height += bars.iter().fold(GROUP_HEAD, |height, _| height + LINE);
    }
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">"
    )?;
    writeln!(out, "  <title>Durable orders per second</title>")?;
    writeln!(out, "  <style>{STYLE}  </style>")?;
    text(out, MARGIN, 26.0, "title", "Durable orders per second, each key taken once")?;
    text(out, MARGIN, 46.0, "note", notes)?;
    let mut y = HEAD;
    for (what, bars) in groups {
        text(out, MARGIN, y + 18.0, "group", what.title())?;
        y += GROUP_HEAD;
        let longest = bars.iter().map(|(_, rounds)| rounds.median()).fold(0.0, f64::max);
        for (who, rounds) in bars {
            bar(out, y, who, rounds, longest)?;
            y += LINE;
        }
    }
    writeln!(out, "</svg>")
}

fn bar(out: &mut impl Write, y: f64, who: Who, rounds: &Rounds, longest: f64) -> io::Result<()> {
    let class = match who.kind {
        Kind::Ours => "ours",
        Kind::Core => "core",
        Kind::Raw => "raw",
        Kind::Peer => "peer",
    };
    let median = rounds.median();
    // A bar that is too short to be seen is still a bar.
    let len = (BARS_LEN * median / longest).max(1.0);
    text(out, MARGIN, y + 12.0, "", who.name)?;
    writeln!(
        out,
        "  <rect class=\"{class}\" x=\"{BARS_X}\" y=\"{y}\" width=\"{len:.1}\" height=\"{BAR}\" rx=\"2\"/>"
    )?;
    text(out, BARS_X + len + 6.0, y + 12.0, "value", &number(median))
}

fn text(out: &mut impl Write, x: f64, y: f64, class: &str, content: &str) -> io::Result<()> {
    let escaped = content.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(out, "  <text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{escaped}</text>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::{OURS, peer};

    #[test]
    fn every_contender_has_a_bar_those_who_win_included() {
        let mut figures = Figures::default();
        figures.push(What::Lone, OURS, 50.0);
        figures.push(What::Lone, peer("a <winner>"), 100.0);
        let mut svg = Vec::new();
        draw(&mut svg, &figures, "notes & more").unwrap();
        let svg = String::from_utf8(svg).unwrap();
        assert!(svg.contains("width=\"210.0\"") && svg.contains("width=\"420.0\""), "{svg}");
        assert!(svg.contains("a &lt;winner>") && svg.contains("notes &amp; more"), "{svg}");
        assert!(!svg.contains("64 threads"), "a row that was not measured is not drawn");
    }
}
