//! Any bytes as `wal/0000000001.seg` of a ledger that is otherwise sound.
//!
//! The first byte says how far [`format::repair`](crate::format::repair) goes; the others are the
//! segment, either as they are or laid over the start of a valid header. Oracle: no panic; a refusal
//! changes no byte and is repeated; what is opened reads the same by a reader, by the writer and by a
//! second writer, with every order under its own key, and takes a new order that is there afterwards.

use order_ledger::disk::sim::{SimDisk, SimHost, Snapshot};
use order_ledger::{Error, ErrorKind, Ledger, Order, Reader, Submission};

use crate::format::{self, Depth};
use crate::small;

const SEGMENT: &str = "wal/0000000001.seg";
/// Larger inputs are only slower.
const BYTES_MAX: usize = 64 * 1024;

/// A new ledger, closed, and the header block of its segment.
struct Base {
    disk: Snapshot,
    header: Vec<u8>,
}

impl Base {
    fn make() -> Base {
        let disk = SimDisk::new(1);
        let host = SimHost::new(1);
        drop(small().open_simulated(disk.as_disk(), host.as_host()).expect("a new ledger"));
        // The witness would refuse every segment that ends before the one it has seen.
        if disk.files().iter().any(|(path, _)| path == "derived/tables/MANIFEST") {
            disk.remove_durably("derived/tables/MANIFEST").expect("it is there");
        }
        let header = disk.read_durable(SEGMENT).expect("the first segment")[..4096].to_vec();
        Base { disk: disk.snapshot(), header }
    }
}

thread_local! {
    static BASE: Base = Base::make();
}

pub fn run(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    if bytes.len() > BYTES_MAX {
        return;
    }
    BASE.with(|base| {
        let depth = Depth::from_byte(*mode);
        let mut segment = bytes.to_vec();
        if depth > Depth::Nothing {
            // The input begins behind the header: what is to be found out lies in the groups.
            segment = [&base.header, bytes].concat();
            // Room for what comes after it, as in a prepared file.
            let zeros = usize::from(*mode / 5 % 4) * 4096;
            segment.resize((segment.len() + zeros).next_multiple_of(4096), 0);
            format::repair(&mut segment, &base.header, depth);
        }
        check(base, &segment);
    });
}

fn check(base: &Base, segment: &[u8]) {
    let disk = SimDisk::new(1);
    let host = SimHost::new(2);
    disk.restore(&base.disk);
    disk.write_durably(SEGMENT, segment).expect("the directory is there");
    let open = || small().open_simulated(disk.as_disk(), host.as_host());
    let read = Reader::open_on(disk.as_disk(), &host).and_then(|reader| reader.orders().collect());
    let shown: Result<Vec<Order>, Error> = read;
    let unchanged = || disk.read_durable(SEGMENT).expect("it is there") == segment;
    assert!(unchanged(), "a reader wrote");
    let ledger = match open() {
        Ok(ledger) => ledger,
        Err(error) => {
            assert!(is_refusal(error.kind()), "{error}");
            assert!(shown.is_err(), "a reader shows what the writer refuses: {error}");
            assert!(unchanged(), "it wrote, and refused: {error}");
            let again = open().expect_err("refused before");
            assert_eq!(again.kind(), error.kind());
            return;
        }
    };
    let orders = match (all(&ledger), shown) {
        (Ok(orders), Ok(shown)) => {
            assert!(orders == shown, "a reader and the writer: {orders:?}, {shown:?}");
            orders
        }
        // A record that holds what this version can't read: both say so.
        (Err(error), Err(other)) => {
            assert!(is_refusal(error.kind()), "{error}");
            assert!(is_refusal(other.kind()), "{other}");
            return;
        }
        (orders, shown) => panic!("writer {orders:?}, reader {shown:?}"),
    };
    for order in &orders {
        assert_eq!(ledger.get(order.id()).expect("it was read").as_ref(), Some(order));
        let found =
            ledger.by_key(&order.client, &order.key).expect("it was read").expect("its key");
        assert_eq!((&found.client, &found.key), (&order.client, &order.key));
    }
    let new = Submission::new("after", "the-key-of-afterwards", "1");
    let known = ledger.by_key("after", "the-key-of-afterwards").expect("the keys are readable");
    let taken = ledger.submit(&new);
    let taken = match taken {
        Ok(outcome) => outcome,
        // The bytes may hold that very key, and times and seqs at the end of their range.
        Err(error) => {
            assert!(known.is_some() || orders_are_at_the_end(&orders), "{error}");
            return;
        }
    };
    ledger.close().expect("nothing has failed");
    let ledger = open().expect("what was opened and closed opens");
    let after = all(&ledger).expect("readable before");
    assert_eq!(after[..orders.len()], orders[..], "a second open");
    let found = ledger.by_key("after", "the-key-of-afterwards").expect("readable").expect("taken");
    assert_eq!(found.receipt, taken.receipt);
    ledger.close().expect("nothing has failed");
}

fn all(ledger: &Ledger) -> Result<Vec<Order>, Error> {
    ledger.orders().collect()
}

/// What may be said about a damaged or foreign segment.
fn is_refusal(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Corrupt(_) | ErrorKind::NewerFormat { .. } | ErrorKind::LogLostData { .. }
    )
}

/// Ledger time of the last order is so late that none can follow it.
fn orders_are_at_the_end(orders: &[Order]) -> bool {
    orders.last().is_some_and(|order| order.receipt.accepted_at.as_unix_ns() > u64::MAX / 2)
}
