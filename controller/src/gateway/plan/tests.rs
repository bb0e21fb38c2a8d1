//! Plans as pairs of files: `cases/NAME.in.yaml` is what is observed, `cases/NAME.out.yaml` what has to come of it.
//! `UPDATE_GOLDEN=1` rewrites the latter.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rouse_routing::RouteKind;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Plan, plan};
use crate::{
    gateway::{
        desired::Desired,
        observed::{Collection, Knowledge, Observed, WrittenObject},
        ownership::Ownership,
        resource::{Kind, Resource},
        route_object::RouteObject,
        settings::{GatewaySettings, Scope, parse_object_name},
    },
    observed::{ObjectName, Route},
};

/// The first document of a case.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Setting {
    kind: String,
    /// Manifests of the project that are observed as well.
    include: Vec<String>,
    default_gateway: Option<String>,
    request_timeout: Option<u64>,
    scope: Option<BTreeSet<String>>,
    /// Kinds that the cluster does not have.
    missing: Vec<String>,
    /// `Kind namespace`: where a kind may not be read.
    unreadable: Vec<String>,
    /// The interceptor's Service does not exist.
    without_interceptor: bool,
    /// What the API server said to writes, as `Kind namespace/name: words`.
    refused: Vec<String>,
}

/// What is observed at first, and what is written later.
struct Case {
    observed: Observed,
    ownership: Ownership,
}

