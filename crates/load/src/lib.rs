//! Listening to an interceptor's load stream, as the external scaler and the controller do.
//!
//! What becomes of the reports is the listener's own affair ([`ReportSink`]); here is what the two have in common: how to
//! connect, when a silent stream is given up, why it ended, and how long to wait before the next attempt.
//!
//! Bounded by one report at a time, of [`MAX_REPORT_BYTES`] at most.

mod pauses;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;

pub use self::{
    pauses::Pauses,
    stream::{Loss, MAX_REPORT_BYTES, ReportSink, StreamError, follow},
};
