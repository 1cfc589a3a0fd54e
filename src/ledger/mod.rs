//! The front door: handles, options, opening and closing, queries, the typed front.
//!
//! - [`options`]: how a ledger is opened; [`opening`]: how it is put together
//! - [`handle`]: [`Ledger`], open for writing; [`life`]: its steps and consumers; [`linked`]: its batches; [`reader`]: [`Reader`], open for reading only;
//!   [`follow`]: [`Follower`], which goes on reading
//! - [`sweep`]: the timer that records which orders have expired
//! - [`read`]: what both can read; [`query`]: pages of orders; [`stats`]: counts and sizes
//! - [`alerts`]: what stands still or fails, and who knows of it
//! - [`metrics`]: what was counted, in one snapshot; [`exposition`]: the same for Prometheus; [`health`]: what
//!   is wrong; `recording`: the same for the recorder of the `metrics` crate
//! - [`census`]: which order is in which state since when, event by event
//! - [`third_parties`]: what waits for them, for metrics and the watch
//! - [`holds`]: clients and accounts that give no new orders for now
//! - [`dispatches`]: what third parties are to be told about orders; [`open_dispatches`]: pages of what waits
//! - [`notes`]: what is noted about orders; [`open_notes`]: pages of what waits to be resolved
//! - [`typed`]: [`Orders`], payloads as values of a Rust type; [`typed_life`]: their steps and events

pub(crate) mod alerts;
pub(crate) mod census;
pub(crate) mod dispatches;
pub(crate) mod exposition;
pub(crate) mod follow;
pub(crate) mod handle;
pub(crate) mod health;
pub(crate) mod holds;
pub(crate) mod life;
pub(crate) mod linked;
pub(crate) mod metrics;
pub(crate) mod notes;
pub(crate) mod open_dispatches;
pub(crate) mod open_notes;
pub(crate) mod opening;
pub(crate) mod options;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod reader;
#[cfg(feature = "metrics")]
pub(crate) mod recording;
pub(crate) mod stats;
pub(crate) mod sweep;
pub(crate) mod third_parties;
pub(crate) mod typed;
pub(crate) mod typed_life;

pub use alerts::AlertIter;
pub use census::Census;
pub use follow::Follower;
pub use handle::Ledger;
pub use health::{Health, HealthReason, HealthStatus};
pub use metrics::{Activity, AlertMetrics, Metrics, QueueMetrics, StateMetrics, Submissions};
pub use open_dispatches::{DispatchPage, DispatchQuery};
pub use open_notes::{NotePage, NoteQuery};
pub use options::{GroupPadding, LogWrites, Options, Views};
pub use query::{Page, PageToken, Query};
pub use read::{EventIter, OrderIter};
pub use reader::Reader;
pub use stats::{Stats, ViewsStats};
pub use third_parties::{OutboxMetrics, ProviderMetrics};
pub use typed::Orders;
pub use typed_life::{TypedConsumer, TypedEvent, TypedPage};
