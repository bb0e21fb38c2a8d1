//! The service over a real picture, under paused time and without sockets.

use std::time::Duration;

use rouse_proto::{
    externalscaler::{ScaledObjectRef, external_scaler_server::ExternalScaler},
    load::{LoadReport, RouteKind, RouteLoad},
};
use tokio::time::advance;
use tokio_stream::StreamExt;
use tonic::{Code, Request};

use crate::test_support::{
    LINGER, NAMESPACE, World, app, busy, httpso, idle, interceptor_route, ready, trigger,
};

mod activity;
mod ends;
mod namesake;
mod trust;
mod values;
mod wake;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
