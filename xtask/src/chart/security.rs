//! How the pods run: as nobody, with nothing to write to, out of the way of each other and of nodes that come and go.

use serde_json::{Value, json};

use super::objects::{Objects, describe, list};

/// Checks every Deployment of Rouse's own.
pub(super) fn check(objects: &Objects) -> anyhow::Result<()> {
    for deployment in objects.of_kind("Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        let name = describe(deployment);
        let expect = |what: &str, got: &Value, wanted: Value| {
            anyhow::ensure!(*got == wanted, "{name}: {what} is {got}, not {wanted}");
            Ok(())
        };
        let security = &pod["securityContext"];
        expect("runAsNonRoot", &security["runAsNonRoot"], json!(true))?;
        expect("runAsUser", &security["runAsUser"], json!(65532))?;
        expect(
            "seccompProfile",
            &security["seccompProfile"],
            json!({ "type": "RuntimeDefault" }),
        )?;
        let containers = list(pod, "/containers");
        anyhow::ensure!(!containers.is_empty(), "{name} has no container");
        for container in containers {
            let security = &container["securityContext"];
            expect(
                "readOnlyRootFilesystem",
                &security["readOnlyRootFilesystem"],
                json!(true),
            )?;
            expect(
                "allowPrivilegeEscalation",
                &security["allowPrivilegeEscalation"],
                json!(false),
            )?;
            expect(
                "capabilities",
                &security["capabilities"],
                json!({ "drop": ["ALL"] }),
            )?;
            for part in ["livenessProbe", "readinessProbe"] {
                anyhow::ensure!(container[part].is_object(), "{name} has no {part}");
            }
            anyhow::ensure!(
                container["resources"]["limits"]["memory"].is_string(),
                "{name} has no memory limit"
            );
        }
        for constraint in list(pod, "/topologySpreadConstraints") {
            expect(
                "whenUnsatisfiable",
                &constraint["whenUnsatisfiable"],
                json!("ScheduleAnyway"),
            )?;
        }
        anyhow::ensure!(
            pod["affinity"].is_object() && !list(pod, "/topologySpreadConstraints").is_empty(),
            "{name} does not care where it runs"
        );
        anyhow::ensure!(
            objects
                .of_kind("PodDisruptionBudget")
                .any(|budget| budget["spec"]["selector"] == deployment["spec"]["selector"]),
            "{name} has no PodDisruptionBudget"
        );
    }
    Ok(())
}
