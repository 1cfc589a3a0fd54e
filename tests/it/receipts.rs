//! The receipt: immutable, and able to travel (SEMANTICS rules 7 and 8).

use order_ledger::{Durability, ErrorKind, How, Options, Receipt, ReceiptError, State};
use proptest::prelude::*;

use crate::support::{Machine, order, small};

fn receipt() -> Receipt {
    Machine::new(1).open().submit(&order(1)).unwrap().receipt
}

#[test]
fn rule_7_a_receipt_survives_bytes_and_print() {
    let receipt = receipt();
    assert_eq!(receipt.first_state, State::Accepted);
    assert_eq!(Receipt::from_bytes(&receipt.to_bytes()), Ok(receipt));
    let printed = receipt.to_string();
    assert!(printed.is_ascii() && !printed.contains(char::is_whitespace), "{printed}");
    assert_eq!(printed.parse(), Ok(receipt));
}

/// A receipt that was read out on the telephone, or wrapped by a mail program.
#[test]
fn rule_7_a_receipt_survives_a_telephone_and_a_mail() {
    let receipt = receipt();
    let printed = receipt.to_string();
    let heard = printed.to_lowercase().replace('0', "o").replace('1', "l");
    assert_eq!(heard.parse(), Ok(receipt));
    let (head, tail) = printed.split_at(40);
    assert_eq!(format!(" {head}\r\n  {tail} ").parse(), Ok(receipt));
    let grouped = format!("{}-{}", &printed[..20], &printed[20..]);
    assert_eq!(grouped.parse(), Ok(receipt));
}

#[test]
fn rule_7_every_flipped_bit_and_every_cut_of_a_receipt_is_noticed() {
    let bytes = receipt().to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes;
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(Receipt::from_bytes(&bent).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(Receipt::from_bytes(&bytes[..length]).is_err());
    }
}

#[test]
fn rule_7_a_mistyped_character_is_noticed() {
    let printed = receipt().to_string();
    for (at, was) in printed.char_indices().skip(5) {
        for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars().filter(|other| *other != was) {
            let mut typed = printed.clone();
            typed.replace_range(at..=at, &other.to_string());
            assert!(typed.parse::<Receipt>().is_err(), "{typed}");
        }
    }
    assert_eq!("hello".parse::<Receipt>(), Err(ReceiptError::NotAReceipt));
    assert_eq!("".parse::<Receipt>(), Err(ReceiptError::NotAReceipt));
}

proptest! {
    #[test]
    fn rule_7_no_text_and_no_bytes_make_it_panic(text in "\\PC*", bytes: Vec<u8>) {
        prop_assert!(text.parse::<Receipt>().is_err());
        prop_assert!(Receipt::from_bytes(&bytes).is_err());
    }
}

#[test]
fn rule_8_a_relaxed_ledger_says_so_and_never_becomes_a_durable_one() {
    let machine = Machine::new(2);
    let relaxed = small().durability(Durability::Relaxed);
    let ledger = machine.open_with(&relaxed).unwrap();
    let receipt = ledger.submit(&order(1)).unwrap().receipt;
    assert_eq!(receipt.durability, Durability::Relaxed);
    assert_eq!(receipt.to_string().parse(), Ok(receipt));
    ledger.close().unwrap();
    let error = machine.open_with(&small()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DurabilityMismatch { ledger: Durability::Relaxed });
    let again = machine.open_with(&relaxed).unwrap();
    assert_eq!(again.submit(&order(1)).unwrap().how, How::Replayed);

    let machine = Machine::new(3);
    machine.open().close().unwrap();
    assert!(machine.open_with(&relaxed).is_err());
}

#[test]
fn a_setting_out_of_bounds_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    for options in [
        Options::new().segment_bytes(1024),
        Options::new().segment_bytes(1 << 33),
        Options::new().queue_orders_max(0),
        Options::new().client_share_percent(101),
        Options::new().seal_after(std::time::Duration::ZERO),
    ] {
        let error = options.open(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
    }
    assert!(!path.exists());
}
