//! What is counted of one route.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode};

use super::{
    HoldOutcome, Inner, RouteMap, RouteName,
    histogram::{HOLD_BOUNDS, Histogram, REQUEST_BOUNDS},
    slots::Slots,
};

/// The label of methods that are not standard ones, and of whatever went over a bound.
pub(super) const OTHER: &str = "_OTHER";

/// The code of a request whose client left before it was answered, as nginx has it. The add-on writes down a 504 that
/// nobody was sent.
const CLIENT_GONE: StatusCode = match StatusCode::from_u16(499) {
    Ok(code) => code,
    Err(_invalid) => StatusCode::BAD_REQUEST,
};

/// A route's metrics, kept in its state and counted in by every request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    series: Arc<RouteSeries>,
    /// The process's, which sum up some of it.
    all: Weak<Inner>,
}

/// One route's series; see [`RouteMetrics`]. A route that never saw a request has allocated nothing further.
#[derive(Debug)]
pub(super) struct RouteSeries {
    name: RouteName,
    /// Durations by method, code and whether the request was held; their counts are the requests.
    requests: Slots<RequestKey, Histogram>,
    /// Requests with a method, code and hold for which there was no room.
    other_requests: OnceLock<Box<Histogram>>,
    holds: [OnceLock<Box<Histogram>>; HoldOutcome::ALL.len()],
    rejections: AtomicU64,
    retries: AtomicU64,
    /// Where the series are listed.
    listed: Weak<RouteMap>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestKey {
    pub(super) code: StatusCode,
    pub(super) method: &'static str,
    pub(super) is_cold_start: bool,
}

impl RouteMetrics {
    pub(super) fn new(series: Arc<RouteSeries>, all: &Arc<Inner>) -> Self {
        Self {
            series,
            all: Arc::downgrade(all),
        }
    }

    /// A request has ended, its answer's body included, `took` after it arrived. Without a status the client had left
    /// before there was one.
    pub fn request_ended(
        &self,
        method: &Method,
        status: Option<StatusCode>,
        took: Duration,
        is_cold_start: bool,
    ) {
        let key = RequestKey {
            code: status.unwrap_or(CLIENT_GONE),
            method: method_label(method),
            is_cold_start,
        };
        let make = || Histogram::new(REQUEST_BOUNDS);
        self.series
            .requests
            .get_or_insert(key, make)
            .unwrap_or_else(|| self.series.other_requests.get_or_init(|| Box::new(make())))
            .observe(took);
    }

    /// A request was held for `took`.
    pub fn hold_ended(&self, took: Duration, outcome: HoldOutcome) {
        self.series.holds[outcome as usize]
            .get_or_init(|| Box::new(Histogram::new(HOLD_BOUNDS)))
            .observe(took);
        if let Some(all) = self.all.upgrade() {
            all.hold_ended(took, outcome);
        }
    }

    /// A request was refused because too many are held.
    pub fn rejected(&self) {
        self.series.rejections.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was sent again.
    pub fn retried(&self) {
        self.series.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn series(&self) -> &Arc<RouteSeries> {
        &self.series
    }
}

/// Metrics that nobody shows.
impl Default for RouteMetrics {
    fn default() -> Self {
        let nobody = (Arc::from(""), Arc::from(""));
        Self {
            series: Arc::new(RouteSeries::new(nobody, Weak::new())),
            all: Weak::new(),
        }
    }
}

impl RouteSeries {
    pub(super) fn new(name: RouteName, listed: Weak<RouteMap>) -> Self {
        Self {
            name,
            requests: Slots::new(),
            other_requests: OnceLock::new(),
            holds: [const { OnceLock::new() }; HoldOutcome::ALL.len()],
            rejections: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            listed,
        }
    }

    pub(super) fn name(&self) -> &RouteName {
        &self.name
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = (&RequestKey, &Histogram)> {
        self.requests.iter()
    }

    pub(super) fn other_requests(&self) -> Option<&Histogram> {
        self.other_requests.get().map(Box::as_ref)
    }

    pub(super) fn holds(&self) -> impl Iterator<Item = (HoldOutcome, &Histogram)> {
        HoldOutcome::ALL
            .into_iter()
            .zip(&self.holds)
            .filter_map(|(outcome, hold)| Some((outcome, &**hold.get()?)))
    }

    pub(super) fn rejections(&self) -> u64 {
        self.rejections.load(Ordering::Relaxed)
    }

    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

/// The last one to count in them takes the series off the list.
impl Drop for RouteSeries {
    fn drop(&mut self) {
        let Some(listed) = self.listed.upgrade() else {
            return;
        };
        let mut listed = listed.lock();
        // Another route of the name may have come in the meantime.
        if listed
            .get(&self.name)
            .is_some_and(|series| series.strong_count() == 0)
        {
            listed.remove(&self.name);
        }
    }
}

/// The label of a method: itself if it is one of the nine standard ones, spelled as they are.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::CONNECT => "CONNECT",
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::TRACE => "TRACE",
        _ => OTHER,
    }
}
