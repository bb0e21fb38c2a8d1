//! What is written, and what goes again.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_users_route_is_permitted_and_not_cut_off() {
    let server = server().await;
    let controller = Controller::leading(&server, settings(), &[scaled_object("team", "bot", "bot.test")]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    let policy = policy(&server, "team", "bot").unwrap();
    assert_eq!(policy["spec"]["timeout"]["http"]["requestTimeout"], "0s");
    let grant = grant(&server, "team").unwrap();
    assert_eq!(grant["apiVersion"], "gateway.networking.k8s.io/v1");
    assert_eq!(
        grant["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "rouse"
    );
    for record in server.changes() {
        assert_eq!(record.field_manager, "rouse-controller", "{record:?}");
    }
    controller.until_condition(Status::Unknown, "Pending").await;
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    controller.until_condition(Status::True, "Routed").await;
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "False"));
    controller
        .until_condition(Status::False, "RouteNotAccepted")
        .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_where_nothing_changed() {
    let server = server().await;
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    server.clear_requests();
    // Every round looks at everything: this one finds the first namespace as it should be.
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    server.apply_json(http_route("other", "bot", "other.test"));
    until_written(&server, "other", "bot").await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let mut writes = gateway_writes(&server);
    writes.sort();
    assert_eq!(
        writes,
        [
            "Patch backendtrafficpolicies other/rouse-timeout-bot",
            "Patch referencegrants keda/rouse-httproutes-other"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_permission_goes_with_the_last_route_and_the_policy_with_its_own() {
    let server = server().await;
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "one", "one.test"));
    server.apply_json(http_route("team", "two", "two.test"));
    until_written(&server, "team", "one").await;
    until_written(&server, "team", "two").await;
    delete(&server, Kind::HttpRoute, "team", "one").await;
    server
        .eventually("the policy is gone", |server| {
            policy(server, "team", "one").is_none()
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(grant(&server, "team").is_some());
    delete(&server, Kind::HttpRoute, "team", "two").await;
    server
        .eventually("the grant is gone", |server| grant(server, "team").is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_wanted_goes_after_a_restart() {
    let server = server().await;
    let first = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    drop(first);
    delete(&server, Kind::HttpRoute, "team", "bot").await;
    let _second = Controller::leading(&server, settings(), &[]);
    server
        .eventually("the grant is gone", |server| grant(server, "team").is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_others_do_to_our_objects_is_undone_in_measure() {
    let server = server().await;
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    delete(&server, Kind::ReferenceGrant, "keda", "rouse-httproutes-team").await;
    server
        .eventually("the grant is back", |server| grant(server, "team").is_some())
        .await;
    server.clear_requests();
    // Somebody who insists: once in five seconds it is put right, not at once each time.
    for _ in 0..100 {
        let mut changed = policy(&server, "team", "bot").unwrap();
        changed["spec"]["timeout"]["http"]["requestTimeout"] = json!("1s");
        server.apply_json(changed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let writes = gateway_writes(&server).len();
    assert!((3..=6).contains(&writes), "{writes} writes in 20 s");
    server
        .eventually("the policy is as it should be", |server| {
            let policy = policy(server, "team", "bot").unwrap();
            policy["spec"]["timeout"]["http"]["requestTimeout"] == "0s"
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_told_once_as_an_event() {
    let server = server().await;
    let controller = Controller::leading(&server, settings(), &[scaled_object("team", "bot", "bot.test")]);
    server.apply_json(json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "BackendTrafficPolicy",
        "metadata": {"namespace": "team", "name": "mine"},
        "spec": {
            "targetRefs": [{"group": GATEWAY_API, "kind": "HTTPRoute", "name": "bot"}],
            "timeout": {"http": {"requestTimeout": "30s"}},
        },
    }));
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    controller.until_condition(Status::False, "PolicyConflict").await;
    server
        .eventually("an event is there", |server| !server.events().is_empty())
        .await;
    server.apply_json(http_route("other", "bot", "other.test"));
    until_written(&server, "other", "bot").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let events = server.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (events[0].0.as_str(), events[0].2.as_str()),
        ("PolicyConflict", "HTTPRoute/team/bot")
    );
    assert!(policy(&server, "team", "bot").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_host_without_a_route_gets_one_on_the_default_gateway() {
    let server = server().await;
    let settings = GatewaySettings {
        default_gateway: Some(ObjectName::new("infra", "main")),
        ..settings()
    };
    server.create_namespace("team");
    let controller = Controller::leading(&server, settings, &[scaled_object("team", "bot", "bot.test")]);
    let policies = |server: &FakeApiServer| {
        ["safe", "other"].map(|rule| {
            let name = format!("rouse-retry-{rule}-rouse-httpscaledobject-bot");
            server.get_json("backendtrafficpolicies", "team", &name)
        })
    };
    server
        .eventually("the route has its policies", |server| {
            policies(server).iter().all(Option::is_some)
        })
        .await;
    controller.until_condition(Status::Unknown, "Pending").await;
    controller.delete_route("team", "bot");
    server
        .eventually("all is gone", |server| {
            policies(server).iter().all(Option::is_none)
                && grant(server, "team").is_none()
                && server
                    .get_json("httproutes", "team", "rouse-httpscaledobject-bot")
                    .is_none()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_leaves_the_scope_loses_its_permission() {
    let server = server().await;
    let set = |names: &[&str]| {
        let names: BTreeSet<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        Some(Arc::new(names))
    };
    let (scope, namespaces) = watch::channel(None);
    server.apply_json(http_route("a", "bot", "a.test"));
    server.apply_json(http_route("b", "bot", "b.test"));
    let scoped = ScopeWatch::new(Some(namespaces));
    let _controller = Controller::start(&server, settings(), scoped, &[], true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(gateway_writes(&server), Vec::<String>::new());
    scope.send_replace(set(&["a"]));
    until_written(&server, "a", "bot").await;
    assert!(grant(&server, "b").is_none());
    scope.send_replace(set(&["a", "b"]));
    until_written(&server, "b", "bot").await;
    scope.send_replace(set(&["b"]));
    server
        .eventually("the grant is gone", |server| grant(server, "a").is_none())
        .await;
    assert!(grant(&server, "b").is_some());
    scope.send_replace(set(&[]));
    server
        .eventually("the grant is gone", |server| grant(server, "b").is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_controller_says_in_a_routes_status_what_the_gateway_says() {
    let server = server().await;
    let mut object = scaled_object("team", "bot", "bot.test");
    object["apiVersion"] = json!("http.keda.sh/v1alpha1");
    object["kind"] = json!("HTTPScaledObject");
    server.apply_json(object);
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "False"));
    let command = crate::Args::augment_args(clap::Command::new("controller").no_binary_name(true));
    let arguments = ["--port=0", "--bind-address=127.0.0.1", "--namespace=keda"];
    let matches = command.try_get_matches_from(arguments).unwrap();
    let args = crate::Args::from_arg_matches(&matches).unwrap();
    let config = crate::Config::new(args, "default").unwrap();
    let app = crate::App::start(config, server.memory_client()).await.unwrap();
    let reason = |server: &FakeApiServer| {
        let object = server.get_json("httpscaledobjects", "team", "bot").unwrap();
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ready = conditions
            .into_iter()
            .find(|condition| condition["type"] == "GatewayReady")?;
        Some(ready["reason"].as_str()?.to_owned())
    };
    server
        .eventually("the gateway's refusal is in the status", |server| {
            reason(server).as_deref() == Some("RouteNotAccepted")
        })
        .await;
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    server
        .eventually("the route is served", |server| {
            reason(server).as_deref() == Some("Routed")
        })
        .await;
    until_written(&server, "team", "bot").await;
    app.stop().await;
}
