use std::{env, fs, path::Path};

use serde_json::json;

use super::*;

fn schema_of(kind: &str) -> Value {
    let crd = crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind)
        .expect(kind);
    let value = serde_json::to_value(crd).expect("json");
    value["spec"]["versions"][0].clone()
}

fn spec_of(kind: &str) -> Value {
    schema_of(kind)["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].clone()
}

/// Every schema in `schema`, itself included.
fn each_schema<'a>(path: &str, schema: &'a Value, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        each_schema(&format!("{path}.{name}"), property, visit);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            each_schema(&format!("{path}[]"), &schema[part], visit);
        }
    }
}

#[test]
fn committed_definitions_are_what_the_types_generate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let update = env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let files = files();
    for (name, generated) in &files {
        let path = folder.join(name);
        if update {
            fs::write(&path, generated).expect("write the definition");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == *generated,
            "{} is stale: UPDATE_GOLDEN=1 cargo test -p rouse-api writes it anew",
            path.display()
        );
    }
    let known = fs::read_dir(&folder).expect("the folder of definitions");
    for entry in known {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name");
        assert!(
            files.contains_key(&name),
            "nothing generates crates/api/crds/{name}"
        );
    }
}

#[test]
fn yaml_holds_every_definition_and_reads_back_the_same() {
    let documents: Vec<CustomResourceDefinition> =
        serde_saphyr::from_multiple(&crds_yaml()).expect("several YAML documents");
    assert_eq!(documents, crds());
    let names: Vec<_> = documents
        .iter()
        .filter_map(|crd| crd.metadata.name.as_deref())
        .collect();
    assert_eq!(
        names,
        ["httpscaledobjects.http.keda.sh", "interceptorroutes.http.keda.sh"]
    );
    assert_eq!(crds_yaml(), crds_yaml());
}

#[test]
fn schemas_hold_nothing_that_an_api_server_or_the_add_on_does_not_know() {
    for kind in ["HTTPScaledObject", "InterceptorRoute"] {
        let version = schema_of(kind);
        each_schema(
            kind,
            &version["schema"]["openAPIV3Schema"],
            &mut |path, schema| {
                for key in ["title", "nullable", "$ref", "oneOf", "anyOf", "allOf", "not"] {
                    assert!(schema[key].is_null(), "{path} has {key}");
                }
                assert_ne!(schema["format"], go_duration::SCHEMA_FORMAT, "{path}");
                assert!(schema["type"].is_string(), "{path} has no type");
                // The object's own metadata is described by the API server, the entries of lists of texts by the list.
                let described = !path.ends_with("[]") && !path.ends_with(".metadata");
                assert!(
                    !described || schema["description"].is_string(),
                    "{path} has no description"
                );
            },
        );
    }
}

#[test]
fn defaults_are_those_that_the_add_on_lets_the_api_server_fill_in_and_no_more() {
    let mut defaults = Vec::new();
    for kind in ["HTTPScaledObject", "InterceptorRoute"] {
        let version = schema_of(kind);
        each_schema(
            kind,
            &version["schema"]["openAPIV3Schema"],
            &mut |path, schema| {
                if !schema["default"].is_null() {
                    defaults.push(format!("{path}={}", schema["default"]));
                }
            },
        );
    }
    assert_eq!(
        defaults,
        [
            "HTTPScaledObject.spec.coldStartTimeoutFailoverRef.timeoutSeconds=30",
            "HTTPScaledObject.spec.scalingMetric.concurrency.targetValue=100",
            r#"HTTPScaledObject.spec.scalingMetric.requestRate.granularity="1s""#,
            "HTTPScaledObject.spec.scalingMetric.requestRate.targetValue=100",
            r#"HTTPScaledObject.spec.scalingMetric.requestRate.window="1m""#,
            r#"InterceptorRoute.spec.coldStart.overflow="Reject""#,
            r#"InterceptorRoute.spec.scalingMetric.requestRate.granularity="1s""#,
            r#"InterceptorRoute.spec.scalingMetric.requestRate.window="1m""#,
            r#"InterceptorRoute.spec.staticRoutes[].responseMode="WhenUnavailable""#,
        ]
    );
}

