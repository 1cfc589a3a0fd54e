//! How a view is laid out on the screen.
//!
//! Always true: what does not fit is left out from the end; nothing here knows a ledger.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row as TableRow, Sparkline, Table, Wrap};

use super::view::View;
use crate::check::spoken;
use crate::watched::troubles::Listed;
use order_ledger::{AlertLevel, HealthStatus};

/// Lines of a list with its frame and its names, at most.
const LIST_LINES_MAX: u16 = 8;

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let lines = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    let reasons = lines(view.health.reasons.len());
    // A list without anything on it takes no room.
    let list = |rows: usize| if rows == 0 { 0 } else { lines(rows + 3).min(LIST_LINES_MAX) };
    let told = view.providers.first.len().max(usize::from(view.waiting + view.dead > 0));
    let needs = view.alerts.first.len().max(view.still.first.len());
    let [head, rates, health, somebody, parties, tables] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(4),
        Constraint::Length(reasons.saturating_mul(2).min(8)),
        Constraint::Length(list(needs)),
        Constraint::Length(list(told)),
        Constraint::Min(3),
    ])
    .areas(frame.area());
    draw_head(frame, head, view);
    draw_rates(frame, rates, view);
    draw_health(frame, health, view);
    let [alerts, still] =
        Layout::horizontal([Constraint::Percentage(55), Constraint::Percentage(45)])
            .areas(somebody);
    draw_alerts(frame, alerts, view);
    draw_still(frame, still, view);
    draw_parties(frame, parties, view);
    let [states, longest] =
        Layout::horizontal([Constraint::Percentage(45), Constraint::Percentage(55)]).areas(tables);
    draw_states(frame, states, view);
    draw_longest(frame, longest, view);
}

fn color(status: HealthStatus) -> Color {
    match status {
        HealthStatus::Ok => Color::Green,
        HealthStatus::Warn => Color::Yellow,
        HealthStatus::Critical => Color::Red,
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let status = view.health.status;
    let free = match view.disk_free_bytes {
        Some(bytes) => format!("{} MiB free", bytes / (1024 * 1024)),
        None => "free bytes unknown".into(),
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let first = Line::from(vec![
        Span::styled("order-ledger ", bold),
        Span::styled(status.name(), bold.fg(color(status))),
        Span::raw(format!("  seq {}  {free}  q ends", view.last_seq)),
    ]);
    let second = Line::from(format!("{}  {}", view.at, view.ledger));
    frame.render_widget(Paragraph::new(vec![first, second]), area);
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let most = view.rates.iter().max().copied().unwrap_or(0);
    let title = format!(
        " {:.0} orders/s, {:.0} steps/s (most {most}) ",
        view.orders_per_s, view.steps_per_s
    );
    // The newest are at the right edge, and those that do not fit are left out.
    let width = usize::from(area.width);
    let shown = view.rates.get(view.rates.len().saturating_sub(width)..).unwrap_or_default();
    let rates = Sparkline::default().block(Block::bordered().title(title)).data(shown);
    frame.render_widget(rates.max(most.max(1)), area);
}

fn draw_health(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let lines = view.health.reasons.iter().map(|reason| {
        let code = Span::styled(reason.code, Style::new().fg(color(reason.status)));
        Line::from(vec![code, Span::raw(format!(": {}. {}", reason.text, reason.advice))])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).wrap(Wrap { trim: true }), area);
}

fn level(level: AlertLevel) -> Span<'static> {
    let color = if level == AlertLevel::Critical { Color::Red } else { Color::Yellow };
    Span::styled(level.name(), Style::new().fg(color))
}

/// What is not drawn of a list is told in its title.
fn titled<T>(what: &str, list: &Listed<T>, area: Rect, also: &str) -> Block<'static> {
    let room = usize::from(area.height.saturating_sub(3));
    let title = match list.first.len() > room || list.rest().is_some() {
        true => format!(" {what}: {}, the worst{also} ", list.total()),
        false => format!(" {what}: {}{also} ", list.total()),
    };
    Block::bordered().title(title)
}

