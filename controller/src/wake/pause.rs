//! Whether a user has stopped KEDA from scaling out.

use std::collections::BTreeMap;

/// Scaling is stopped at a number of replicas, whatever it is.
const PAUSED_REPLICAS: &str = "autoscaling.keda.sh/paused-replicas";

/// Scaling is stopped, or scaling out is. Another annotation stops scaling in, which is no reason not to wake.
const SWITCHES: [&str; 2] = [
    "autoscaling.keda.sh/paused",
    "autoscaling.keda.sh/paused-scale-out",
];

/// Whether a ScaledObject with these annotations is not to be scaled out.
pub(crate) fn stops_scale_out(annotations: &BTreeMap<String, String>) -> bool {
    annotations.contains_key(PAUSED_REPLICAS)
        || SWITCHES
            .iter()
            .filter_map(|name| annotations.get(*name))
            .any(|value| is_set(value))
}

/// What is no boolean to Go counts as true, as with KEDA.
fn is_set(value: &str) -> bool {
    !matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_keda_stops_us_and_nothing_else() {
        let cases = [
            (&[][..], false),
            (&[("autoscaling.keda.sh/paused", "true")], true),
            (&[("autoscaling.keda.sh/paused", "")], true),
            (&[("autoscaling.keda.sh/paused", "false")], false),
            (&[("autoscaling.keda.sh/paused-replicas", "0")], true),
            (&[("autoscaling.keda.sh/paused-replicas", "3")], true),
            (&[("autoscaling.keda.sh/paused-scale-out", "true")], true),
            (&[("autoscaling.keda.sh/paused-scale-out", "f")], false),
            (&[("autoscaling.keda.sh/paused-scale-in", "true")], false),
        ];
        for (annotations, expected) in cases {
            let annotations = annotations
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            assert_eq!(stops_scale_out(&annotations), expected, "{annotations:?}");
        }
    }
}
