//! `serve`: a ledger as web pages, for looking only.
//!
//! - [`http`]: requests and answers, and how large and how slow they may be
//! - [`access`]: who may look
//! - [`site`]: which page a request gets; [`pages`]: what is on it
//!
//! Always true: nothing that a request says reaches the ledger but as a question; at most [`CONNECTIONS_MAX`]
//! connections are served at a time, each for a bounded time; what callers wrote into orders is shown as text and
//! never as markup.

mod access;
mod http;
mod pages;
mod site;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::args::Serve;
use crate::errors::{Exit, Failure};
use crate::output::Out;
use access::Access;
use http::{Answer, Status};
use site::Site;

/// Connections that are served at the same time. A page takes milliseconds; a search by reference reads the log.
const CONNECTIONS_MAX: usize = 32;

pub(crate) fn run(args: &Serve, out: &mut Out) -> Result<Exit, Failure> {
    let access = Access::new(args.listen, args.token_file.as_deref())?;
    let site = Site::open(&args.dir.path, access)?;
    let listening = |error| Failure::io(format!("listening to {}", args.listen), error);
    let listener = TcpListener::bind(args.listen).map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    match out.json {
        true => out.json_line(&serde_json::json!({"listening": address.to_string()}))?,
        false => out.line(format!("listening on http://{address}/"))?,
    }
    out.flush()?;
    accept(&listener, &Arc::new(site))
}

/// Serves until the process ends.
fn accept(listener: &TcpListener, site: &Arc<Site>) -> Result<Exit, Failure> {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        // One that is gone again is none: a client that gave up, or no descriptor left for it.
        let Ok((stream, _)) = listener.accept() else {
            std::thread::park_timeout(PAUSE_AFTER_ERROR);
            continue;
        };
        let counted = Counted::new(&open);
        if counted.before >= CONNECTIONS_MAX {
            refuse(stream);
            continue;
        }
        let site = Arc::clone(site);
        let serving = std::thread::Builder::new().name("serve".into()).spawn(move || {
            let _counted = counted;
            http::serve(stream, |request| site.answer(request));
        });
        // Without a thread the connection is closed; the next one may get one.
        drop(serving);
    }
}

/// Between two tries when a connection could not be taken.
const PAUSE_AFTER_ERROR: std::time::Duration = std::time::Duration::from_millis(50);

/// One of the connections that are served.
struct Counted {
    open: Arc<AtomicUsize>,
    before: usize,
}

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Counted {
        let before = open.fetch_add(1, Ordering::Relaxed);
        Counted { open: Arc::clone(open), before }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says that there is no room, without reading what is wanted.
fn refuse(stream: TcpStream) {
    let answer = Answer::text(Status::Busy, "too many connections; try again\n");
    http::send(stream, &answer, false);
}
