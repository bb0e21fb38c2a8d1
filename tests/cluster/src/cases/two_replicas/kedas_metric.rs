//! KEDA's metrics adapter, asked as the HPA asks it.

use anyhow::Context as _;
use http::Request;
use serde_json::Value;

use crate::{cases::addon::objects, cluster::Cluster};

/// What KEDA tells the HPA, and the path at which it does.
pub(super) async fn ask(
    cluster: &Cluster,
    (namespace, scaled_object): (&str, &str),
) -> anyhow::Result<(String, Value)> {
    let (api_version, kind) = objects::SCALED_OBJECT;
    let object = cluster
        .dynamic(api_version, kind, namespace)
        .get(scaled_object)
        .await?;
    let name = object.data.pointer("/status/externalMetricNames/0");
    let name = name
        .and_then(Value::as_str)
        .context("the ScaledObject names no metric")?;
    let path = format!(
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{name}?labelSelector=scaledobject.keda.sh%2Fname%3D{scaled_object}"
    );
    let request = Request::get(&path).body(Vec::new()).context("make a request")?;
    let metric = cluster.client().request(request).await.context("KEDA's metric")?;
    Ok((path, metric))
}

/// The value in an answer of KEDA's: a Kubernetes quantity, in whole or in thousandths.
pub(super) fn value(metric: &Value) -> anyhow::Result<f64> {
    let quantity = metric.pointer("/items/0/value").and_then(Value::as_str);
    let quantity = quantity.with_context(|| format!("no value: {metric}"))?;
    let (number, unit) = match quantity.strip_suffix('m') {
        Some(number) => (number, 1000.0),
        None => (quantity, 1.0),
    };
    let number: f64 = number
        .parse()
        .with_context(|| format!("{quantity} as a quantity"))?;
    Ok(number / unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_read_in_whole_and_in_thousandths() {
        for (quantity, number) in [("15", 15.0), ("15000m", 15.0), ("7500m", 7.5)] {
            let metric = json!({ "items": [{ "value": quantity }] });
            assert!((value(&metric).unwrap() - number).abs() < 1e-9, "{quantity}");
        }
        assert!(value(&json!({ "items": [] })).is_err());
    }
}
