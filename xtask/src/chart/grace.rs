//! The interceptor's two sums: how long it may take to end, and how much memory it may need.

use anyhow::Context as _;
use serde_json::Value;

use super::objects::{Objects, environment, list, text};

/// What the kubelet allows has to be what the interceptor may take: no held request is cut, and the sum is not just large.
///
/// Computed from what the container is told, not from the values, so that both have to agree.
pub(super) fn check(objects: &Objects) -> anyhow::Result<()> {
    let interceptor = interceptor(objects)?;
    let pod = &interceptor["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"]
        .as_f64()
        .context("there is no grace period")?;
    let set = |name: &str| environment(interceptor, name).with_context(|| format!("{name} is not set"));
    let held = seconds(environment(interceptor, "KEDA_HTTP_READINESS_TIMEOUT").unwrap_or("180s"))?;
    let extended = seconds(set("ROUSE_EXTENDED_READINESS_TIMEOUT")?)?;
    let drain = seconds(set("KEDA_HTTP_DRAIN_TIMEOUT")?)?;
    if [held, extended, drain].contains(&0.0) {
        // Without a bound the user has said how long it may take.
        return Ok(());
    }
    let before = pod["containers"][0]
        .pointer("/lifecycle/preStop/sleep/seconds")
        .and_then(Value::as_f64)
        .unwrap_or_default();
    let least = before + seconds(set("KEDA_HTTP_SHUTDOWN_DELAY")?)? + held.max(extended).max(drain) + 15.0;
    anyhow::ensure!(
        (grace - least.ceil()).abs() < f64::EPSILON,
        "the interceptor may take {least} s to end and has {grace} s"
    );
    Ok(())
}

/// The bounds that the interceptor has by default have to fit into the memory that it has by default.
pub(super) fn check_memory(objects: &Objects) -> anyhow::Result<()> {
    const KIB: f64 = 1024.0;
    const MIB: f64 = 1024.0 * KIB;
    let interceptor = interceptor(objects)?;
    let number = |name: &str| -> anyhow::Result<f64> {
        let value = environment(interceptor, name).with_context(|| format!("{name} is not set"))?;
        value
            .parse()
            .with_context(|| format!("{name} is not a number: {value}"))
    };
    let bodies = environment(interceptor, "ROUSE_MAX_PENDING_BYTES").unwrap_or_default();
    // Measured, rounded up: docs and loadtest/results/hold.md have the figures.
    let need = 32.0 * MIB
        + number("ROUSE_MAX_PENDING_REQUESTS")? * 13.0 * KIB
        + number("ROUSE_MAX_CONNECTIONS")? * 8.0 * KIB
        + bytes(bodies)?;
    let limit = list(interceptor, "/spec/template/spec/containers")
        .first()
        .map(|container| text(container, "/resources/limits/memory"));
    let limit = bytes(limit.unwrap_or_default())?;
    anyhow::ensure!(
        need <= limit,
        "the interceptor may need {:.0} MiB and has {:.0} MiB",
        need / MIB,
        limit / MIB
    );
    Ok(())
}

fn interceptor(objects: &Objects) -> anyhow::Result<&Value> {
    objects
        .of_kind("Deployment")
        .find(|deployment| {
            list(deployment, "/spec/template/spec/containers/0/args")
                .first()
                .is_some_and(|argument| argument == "interceptor")
        })
        .context("there is no interceptor")
}

/// `1h30m` in seconds, added up apart from the chart's own templates.
fn seconds(text: &str) -> anyhow::Result<f64> {
    if text == "0" {
        return Ok(0.0);
    }
    let mut sum = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => anyhow::bail!("{text} is no duration"),
        };
        let number: f64 = number.parse().with_context(|| format!("{text} is no duration"))?;
        sum += number * factor;
        rest = next;
    }
    Ok(sum)
}

/// `256Mi` in bytes.
fn bytes(text: &str) -> anyhow::Result<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number
        .parse()
        .with_context(|| format!("{text} is no amount of memory"))?;
    Ok(number
        * match unit {
            "" => 1.0,
            "Ki" => 1024.0,
            "Mi" => 1024.0 * 1024.0,
            "Gi" => 1024.0 * 1024.0 * 1024.0,
            _ => anyhow::bail!("{text} is no amount of memory"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_amounts_are_read_as_the_binary_reads_them() {
        for (text, expected) in [
            ("0", 0.0),
            ("0s", 0.0),
            ("500ms", 0.5),
            ("1h30m", 5400.0),
            ("1.5m", 90.0),
        ] {
            assert!((seconds(text).unwrap() - expected).abs() < 1e-9, "{text}");
        }
        assert!((bytes("1Ki").unwrap() - 1024.0).abs() < 1e-9);
        assert!(seconds("5").is_err() && bytes("1GB").is_err());
    }
}
