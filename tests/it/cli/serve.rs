//! `serve`: pages for looking, over a socket and in a real browser.
//!
//! The story: a page that shows what customers wrote is a page that customers write. One order with a script in it,
//! opened by whoever answers the telephone, and the ledger is looked at by somebody else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use order_ledger::{Ledger, Note, NoteKind, Options, State, Submission, Transition};

use super::run::{Place, put};

/// What every field says that a customer can fill.
pub(super) const HOSTILE: &str =
    "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&";

/// A server that ends with the test.
pub(super) struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(super) fn start(place: &Place, args: &[&str]) -> Server {
    let args = [&["--listen", "127.0.0.1:0"], args].concat();
    let mut command = place.command("serve", &args);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").expect(&line);
    Server { address: address.trim_end_matches('/').to_owned(), child }
}

pub(super) struct Answered {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answered {
    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line == header)
    }
}

impl Server {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends these bytes, and reads to the end.
    fn send(&self, bytes: &[u8]) -> Answered {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answered { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(super) fn get(&self, target: &str) -> Answered {
        self.get_with(target, "")
    }

    fn get_with(&self, target: &str, headers: &str) -> Answered {
        let host = &self.address;
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").as_bytes())
    }
}

fn open(place: &Place) -> Ledger {
    Options::new().segment_bytes(1024 * 1024).open(place.ledger()).unwrap()
}

/// A ledger with an ordinary order that is done, one that waits, and one that is hostile in every field.
fn sample() -> Place {
    let place = Place::new();
    let ledger = open(&place);
    let tea = Submission::new("web shop", "cart/17", "{\"tea\": 2}").external_ref("PO 1");
    let first = ledger.submit(&tea).unwrap().receipt.order;
    ledger.transition(&Transition::new(first, State::Completed)).unwrap();
    let submission = Submission::new(&HOSTILE[..60], HOSTILE, HOSTILE).account(&HOSTILE[..60]);
    let hostile = ledger.submit(&submission.external_ref(HOSTILE).kind("x")).unwrap();
    ledger.note(&Note::new(hostile.receipt.order, NoteKind::Dispute, HOSTILE)).unwrap();
    ledger.submit(&Submission::new("web shop", b"\xff\x00", b"\x80")).unwrap();
    ledger.close().unwrap();
    place
}

#[test]
fn the_first_page_shows_totals_and_what_waits_for_longest() {
    let place = sample();
    let server = start(&place, &[]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    for part in [
        "<a href=\"/state/accepted\">accepted</a></td><td class=\"number\">2</td>",
        "<td>completed</td><td class=\"number\">1</td>",
        "<td>all</td><td class=\"number\">3</td>",
        "Longest in state accepted",
        "<a href=\"/order/3\">3</a>",
        "Health: <span class=\"ok\">ok</span>",
    ] {
        assert!(page.body.contains(part), "{part} is missing in {}", page.body);
    }
    assert!(server.get("/state/accepted").body.contains("<a href=\"/order/3\">3</a>"));
    assert_eq!(server.get("/state/completed").status, 200);
    assert_eq!(server.get("/state/shipped").status, 404);
    assert!(server.get("/style.css").head.contains("Content-Type: text/css"));
}

#[test]
fn an_order_has_a_page_with_its_whole_history() {
    let place = sample();
    let server = start(&place, &[]);
    let page = server.get("/order/1");
    assert_eq!(page.status, 200);
    for part in
        ["accepted to completed", "web shop", "cart/17", "PO 1", "olr1-", "&quot;tea&quot;: 2"]
    {
        assert!(page.body.contains(part), "{part} is missing in {}", page.body);
    }
    for none in ["/order/99", "/order/x", "/order/", "/order/1/2", "/nothing"] {
        assert_eq!(server.get(none).status, 404, "{none}");
    }
}

#[test]
fn did_my_order_arrive_is_answered_by_key_receipt_and_number_elsewhere() {
    let place = sample();
    let server = start(&place, &[]);
    let leads_to = |target: &str, order: u64| {
        let answer = server.get(target);
        assert_eq!(answer.status, 303, "{target}: {}", answer.body);
        assert!(answer.has(&format!("Location: /order/{order}")), "{}", answer.head);
    };
    leads_to("/find?client=web+shop&key=cart%2F17", 1);
    // Keys are bytes.
    leads_to("/find?client=web%20shop&key=%FF%00", 5);
    leads_to("/find?order=1", 1);
    let receipt = place.run("get", &["1", "--json"]).json()["receipt"].as_str().unwrap().to_owned();
    leads_to(&format!("/find?order={receipt}"), 1);
    let none = server.get("/find?client=web+shop&key=cart-18");
    assert_eq!(none.status, 404);
    assert!(none.body.contains("submitting it is safe"), "{}", none.body);
    assert_eq!(server.get("/find?order=olr1-nonsense").status, 404);
    let found = server.get("/find?ref=PO+1");
    assert!(found.body.contains("<a href=\"/order/1\">1</a>"), "{}", found.body);
    assert_eq!(server.get("/find?ref=PO+2").status, 404);
    assert_eq!(server.get("/find").status, 400);
}

#[test]
fn what_is_written_while_it_runs_is_shown() {
    let place = sample();
    let server = start(&place, &[]);
    let ledger = open(&place);
    let id = ledger.submit(&Submission::new("web shop", "late", "tea")).unwrap().receipt.order;
    assert_eq!(server.get(&format!("/order/{id}")).status, 200);
    let text = server.get("/metrics").body;
    assert!(text.contains("\norder_ledger_orders{state=\"accepted\"} 3\n"), "{text}");
    ledger.close().unwrap();
}

#[test]
fn programs_get_metrics_and_health() {
    let place = sample();
    let server = start(&place, &[]);
    let metrics = server.get("/metrics");
    assert!(metrics.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", metrics.head);
    assert!(metrics.body.contains("\norder_ledger_health 0\n"), "{}", metrics.body);
    let health = server.get("/health");
    assert_eq!(health.status, 200);
    let health: serde_json::Value = serde_json::from_str(&health.body).unwrap();
    assert_eq!(
        (&health["status"], health["states"][0]["orders"].as_u64()),
        (&"ok".into(), Some(2))
    );
}

/// Whatever is in an order is text on every page that shows it.
#[test]
fn nothing_that_a_customer_wrote_becomes_markup() {
    let place = sample();
    let server = start(&place, &[]);
    let encoded: String = HOSTILE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let pages = [
        "/order/3".to_owned(),
        format!("/find?ref={encoded}"),
        format!("/find?order={encoded}"),
        format!("/find?client={encoded}&key={encoded}"),
        format!("/state/{encoded}"),
        format!("/{encoded}"),
        "/".to_owned(),
    ];
    for target in pages {
        let page = server.get(&target);
        assert!(!page.body.contains("<script"), "{target}: {}", page.body);
        assert!(!page.body.contains("<img"), "{target}: {}", page.body);
        for header in [
            "Content-Security-Policy: default-src 'none'; style-src 'self'; ",
            "X-Content-Type-Options: nosniff",
            "X-Frame-Options: DENY",
            "Referrer-Policy: no-referrer",
            "Cache-Control: no-store",
        ] {
            assert!(page.head.contains(header), "{target}: {}", page.head);
        }
    }
    let page = server.get("/order/3").body;
    assert!(page.matches("&lt;script&gt;").count() >= 5, "{page}");
    // A line break in what becomes a header would be a header of its own.
    let answer = server.get("/find?order=1%0d%0aSet-Cookie:%20a=b");
    assert!(!answer.head.contains("Set-Cookie"), "{}", answer.head);
}

#[test]
fn it_is_for_looking_only_and_requests_are_bounded() {
    let place = sample();
    let server = start(&place, &[]);
    let host = server.address.clone();
    let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: {host}\r\n");
    let post = server.send(format!("{}Content-Length: 1\r\n\r\nx", head("POST /")).as_bytes());
    assert_eq!(post.status, 405);
    assert!(post.has("Allow: GET, HEAD"), "{}", post.head);
    let of_head = server.send(format!("{}\r\n", head("HEAD /")).as_bytes());
    assert_eq!((of_head.status, &of_head.body[..]), (200, ""));
    assert_eq!(server.send(b"\x16\x03\x01\x02\r\n\r\n").status, 400, "somebody speaks TLS");
    let long = format!("{}X: {}\r\n\r\n", head("GET /"), "y".repeat(9_000));
    assert_eq!(server.send(long.as_bytes()).status, 431);
    // Never an end: answered when it is too long, not when memory is.
    let endless = format!("GET /{}", "y".repeat(20_000));
    assert_eq!(server.send(endless.as_bytes()).status, 431);
    // Who connects and says nothing takes a place, and there are only so many.
    let idle: Vec<_> = (0..40).map(|_| server.connect()).collect();
    let busy = idle.into_iter().map(|mut stream| {
        let mut answer = String::new();
        // Some end without an answer after five seconds.
        drop(stream.read_to_string(&mut answer));
        answer.starts_with("HTTP/1.1 503")
    });
    assert!(busy.filter(|busy| *busy).count() >= 8);
    assert_eq!(server.get("/").status, 200, "and it goes on");
}

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    let place = sample();
    let ran = place.run("serve", &["--listen", "0.0.0.0:0"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("--token-file"), "{}", ran.err);
    let token = place.write("token", "0123456789abcdefgh\n");
    let token = token.to_str().unwrap();
    let listen = ["--listen", "0.0.0.0:0", "--token-file", token];
    let ran = place.run("serve", &listen);
    assert_eq!(ran.code, 2, "others can read the file: {}", ran.err);
    allow(Path::new(token), 0o600);
    let server = start(&place, &["--token-file", token]);
    assert_eq!(server.get("/").status, 401);
    assert_eq!(server.get_with("/", "Authorization: Bearer 0123456789abcdefgX\r\n").status, 401);
    assert_eq!(
        server.get_with("/metrics", "Authorization: Basic 0123456789abcdefgh\r\n").status,
        401
    );
    assert_eq!(server.get_with("/", "Authorization: Bearer 0123456789abcdefgh\r\n").status, 200);
    let short = place.write("short", "0123\n");
    allow(&short, 0o600);
    assert_eq!(place.run("serve", &["--token-file", short.to_str().unwrap()]).code, 2);
}

#[test]
fn a_page_of_another_site_gets_no_answer_by_another_name() {
    let place = sample();
    let server = start(&place, &[]);
    let answer = server.send(b"GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
    assert_eq!(answer.status, 421);
    assert!(!answer.body.contains("order"), "{}", answer.body);
}

#[test]
fn what_is_no_ledger_is_told_before_anything_is_served() {
    let place = Place::new();
    let ran = place.run("serve", &["--listen", "127.0.0.1:0"]);
    assert_eq!((ran.code, &ran.out[..]), (4, ""), "{}", ran.err);
}

fn allow(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What a browser makes of it: the page is there without a script, and the hostile order stays text.
#[test]
fn a_real_browser_shows_the_pages_and_runs_nothing() {
    let Some(browser) = browser() else {
        println!("SKIPPED: there is no chromium here; apt-get install chromium");
        return;
    };
    let place = sample();
    let server = start(&place, &[]);
    let see = |target: &str, args: &[&str]| {
        let profile = place.file("profile");
        let ran = Command::new(&browser)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(args)
            .arg(format!("http://{}{target}", server.address))
            .output()
            .unwrap();
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    let first = see("/", &["--dump-dom"]);
    assert!(first.contains("<title>orders</title>"), "{first}");
    assert!(first.contains("Did my order arrive?"), "{first}");
    let hostile = see("/order/3", &["--dump-dom"]);
    assert!(hostile.contains("<title>order 3</title>"), "a script has run: {hostile}");
    assert!(!hostile.contains("<img"), "{hostile}");
    assert!(hostile.contains("&lt;script&gt;"), "{hostile}");
    // It follows a search to the order.
    let found = see("/find?client=web+shop&key=cart%2F17", &["--dump-dom"]);
    assert!(found.contains("<title>order 1</title>"), "{found}");
    let picture = place.file("page.png");
    see("/", &["--window-size=1000,900", &format!("--screenshot={}", picture.display())]);
    let bytes = std::fs::read(&picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000, "{} bytes", bytes.len());
    if let Some(keep) = std::env::var_os("ORDER_LEDGER_SCREENSHOT") {
        put(Path::new(&keep), &bytes);
    }
}

/// A browser that is installed here.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<_> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name))).find(|it| it.exists())
}
