//! `watch`: raises alerts, and tells a command or a webhook.
//!
//! Always true: what is told is on disk; one that can't be told does not keep the next from being told.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use order_ledger::{
    AlertEvent, ErrorKind, EventFilter, EventKind, Follower, Ledger, Lifecycle, Seq, WatchOptions,
};

use crate::alerts::{about, event_fields};
use crate::args::Watch;
use crate::errors::{Exit, Failure};
use crate::opening;
use crate::output::{Out, shown, time};

/// How long a webhook may take to answer.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Watch, out: &mut Out) -> Result<Exit, Failure> {
    let settings = opening::settings(&args.opening)?;
    // It must be there: a mistyped path must not make a ledger.
    let (_, lifecycle) = settings.look(&args.dir.path)?;
    let (sender, events) = mpsc::channel();
    let watch = WatchOptions::new()
        .look_every(args.every)
        .remind_every(Duration::from_secs(60) * args.remind)
        .on_alert(move |event| {
            // Nobody hears any more when the command ends.
            drop(sender.send(event.clone()));
        });
    let mut told = Told { args, lifecycle: &lifecycle, failed: false, agent: agent() };
    match settings.options().watch(watch).open(&args.dir.path) {
        Ok(ledger) => {
            let watched = told.watch(&ledger, &events, out);
            let closed = ledger.close();
            watched?;
            closed?;
        }
        Err(error) if matches!(error.kind(), ErrorKind::Locked { .. }) && !args.once => {
            told.follow(out)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(if told.failed { Exit::No } else { Exit::Done })
}

/// Whom to tell.
struct Told<'a> {
    args: &'a Watch,
    lifecycle: &'a Lifecycle,
    failed: bool,
    agent: ureq::Agent,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(WEBHOOK_TIMEOUT)).build().into()
}

impl Told<'_> {
    /// Passes on what the watch of this process raises.
    fn watch(
        &mut self,
        ledger: &Ledger,
        events: &mpsc::Receiver<AlertEvent>,
        out: &mut Out,
    ) -> Result<(), Failure> {
        if self.args.once {
            ledger.watch_once();
            return events.try_iter().try_for_each(|event| self.tell(&event, out));
        }
        // Ends with the process.
        events.iter().try_for_each(|event| self.tell(&event, out))
    }

    /// Passes on what the process raises that has the ledger open.
    fn follow(&mut self, out: &mut Out) -> Result<(), Failure> {
        let mut follower = Follower::open(&self.args.dir.path, Seq::FIRST)?
            .filter(EventFilter::all().event_kind(EventKind::Alerted));
        follower.skip_to_end();
        let mut next = follower.next();
        let words = "another process has the ledger open: passing on what that one raises";
        // Standard error may be closed; then nobody wants to know.
        drop(writeln!(anstream::stderr().lock(), "{words}"));
        loop {
            // News of orders, and when there are none, a look at all else now and then.
            follower.poll(usize::MAX, self.args.every)?;
            let mut events = follower.reader().alert_events(next);
            for event in events.by_ref() {
                self.tell(&event?, out)?;
            }
            next = events.position();
        }
    }

    fn tell(&mut self, event: &AlertEvent, out: &mut Out) -> Result<(), Failure> {
        let fields = event_fields(event, self.lifecycle);
        if out.json {
            out.json_line(&fields)?;
        } else {
            let AlertEvent { seq, at, change, alert, .. } = event;
            let (at, about, detail) =
                (time(*at), about(&alert.subject), shown(alert.detail.as_bytes()));
            let (kind, level) = (alert.kind, alert.level);
            out.line(format!("{seq}  {at}  {change}  {level}  {kind}  {about}: {detail}"))?;
        }
        out.flush()?;
        let line = format!("{}\n", serde_json::Value::from(fields));
        if let Some(command) = &self.args.exec {
            let ran = execute(command, event, &line);
            self.report("the command", ran);
        }
        if let Some(url) = &self.args.webhook {
            let sent = self.agent.post(url).content_type("application/json").send(&line);
            let sent = sent.map(|_| ()).map_err(|error| error.to_string());
            self.report("the webhook", sent);
        }
        Ok(())
    }

    fn report(&mut self, who: &str, outcome: Result<(), String>) {
        if let Err(why) = outcome {
            self.failed = true;
            // Standard error may be closed; the exit code says the same.
            drop(writeln!(anstream::stderr().lock(), "{who} failed: {why}"));
        }
    }
}

/// Runs a command of the shell for an event, and waits for it.
fn execute(command: &str, event: &AlertEvent, line: &str) -> Result<(), String> {
    let alert = &event.alert;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("ALERT_ID", alert.id.to_string())
        .env("ALERT_CHANGE", event.change.name())
        .env("ALERT_KIND", alert.kind.name())
        .env("ALERT_LEVEL", alert.level.name())
        .env("ALERT_SUBJECT", about(&alert.subject))
        .env("ALERT_DETAIL", alert.detail.replace('\0', " "))
        .stdin(Stdio::piped())
        .stdout(io::stderr())
        .spawn()
        .map_err(|error| format!("it could not be started: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It need not read.
        drop(stdin.write_all(line.as_bytes()));
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(format!("it could not be waited for: {error}")),
    }
}
