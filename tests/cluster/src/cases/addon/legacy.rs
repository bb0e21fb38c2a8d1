//! Rows 33, 35 and 36: the older resource, HTTPScaledObject.

use std::time::Duration;

use futures_util::FutureExt as _;
use kube::api::ListParams;
use serde_json::json;

use super::{
    load::{load_while, one_by_one_while},
    objects::{self, Scaling},
    site::{ASLEEP_BOUND, READY_BOUND, Site},
};
use crate::{
    case::{Case, Need},
    keda,
    trial::Trial,
};

const SCALED_OUT_BOUND: Duration = Duration::from_mins(2);

pub(in crate::cases) const INTERCEPTOR_SCALED_OBJECT: Case = Case {
    name: "addon_interceptor_scaledobject",
    about: "The add-on's test of the interceptor's own ScaledObject (row 33): it is there, and Ready.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(2),
    run: |trial| interceptor_scaled_object(trial).boxed_local(),
};

pub(in crate::cases) const INTERNAL_SERVICE: Case = Case {
    name: "addon_internal_service",
    about: "The add-on's internal_service (row 35): an application is called by the name of a Service in the cluster that leads \
            to the interceptor, with its port, as a neighbour in the cluster would call it; load scales it out to two replicas, \
            and then it goes to sleep.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| internal_service(trial).boxed_local(),
};

pub(in crate::cases) const SKIP_SCALED_OBJECT_CREATION: Case = Case {
    name: "addon_skip_scaledobject_creation",
    about: "The add-on's test of skip-scaledobject-creation (row 36): Rouse makes no ScaledObject, the user's own wakes and \
            scales the application by the HTTPScaledObject's metric: with a target of 2 requests a second, up to 20,000 \
            requests, one after the other, make the four replicas there may be.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(8),
    run: |trial| skip_scaled_object_creation(trial).boxed_local(),
};

async fn interceptor_scaled_object(trial: &mut Trial) -> anyhow::Result<()> {
    let interceptor = (keda::NAMESPACE, "keda-add-ons-http-interceptor");
    trial
        .cluster()
        .wait_for_condition(
            objects::SCALED_OBJECT,
            interceptor,
            ("Ready", "True"),
            READY_BOUND,
        )
        .await?;
    trial.kubectl("get scaledobject,hpa --namespace=keda").await?;
    Ok(())
}

async fn internal_service(trial: &mut Trial) -> anyhow::Result<()> {
    let mut site = Site::open(trial, "addon-internal-service").await?;
    let namespace = site.namespace.clone();
    let name = format!("app-internal.{namespace}");
    let scaling = Scaling {
        metric: json!({ "requestRate": { "targetValue": 5, "window": "10s", "granularity": "1s" } }),
        max: 2,
    };
    let mut items = objects::app(&namespace, "app").to_vec();
    items.push(objects::http_scaled_object(&namespace, "app", &[&name], &scaling));
    items.push(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "app-internal", "namespace": namespace },
        "spec": {
            "type": "ExternalName",
            "externalName": "keda-add-ons-http-interceptor-proxy.keda.svc.cluster.local",
        },
    }));
    site.apply(items).await?;
    site.ready(objects::HTTP_SCALED_OBJECT, "app").await?;
    site.ready(objects::SCALED_OBJECT, "app").await?;
    let host = format!("{name}:8080");
    site.answered_by("app", &host, "/", &[]).await?;
    let scaled_out = site.replicas("app", 2, SCALED_OUT_BOUND);
    load_while((site.proxy(), &host, "/"), 15, scaled_out.boxed_local()).await?;
    site.trial
        .kubectl(&format!("get deployment,hpa --namespace={namespace}"))
        .await?;
    site.replicas("app", 0, ASLEEP_BOUND).await
}

async fn skip_scaled_object_creation(trial: &mut Trial) -> anyhow::Result<()> {
    const REQUESTS: u32 = 20_000;
    let mut site = Site::open(trial, "addon-skip-scaledobject").await?;
    let (host, namespace) = (site.host("app"), site.namespace.clone());
    let scaling = Scaling {
        metric: json!({ "requestRate": { "targetValue": 2, "window": "10s", "granularity": "1s" } }),
        max: 4,
    };
    let mut route = objects::http_scaled_object(&namespace, "app", &[&host], &scaling);
    if let Some(metadata) = route.pointer_mut("/metadata") {
        *metadata = json!({
            "name": "app",
            "namespace": namespace,
            "annotations": { "httpscaledobject.keda.sh/skip-scaledobject-creation": "true" },
        });
    }
    let mut items = objects::app(&namespace, "app").to_vec();
    items.push(route);
    site.apply(items).await?;
    site.ready(objects::HTTP_SCALED_OBJECT, "app").await?;
    let (api_version, kind) = objects::SCALED_OBJECT;
    let scaled_objects = site.cluster.dynamic(api_version, kind, &namespace);
    let made = scaled_objects.list(&ListParams::default()).await?.items.len();
    anyhow::ensure!(made == 0, "{made} ScaledObjects, though none was to be made");

    site.apply(vec![objects::scaled_object_of_http_scaled_object(
        &namespace, "app", &scaling,
    )])
    .await?;
    site.ready(objects::SCALED_OBJECT, "app").await?;
    let scaled_out = site.replicas("app", 4, SCALED_OUT_BOUND);
    one_by_one_while((site.proxy(), &host, "/"), REQUESTS, scaled_out.boxed_local()).await?;
    site.trial
        .kubectl(&format!(
            "get httpscaledobject,scaledobject,deployment --namespace={namespace}"
        ))
        .await?;
    let made = scaled_objects.list(&ListParams::default()).await?.items;
    anyhow::ensure!(
        made.len() == 1 && made.iter().all(|made| made.metadata.owner_references.is_none()),
        "more than the user's own ScaledObject: {made:?}"
    );
    site.replicas("app", 0, ASLEEP_BOUND).await
}
