//! Orders over HTTP: `cargo run --manifest-path examples/http/Cargo.toml -- ./orders 127.0.0.1:8080`, then
//!
//! ```sh
//! curl -i http://127.0.0.1:8080/orders -H 'Idempotency-Key: "cart-17"' -d '2 x tea'
//! ```

use order_ledger::Ledger;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().unwrap_or_else(|| "./orders".to_owned());
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let ledger = Ledger::open(&dir)?;
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("orders go to {dir}, over http://{}", listener.local_addr()?);
    axum::serve(listener, order_ledger_http::router(ledger.clone()))
        .with_graceful_shutdown(async {
            // Whatever comes of waiting for the signal, it is time to end.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    ledger.close()?;
    Ok(())
}
