//! Puts what was counted, and what exists as state, into the scraper's format. Runs on the control runtime, at a scrape.

use std::{
    collections::BTreeMap,
    fmt::{self, Error},
    sync::{Arc, atomic::Ordering},
};

use http::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::{
    ConnectOutcome, HoldOutcome, Metrics,
    histogram::Histogram,
    route::{OTHER, RequestKey, RouteSeries},
};
use crate::{index::IndexHandle, load::LoadHub};

type Result = std::result::Result<(), Error>;

/// What the process as a whole holds at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessGauges {
    /// Client connections open.
    pub downstream_connections: u64,
    /// Client connections ever accepted.
    pub downstream_connections_accepted: u64,
    /// Panics that cost a connection or a request.
    pub panics: u64,
    /// Requests that endpoints are working on.
    pub upstream_in_flight_requests: u64,
    /// HTTP/1.1 connections to endpoints that carry no request.
    pub upstream_idle_connections: u64,
    /// Bytes of bodies of held requests, as the bound counts them.
    pub pending_bytes: u64,
}

/// What was counted.
#[derive(Debug)]
pub(super) struct Counted(pub(super) Metrics);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::result::Result<(), Error> {
        let routes = self.0.series();
        let all = &self.0.0;
        let with_unrouted = || routes.iter().chain([all.unrouted.series()]);
        request_count(&mut encoder, with_unrouted())?;
        request_duration(&mut encoder, with_unrouted())?;
        cold_starts(&mut encoder, &routes)?;
        per_route_counters(&mut encoder, &routes)?;

        let mut answers = encoder.encode_descriptor(
            "rouse_interceptor_answers",
            "Answers that Rouse made itself, by reason (the rouse-error header)",
            None,
            MetricType::Counter,
        )?;
        for (reason, count) in all.answers.iter() {
            counter(
                &mut answers,
                &[("reason", *reason)],
                count.load(Ordering::Relaxed),
            )?;
        }

