//! Where a case of the add-on's takes place: a namespace with applications at zero, and the way to the interceptor.

use std::{ops::RangeInclusive, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header::HOST};
use http_body_util::Full;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use super::{
    interceptors,
    objects::{self, Scaling},
};
use crate::{
    cluster::{
        Cluster, Reach,
        http::{self as client, Answer},
    },
    keda,
    trial::Trial,
};

/// Until objects are ready, and until a Deployment has woken or is asleep again.
pub(in crate::cases) const READY_BOUND: Duration = Duration::from_mins(1);
/// Until a request to an application that sleeps is answered.
pub(in crate::cases) const COLD_BOUND: Duration = Duration::from_secs(70);
/// Until requests have ended, the cooldown of 10 s is over and KEDA has looked again.
pub(in crate::cases) const ASLEEP_BOUND: Duration = Duration::from_mins(2);

const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// A namespace of a case's own.
#[derive(Debug)]
pub(in crate::cases) struct Site<'t> {
    /// The case's.
    pub(in crate::cases) trial: &'t mut Trial,
    /// The cluster.
    pub(in crate::cases) cluster: Cluster,
    /// The namespace's name.
    pub(in crate::cases) namespace: String,
    proxy: Reach,
}

impl<'t> Site<'t> {
    /// Makes the namespace.
    pub(in crate::cases) async fn open(trial: &'t mut Trial, namespace: &str) -> anyhow::Result<Self> {
        let cluster = trial.cluster().clone();
        let proxy = reach_proxy(&cluster).await?;
        trial.namespace(namespace).await?;
        Ok(Self {
            trial,
            cluster,
            namespace: namespace.to_owned(),
            proxy,
        })
    }

    /// Where the interceptor listens.
    pub(in crate::cases) fn proxy(&self) -> std::net::SocketAddr {
        self.proxy.addr()
    }

    /// A host that nobody else claims.
    pub(in crate::cases) fn host(&self, label: &str) -> String {
        format!("{label}.{}.test", self.namespace)
    }

