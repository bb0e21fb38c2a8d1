//! The subresource `/scale` over `spec.replicas`.

use serde_json::{Value, json};

/// The `Scale` of a workload.
pub(crate) fn of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let labels = object["spec"]["selector"]["matchLabels"].as_object();
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    // A workload that does not say runs one replica; a Scale leaves a zero out, as on a real server.
    let spec = match object["spec"]["replicas"].as_i64().unwrap_or(1) {
        0 => json!({}),
        replicas => json!({"replicas": replicas}),
    };
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": spec,
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector.join(",")},
    })
}

/// The workload with the replicas of `scale`.
pub(crate) fn apply(object: &Value, scale: &Value) -> Value {
    let mut object = object.clone();
    object["spec"]["replicas"] = json!(scale["spec"]["replicas"].as_i64().unwrap_or(0));
    object
}
