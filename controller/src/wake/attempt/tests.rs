use rouse_fake_api_server::{FakeApiServer, Fault, Kind, Verb};
use rouse_routing::{RouteId, RouteKind};
use serde_json::json;

use super::*;
use crate::wake::{
    candidate::candidates,
    tests::{World, app, app_id},
};

impl World {
    /// What is to be woken for the route, and what came of it.
    async fn wake(&self, id: &RouteId) -> Vec<Outcome> {
        let candidates = self.parts.observed.read(|observed| candidates(observed, id));
        let mut outcomes = Vec::new();
        for candidate in candidates {
            let outcome = wake(&self.parts.client, &candidate).await;
            outcomes.push(outcome.unwrap_or(Outcome::Failed));
        }
        outcomes
    }
}

#[tokio::test]
async fn zero_becomes_one_and_anything_else_is_left_alone() {
    let world = World::new().await;
    assert_eq!(world.wake(&app_id()).await, [Outcome::Scaled]);
    assert_eq!(world.replicas(), 1);
    for replicas in [1, 5] {
        world.workload("app", replicas);
        assert_eq!(world.wake(&app_id()).await, [Outcome::Acted]);
        assert_eq!(world.replicas(), replicas);
    }
    assert_eq!(world.server.changes().len(), 1);
}

#[tokio::test]
async fn a_pause_that_was_not_heard_of_yet_counts() {
    let cases = [
        (json!({"autoscaling.keda.sh/paused": "true"}), Outcome::Paused),
        (
            json!({"autoscaling.keda.sh/paused-replicas": "0"}),
            Outcome::Paused,
        ),
        (
            json!({"autoscaling.keda.sh/paused-scale-out": "true"}),
            Outcome::Paused,
        ),
        (
            json!({"autoscaling.keda.sh/paused-scale-in": "true"}),
            Outcome::Scaled,
        ),
    ];
    for (annotations, expected) in cases {
        let world = World::new().await;
        // In the cluster only.
        world.server.apply_json(json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"namespace": "team", "name": "app", "annotations": annotations}, "spec": {},
        }));
        assert_eq!(world.wake(&app_id()).await, [expected], "{annotations}");
        assert_eq!(world.replicas(), i32::from(expected == Outcome::Scaled));
    }
}

#[tokio::test]
async fn the_users_own_scaled_object_stands_for_the_route() {
    let skip = json!({"httpscaledobject.keda.sh/skip-scaledobject-creation": "true"});
    // Nobody has asked for scaling.
    let world = World::new().await;
    world
        .parts
        .observed
        .update(|observed| observed.delete_scaled_object(&name("app")));
    world.route("app", &skip);
    assert!(world.wake(&app_id()).await.is_empty());
    // By its scaleTargetRef alone, paused and not.
    let own = json!({"scaleTargetRef": {"name": "app"}, "triggers": [{"type": "cron", "metadata": {}}]});
    let paused = json!({"autoscaling.keda.sh/paused": "true"});
    world.server.apply_json(json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"namespace": "team", "name": "own", "annotations": paused}, "spec": own,
    }));
    world.observe_scaled_object("own", &paused, &own);
    assert_eq!(world.wake(&app_id()).await, [Outcome::Paused]);
    world.server.apply_json(json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"namespace": "team", "name": "own"}, "spec": own,
    }));
    assert_eq!(world.wake(&app_id()).await, [Outcome::Scaled]);
}

#[tokio::test]
async fn without_keda_the_workload_is_woken_all_the_same() {
    let world = World::new().await;
    world.server.remove_group("keda.sh");
    assert_eq!(
        world.wake(&app_id()).await,
        [Outcome::Scaled],
        "the watch has not noticed yet"
    );
    world.workload("app", 0);
    world
        .parts
        .observed
        .update(|observed| observed.delete_scaled_object(&name("app")));
    assert_eq!(world.wake(&app_id()).await, [Outcome::Scaled]);
}

#[tokio::test]
async fn a_pause_on_the_route_counts_where_there_is_no_scaled_object() {
    for (annotation, expected) in [
        ("autoscaling.keda.sh/paused", vec![]),
        ("autoscaling.keda.sh/paused-replicas", vec![]),
        ("autoscaling.keda.sh/paused-scale-out", vec![]),
        ("autoscaling.keda.sh/paused-scale-in", vec![Outcome::Scaled]),
    ] {
        let world = World::new().await;
        world
            .parts
            .observed
            .update(|observed| observed.delete_scaled_object(&name("app")));
        world.route("app", &json!({annotation: "true"}));
        assert_eq!(world.wake(&app_id()).await, expected, "{annotation}");
    }
}

