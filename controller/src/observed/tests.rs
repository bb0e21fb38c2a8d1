use std::collections::BTreeSet;

use rouse_routing::{RouteId, RouteKind};
use serde_json::json;

use super::testing::{
    add_target, autoscaler, cluster, deployment, http_scaled_object, id, interceptor_route, route,
    scaled_object, service,
};
use super::*;

fn dirty(observed: &mut Observed) -> BTreeSet<RouteId> {
    observed.settle();
    observed.take_dirty()
}

fn only(name: &str) -> BTreeSet<RouteId> {
    BTreeSet::from([id(name)])
}

#[test]
fn an_event_concerns_the_routes_that_name_the_object_and_no_others() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/one", 2, &json!({})));
    observed.apply_route(http_scaled_object("b/two", 1, &json!({})));
    dirty(&mut observed);

    let (name, app) = service("a", "app", &json!({ "ports": [{ "port": 80 }] }));
    observed.apply_service(name.clone(), app.clone());
    assert_eq!(dirty(&mut observed), only("a/one"));
    observed.apply_service(name.clone(), app);
    assert_eq!(dirty(&mut observed), BTreeSet::new(), "nothing changed");
    observed.delete_service(&name);
    assert_eq!(dirty(&mut observed), only("a/one"));

    observed.apply_workload(deployment("b", "app"));
    assert_eq!(dirty(&mut observed), only("b/two"));
    observed.apply_workload(deployment("b", "app"));
    assert_eq!(dirty(&mut observed), BTreeSet::new());
    observed.delete_workload(&deployment("b", "app"));
    assert_eq!(dirty(&mut observed), only("b/two"));

    let (name, hpa) = autoscaler("a", "hpa", &json!([]));
    observed.apply_autoscaler(name.clone(), hpa);
    assert_eq!(dirty(&mut observed), only("a/one"));
    observed.delete_autoscaler(&name);
    assert_eq!(dirty(&mut observed), only("a/one"));
}

#[test]
fn a_scaled_object_concerns_its_namesake_and_the_routes_of_its_workload() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/one", 2, &json!({})));
    observed.apply_route(http_scaled_object(
        "a/other",
        1,
        &json!({ "scaleTargetRef": { "name": "else" } }),
    ));
    dirty(&mut observed);
    observed.apply_scaled_object(scaled_object("a/other", &json!({})));
    let both = BTreeSet::from([id("a/one"), id("a/other")]);
    assert_eq!(dirty(&mut observed), both);
    observed.delete_scaled_object(&ObjectName::new("a", "other"));
    assert_eq!(dirty(&mut observed), both);
    assert_eq!(observed.scaled_objects_of(&deployment("a", "app")).count(), 0);
}

#[test]
fn a_new_version_of_the_same_scaled_object_concerns_nobody_and_is_kept() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/one", 2, &json!({})));
    observed.apply_scaled_object(scaled_object("a/other", &json!({})));
    dirty(&mut observed);
    let newer = scaled_object("a/other", &json!({ "metadata": { "resourceVersion": "2" } }));
    observed.apply_scaled_object(newer);
    assert_eq!(dirty(&mut observed), BTreeSet::new());
    let versions: Vec<String> = observed
        .scaled_objects_of(&deployment("a", "app"))
        .map(|object| object.resource_version.to_string())
        .collect();
    assert_eq!(versions, ["2"]);
}

#[test]
fn a_scaled_object_of_the_users_concerns_the_route_that_its_trigger_names() {
    let mut observed = cluster();
    let written = interceptor_route("a/one", 1, &json!({}));
    let id = written.id.clone();
    observed.apply_route(written);
    dirty(&mut observed);
    observed.apply_scaled_object(scaled_object(
        "a/by-hand",
        &json!({ "spec": { "triggers": [
            { "type": "cron", "metadata": { "start": "0 8 * * *" } },
            { "type": "external-push", "metadata": { "interceptorRoute": "one" } },
        ] } }),
    ));
    assert!(dirty(&mut observed).contains(&id));
    let names: Vec<_> = observed
        .scaled_objects_for(&id)
        .map(|object| object.name.to_string())
        .collect();
    assert_eq!(names, ["a/by-hand"]);
}

#[test]
fn a_host_that_is_claimed_twice_concerns_both_routes() {
    let mut observed = cluster();
    let host = json!({ "hosts": ["same.test"] });
    observed.apply_route(http_scaled_object("a/old", 5, &host));
    dirty(&mut observed);
    observed.apply_route(http_scaled_object("b/young", 1, &host));
    assert!(!observed.is_settled());
    assert!(dirty(&mut observed).contains(&id("b/young")));
    assert_eq!(observed.claims().conflicts(&id("b/young")).len(), 1);
    assert!(observed.claims().conflicts(&id("a/old")).is_empty());

    observed.delete_route(&id("a/old"));
    assert!(
        dirty(&mut observed).contains(&id("b/young")),
        "the host is free again"
    );
    assert!(observed.claims().conflicts(&id("b/young")).is_empty());
}