fn draw_alerts(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.alerts.first.iter().map(|it| {
        let known = if it.known_to.is_empty() { "nobody" } else { &it.known_to };
        let cells = [it.what.into(), it.about.clone(), spoken(it.age), known.to_owned()];
        TableRow::new([level(it.level)].into_iter().chain(cells.map(Span::raw)))
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Length(13),
        Constraint::Min(8),
        Constraint::Length(11),
        Constraint::Length(8),
    ];
    let table = Table::new(rows, widths)
        .header(header(["level", "alert", "about", "for", "known to"]))
        .block(titled("alerts", &view.alerts, area, ""));
    frame.render_widget(table, area);
}

fn draw_still(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.still.first.iter().map(|it| {
        let cells =
            [it.order.to_string(), it.state.clone(), spoken(it.stays), spoken(it.threshold)];
        TableRow::new([level(it.level)].into_iter().chain(cells.map(Span::raw)))
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Min(5),
        Constraint::Length(11),
        Constraint::Length(10),
        Constraint::Length(9),
    ];
    let table = Table::new(rows, widths)
        .header(header(["level", "order", "state", "for", "allowed"]))
        .block(titled("stand still", &view.still, area, ""));
    frame.render_widget(table, area);
}

fn draw_parties(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.providers.first.iter().map(|it| {
        let half = it.half_within.map(|time| format!("{time:.1?}"));
        let cells = [
            it.provider.clone(),
            it.open.to_string(),
            it.in_doubt.to_string(),
            it.attempts.to_string(),
            it.unknown.to_string(),
            half.unwrap_or_default(),
        ];
        let alone = it.left_alone.map(spoken).unwrap_or_default();
        let alone = Span::styled(alone, Style::new().fg(Color::Red));
        TableRow::new(cells.map(Span::raw).into_iter().chain([alone]))
    });
    let number = Constraint::Length(9);
    let widths = [
        Constraint::Min(10),
        number,
        number,
        number,
        number,
        Constraint::Length(12),
        Constraint::Length(14),
    ];
    let names =
        ["third party", "open", "in doubt", "attempts", "unknown", "half within", "left alone for"];
    let also = format!("; told to nobody yet {}, given up {}", view.waiting, view.dead);
    let table = Table::new(rows, widths).header(header(names)).block(titled(
        "third parties",
        &view.providers,
        area,
        &also,
    ));
    frame.render_widget(table, area);
}

fn draw_states(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.states.iter().map(|row| {
        let longest = row.longest.map(spoken).unwrap_or_default();
        TableRow::new([row.state.clone(), row.orders.to_string(), longest])
    });
    let widths = [Constraint::Min(12), Constraint::Length(12), Constraint::Length(14)];
    let table = Table::new(rows, widths)
        .header(header(["state", "orders", "longest"]))
        .block(Block::bordered().title(" by state "));
    frame.render_widget(table, area);
}

fn draw_longest(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.longest.iter().map(|stay| {
        TableRow::new([stay.order.to_string(), stay.state.clone(), spoken(stay.stays)])
    });
    let widths = [Constraint::Min(10), Constraint::Length(16), Constraint::Length(14)];
    let table = Table::new(rows, widths)
        .header(header(["order", "state", "for"]))
        .block(Block::bordered().title(" longest in their state "));
    frame.render_widget(table, area);
}

fn header<const N: usize>(names: [&'static str; N]) -> TableRow<'static> {
    TableRow::new(names).style(Style::new().add_modifier(Modifier::BOLD))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use order_ledger::{Health, HealthReason, OrderId, Seq};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::view::{AlertRow, ProviderRow, Row, Stay, StillRow};
    use super::*;

    fn view() -> View {
        let row = |state: &str, orders, longest: Option<u64>| Row {
            state: state.into(),
            orders,
            longest: longest.map(Duration::from_secs),
        };
        let stay = |order, state: &str, seconds| Stay {
            order: OrderId::new(0, Seq(order)),
            state: state.into(),
            stays: Duration::from_secs(seconds),
        };
        let text = "2 order(s) for longer than 1 h";
        let reason = HealthReason::new(HealthStatus::Warn, "oldest", text, "look at them");
        View {
            ledger: "00112233445566778899aabbccddeeff".into(),
            at: "2026-11-30T12:00:00.000000000Z".into(),
            last_seq: 4711,
            disk_free_bytes: Some(3 << 30),
            orders_per_s: 812.4,
            steps_per_s: 2.0,
            rates: vec![0, 100, 200, 400, 800, 812],
            states: vec![
                row("accepted", 12, Some(7_300)),
                row("in_progress", 3, Some(61)),
                row("completed", 4_000, None),
            ],
            longest: vec![stay(17, "accepted", 7_300), stay(4_000, "in_progress", 61)],
            health: Health::of([reason]),
            ..View::default()
        }
    }

    /// The same with everything that may need somebody.
    fn troubled() -> View {
        let alert = |level, known_to: &str| AlertRow {
            level,
            what: "stuck_order",
            about: "order 17".into(),
            age: Duration::from_secs(7_300),
            known_to: known_to.into(),
        };
        let still = StillRow {
            level: AlertLevel::Critical,
            order: OrderId::new(0, Seq(17)),
            state: "accepted".into(),
            stays: Duration::from_secs(7_300),
            threshold: Duration::from_secs(3_600),
        };
        let provider = |provider: &str, left_alone| ProviderRow {
            provider: provider.into(),
            open: 3,
            in_doubt: 1,
            attempts: 4_711,
            unknown: 12,
            half_within: Some(Duration::from_millis(81)),
            left_alone,
        };
        View {
            alerts: Listed {
                first: vec![alert(AlertLevel::Critical, ""), alert(AlertLevel::Warn, "ann")],
                more: 7,
                and_beyond: false,
            },
            still: Listed { first: vec![still], more: 0, and_beyond: false },
            providers: Listed {
                first: vec![
                    provider("acme-pay", Some(Duration::from_secs(61))),
                    provider("bank", None),
                ],
                more: 0,
                and_beyond: false,
            },
            waiting: 5,
            dead: 2,
            ..view()
        }
    }

    fn drawn(width: u16, height: u16, view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_is_on_one_screen() {
        let screen = drawn(90, 18, &view());
        for part in [
            "order-ledger warn",
            "seq 4711  3072 MiB free",
            "812 orders/s, 2 steps/s",
            "oldest: 2 order(s) for longer than 1 h. look at them",
            "accepted",
            "2 h 1 min",
            "1 min 1 s",
            "4000",
        ] {
            assert!(screen.contains(part), "{part} is missing:\n{screen}");
        }
        insta::assert_snapshot!(screen);
    }

    #[test]
    fn what_needs_somebody_is_on_top_of_the_lists() {
        let screen = drawn(110, 30, &troubled());
        for part in [
            "alerts: 9, the worst",
            "stand still: 1 ",
            "nobody",
            "ann",
            "order 17",
            "third parties: 2; told to nobody yet 5, given up 2",
            "acme-pay",
            "81.0ms",
            "1 min 1 s",
        ] {
            assert!(screen.contains(part), "{part} is missing:\n{screen}");
        }
        insta::assert_snapshot!(screen);
    }

    #[test]
    fn a_slit_of_a_terminal_leaves_things_out_and_harms_nobody() {
        for (width, height) in [(1, 1), (5, 3), (20, 6), (300, 2)] {
            drawn(width, height, &view());
            drawn(width, height, &troubled());
        }
        drawn(80, 24, &View::default());
    }
}
