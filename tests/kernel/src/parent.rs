//! The parent's side of a child: starts it, hears it, kills it, and never dies with it.

use std::io::BufReader;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::child::Work;
use crate::failure::{Doing, Result, broken};
use crate::wire::Event;

/// The longest that a child may be silent before the rig gives up on it. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A child at work.
#[derive(Debug)]
pub struct Running {
    child: Child,
    events: Receiver<Event>,
    ear: Option<JoinHandle<()>>,
    /// All that was heard so far and not taken yet.
    pub heard: Vec<Event>,
    ended: bool,
}

impl Running {
    /// Starts the child. `at_once` hears each event before anybody else, on the thread that reads the
    /// pipe.
    pub fn start(work: &Work, mut at_once: impl FnMut(&Event) + Send + 'static) -> Result<Running> {
        let mut child =
            work.command().doing("finding this program")?.spawn().doing("starting a child")?;
        let pipe = child.stdout.take().ok_or_else(|| broken("the child has no pipe"))?;
        let (sender, events) = channel();
        let ear = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            while let Ok(Some(event)) = Event::read(&mut pipe) {
                at_once(&event);
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Running { child, events, ear: Some(ear), heard: Vec::new(), ended: false })
    }

    /// Hears until `enough` says so; false when the child ended before.
    pub fn hear_until(&mut self, mut enough: impl FnMut(&Event) -> bool) -> Result<bool> {
        while !self.ended {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) => {
                    let stop = enough(&event);
                    self.heard.push(event);
                    if stop {
                        return Ok(true);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(broken("the child says nothing for 120 s"));
                }
            }
        }
        Ok(false)
    }

    /// Hears until something was said, now or before, but no longer than this; false when it was not.
    pub fn hear_within(&mut self, limit: Duration, said: impl Fn(&Event) -> bool) -> bool {
        let until = Instant::now() + limit;
        let mut told = self.heard.iter().any(&said);
        while !told && !self.ended {
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    told = said(&event);
                    self.heard.push(event);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
        }
        told
    }

    /// Hears for exactly this long: the random pause that is the experiment.
    pub fn hear_for(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.ended {
            let left = until.saturating_duration_since(Instant::now());
            // The last stretch is waited for awake: a timer would round it up.
            if left < Duration::from_micros(200) {
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                return;
            }
            match self.events.recv_timeout(left - Duration::from_micros(150)) {
                Ok(event) => self.heard.push(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
        }
    }

    /// Kills it with SIGKILL, waits until it is gone, and hears what it had still said.
    pub fn kill(mut self) -> Result<Vec<Event>> {
        self.child.kill().doing("killing the child")?;
        self.finish().map(|(heard, _)| heard)
    }

    /// Waits for its own end.
    pub fn wait(mut self) -> Result<Vec<Event>> {
        self.hear_until(|_| false)?;
        let (heard, status) = self.finish()?;
        if status.success() {
            Ok(heard)
        } else {
            Err(broken(format!("the child ended with {status}")))
        }
    }

    fn finish(&mut self) -> Result<(Vec<Event>, ExitStatus)> {
        let status = self.child.wait().doing("waiting for the child")?;
        if let Some(ear) = self.ear.take() {
            ear.join().map_err(|_| broken("the thread that reads the pipe panicked"))?;
        }
        let mut heard = std::mem::take(&mut self.heard);
        heard.extend(self.events.try_iter());
        Ok((heard, status))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ear.is_some() {
            // An error on the way out of the rig: the child must not outlive it.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