#[test]
fn rules_between_fields_are_the_add_ons_to_the_letter() {
    let mut rules = Vec::new();
    for kind in ["HTTPScaledObject", "InterceptorRoute"] {
        let version = schema_of(kind);
        each_schema(
            kind,
            &version["schema"]["openAPIV3Schema"],
            &mut |path, schema| {
                for rule in schema["x-kubernetes-validations"]
                    .as_array()
                    .into_iter()
                    .flatten()
                {
                    rules.push((path.to_owned(), rule.clone()));
                }
            },
        );
    }
    let port_name_first = json!({
        "rule": "has(self.portName) != has(self.port)",
        "message": "must define either the 'portName' or the 'port'",
    });
    let port_first = json!({
        "rule": "has(self.port) != has(self.portName)",
        "message": "exactly one of 'port' or 'portName' must be set",
    });
    let body = json!({
        "rule": "!(has(self.body) && has(self.bodyFromConfigMap))",
        "message": "at most one of 'body' or 'bodyFromConfigMap' may be set",
    });
    let expected = [
        (
            "HTTPScaledObject.spec.coldStartTimeoutFailoverRef",
            port_name_first.clone(),
        ),
        ("HTTPScaledObject.spec.scaleTargetRef", port_name_first),
        (
            "InterceptorRoute.spec.coldStart",
            json!({
                "rule": "has(self.fallback) || has(self.placeholder) || has(self.maxPendingRequests)",
                "message": "at least one of 'fallback', 'placeholder' or 'maxPendingRequests' must be set",
            }),
        ),
        (
            "InterceptorRoute.spec.coldStart",
            json!({
                "rule": "self.overflow != 'Placeholder' || has(self.placeholder)",
                "message": "'placeholder' must be set when 'overflow' is 'Placeholder'",
            }),
        ),
        (
            "InterceptorRoute.spec.coldStart.fallback.service",
            port_first.clone(),
        ),
        (
            "InterceptorRoute.spec.coldStart.placeholder.response",
            body.clone(),
        ),
        (
            "InterceptorRoute.spec.scalingMetric",
            json!({
                "rule": "has(self.concurrency) || has(self.requestRate)",
                "message": "at least one of 'concurrency' or 'requestRate' must be set",
            }),
        ),
        ("InterceptorRoute.spec.staticRoutes[].response", body),
        ("InterceptorRoute.spec.target", port_first),
    ];
    let expected = expected.map(|(path, rule)| (path.to_owned(), rule));
    assert_eq!(rules, expected);
}

#[test]
fn lists_merge_as_the_add_ons_do() {
    let spec = spec_of("HTTPScaledObject");
    assert_eq!(spec["headers"]["x-kubernetes-list-type"], "map");
    assert_eq!(spec["headers"]["x-kubernetes-list-map-keys"], json!(["name"]));
    assert!(spec["hosts"]["x-kubernetes-list-type"].is_null());

    let spec = spec_of("InterceptorRoute");
    assert_eq!(spec["rules"]["x-kubernetes-list-type"], "atomic");
    assert_eq!(spec["staticRoutes"]["x-kubernetes-list-type"], "atomic");
    let static_rules = &spec["staticRoutes"]["items"]["properties"]["rules"];
    assert_eq!(static_rules["x-kubernetes-list-type"], "atomic");
    assert_eq!(static_rules["minItems"], 1);
    for rule in [&spec["rules"], static_rules] {
        let properties = &rule["items"]["properties"];
        assert_eq!(properties["hosts"]["x-kubernetes-list-type"], "set");
        assert_eq!(properties["paths"]["x-kubernetes-list-type"], "atomic");
        assert_eq!(properties["headers"]["x-kubernetes-list-type"], "map");
        assert_eq!(
            properties["headers"]["x-kubernetes-list-map-keys"],
            json!(["name"])
        );
    }
}

#[test]
fn names_columns_and_subresources_are_the_add_ons() {
    let columns = |kind: &str| -> Vec<String> {
        let version = schema_of(kind);
        assert_eq!(
            (&version["served"], &version["storage"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(version["subresources"], json!({ "status": {} }));
        assert!(
            version["deprecated"].is_null(),
            "the add-on's definition does not say so either"
        );
        let columns = version["additionalPrinterColumns"].as_array().expect("columns");
        columns
            .iter()
            .map(|column| {
                let part = |name: &str| column[name].as_str().unwrap_or_default().to_owned();
                format!("{} {} {}", part("name"), part("type"), part("jsonPath"))
            })
            .collect()
    };
    let ready = r#"Ready string .status.conditions[?(@.type=="Ready")].status"#;
    let age = "Age date .metadata.creationTimestamp";
    assert_eq!(
        columns("HTTPScaledObject"),
        [
            "TargetWorkload string .status.targetWorkload",
            "TargetService string .status.targetService",
            "MinReplicas integer .spec.replicas.min",
            "MaxReplicas integer .spec.replicas.max",
            age,
            ready,
        ]
    );
    assert_eq!(
        columns("InterceptorRoute"),
        ["TargetService string .spec.target.service", ready, age]
    );

    let names: Vec<_> = crds().into_iter().map(|crd| crd.spec.names).collect();
    assert_eq!(names[0].short_names, Some(vec!["httpso".to_owned()]));
    assert_eq!(names[0].list_kind.as_deref(), Some("HTTPScaledObjectList"));
    assert_eq!(names[1].short_names, None);
    assert_eq!(names[1].list_kind.as_deref(), Some("InterceptorRouteList"));
    assert!(
        crds()
            .iter()
            .all(|crd| crd.spec.scope == "Namespaced" && crd.spec.group == crate::GROUP)
    );
}
