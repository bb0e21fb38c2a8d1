//! A running interceptor, and the objects that it is told of.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use parking_lot::Mutex;
use rouse_api::{HTTPScaledObject, InterceptorRoute};
use rouse_interceptor::{App, Args, Config, IndexHandle};
use serde_json::{Value, json};

use super::{Client, eventually, soon};

pub(crate) const NAMESPACE: &str = "shop";

/// An interceptor with two workers, no routes and short shutdown times.
pub(crate) struct Interceptor {
    app: Option<App>,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) index: IndexHandle,
    /// The addresses that each Service has a slice for.
    slices: Mutex<HashMap<String, BTreeSet<SocketAddr>>>,
}

impl Interceptor {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Args)) -> Self {
        let interceptor = Self::start_unsynced(adjust).await;
        interceptor.index.synced();
        interceptor
    }

    /// One that has not been told that it knows everything.
    pub(crate) async fn start_unsynced(adjust: impl FnOnce(&mut Args)) -> Self {
        let mut args = Args {
            proxy_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            proxy_port: 0,
            admin_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            admin_port: 0,
            workers: Some(2),
            shutdown_delay: Duration::ZERO,
            ..Args::default()
        };
        adjust(&mut args);
        let app = App::start(Config::try_from(args).expect("good settings"))
            .await
            .expect("the interceptor starts");
        Self {
            proxy: app.proxy_addr(),
            admin: app.admin_addr(),
            index: app.index(),
            app: Some(app),
            slices: Mutex::default(),
        }
    }

    /// An interceptor that serves `route`, whose Service exists and has no endpoints.
    pub(crate) async fn serving(route: Route) -> Self {
        let interceptor = Self::start().await;
        interceptor.serve(route).await;
        interceptor
    }

    /// Adds or changes a route; it is served when this returns. Its Services exist from then on.
    pub(crate) async fn serve(&self, route: Route) {
        for name in [Some(&route.service), route.fallback.as_ref()]
            .into_iter()
            .flatten()
        {
            if route.makes_services {
                self.index.apply_service(service(name, route.app_protocol));
            }
        }
        self.change(|index| index.apply_http_scaled_object(route.object()))
            .await;
    }

    pub(crate) async fn serve_interceptor_route(&self, name: &str, spec: Value) {
        let object: InterceptorRoute = serde_json::from_value(json!({
            "apiVersion": "http.keda.sh/v1beta1",
            "kind": "InterceptorRoute",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": spec,
        }))
        .expect("an InterceptorRoute");
        self.change(|index| index.apply_interceptor_route(object)).await;
    }

    pub(crate) async fn remove_route(&self, name: &str) {
        self.change(|index| index.delete_http_scaled_object(NAMESPACE, name))
            .await;
    }

    pub(crate) async fn remove_interceptor_route(&self, name: &str) {
        self.change(|index| index.delete_interceptor_route(NAMESPACE, name))
            .await;
    }

    async fn change(&self, change: impl FnOnce(&IndexHandle)) {
        let before = self.index.stats().tables;
        change(&self.index);
        eventually("the change is in the route table", async || {
            self.index.stats().tables > before
        })
        .await;
        assert_eq!(self.index.problems(), [], "every object is good");
    }

    /// From now on the Service has exactly these ready endpoints.
    pub(crate) fn endpoints(&self, service: &str, addrs: &[SocketAddr]) {
        let mut slices = self.slices.lock();
        let old = std::mem::replace(
            slices.entry(service.to_owned()).or_default(),
            addrs.iter().copied().collect(),
        );
        for addr in addrs {
            self.index.apply_endpoint_slice(slice(service, *addr));
        }
        for gone in old.iter().filter(|addr| !addrs.contains(addr)) {
            self.index
                .delete_endpoint_slice(NAMESPACE, &slice_name(service, *gone));
        }
    }

    /// The interceptor itself.
    pub(crate) fn app(&self) -> &App {
        self.app.as_ref().expect("it runs")
    }

    /// A new connection to the proxy.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.proxy).await
    }

    /// A request of its own connection, to the host of `Route::to("app")`.
    pub(crate) async fn get(&self, path: &str) -> super::Response {
        self.client().await.get(path).await
    }

    /// This many requests, each on its own connection, held in the order of their paths: `/0`, `/1`, …
    pub(crate) async fn hold(&self, route: &str, count: usize) -> Vec<Client> {
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            let mut client = self.client().await;
            client
                .send(format!(
                    "GET /{number} HTTP/1.1\r\nhost: {route}.example.com\r\n\r\n"
                ))
                .await;
            clients.push(client);
            self.has_requests(route, number as u64 + 1).await;
        }
        clients
    }

    /// What `/queue` says of the route: requests held and in flight.
    pub(crate) async fn concurrency(&self, route: &str) -> u64 {
        self.queue(route).await["Concurrency"].as_u64().expect("a number")
    }

    pub(crate) async fn request_count(&self, route: &str) -> u64 {
        self.queue(route).await["RequestCount"]
            .as_u64()
            .expect("a number")
    }

    async fn queue(&self, route: &str) -> Value {
        let response = Client::connect(self.admin).await.get("/queue").await;
        let counts: Value = serde_json::from_slice(&response.body).expect("JSON");
        counts[format!("{NAMESPACE}/{route}")].clone()
    }

    /// Waits until the route has this many requests, held or in flight.
    #[track_caller]
    pub(crate) fn has_requests(&self, route: &str, count: u64) -> impl Future<Output = ()> {
        eventually("the route has that many requests", async move || {
            self.concurrency(route).await == count
        })
    }

    /// Whether `/readyz` says yes.
    pub(crate) async fn is_ready(&self) -> bool {
        Client::connect(self.admin).await.get("/readyz").await.status == 200
    }

    /// Begins the shutdown.
    pub(crate) fn drain(&mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(self.app.take().expect("it runs").drain())
    }

    /// Ends without ceremony.
    pub(crate) fn stop_now(self) {
        drop(self);
    }

    /// Shuts down and waits for the end.
    pub(crate) async fn stop(mut self) {
        soon("the interceptor ends", self.drain())
            .await
            .expect("no panic");
    }
}

