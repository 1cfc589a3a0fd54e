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
use order_ledger::HealthStatus;

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let lines = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    let reasons = lines(view.health.reasons.len());
    let [head, rates, health, tables] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(4),
        Constraint::Length(reasons.saturating_mul(2).min(8)),
        Constraint::Min(3),
    ])
    .areas(frame.area());
    draw_head(frame, head, view);
    draw_rates(frame, rates, view);
    draw_health(frame, health, view);
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

    use super::super::view::{Row, Stay};
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
    fn a_slit_of_a_terminal_leaves_things_out_and_harms_nobody() {
        for (width, height) in [(1, 1), (5, 3), (20, 6), (300, 2)] {
            drawn(width, height, &view());
        }
        drawn(80, 24, &View::default());
    }
}
