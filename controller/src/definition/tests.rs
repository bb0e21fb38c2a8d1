use serde_json::{Value, json};

use super::*;

/// Rouse's definition of HTTPScaledObjects with `change` made to it.
fn changed(change: impl FnOnce(&mut Value)) -> (CustomResourceDefinition, CustomResourceDefinition) {
    let wanted = rouse_api::crds().remove(0);
    let mut live = serde_json::to_value(&wanted).unwrap();
    change(&mut live);
    (wanted, serde_json::from_value(live).unwrap())
}

#[test]
fn the_same_definition_has_no_problem_nor_has_one_that_knows_more() {
    let (wanted, live) = changed(|live| {
        live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["new"] =
            json!({ "type": "string" });
    });
    assert_eq!(compare(&wanted, &live), []);
}

#[test]
fn a_field_that_is_not_known_is_named() {
    let (wanted, live) = changed(|live| {
        let spec =
            &mut live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        spec.as_object_mut().unwrap().remove("scalingMetric");
        spec["headers"]["items"]["properties"]
            .as_object_mut()
            .unwrap()
            .remove("value");
    });
    let problems = compare(&wanted, &live);
    assert_eq!(problems.len(), 1);
    let text = problems[0].to_string();
    for part in [
        "httpscaledobjects.http.keda.sh",
        "spec.headers[].value",
        "spec.scalingMetric",
        "rouse crds",
    ] {
        assert!(text.contains(part), "{part} is missing from: {text}");
    }
}

#[test]
fn a_version_that_is_not_served_is_named() {
    let (wanted, live) = changed(|live| live["spec"]["versions"][0]["name"] = json!("v1beta7"));
    let problems = compare(&wanted, &live);
    assert_eq!(
        problems,
        [Problem::NotServed {
            name: "httpscaledobjects.http.keda.sh".to_owned(),
            version: "v1alpha1".to_owned(),
            served: vec!["v1beta7".to_owned()],
        }]
    );
    assert!(
        problems[0]
            .to_string()
            .starts_with("httpscaledobjects.http.keda.sh is not served as v1alpha1, but as v1beta7"),
        "{}",
        problems[0]
    );
}
