use std::time::Duration;

use super::super::{read, source};
use super::*;
use crate::manifest::Source;
use crate::replica::probe::ProbeAction;

fn demo_app() -> Vec<String> {
    vec!["rouse".to_owned(), "demo-app".to_owned()]
}

fn resolve_text(text: &str, overrides: &[&str]) -> Result<Plan, ManifestErrors> {
    let overrides: Vec<_> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    resolve(read(&[Source::new("app.yaml", text)])?, &overrides, &demo_app())
}

fn fault(text: &str) -> String {
    resolve_text(text, &[]).unwrap_err().to_string()
}

fn deployment(name: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: 0\n  selector: \
         {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: \
         {{containers: [{container}]}}\n---\n"
    )
}

fn service(name: &str, ports: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: {name}}}, ports: \
         [{ports}]}}\n---\n"
    )
}

fn route(name: &str, host: &str, target: &str) -> String {
    format!(
        "apiVersion: http.keda.sh/v1alpha1\nkind: HTTPScaledObject\nmetadata: {{name: {name}}}\nspec:\n  hosts: \
         [{host}]\n  scaleTargetRef: {{{target}}}\n---\n"
    )
}

const PODINFO: &str = "{name: web, image: podinfo}";

fn good() -> String {
    deployment("web", PODINFO)
        + &service("web", "{port: 80, targetPort: 9898}")
        + &route("web", "web.test", "name: web, service: web, port: 80")
}

#[test]
fn the_users_files_as_they_stand_make_a_plan() {
    let plan = resolve(read(&source::demo()).unwrap(), &[], &demo_app()).unwrap();
    assert_eq!((plan.notices, plan.warnings), (Vec::new(), Vec::new()));
    let [workload] = &plan.workloads[..] else {
        panic!("{:?}", plan.workloads)
    };
    assert_eq!(workload.replicas, 0);
    assert_eq!(
        workload.template.command.words,
        ["rouse", "demo-app", "--host", "{host}", "--port", "{port}"]
    );
    assert_eq!(
        workload
            .template
            .ports
            .iter()
            .map(|port| port.number)
            .collect::<Vec<_>>(),
        [9898]
    );
    assert_eq!(
        plan.scaled,
        [ScaledWorkload {
            namespace: "default".to_owned(),
            route: "chatbot".to_owned(),
            deployment: "chatbot".to_owned(),
            limits: Limits {
                min: 0,
                max: 5,
                cooldown: Duration::from_mins(1),
                initial_cooldown: Duration::ZERO
            },
        }]
    );
}

#[test]
fn a_route_without_its_service_is_an_error() {
    let text = deployment("web", PODINFO) + &route("web", "web.test", "name: web, service: wbe, port: 80");
    assert_eq!(
        fault(&text),
        "app.yaml, document 2: spec.scaleTargetRef.service: there is no Service wbe in namespace default"
    );
}

#[test]
fn a_route_without_its_workload_is_an_error() {
    let text = service("web", "{port: 80}") + &route("web", "web.test", "name: wbe, service: web, port: 80");
    assert_eq!(
        fault(&text),
        "app.yaml, document 2: spec.scaleTargetRef.name: there is no Deployment wbe in namespace default"
    );
    let text = deployment("web", PODINFO)
        + &service("web", "{port: 80}")
        + &route(
            "web",
            "web.test",
            "kind: StatefulSet, name: web, service: web, port: 80",
        );
    assert_eq!(
        fault(&text),
        "app.yaml, document 3: spec.scaleTargetRef.kind: StatefulSet cannot be scaled by `rouse local`, only a \
         Deployment"
    );
}

#[test]
fn a_port_that_the_service_does_not_have_is_an_error() {
    let start = deployment("web", PODINFO) + &service("web", "{port: 80, name: http}, {port: 81}");
    assert_eq!(
        fault(&(start.clone() + &route("web", "web.test", "name: web, service: web, port: 8000"))),
        "app.yaml, document 3: spec.scaleTargetRef.port: Service web has no TCP port 8000, but 80 (http), 81"
    );
    assert_eq!(
        fault(&(start + &route("web", "web.test", "name: web, service: web, portName: grpc"))),
        "app.yaml, document 3: spec.scaleTargetRef.portName: Service web has no TCP port grpc, but 80 (http), 81"
    );
}

#[test]
fn a_target_port_that_no_container_declares_is_an_error() {
    let text = good().replace("targetPort: 9898", "targetPort: http");
    assert_eq!(
        fault(&text),
        "app.yaml, document 2: spec.ports[0].targetPort: the container declares no port named http"
    );
}