/// An HTTPScaledObject for a Service, as tests want them.
#[derive(Clone)]
pub(crate) struct Route {
    name: String,
    host: String,
    service: String,
    fallback: Option<String>,
    app_protocol: Option<&'static str>,
    makes_services: bool,
    spec: Value,
}

impl Route {
    /// Sends what comes for `NAME.example.com` to port 80 of the Service `name`.
    pub(crate) fn to(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: format!("{name}.example.com"),
            service: name.to_owned(),
            fallback: None,
            app_protocol: None,
            makes_services: true,
            spec: json!({ "scaleTargetRef": { "name": name, "service": name, "port": 80 } }),
        }
    }

    /// Keeps the route's name and host, and changes where its requests go.
    pub(crate) fn service(mut self, service: &str) -> Self {
        service.clone_into(&mut self.service);
        self.spec["scaleTargetRef"]["service"] = json!(service);
        self
    }

    pub(crate) fn port(mut self, port: u16) -> Self {
        self.spec["scaleTargetRef"]["port"] = json!(port);
        self
    }

    pub(crate) fn without_service(mut self) -> Self {
        self.makes_services = false;
        self
    }

    /// The endpoints speak HTTP/2 with prior knowledge.
    pub(crate) fn over_h2c(mut self) -> Self {
        self.app_protocol = Some("kubernetes.io/h2c");
        self
    }

    pub(crate) fn concurrency_target(mut self, target: u32) -> Self {
        self.spec["scalingMetric"] = json!({ "concurrency": { "targetValue": target } });
        self
    }

    pub(crate) fn readiness_timeout(mut self, timeout: &str) -> Self {
        self.spec["timeouts"]["conditionWait"] = json!(timeout);
        self
    }

    pub(crate) fn response_header_timeout(mut self, timeout: &str) -> Self {
        self.spec["timeouts"]["responseHeader"] = json!(timeout);
        self
    }

    pub(crate) fn fallback(mut self, service: &str, timeout_seconds: u32) -> Self {
        self.fallback = Some(service.to_owned());
        self.spec["coldStartTimeoutFailoverRef"] =
            json!({ "service": service, "port": 80, "timeoutSeconds": timeout_seconds });
        self
    }

    fn object(&self) -> HTTPScaledObject {
        let mut spec = self.spec.clone();
        spec["hosts"] = json!([self.host]);
        serde_json::from_value(json!({
            "apiVersion": "http.keda.sh/v1alpha1",
            "kind": "HTTPScaledObject",
            "metadata": { "name": self.name, "namespace": NAMESPACE },
            "spec": spec,
        }))
        .expect("an HTTPScaledObject")
    }
}

/// A Service with the port 80.
pub(crate) fn service(name: &str, app_protocol: Option<&str>) -> Service {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "clusterIP": "10.96.0.1",
            "ports": [{ "name": "http", "port": 80, "appProtocol": app_protocol }],
        },
    }))
    .expect("a Service")
}

fn slice_name(service: &str, addr: SocketAddr) -> String {
    format!("{service}-{}", addr.port())
}

/// One pod of the Service: every application of a test has a port of its own, so each is a slice of its own.
fn slice(service: &str, addr: SocketAddr) -> EndpointSlice {
    let name = slice_name(service, addr);
    serde_json::from_value(json!({
        "addressType": "IPv4",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": { "kubernetes.io/service-name": service },
        },
        "ports": [{ "name": "http", "port": addr.port() }],
        "endpoints": [{
            "addresses": [addr.ip().to_string()],
            "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "name": name, "namespace": NAMESPACE },
        }],
    }))
    .expect("an EndpointSlice")
}