#[test]
fn every_case_comes_out_as_written_down() {
    let mut failures = Vec::new();
    for (name, text) in cases() {
        let observed = Case::read(&text).observed;
        let out = yaml(&describe(&plan(&observed)));
        let path = directory().join(format!("{name}.out.yaml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &out).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != out {
            failures.push(format!("=== {name}: expected\n{expected}\n--- got\n{out}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_plan_that_was_carried_out_leaves_nothing_to_do() {
    for (name, text) in cases() {
        let mut case = Case::read(&text);
        case.observed.refused.clear();
        // An HTTPRoute that is written in the first round has its policies in the second.
        for _ in 0..2 {
            let plan = plan(&case.observed);
            case.carry_out(&plan);
        }
        let left = plan(&case.observed);
        assert!(
            left.apply.is_empty() && left.delete.is_empty(),
            "{name}: {left:#?}"
        );
    }
}

#[test]
fn what_rouse_wrote_goes_when_the_routes_are_gone() {
    for (name, text) in cases() {
        let mut case = Case::read(&text);
        for _ in 0..2 {
            let plan = plan(&case.observed);
            case.carry_out(&plan);
        }
        // What cannot be judged stays; a policy's owner reference sees to it then.
        let is_ours = |case: &Case| {
            let observed = &case.observed;
            let knows_grants = observed.service.is_complete() && observed.grants.is_complete();
            let knows_policies = observed.policies.is_complete()
                && observed.gateways.is_complete()
                && observed.gateway_classes.is_complete();
            observed.http_routes.values().any(Resource::is_ours)
                || knows_grants && observed.grants.values().any(Resource::is_ours)
                || knows_policies && observed.policies.values().any(Resource::is_ours)
        };
        let observed = &case.observed;
        let can_read = observed.http_routes.is_complete()
            && observed.http_routes.unreadable.is_empty()
            && observed.policies.unreadable.is_empty();
        case.observed.route_objects.clear();
        case.observed
            .http_routes
            .objects
            .retain(|_, route| route.is_ours());
        for _ in 0..2 {
            let plan = plan(&case.observed);
            case.carry_out(&plan);
        }
        assert!(!can_read || !is_ours(&case), "{name}");
    }
}

#[test]
fn nothing_is_written_outside_of_the_scope_or_for_anybody_else() {
    for (name, text) in cases() {
        let mut case = Case::read(&text);
        for _ in 0..2 {
            let plan = plan(&case.observed);
            for desired in &plan.apply {
                assert_within(&name, &case.observed, desired);
            }
            case.carry_out(&plan);
        }
    }
}

#[test]
fn the_same_plan_is_made_whatever_the_order_of_routes() {
    for (name, text) in cases() {
        let mut observed = Case::read(&text).observed;
        let one = describe(&plan(&observed));
        observed.route_objects.reverse();
        let other = describe(&plan(&observed));
        let sorted = |value: &Value| {
            let mut texts: Vec<String> = value["apply"]
                .as_array()
                .into_iter()
                .flatten()
                .map(Value::to_string)
                .collect();
            texts.sort();
            (texts, value["delete"].clone(), value["conditions"].clone())
        };
        assert_eq!(sorted(&one), sorted(&other), "{name}");
    }
}

#[test]
fn what_was_listed_for_another_scope_is_no_ground_for_a_plan() {
    let (_, text) = cases().swap_remove(0);
    let mut observed = Case::read(&text).observed;
    assert!(observed.is_settled());
    let only = BTreeSet::from([Arc::from("somewhere")]);
    observed.scope = Scope::Only(Arc::new(only));
    assert!(!observed.is_settled());
}

fn assert_within(case: &str, observed: &Observed, desired: &Desired) {
    let namespace = &*desired.object.name.namespace;
    let interceptor = &observed.settings.interceptor;
    if desired.object.kind != Kind::ReferenceGrant {
        assert!(observed.scope.covers(namespace), "{case}: {desired:#?}");
        return;
    }
    assert_eq!(namespace, &*interceptor.namespace, "{case}");
    let from = desired.spec["from"].as_array().unwrap();
    assert_eq!(from.len(), 1, "{case}");
    assert_eq!(from[0]["kind"], "HTTPRoute", "{case}");
    assert!(
        observed.scope.covers(from[0]["namespace"].as_str().unwrap()),
        "{case}"
    );
    let to = json!([{"group": "", "kind": "Service", "name": &*interceptor.name}]);
    assert_eq!(desired.spec["to"], to, "{case}");
}

// === cases ===

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway/plan/cases")
}

fn cases() -> Vec<(String, String)> {
    let mut cases: Vec<(String, String)> = fs::read_dir(directory())
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?.strip_suffix(".in.yaml")?.to_owned();
            Some((name, fs::read_to_string(&path).unwrap()))
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).expect("YAML documents")
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("plain data")
}

impl Case {
    fn read(text: &str) -> Self {
        let mut documents = documents(text);
        let setting: Setting = serde_json::from_value(documents.remove(0)).expect("the case's settings");
        assert_eq!(setting.kind, "Setting");
        for path in &setting.include {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
            documents.extend(self::documents(&fs::read_to_string(path).unwrap()));
        }
        if !setting.without_interceptor {
            documents.push(json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": "keda", "name": "keda-add-ons-http-interceptor-proxy"},
            }));
        }
        let mut case = Self {
            observed: empty(&setting),
            ownership: Ownership::new("keda"),
        };
        for document in documents {
            case.add(document);
        }
        case
    }

    fn add(&mut self, mut document: Value) {
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        let metadata = &mut document["metadata"];
        let identity = format!(
            "{kind}-{}-{}",
            metadata["namespace"].as_str().unwrap_or_default(),
            metadata["name"].as_str().unwrap_or_default()
        );
        for (field, value) in [
            ("uid", identity.to_lowercase()),
            ("creationTimestamp", "2026-01-01T00:00:00Z".to_owned()),
            ("resourceVersion", "1".to_owned()),
        ] {
            if metadata[field].is_null() {
                metadata[field] = value.into();
            }
        }
        let observed = &mut self.observed;
        match kind.as_str() {
            "HTTPScaledObject" => {
                let object = route(RouteKind::HttpScaledObject, &document);
                observed.route_objects.extend(object);
            }
            "InterceptorRoute" => {
                let object = route(RouteKind::InterceptorRoute, &document);
                observed.route_objects.extend(object);
            }
            "HTTPRoute" => insert(&mut observed.http_routes, document, &self.ownership),
            "Gateway" => insert(&mut observed.gateways, document, &self.ownership),
            "GatewayClass" => insert(&mut observed.gateway_classes, document, &self.ownership),
            "ReferenceGrant" => insert(&mut observed.grants, document, &self.ownership),
            "BackendTrafficPolicy" => insert(&mut observed.policies, document, &self.ownership),
            "Service" => insert(&mut observed.service, document, &self.ownership),
            // Part of the included manifests.
            "Namespace" | "Deployment" => {}
            other => panic!("{other}"),
        }
    }

    /// What an API server would do.
    fn carry_out(&mut self, plan: &Plan) {
        let ownership = self.ownership.clone();
        for stale in &plan.delete {
            let observed = &mut self.observed;
            let name = &stale.object.name;
            match stale.object.kind {
                Kind::HttpRoute => drop(observed.http_routes.objects.remove(name)),
                Kind::ReferenceGrant => drop(observed.grants.objects.remove(name)),
                Kind::BackendTrafficPolicy => drop(observed.policies.objects.remove(name)),
                kind => panic!("{kind:?} is not Rouse's to delete"),
            }
        }
        for desired in &plan.apply {
            self.add(desired.manifest("v1", &ownership));
        }
    }
}

fn empty(setting: &Setting) -> Observed {
    let settings = GatewaySettings {
        interceptor: ObjectName::new("keda", "keda-add-ons-http-interceptor-proxy"),
        interceptor_port: 8080,
        default_gateway: setting
            .default_gateway
            .as_deref()
            .map(|name| parse_object_name(name).unwrap()),
        hold: Duration::from_mins(6),
        request_timeout: setting.request_timeout.map(Duration::from_secs),
    };
    let refused = setting.refused.iter().map(|line| {
        let (object, words) = line.split_once(": ").unwrap();
        let (kind, name) = object.split_once(' ').unwrap();
        let kind = [Kind::HttpRoute, Kind::ReferenceGrant, Kind::BackendTrafficPolicy]
            .into_iter()
            .find(|known| known.kind() == kind)
            .unwrap();
        let name = parse_object_name(name).unwrap();
        (WrittenObject { kind, name }, words.to_owned())
    });
    Observed {
        settings: Arc::new(settings.checked().unwrap()),
        scope: scope(setting),
        route_objects: Vec::new(),
        service: collection(setting, Kind::Service),
        http_routes: collection(setting, Kind::HttpRoute),
        gateways: collection(setting, Kind::Gateway),
        gateway_classes: collection(setting, Kind::GatewayClass),
        grants: collection(setting, Kind::ReferenceGrant),
        policies: collection(setting, Kind::BackendTrafficPolicy),
        refused: refused.collect::<HashMap<_, _>>(),
    }
}

fn scope(setting: &Setting) -> Scope {
    setting.scope.clone().map_or(Scope::All, |names| {
        Scope::Only(Arc::new(names.into_iter().map(Arc::from).collect()))
    })
}

fn collection<T>(setting: &Setting, kind: Kind) -> Collection<T> {
    let is_missing = setting.missing.iter().any(|missing| missing == kind.kind());
    Collection {
        knowledge: if is_missing {
            Knowledge::Missing
        } else {
            Knowledge::Complete
        },
        version: "v1",
        scope: scope(setting),
        unreadable: setting
            .unreadable
            .iter()
            .filter_map(|line| line.split_once(' '))
            .filter(|(unreadable, _)| *unreadable == kind.kind())
            .map(|(_, namespace)| Arc::from(namespace))
            .collect(),
        objects: BTreeMap::new(),
    }
}

fn insert<T: DeserializeOwned>(collection: &mut Collection<T>, document: Value, ownership: &Ownership) {
    let metadata = serde_json::from_value(document["metadata"].clone()).unwrap();
    let name = ObjectName::of(&metadata);
    let resource = Resource::read(metadata, document, ownership).unwrap();
    collection.objects.insert(name, Arc::new(resource));
}

fn route(kind: RouteKind, document: &Value) -> Option<RouteObject> {
    let metadata = serde_json::from_value(document["metadata"].clone()).unwrap();
    RouteObject::read(&Route::read(
        kind,
        &metadata,
        &document["spec"],
        &document["status"],
    ))
}

fn describe(plan: &Plan) -> Value {
    let apply: Vec<Value> = plan
        .apply
        .iter()
        .map(|desired| {
            let mut described = json!({
                "object": desired.object.to_string(),
                "owner": format!("{} {}", desired.owner.kind, desired.owner.name),
                "spec": desired.spec,
            });
            if !desired.annotations.is_empty() {
                described["annotations"] = json!(desired.annotations);
            }
            described
        })
        .collect();
    let delete: Vec<String> = plan.delete.iter().map(|stale| stale.object.to_string()).collect();
    let remarks: BTreeMap<String, String> = plan
        .remarks
        .iter()
        .map(|(name, remark)| (name.to_string(), format!("{}: {}", remark.reason, remark.message)))
        .collect();
    let conditions: BTreeMap<String, String> = plan
        .conditions
        .iter()
        .map(|(id, finding)| {
            let text = format!("{} {}: {}", finding.status, finding.reason, finding.message);
            (format!("{} {id}", id.kind), text)
        })
        .collect();
    json!({"apply": apply, "delete": delete, "remarks": remarks, "conditions": conditions})
}
