//! `top`: a ledger live in the terminal.
//!
//! - [`view`]: what there is to see; [`draw`]: how it is laid out
//!
//! Always true: it only looks; however it ends, the terminal is as it was before.

mod draw;
mod view;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::args::Top;
use crate::errors::{Exit, Failure};
use crate::watched::Watched;
use view::Viewer;

pub(crate) fn run(args: &Top) -> Result<Exit, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::Usage {
            what: "there is no terminal to draw in".into(),
            advice: "use `check --states` or `stats` where nobody looks on".into(),
        });
    }
    let mut viewer = Viewer::new(Watched::open(&args.dir.path)?);
    let terminal_failed = |error| Failure::io("using the terminal", error);
    let mut terminal = ratatui::try_init().map_err(terminal_failed)?;
    let ended = show(&mut terminal, &mut viewer, args.interval);
    ratatui::try_restore().map_err(terminal_failed)?;
    ended
}

/// Draws and looks until a key ends it.
fn show(
    terminal: &mut DefaultTerminal,
    viewer: &mut Viewer,
    interval: Duration,
) -> Result<Exit, Failure> {
    let terminal_failed = |error| Failure::io("using the terminal", error);
    loop {
        let begun = Instant::now();
        let view = viewer.look(begun)?;
        terminal.draw(|frame| draw::draw(frame, &view)).map_err(terminal_failed)?;
        loop {
            let left = interval.saturating_sub(begun.elapsed());
            if !event::poll(left).map_err(terminal_failed)? {
                break;
            }
            match event::read().map_err(terminal_failed)? {
                Event::Key(key) if ends(key) => return Ok(Exit::Done),
                // Drawn anew in the new size.
                Event::Resize(..) => break,
                _ => {}
            }
        }
    }
}

fn ends(key: KeyEvent) -> bool {
    let is_control_c =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let is_end = matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || is_control_c;
    key.kind == KeyEventKind::Press && is_end
}