#[test]
fn an_interceptor_route_takes_the_place_of_its_namesake() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/one", 2, &json!({ "hosts": ["one.test"] })));
    dirty(&mut observed);
    let newer = interceptor_route("a/one", 1, &json!({ "rules": [{ "hosts": ["two.test"] }] }));
    observed.apply_route(newer.clone());
    assert!(dirty(&mut observed).contains(&id("a/one")));
    assert!(observed.is_superseded(&id("a/one")));
    assert!(!observed.is_superseded(&newer.id));
    // What it claimed is free for others.
    observed.apply_route(http_scaled_object("b/late", 0, &json!({ "hosts": ["one.test"] })));
    observed.settle();
    assert!(observed.claims().conflicts(&id("b/late")).is_empty());

    observed.delete_route(&newer.id);
    observed.settle();
    assert!(!observed.is_superseded(&id("a/one")));
    assert_eq!(observed.claims().conflicts(&id("b/late")).len(), 1);
}

#[test]
fn an_invalid_route_keeps_the_host_that_it_had() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/old", 5, &json!({ "hosts": ["same.test"] })));
    observed.apply_route(http_scaled_object(
        "b/young",
        1,
        &json!({ "hosts": ["same.test"] }),
    ));
    observed.apply_route(http_scaled_object(
        "a/old",
        5,
        &json!({ "hosts": ["same.test"], "replicas": { "min": 3, "max": 1 } }),
    ));
    observed.settle();
    assert_eq!(observed.claims().conflicts(&id("b/young")).len(), 1);
}

#[test]
fn an_older_version_of_an_object_does_not_undo_a_newer_one() {
    let version = |version: &str, max: i32| {
        let spec = json!({
            "scaleTargetRef": { "name": "app", "service": "app", "port": 80 },
            "replicas": { "max": max },
        });
        route(
            RouteKind::HttpScaledObject,
            "a/one",
            1,
            &json!({ "resourceVersion": version }),
            &spec,
        )
    };
    let mut observed = cluster();
    observed.apply_route(version("10", 7));
    dirty(&mut observed);
    observed.apply_route(version("9", 5));
    assert_eq!(dirty(&mut observed), BTreeSet::new());
    assert_eq!(&*observed.route(&id("a/one")).unwrap().resource_version, "10");
    observed.apply_route(version("11", 5));
    assert_eq!(dirty(&mut observed), only("a/one"));
}

#[test]
fn nothing_is_kept_of_what_is_gone() {
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/one", 2, &json!({})));
    add_target(&mut observed, "a");
    let (name, hpa) = autoscaler("a", "hpa", &json!([]));
    observed.apply_autoscaler(name.clone(), hpa);
    observed.apply_scaled_object(scaled_object("a/one", &json!({})));

    observed.delete_route(&id("a/one"));
    observed.delete_autoscaler(&name);
    observed.delete_scaled_object(&ObjectName::new("a", "one"));
    observed.delete_workload(&deployment("a", "app"));
    observed.delete_service(&ObjectName::new("a", "app"));
    assert!(observed.by_workload.is_empty(), "{:?}", observed.by_workload);
    assert!(observed.by_service.is_empty());
    assert!(observed.by_trigger.is_empty());
}

#[test]
fn a_lookup_is_kept_while_a_route_names_the_workload() {
    let rollout = json!({ "scaleTargetRef": { "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout" } });
    let mut observed = cluster();
    observed.apply_route(http_scaled_object("a/one", 2, &rollout));
    let workload = observed.route(&id("a/one")).unwrap().workload().unwrap();
    assert_eq!(observed.workload(&workload), Existence::NotLookedUp);
    observed.workload_looked_up(&workload, Existence::Exists);
    assert_eq!(observed.workload(&workload), Existence::Exists);
    observed.delete_route(&id("a/one"));
    observed.workload_looked_up(&workload, Existence::Missing);
    assert!(observed.looked_up.is_empty());
}

#[test]
fn what_cannot_be_read_of_a_route_leaves_the_rest_readable() {
    let metadata =
        serde_json::from_value(json!({ "namespace": "a", "name": "one", "generation": 4 })).unwrap();
    let status = json!({ "targetService": "app:80", "conditions": [
        { "type": "Ready", "status": "True", "reason": "Reconciled", "message": "",
          "lastTransitionTime": "2026-01-01T00:00:00Z" },
        { "type": "Broken", "lastTransitionTime": null },
    ] });
    let spec = json!({
        "scaleTargetRef": { "service": "app", "port": 80 },
        "scalingMetric": { "requestRate": { "window": "ten minutes" } },
    });
    let route = Route::read(RouteKind::HttpScaledObject, &metadata, &spec, &status);
    let Spec::Unreadable(problem) = &route.spec else {
        panic!("{:?}", route.spec)
    };
    assert!(
        problem.starts_with("spec.scalingMetric.requestRate.window"),
        "{problem}"
    );
    assert!(!route.is_valid());
    assert_eq!(route.status.target_service.as_deref(), Some("app:80"));
    assert_eq!(
        route.status.conditions.len(),
        1,
        "the one that can be read, and not the other"
    );
    assert_eq!(route.generation, 4);
}
