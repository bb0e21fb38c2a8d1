//! Kinds that are missing, an API server that refuses or hangs, a term that ends.

use super::*;

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_before_every_route_is_known() {
    let server = server().await;
    let first = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    drop(first);
    server.clear_requests();
    server.inject(Fault::hang().on("httproutes").always());
    let _second = Controller::leading(&server, settings(), &[]);
    server.wait_for_watches("referencegrants", 1).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(gateway_writes(&server), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_the_gateway_api_is_looked_at_now_and_then() {
    let server = server().await;
    server.remove_group(GATEWAY_API);
    let controller = Controller::leading(&server, settings(), &[scaled_object("team", "bot", "bot.test")]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(controller.condition("team", "bot"), None);
    // Four kinds in two versions each, every ten seconds.
    let asked = server
        .requests()
        .iter()
        .filter(|record| record.path.starts_with("/apis/gateway.networking.k8s.io"))
        .count();
    assert!((10..=100).contains(&asked), "{asked} requests in 100 s");
    server.add_group(GATEWAY_API);
    add_gateway(&server);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn without_envoy_gateways_kinds_there_is_a_permission_alone() {
    let server = server().await;
    server.remove_group("gateway.envoyproxy.io");
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    server
        .eventually("a grant is there", |server| grant(server, "team").is_some())
        .await;
    server.add_group("gateway.envoyproxy.io");
    until_written(&server, "team", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn an_older_gateway_api_gets_its_own_version() {
    let server = server().await;
    server.remove_kind("referencegrants");
    server.add_kind(rouse_fake_api_server::Kind::new(
        "gateway.networking.k8s.io/v1beta1",
        "ReferenceGrant",
        "referencegrants",
    ));
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    let versions: Vec<String> = server
        .writes()
        .into_iter()
        .filter(|record| record.resource == "referencegrants")
        .map(|record| record.path)
        .collect();
    assert!(
        versions.iter().all(|path| path.contains("/v1beta1/")),
        "{versions:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_read_is_done_without() {
    let server = server().await;
    for kind in ["gateways", "gatewayclasses"] {
        server.inject(Fault::status(403).on(kind).always());
    }
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    until_written(&server, "team", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_told_and_tried_again() {
    let server = server().await;
    server.inject(Fault::status(403).on("referencegrants").on_writes().always());
    let controller = Controller::leading(&server, settings(), &[scaled_object("team", "bot", "bot.test")]);
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    controller
        .until_condition(Status::False, "ReferenceGrantMissing")
        .await;
    server.clear_requests();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let tries = gateway_writes(&server).len();
    assert!((3..=13).contains(&tries), "{tries} tries in 60 s");
    server.clear_faults();
    controller.until_condition(Status::True, "Routed").await;
    assert!(grant(&server, "team").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_is_given_up_and_the_others_go_on() {
    let server = server().await;
    server.inject(
        Fault::hang()
            .on("referencegrants")
            .of("rouse-httproutes-a")
            .always(),
    );
    let _controller = Controller::leading(&server, settings(), &[]);
    server.apply_json(http_route("a", "bot", "a.test"));
    server.apply_json(http_route("b", "bot", "b.test"));
    until_written(&server, "b", "bot").await;
    server.apply_json(http_route("c", "bot", "c.test"));
    until_written(&server, "c", "bot").await;
    assert!(grant(&server, "a").is_none());
    server.clear_faults();
    until_written(&server, "a", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes() {
    let server = server().await;
    let route = scaled_object("team", "bot", "bot.test");
    let controller = Controller::start(&server, settings(), ScopeWatch::All, &[route], false);
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    controller.until_condition(Status::True, "Routed").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(gateway_writes(&server), Vec::<String>::new());
    // Its term ends while a write is under way.
    server.inject(Fault::hang().verb(Verb::Patch).always());
    let term = CancellationToken::new();
    controller
        .leadership
        .send_replace(Leadership::Leader(term.clone()));
    server.wait_for_requests(Verb::Patch, "referencegrants", 1).await;
    term.cancel();
    server.clear_faults();
    server.clear_requests();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(gateway_writes(&server), Vec::<String>::new());
    controller
        .leadership
        .send_replace(Leadership::Leader(CancellationToken::new()));
    until_written(&server, "team", "bot").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_taken_and_ended_at_once_is_not_repeated_without_pause() {
    let server = server().await;
    server.inject(Fault::end_at_once().on("httproutes").always());
    let _controller = Controller::leading(&server, settings(), &[]);
    server.wait_for_requests(Verb::Watch, "httproutes", 1).await;
    server.clear_requests();
    tokio::time::sleep(Duration::from_mins(2)).await;
    let asked = server
        .requests()
        .iter()
        .filter(|record| record.verb == Verb::Watch && record.resource == "httproutes")
        .count();
    assert!((10..=30).contains(&asked), "{asked} watches in two minutes");
}

fn namespaces(names: &[&str]) -> rouse_kubernetes::NamespaceSet {
    Arc::new(names.iter().map(|name| Arc::from(*name)).collect())
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_not_be_read_is_told_and_the_others_are_served() {
    let server = server().await;
    server.inject(Fault::status(403).on("httproutes").within("shut").always());
    let (_scope, set) = watch::channel(Some(namespaces(&["team", "shut", "gone"])));
    let routes = [
        scaled_object("team", "bot", "bot.test"),
        scaled_object("shut", "bot", "shut.test"),
    ];
    // Of an earlier run.
    let earlier = Controller::leading(&server, settings(), &[]);
    for namespace in ["gone", "shut"] {
        server.apply_json(http_route(namespace, "bot", &format!("{namespace}.test")));
        until_written(&server, namespace, "bot").await;
    }
    drop(earlier);
    delete(&server, Kind::HttpRoute, "gone", "bot").await;

    let scope = ScopeWatch::new(Some(set));
    let controller = Controller::start(&server, settings(), scope, &routes, true);
    server.apply_json(with_status(http_route("team", "bot", "bot.test"), "True"));
    until_written(&server, "team", "bot").await;
    server
        .eventually("the grant that nobody needs is gone", |server| {
            grant(server, "gone").is_none()
        })
        .await;
    controller.until_condition(Status::True, "Routed").await;
    let finding = controller.condition("shut", "bot").expect("a condition");
    assert_eq!((finding.status, finding.reason), (Status::Unknown, "NotReadable"));
    assert!(
        finding.message.contains("httproutes in namespace shut"),
        "{}",
        finding.message
    );
    // Longer than it takes to look again.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(grant(&server, "shut").is_some());
    assert!(policy(&server, "shut", "bot").is_some());

    server.clear_faults();
    server.apply_json(http_route("shut", "second", "second.test"));
    until_written(&server, "shut", "second").await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_not_be_read_any_longer_keeps_what_it_has() {
    let server = server().await;
    let (_scope, set) = watch::channel(Some(namespaces(&["team", "shut"])));
    let route = scaled_object("shut", "bot", "shut.test");
    server.apply_json(http_route("shut", "bot", "shut.test"));
    let scope = ScopeWatch::new(Some(set));
    let controller = Controller::start(&server, settings(), scope, &[route], true);
    until_written(&server, "shut", "bot").await;
    for kind in ["httproutes", "backendtrafficpolicies"] {
        server.inject(Fault::status(403).on(kind).within("shut").always());
    }
    server.close_watches();
    until_reason(&controller, "shut", "NotReadable").await;
    server.clear_requests();
    server.apply_json(http_route("team", "bot", "bot.test"));
    until_written(&server, "team", "bot").await;
    let elsewhere: Vec<String> = gateway_writes(&server)
        .into_iter()
        .filter(|write| write.contains("shut"))
        .collect();
    assert_eq!(elsewhere, Vec::<String>::new());
    server.clear_faults();
    server.apply_json(with_status(http_route("shut", "bot", "shut.test"), "True"));
    until_reason(&controller, "shut", "Routed").await;
}

/// In paused time, longer than it takes to look again.
async fn until_reason(controller: &Controller, namespace: &str, reason: &str) {
    let reached = tokio::time::timeout(Duration::from_secs(30), async {
        while controller
            .condition(namespace, "bot")
            .is_none_or(|finding| finding.reason != reason)
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(
        reached.await.is_ok(),
        "{reason}: {:?}",
        controller.condition(namespace, "bot")
    );
}
