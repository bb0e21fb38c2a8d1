//! Which objects the index says that it knows.

use super::*;

fn names(index: &Index, kind: ObjectKind, within: Option<&str>) -> Vec<String> {
    let mut names: Vec<String> = index
        .names(kind, within)
        .iter()
        .map(|(namespace, name)| format!("{namespace}/{name}"))
        .collect();
    names.sort();
    assert_eq!(
        names.len(),
        names.iter().collect::<std::collections::BTreeSet<_>>().len()
    );
    names
}

const ROUTES: ObjectKind = ObjectKind::Route(RouteKind::HttpScaledObject);
const OTHER_ROUTES: ObjectKind = ObjectKind::Route(RouteKind::InterceptorRoute);

#[test]
fn every_object_is_known_by_its_kind_whether_it_is_served_or_not() {
    let mut index = Index::new();
    let good = json!({ "scaleTargetRef": { "name": "chat", "service": "chat", "port": 80 } });
    let bad = json!({ "scaleTargetRef": { "name": "chat", "service": "", "port": 80 } });
    index.apply_http_scaled_object(&http_scaled_object("good", good));
    let changes = index.apply_http_scaled_object(&http_scaled_object("bad", bad));
    assert!(changes.problem.is_some());
    index.apply_service(&service("chat", &[(None, 80)]));
    index.apply_endpoint_slice(&slice("chat-1", "chat", &[(None, 80)], &[endpoint("10.0.0.1")]));

    assert_eq!(names(&index, ROUTES, None), ["shop/bad", "shop/good"]);
    assert_eq!(names(&index, OTHER_ROUTES, None), [""; 0]);
    assert_eq!(names(&index, ObjectKind::Service, None), ["shop/chat"]);
    assert_eq!(names(&index, ObjectKind::EndpointSlice, None), ["shop/chat-1"]);
    assert_eq!(index.count(ROUTES), 2);

    index.delete_http_scaled_object(NAMESPACE, "bad");
    index.delete_endpoint_slice(NAMESPACE, "chat-1");
    assert_eq!(names(&index, ROUTES, None), ["shop/good"]);
    assert_eq!(index.count(ObjectKind::EndpointSlice), 0);
}

#[test]
fn one_namespace_is_asked_for_alone() {
    let mut index = Index::new();
    let mut elsewhere = service("chat", &[(None, 80)]);
    elsewhere.metadata.namespace = Some("elsewhere".to_owned());
    index.apply_service(&service("chat", &[(None, 80)]));
    index.apply_service(&elsewhere);
    assert_eq!(names(&index, ObjectKind::Service, Some(NAMESPACE)), ["shop/chat"]);
    assert_eq!(names(&index, ObjectKind::Service, Some("nowhere")), [""; 0]);
    assert_eq!(
        names(&index, ObjectKind::Service, None),
        ["elsewhere/chat", "shop/chat"]
    );
}