#[test]
fn a_deployment_without_containers_is_an_error() {
    let text = good().replace(PODINFO, "");
    assert_eq!(
        fault(&text),
        "app.yaml, document 1: spec.template.spec.containers: a Deployment needs a container"
    );
}

#[test]
fn an_object_that_is_defined_twice_is_an_error() {
    let text = good() + &service("web", "{port: 80}");
    assert_eq!(
        fault(&text),
        "app.yaml, document 4: metadata.name: Service default/web is defined before, in app.yaml, document 2"
    );
}

#[test]
fn an_image_that_cannot_be_run_says_what_to_add() {
    let text = good().replace(PODINFO, "{name: web, image: 'registry/web:1.2'}");
    assert_eq!(
        fault(&text),
        "app.yaml, document 1: spec.template.spec.containers[0].command: Deployment web: images are not run here; \
         add `command` to the container, or run with --run 'registry/web:1.2=PROGRAM --port {port}'"
    );
    let plan = resolve_text(&text, &["registry/web=app {port}"]).unwrap();
    assert_eq!(plan.workloads[0].template.command.words, ["app", "{port}"]);
}

#[test]
fn a_deployment_that_never_runs_needs_no_command() {
    let text = good() + &deployment("worker", "{name: worker, image: 'myregistry/worker:latest'}");
    assert_eq!(resolve_text(&text, &[]).unwrap().workloads.len(), 2);
}

#[test]
fn files_without_a_route_are_an_error() {
    assert_eq!(
        fault(&deployment("web", PODINFO)),
        "the files hold no HTTPScaledObject: nothing would be served"
    );
}

#[test]
fn two_routes_for_the_same_requests_are_a_warning_that_names_both() {
    let text = good()
        + &deployment("b", PODINFO)
        + &service("b", "{port: 80}")
        + &route("b", "WEB.test.", "name: b, service: b, port: 80");
    let plan = resolve_text(&text, &[]).unwrap();
    assert_eq!(
        plan.warnings,
        [
            "app.yaml, document 6: HTTPScaledObject default/b does not serve web.test/: the older HTTPScaledObject \
             default/web has the same host, path and headers"
        ]
    );
    let ages: Vec<_> = plan
        .routes
        .iter()
        .map(|route| route.metadata.creation_timestamp.clone().unwrap().0)
        .collect();
    assert!(ages[0] < ages[1], "the first in file order is the oldest");
}

#[test]
fn a_host_that_another_namespace_claimed_first_is_a_warning() {
    let claim = |text: String, namespace: &str| {
        text.replace(
            "metadata: {name",
            &format!("metadata: {{namespace: {namespace}, name"),
        )
    };
    let paths = "  pathPrefixes: [/mine]\n";
    let later = deployment("b", PODINFO)
        + &service("b", "{port: 80}")
        + &route("b", "web.test", "name: b, service: b, port: 80").replace("---\n", &format!("{paths}---\n"));
    let plan = resolve_text(&(claim(good(), "first") + &claim(later, "second")), &[]).unwrap();
    assert_eq!(
        plan.warnings,
        [
            "app.yaml, document 6: HTTPScaledObject second/b does not serve web.test/mine: namespace first claimed the \
             host first, with HTTPScaledObject first/web"
        ]
    );
}

#[test]
fn a_target_that_is_an_external_name_is_an_error() {
    let external = service("web", "{port: 80}").replace(
        "spec: {",
        "spec: {type: ExternalName, externalName: web.example, ",
    );
    let text = deployment("web", PODINFO)
        + &external
        + &route("web", "web.test", "name: web, service: web, port: 80");
    assert_eq!(
        fault(&text),
        "app.yaml, document 3: spec.scaleTargetRef.service: Service web is an ExternalName, which has no endpoints to \
         wait for"
    );
}

#[test]
fn a_port_that_is_not_tcp_is_none_for_http() {
    let text = deployment("web", PODINFO)
        + &service("web", "{port: 80, protocol: UDP}")
        + &route("web", "web.test", "name: web, service: web, port: 80");
    assert_eq!(
        fault(&text),
        "app.yaml, document 3: spec.scaleTargetRef.port: Service web has no TCP port"
    );
}