    /// Applies objects.
    pub(in crate::cases) async fn apply(&mut self, items: Vec<Value>) -> anyhow::Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        self.trial.apply(&list.to_string()).await
    }

    /// Applies an application, a route to it by these rules and a ScaledObject, all of one name, for each name, and waits until
    /// the routes are served and the applications sleep.
    pub(in crate::cases) async fn serve(&mut self, routes: &[(&str, Value)]) -> anyhow::Result<()> {
        let routes: Vec<_> = routes
            .iter()
            .map(|(name, rules)| (*name, rules.clone(), Scaling::default()))
            .collect();
        self.serve_scaled(&routes).await
    }

    /// The same, scaled in other ways than usual.
    pub(in crate::cases) async fn serve_scaled(
        &mut self,
        routes: &[(&str, Value, Scaling)],
    ) -> anyhow::Result<()> {
        let namespace = self.namespace.clone();
        let mut items = Vec::new();
        for (name, rules, scaling) in routes {
            items.extend(objects::app(&namespace, name));
            items.push(objects::route(&namespace, name, rules, scaling));
            items.push(objects::scaled_object(&namespace, name, name, scaling));
        }
        self.apply(items).await?;
        for (name, ..) in routes {
            self.ready(objects::ROUTE, name).await?;
            self.ready(objects::SCALED_OBJECT, name).await?;
            self.replicas(name, 0, READY_BOUND).await?;
        }
        Ok(())
    }

    /// Waits until an object says that it is ready, and for a route also until every interceptor has it.
    pub(in crate::cases) async fn ready(&self, kind: (&str, &str), name: &str) -> anyhow::Result<()> {
        self.cluster
            .wait_for_condition(kind, (&self.namespace, name), ("Ready", "True"), READY_BOUND)
            .await?;
        if kind == objects::SCALED_OBJECT {
            return Ok(());
        }
        let route = format!("{}/{name}", self.namespace);
        interceptors::wait_until_routed(&self.cluster, &[route]).await
    }

    /// Waits until an application has this many replicas, all ready.
    pub(in crate::cases) async fn replicas(
        &self,
        app: &str,
        count: i32,
        bound: Duration,
    ) -> anyhow::Result<()> {
        self.cluster
            .wait_for_replicas(&self.namespace, app, count, bound)
            .await
    }

    /// Looks for a while whether an application keeps to a number of replicas.
    pub(in crate::cases) async fn replicas_stay(
        &self,
        app: &str,
        allowed: RangeInclusive<i32>,
        duration: Duration,
    ) -> anyhow::Result<()> {
        replicas_stay(&self.cluster, (&self.namespace, app), allowed, duration).await
    }

    /// Sends a request for a host, by way of the interceptor. `path` may be any path with its query.
    pub(in crate::cases) async fn request(
        &mut self,
        method: Method,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        let mut command = vec![format!("time curl -X {method} -H 'Host: {host}'")];
        let mut request = Request::builder().method(method).uri(path).header(HOST, host);
        for (name, value) in headers {
            command.push(format!("-H '{name}: {value}'"));
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            command.push(format!("-d '{body}'"));
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .context("make a request")?;
        let answer = client::send(self.proxy(), request, COLD_BOUND).await?;
        command.push(format!("http://{}{path}", self.proxy()));
        self.trial.evidence.command(command.join(" "), &answer.summary());
        Ok(answer)
    }

    /// GETs a path, and has this application answer it.
    pub(in crate::cases) async fn answered_by(
        &mut self,
        app: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let answer = self.request(Method::GET, host, path, headers, "").await?;
        let told = told_name(&answer);
        anyhow::ensure!(
            answer.status == StatusCode::OK && told.as_deref() == Some(app),
            "{host}{path} {headers:?} is answered by {told:?}, and not by {app}: {}",
            answer.summary()
        );
        Ok(())
    }

    /// GETs a path, and has the interceptor find no route for it.
    pub(in crate::cases) async fn answered_by_none(
        &mut self,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let answer = self.request(Method::GET, host, path, headers, "").await?;
        anyhow::ensure!(
            is_no_route(&answer),
            "{host}{path} {headers:?} has no route: {}",
            answer.summary()
        );
        Ok(())
    }
}

/// Looks for a while whether a Deployment keeps to a number of replicas.
pub(in crate::cases) async fn replicas_stay(
    cluster: &Cluster,
    (namespace, deployment): (&str, &str),
    allowed: RangeInclusive<i32>,
    duration: Duration,
) -> anyhow::Result<()> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let started = Instant::now();
    let mut period = interval(LOOK_PERIOD);
    while started.elapsed() < duration {
        period.tick().await;
        let spec = api
            .get(deployment)
            .await
            .with_context(|| format!("get Deployment {deployment}"))?
            .spec;
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        anyhow::ensure!(
            allowed.contains(&replicas),
            "{deployment} was to keep {allowed:?} replicas for {duration:?}; it has {replicas} after {:?}",
            started.elapsed()
        );
    }
    Ok(())
}

/// The way to the interceptor's Service.
pub(in crate::cases) async fn reach_proxy(cluster: &Cluster) -> anyhow::Result<Reach> {
    cluster
        .reach(keda::NAMESPACE, "keda-add-ons-http-interceptor-proxy", 8080)
        .await
}

/// Whether this is what the interceptor says where there is no route. Applications word their 404 otherwise.
pub(in crate::cases) fn is_no_route(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && answer.body == "Not Found\n"
}

/// The name of the application that answered `/`, `/api/info` or `/env`.
pub(in crate::cases) fn told_name(answer: &Answer) -> Option<String> {
    let told: Value = serde_json::from_slice(&answer.body).ok()?;
    if let Some(environment) = told.as_array() {
        let mut variables = environment.iter().filter_map(Value::as_str);
        return variables.find_map(|variable| Some(variable.strip_prefix("PODINFO_UI_MESSAGE=")?.to_owned()));
    }
    Some(told.get("message")?.as_str()?.to_owned())
}