#[tokio::test]
async fn a_workload_that_another_scaled_object_has_is_not_woken() {
    let world = World::new().await;
    world
        .parts
        .observed
        .update(|observed| observed.delete_scaled_object(&name("app")));
    let trigger = json!([{"type": "cron", "metadata": {}}]);
    world.observe_scaled_object(
        "foreign",
        &json!({}),
        &json!({"scaleTargetRef": {"name": "app"}, "triggers": trigger}),
    );
    assert!(world.wake(&app_id()).await.is_empty());
    assert_eq!(world.replicas(), 0);
}

#[tokio::test]
async fn an_interceptor_route_wakes_what_its_namesake_scales() {
    let world = World::new().await;
    let spec = json!({"target": {"service": "app", "port": 80}, "scalingMetric": {"concurrency": {"targetValue": 1}}});
    world.observe_route(RouteKind::InterceptorRoute, "app", &json!({}), &spec);
    let id = RouteId::new(RouteKind::InterceptorRoute, "team", "app");
    assert_eq!(world.wake(&id).await, [Outcome::Scaled]);
}

#[tokio::test]
async fn an_interceptor_route_wakes_what_its_triggers_scale() {
    let world = World::new().await;
    let id = RouteId::new(RouteKind::InterceptorRoute, "team", "front");
    let spec = json!({"target": {"service": "app", "port": 80}, "scalingMetric": {"concurrency": {"targetValue": 1}}});
    world.observe_route(RouteKind::InterceptorRoute, "front", &json!({}), &spec);
    assert!(world.wake(&id).await.is_empty(), "no trigger names it");
    let trigger = json!([{"type": "external-push", "metadata": {"interceptorRoute": "front"}}]);
    world.observe_scaled_object(
        "own",
        &json!({}),
        &json!({"scaleTargetRef": {"name": "app"}, "triggers": trigger}),
    );
    assert_eq!(world.wake(&id).await, [Outcome::Scaled]);
}

#[tokio::test]
async fn whoever_writes_at_the_same_time_comes_first() {
    let world = World::new().await;
    // The conflict is looked into: KEDA has not been here.
    world.server.inject(
        Fault::status(409)
            .verb(Verb::Update)
            .on("deployments/scale")
            .times(2),
    );
    assert_eq!(world.wake(&app_id()).await, [Outcome::Scaled]);
    world.workload("app", 0);
    world.server.inject(
        Fault::status(409)
            .verb(Verb::Update)
            .on("deployments/scale")
            .times(3),
    );
    assert_eq!(world.wake(&app_id()).await, [Outcome::Conflict]);
    assert_eq!(world.replicas(), 0);
    // An answer that is lost is not known to be a wake, and the next look finds it.
    world
        .server
        .inject(Fault::lose_answer().verb(Verb::Update).on("deployments/scale"));
    assert_eq!(world.wake(&app_id()).await, [Outcome::Failed]);
    assert_eq!(world.wake(&app_id()).await, [Outcome::Acted]);
    assert_eq!(world.replicas(), 1);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_woken() {
    let world = World::new().await;
    world
        .server
        .delete::<k8s_openapi::api::apps::v1::Deployment>("team", "app");
    assert_eq!(world.wake(&app_id()).await, [Outcome::Missing]);
    let unknown = json!({"scaleTargetRef": {"name": "app", "kind": "Sphinx", "apiVersion": "rocks.io/v1", "service": "app", "port": 80}});
    world.observe_route(RouteKind::HttpScaledObject, "other", &json!({}), &unknown);
    let id = RouteId::new(RouteKind::HttpScaledObject, "team", "other");
    assert_eq!(world.wake(&id).await, [Outcome::Missing]);
}

#[tokio::test]
async fn a_workload_of_any_kind_with_a_scale_is_woken() {
    let world = World::new().await;
    world
        .server
        .add_kind(Kind::new("argoproj.io/v1alpha1", "Rollout", "rollouts").with_scale());
    world.server.apply_json(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"namespace": "team", "name": "app"},
        "spec": {"replicas": 0},
    }));
    let spec = json!({"scaleTargetRef": {
        "name": "app", "kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1", "service": "app", "port": 80,
    }});
    world.observe_route(RouteKind::HttpScaledObject, "other", &json!({}), &spec);
    let id = RouteId::new(RouteKind::HttpScaledObject, "team", "other");
    assert_eq!(world.wake(&id).await, [Outcome::Scaled]);
    let rollout = world
        .server
        .get_json("rollouts", "team", "app")
        .expect("the Rollout");
    assert_eq!(rollout["spec"]["replicas"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_is_not_waited_for() {
    let server = FakeApiServer::start().await;
    server.stop_answering();
    let candidate = Candidate {
        workload: app(),
        scaled_objects: Vec::new(),
    };
    let started = tokio::time::Instant::now();
    let error = wake(&server.memory_client(), &candidate)
        .await
        .expect_err("no answer");
    assert!(matches!(error, CallError::Timeout("read the scale")), "{error}");
    assert_eq!(started.elapsed(), CALL_TIMEOUT);
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("team", name)
}
