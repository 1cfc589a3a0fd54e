//! `POST /orders` with an `Idempotency-Key`, and `GET /orders/{id}`.
//!
//! The header is that of the IETF draft (draft-ietf-httpapi-idempotency-key-header): a structured string, such
//! as `Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"`. The draft answers a repeat that comes while the
//! first request is still on its way with 409. Here it needs none: the ledger lets it join, and both get the
//! one receipt. So 409 means what it says, a key that belongs to other content.
//!
//! | answer | when | what a client does |
//! |---|---|---|
//! | 201 | taken now, and on disk | done |
//! | 200 | taken before, or joined: the same receipt | done |
//! | 400 | no key, a bad one, or an order beyond its limits | corrects it |
//! | 409 | the key belongs to other content | takes a new key for a new order |
//! | 422 | refused for good | nothing more under this key |
//! | 503, `Retry-After` | not recorded, or not known | sends the same request again, with the same key |

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use order_ledger::{Certainty, Error, ErrorKind, How, Ledger, OrderId, Outcome, Submission};
use serde_json::{Value, json};

/// Who submits. A real service takes it from who is logged in, never from the body: it is the scope of the keys.
const CLIENT: &str = "web-shop";

/// The routes.
pub fn router(ledger: Ledger) -> Router {
    Router::new()
        .route("/orders", post(submit))
        .route("/orders/{id}", get(look))
        .with_state(Arc::new(ledger))
}

async fn submit(
    State(ledger): State<Arc<Ledger>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let Some(key) = idempotency_key(&headers) else {
        let what = "there is no Idempotency-Key header with a quoted string in it";
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": what }))).into_response();
    };
    // The body's own bytes: a retry sends the same.
    let submission = Submission::new(CLIENT, key, body.to_vec());
    // A plain future, woken when the order is on disk. If the client goes away meanwhile, the order is written
    // all the same, and its retry gets the receipt.
    match ledger.submit_deferred(&submission).await {
        Ok(outcome) => taken(&outcome),
        Err(error) => refused(&error),
    }
}

async fn look(State(ledger): State<Arc<Ledger>>, Path(id): Path<u64>) -> Response {
    // Reading may wait for the disk, so it has a thread that may be blocked.
    let found = tokio::task::spawn_blocking(move || ledger.get(OrderId::from_u64(id))).await;
    match found {
        Ok(Ok(Some(order))) => Json(json!({
            "order_id": order.id().as_u64(),
            "state": order.now.state.to_string(),
            "version": order.now.version,
            "receipt": order.receipt.to_string(),
        }))
        .into_response(),
        Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        Ok(Err(error)) => refused(&error),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The key: a string of RFC 8941, in quotes, with `\"` and `\\` inside.
fn idempotency_key(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all("idempotency-key").iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let quoted = value.to_str().ok()?.trim().strip_prefix('"')?.strip_suffix('"')?;
    let (mut key, mut chars) = (String::new(), quoted.chars());
    while let Some(char) = chars.next() {
        key.push(match char {
            '\\' => chars.next().filter(|it| matches!(it, '"' | '\\'))?,
            '"' => return None,
            other => other,
        });
    }
    (!key.is_empty()).then_some(key)
}

fn taken(outcome: &Outcome) -> Response {
    let status = match outcome.how {
        How::Fresh => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let id = outcome.receipt.order.as_u64();
    let answer = json!({
        "order_id": id,
        "state": outcome.now.state.to_string(),
        "receipt": outcome.receipt.to_string(),
    });
    (status, [(header::LOCATION, format!("/orders/{id}"))], Json(answer)).into_response()
}

/// What is on disk decides: what is not known is never called an error of the client's.
fn refused(error: &Error) -> Response {
    let status = match error.kind() {
        ErrorKind::Invalid { .. } => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict { .. } => StatusCode::CONFLICT,
        ErrorKind::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let certainty = match error.certainty() {
        Certainty::NotRecorded => "not_recorded",
        Certainty::Recorded(_) => "recorded",
        Certainty::Unknown => "unknown",
    };
    let answer: Value =
        json!({ "error": error.to_string(), "on_disk": certainty, "next": error.advice() });
    let mut response = (status, Json(answer)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let after = match error.kind() {
            ErrorKind::Overloaded { retry_after } => *retry_after,
            _ => Duration::from_secs(5),
        };
        let seconds = HeaderValue::from(after.as_secs().max(1));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use order_ledger::Options;
    use tower::ServiceExt;

    fn service() -> (tempfile::TempDir, Router) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Options::new().open(dir.path().join("orders.ledger")).unwrap();
        (dir, router(ledger))
    }

    async fn send(router: &Router, key: Option<&str>, body: &str) -> (StatusCode, Value) {
        let mut request = Request::post("/orders");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        ask(router, request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn a_repeat_gets_the_same_receipt_and_other_content_is_a_conflict() {
        let (_dir, router) = service();
        let (status, first) = send(&router, Some("\"cart-17\""), "2 x tea").await;
        assert_eq!(status, StatusCode::CREATED);
        let (status, again) = send(&router, Some("\"cart-17\""), "2 x tea").await;
        assert_eq!((status, &again), (StatusCode::OK, &first));
        let (status, other) = send(&router, Some("\"cart-17\""), "3 x tea").await;
        assert_eq!((status, &other["on_disk"]), (StatusCode::CONFLICT, &json!("recorded")));
        let path = format!("/orders/{}", first["order_id"]);
        let (status, order) = ask(&router, Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!((status, &order["receipt"]), (StatusCode::OK, &first["receipt"]));
        let (status, _) =
            ask(&router, Request::get("/orders/99").body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }

    /// The draft would answer all but one with 409.
    #[tokio::test(flavor = "multi_thread")]
    async fn requests_that_come_at_the_same_moment_join() {
        let (_dir, router) = service();
        let sent: Vec<_> = (0..64)
            .map(|_| {
                let router = router.clone();
                tokio::spawn(async move { send(&router, Some("\"k\""), "tea").await })
            })
            .collect();
        let (mut created, mut receipts) = (0, Vec::new());
        for answer in sent {
            let (status, body) = answer.await.unwrap();
            assert!(status.is_success(), "{status} {body}");
            created += usize::from(status == StatusCode::CREATED);
            receipts.push(body["receipt"].clone());
        }
        receipts.dedup();
        assert_eq!((created, receipts.len()), (1, 1));
    }

    #[tokio::test]
    async fn a_request_without_a_key_that_can_be_one_is_refused() {
        let (_dir, router) = service();
        for key in [None, Some("cart-17"), Some("\"\""), Some("\"a\"b\""), Some("\"a\\b\"")] {
            assert_eq!(send(&router, key, "tea").await.0, StatusCode::BAD_REQUEST, "{key:?}");
        }
        let long = format!("\"{}\"", "k".repeat(256));
        assert_eq!(send(&router, Some(&long), "tea").await.0, StatusCode::BAD_REQUEST);
        assert_eq!(send(&router, Some("\"a\\\"b\\\\\""), "tea").await.0, StatusCode::CREATED);
    }
}