        let mut pending = encoder.encode_descriptor(
            "rouse_interceptor_pending_duration",
            "Time that requests were held, all routes together",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (outcome, histogram) in HoldOutcome::ALL.into_iter().zip(&all.holds) {
            observe(&mut pending, &[("outcome", outcome.label())], histogram)?;
        }

        let mut connects = encoder.encode_descriptor(
            "rouse_interceptor_upstream_connects",
            "Attempts to connect to an endpoint",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in ConnectOutcome::ALL.into_iter().zip(&all.connects) {
            let labels = [("outcome", outcome.label())];
            counter(&mut connects, &labels, count.load(Ordering::Relaxed))?;
        }

        let mut connect_duration = encoder.encode_descriptor(
            "rouse_interceptor_connect_duration",
            "Time that successful connects to endpoints took",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        let values = all.connect_duration.values();
        connect_duration.encode_histogram::<NoLabelSet>(values.sum, values.count, &values.buckets, None)?;

        lone_counter(
            &mut encoder,
            "rouse_interceptor_retry_budget_exhausted",
            "Requests that were not sent again because too many were",
            all.retry_budget_exhausted.load(Ordering::Relaxed),
        )?;
        Ok(())
    }
}

fn request_count<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    routes: impl Iterator<Item = &'a Arc<RouteSeries>>,
) -> Result {
    let mut metric = encoder.encode_descriptor(
        "interceptor_request_count",
        "Total requests processed by the interceptor proxy",
        None,
        MetricType::Counter,
    )?;
    for route in routes {
        // The add-on's counter does not tell held requests from others.
        let mut counts: BTreeMap<(StatusCode, &str), u64> = BTreeMap::new();
        for (key, histogram) in route.requests() {
            *counts.entry((key.code, key.method)).or_default() += histogram.count();
        }
        for ((code, method), count) in counts {
            counter(&mut metric, &request_labels(route, code.as_str(), method), count)?;
        }
        if let Some(other) = route.other_requests() {
            counter(&mut metric, &request_labels(route, OTHER, OTHER), other.count())?;
        }
    }
    Ok(())
}

fn request_duration<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    routes: impl Iterator<Item = &'a Arc<RouteSeries>>,
) -> Result {
    let mut metric = encoder.encode_descriptor(
        "interceptor_request_duration",
        "Time from request received to response written; tunnels are left out",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for route in routes {
        for (key, histogram) in route.requests() {
            let RequestKey {
                code,
                method,
                is_cold_start,
            } = *key;
            // A tunnel's life says nothing of how fast requests are answered.
            if code == StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            let cold_start = if is_cold_start { "true" } else { "false" };
            let [code, method, name, namespace] = request_labels(route, code.as_str(), method);
            let labels = [code, ("cold_start", cold_start), method, name, namespace];
            observe(&mut metric, &labels, histogram)?;
        }
        if let Some(other) = route.other_requests() {
            let [code, method, name, namespace] = request_labels(route, OTHER, OTHER);
            let labels = [code, ("cold_start", OTHER), method, name, namespace];
            observe(&mut metric, &labels, other)?;
        }
    }
    Ok(())
}

fn cold_starts(encoder: &mut DescriptorEncoder<'_>, routes: &[Arc<RouteSeries>]) -> Result {
    let mut metric = encoder.encode_descriptor(
        "interceptor_cold_start_duration",
        "Time that requests were held for a ready endpoint",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for route in routes {
        for (outcome, histogram) in route.holds() {
            let [name, namespace] = route_labels(route);
            observe(
                &mut metric,
                &[("outcome", outcome.label()), name, namespace],
                histogram,
            )?;
        }
    }
    Ok(())
}

fn per_route_counters(encoder: &mut DescriptorEncoder<'_>, routes: &[Arc<RouteSeries>]) -> Result {
    let mut rejections = encoder.encode_descriptor(
        "interceptor_cold_start_rejections",
        "Requests refused because too many were held",
        None,
        MetricType::Counter,
    )?;
    // A series begins with its first event: most routes never have one, and there may be many thousand routes.
    for route in routes.iter().filter(|route| route.rejections() > 0) {
        counter(&mut rejections, &route_labels(route), route.rejections())?;
    }
    let mut retries = encoder.encode_descriptor(
        "rouse_interceptor_retries",
        "Requests sent again after an attempt that failed",
        None,
        MetricType::Counter,
    )?;
    for route in routes.iter().filter(|route| route.retries() > 0) {
        let (namespace, name) = route.name();
        counter(
            &mut retries,
            &[("namespace", &**namespace), ("route", &**name)],
            route.retries(),
        )?;
    }
    Ok(())
}

/// What the load hub knows.
#[derive(Debug)]
pub(super) struct Load(pub(super) LoadHub);

impl Collector for Load {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::result::Result<(), Error> {
        // One series per namespace and name, whatever the kinds; routes that never saw a request have none.
        let mut routes: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for (id, load) in self.0.loads() {
            if load.requests_total > 0 {
                let sums = routes.entry((id.namespace, id.name)).or_default();
                sums.0 += load.concurrency;
                sums.1 += load.pending;
            }
        }
        let mut concurrency = encoder.encode_descriptor(
            "interceptor_request_concurrency",
            "Concurrent requests at the interceptor proxy",
            None,
            MetricType::Gauge,
        )?;
        for ((namespace, name), (value, _)) in &routes {
            let labels = [("route_name", &**name), ("route_namespace", &**namespace)];
            gauge(&mut concurrency, &labels, *value)?;
        }
        let mut pending = encoder.encode_descriptor(
            "rouse_interceptor_pending_requests",
            "Requests held for a ready endpoint",
            None,
            MetricType::Gauge,
        )?;
        for ((namespace, name), (_, value)) in &routes {
            let labels = [("namespace", &**namespace), ("route", &**name)];
            gauge(&mut pending, &labels, *value)?;
        }
        lone_gauge(
            &mut encoder,
            "rouse_interceptor_load_streams",
            "Load streams open to external scalers",
            self.0.stream_count() as u64,
        )
    }
}

/// What the index knows.
#[derive(Debug)]
pub(super) struct Index(pub(super) IndexHandle);

impl Collector for Index {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::result::Result<(), Error> {
        let stats = self.0.stats();
        for (name, help, value) in [
            ("rouse_interceptor_routes", "Routes that are served", stats.routes),
            (
                "rouse_interceptor_targets",
                "Service ports that routes send to",
                stats.targets,
            ),
            (
                "rouse_interceptor_object_problems",
                "Objects that cannot be served as they are",
                stats.problems,
            ),
            (
                "rouse_interceptor_route_conflicts",
                "Host and path pairs that a route claims and another gets, up to 1000",
                stats.conflicts,
            ),
        ] {
            lone_gauge(&mut encoder, name, help, value as u64)?;
        }
        encoder
            .encode_descriptor(
                "rouse_interceptor_route_tables",
                "Route tables published",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, u64, f64>(&stats.tables, None)?;
        encoder
            .encode_descriptor(
                "rouse_interceptor_route_table_build",
                "Time that building route tables took, all together",
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, f64, f64>(&stats.table_build_total.as_secs_f64(), None)?;
        if let Some(last_input) = stats.last_input {
            encoder
                .encode_descriptor(
                    "rouse_interceptor_watch_last_event",
                    "Time since the last object was seen",
                    Some(&Unit::Seconds),
                    MetricType::Gauge,
                )?
                .encode_gauge(&last_input.elapsed().as_secs_f64())?;
        }
        Ok(())
    }
}

/// What the process holds.
pub(super) struct Process(pub(super) Box<dyn Fn() -> ProcessGauges + Send + Sync>);

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::result::Result<(), Error> {
        let gauges = (self.0)();
        lone_gauge(
            &mut encoder,
            "rouse_interceptor_downstream_connections",
            "Client connections open",
            gauges.downstream_connections,
        )?;
        lone_counter(
            &mut encoder,
            "rouse_interceptor_downstream_connections_accepted",
            "Client connections accepted",
            gauges.downstream_connections_accepted,
        )?;
        lone_counter(
            &mut encoder,
            "rouse_interceptor_panics",
            "Panics that cost a connection or a request",
            gauges.panics,
        )?;
        lone_gauge(
            &mut encoder,
            "rouse_interceptor_upstream_in_flight_requests",
            "Requests that endpoints are working on",
            gauges.upstream_in_flight_requests,
        )?;
        lone_gauge(
            &mut encoder,
            "rouse_interceptor_upstream_idle_connections",
            "HTTP/1.1 connections to endpoints that carry no request",
            gauges.upstream_idle_connections,
        )?;
        encoder
            .encode_descriptor(
                "rouse_interceptor_pending",
                "Bodies of held requests, counted by content-length up to the receive window",
                Some(&Unit::Bytes),
                MetricType::Gauge,
            )?
            .encode_gauge(&gauges.pending_bytes)
    }
}

fn request_labels<'a>(route: &'a RouteSeries, code: &'a str, method: &'a str) -> [(&'a str, &'a str); 4] {
    let [name, namespace] = route_labels(route);
    [("code", code), ("method", method), name, namespace]
}

/// As the add-on names them.
fn route_labels(route: &RouteSeries) -> [(&str, &str); 2] {
    let (namespace, name) = route.name();
    [("route_name", name), ("route_namespace", namespace)]
}

fn counter(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> Result {
    metric
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

fn gauge(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> Result {
    metric.encode_family(labels)?.encode_gauge(&value)
}

fn lone_counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

fn lone_gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(&value)
}

fn observe(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, histogram: &Histogram) -> Result {
    let values = histogram.values();
    metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(
        values.sum,
        values.count,
        &values.buckets,
        None,
    )
}
