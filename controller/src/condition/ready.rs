//! `Ready`: the summary.

use rouse_api::condition::{ACCEPTED, GATEWAY_READY, READY, REASON_RECONCILED, SCALER_READY, TARGET_FOUND};

use super::{Finding, Status};

/// The conditions without which a route is not ready, the most telling first.
const NEEDED: [&str; 4] = [ACCEPTED, TARGET_FOUND, SCALER_READY, GATEWAY_READY];

/// True unless one of the other findings says no: what nobody knows yet is not held against the route, as in the add-on,
/// which calls it ready as soon as it has written everything.
pub(crate) fn find(findings: &[Finding], message: &str) -> Finding {
    let failing = NEEDED.iter().find_map(|kind| {
        findings
            .iter()
            .find(|finding| finding.kind == *kind && finding.status == Status::False)
    });
    match failing {
        Some(failing) => Finding::fails(READY, failing.reason, failing.message.clone()),
        None => Finding::holds(READY, REASON_RECONCILED, message),
    }
}
