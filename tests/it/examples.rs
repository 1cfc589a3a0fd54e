//! The examples do what they say: each asserts it, and is run as `cargo test` has built it. `quickstart` writes into
//! the directory that it is run in, and `tpch` takes a while: they are only built.

use std::process::Command;

#[test]
fn the_examples_run() {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples");
    for name in ["checkout", "own_lifecycle", "payments", "retry", "typed", "worker"] {
        let program = built.join(name);
        if !program.exists() {
            println!(
                "SKIPPED: {name} is not built: `cargo test` builds it, one test alone does not"
            );
            continue;
        }
        let ran = Command::new(program).output().unwrap();
        assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}