#[test]
fn an_override_that_matches_no_image_is_a_warning() {
    let plan = resolve_text(&good(), &["wbe=program", "podinfo=program"]).unwrap();
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    assert!(
        plan.warnings[0]
            .starts_with("--run wbe=…: no Deployment's first container has this image; they have "),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn a_second_route_for_the_same_workload_does_not_scale_it() {
    let text = good() + &route("second", "second.test", "name: web, service: web, port: 80");
    let plan = resolve_text(&text, &[]).unwrap();
    assert_eq!(plan.scaled.len(), 1);
    assert_eq!(
        plan.warnings,
        [
            "app.yaml, document 4: HTTPScaledObject default/second and default/web scale the same Deployment web: web \
          does, as the first"
        ]
    );
}

#[test]
fn a_route_that_asks_for_no_scaled_object_does_not_scale() {
    let annotation = "annotations: {httpscaledobject.keda.sh/skip-scaledobject-creation: \"true\"}";
    let text = good().replace(
        "kind: HTTPScaledObject\nmetadata: {",
        &format!("kind: HTTPScaledObject\nmetadata: {{{annotation}, "),
    );
    let plan = resolve_text(&text, &[]).unwrap();
    assert_eq!(plan.scaled, []);
    assert_eq!(
        plan.notices,
        [
            "app.yaml, document 3: HTTPScaledObject default/web does not scale: \
          httpscaledobject.keda.sh/skip-scaledobject-creation is true"
        ]
    );
}

#[test]
fn the_routes_port_is_the_replicas_first() {
    let container = "{name: web, command: [app], ports: [{containerPort: 9090, name: metrics}, {containerPort: 8080, \
                     name: http}], readinessProbe: {httpGet: {port: http, path: ready}, periodSeconds: 2}}";
    let text = deployment("web", container)
        + &service(
            "web",
            "{port: 9090, name: metrics, targetPort: metrics}, {port: 80, name: web, targetPort: http}",
        )
        + &route("web", "web.test", "name: web, service: web, portName: web");
    let plan = resolve_text(&text, &[]).unwrap();
    let template = &plan.workloads[0].template;
    assert_eq!(
        template.ports.iter().map(|port| port.number).collect::<Vec<_>>(),
        [8080, 9090]
    );
    let probe = template.probes.readiness.clone().unwrap();
    assert_eq!(probe.period, Duration::from_secs(2));
    assert_eq!(
        probe.action,
        ProbeAction::HttpGet {
            port: 8080,
            path: "/ready".to_owned(),
            headers: Vec::new()
        }
    );
}

#[test]
fn a_probe_that_cannot_be_asked_is_an_error() {
    let text = good().replace(
        PODINFO,
        "{name: web, image: podinfo, readinessProbe: {httpGet: {port: admin}}}",
    );
    assert_eq!(
        fault(&text),
        "app.yaml, document 1: spec.template.spec.containers[0].readinessProbe.httpGet.port: Deployment web: the \
         container declares no port named admin"
    );
}

#[test]
fn replicas_begin_between_the_routes_bounds() {
    for (replicas, bounds, expected) in [
        (0, "min: 2", 2),
        (3, "min: 1", 3),
        (9, "min: 0, max: 5", 5),
        (0, "max: 5", 0),
    ] {
        let text = good()
            .replace("replicas: 0", &format!("replicas: {replicas}"))
            .replace(
                "scaleTargetRef: {",
                &format!("replicas: {{{bounds}}}\n  scaleTargetRef: {{"),
            );
        assert_eq!(
            resolve_text(&text, &[]).unwrap().workloads[0].replicas,
            expected,
            "{replicas} {bounds}"
        );
    }
}

#[test]
fn what_is_not_run_is_noticed() {
    let container = "{name: web, image: podinfo, env: [{name: KEY, valueFrom: {secretKeyRef: {name: a, key: b}}}]}, \
                     {name: sidecar, image: envoy}";
    let plan = resolve_text(&good().replace(PODINFO, container), &[]).unwrap();
    assert_eq!(
        plan.notices,
        [
            "app.yaml, document 1: Deployment web: container sidecar is not run: a replica here is its first container",
            "app.yaml, document 1: Deployment web: variable KEY is not set: only values and the pod's name, namespace \
             and address are known here",
        ]
    );
}

#[test]
fn no_route_asks_for_more_replicas_than_a_machine_runs() {
    let with_replicas = |replicas: &str| {
        deployment("web", PODINFO)
            + &service("web", "{port: 80, targetPort: 9898}")
            + &route(
                "web",
                "web.test",
                &format!("name: web, service: web, port: 80}}\n  replicas: {{{replicas}"),
            )
    };
    assert_eq!(
        fault(&with_replicas("min: 1001, max: 6000")),
        "app.yaml, document 3: spec.replicas.min: 1001 is above 1000, the most on one machine"
    );
    let plan = resolve_text(&with_replicas("max: 2000000000"), &[]).unwrap();
    assert_eq!(plan.scaled[0].limits.max, 1000);
}
