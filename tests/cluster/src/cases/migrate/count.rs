//! Which objects there are, and whether they are still the same ones.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use kube::api::ListParams;

use crate::{cases::addon::objects, cluster::Cluster, keda};

const DEFINITION: (&str, &str) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
const HPA: (&str, &str) = ("autoscaling/v2", "HorizontalPodAutoscaler");
const SERVICE: (&str, &str) = ("v1", "Service");

/// Objects by kind, namespace and name, with the identity that a deletion ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Objects(BTreeMap<(&'static str, String), String>);

impl Objects {
    /// The definitions of routes, the routes, and what scales their workloads. With the release's own (what it has in its
    /// namespace) also the proxy's Service and what scales the interceptors.
    pub(super) async fn count(cluster: &Cluster, with_release: bool) -> anyhow::Result<Self> {
        let mut found = BTreeMap::new();
        for (api_version, kind) in [
            DEFINITION,
            objects::HTTP_SCALED_OBJECT,
            objects::ROUTE,
            objects::SCALED_OBJECT,
            HPA,
            SERVICE,
        ] {
            let listed = cluster
                .dynamic(api_version, kind, "")
                .list(&ListParams::default())
                .await
                .with_context(|| format!("list every {kind}"))?;
            for object in listed.items {
                let namespace = object.metadata.namespace.unwrap_or_default();
                let name = object.metadata.name.unwrap_or_default();
                let is_wanted = match kind {
                    "CustomResourceDefinition" => name.ends_with(".http.keda.sh"),
                    "Service" => with_release && name == "keda-add-ons-http-interceptor-proxy",
                    _ => with_release || namespace != keda::NAMESPACE,
                };
                if is_wanted {
                    let uid = object.metadata.uid.unwrap_or_default();
                    found.insert((kind, format!("{namespace}/{name}")), uid);
                }
            }
        }
        Ok(Self(found))
    }

    /// How many of a kind there are.
    pub(super) fn of_kind(&self, kind: &str) -> usize {
        self.0.keys().filter(|(found, _)| *found == kind).count()
    }

    /// Has every object that there was before be there still, the same one, and no other.
    pub(super) fn are_those_of(&self, before: &Self) -> anyhow::Result<()> {
        let all: BTreeSet<_> = self.0.keys().chain(before.0.keys()).collect();
        let changed: Vec<_> = all
            .into_iter()
            .filter_map(|key| {
                let what = match (before.0.get(key), self.0.get(key)) {
                    (Some(old), Some(new)) if old == new => return None,
                    (Some(_), Some(_)) => "was made anew",
                    (Some(_), None) => "is gone",
                    (None, _) => "has come",
                };
                Some(format!("{} {} {what}", key.0, key.1))
            })
            .collect();
        anyhow::ensure!(changed.is_empty(), "{}", changed.join(", "));
        Ok(())
    }

    /// A table of the counts, for objects that [are those](Self::are_those_of) of before.
    pub(super) fn table(&self, before: &Self) -> String {
        let kinds: BTreeSet<_> = self
            .0
            .keys()
            .chain(before.0.keys())
            .map(|(kind, _)| *kind)
            .collect();
        let rows = kinds.into_iter().map(|kind| {
            let of_kind = self.0.iter().filter(|(key, _)| key.0 == kind);
            let same = of_kind
                .filter(|(key, uid)| before.0.get(*key) == Some(*uid))
                .count();
            format!(
                "\n| {kind} | {} | {} | {same} |",
                before.of_kind(kind),
                self.of_kind(kind)
            )
        });
        let head = "| kind | before | after | the same object |\n|---|---|---|---|".to_owned();
        std::iter::once(head).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(found: &[(&'static str, &str, &str)]) -> Objects {
        let found = found
            .iter()
            .map(|(kind, name, uid)| ((*kind, (*name).to_owned()), (*uid).to_owned()));
        Objects(found.collect())
    }

    #[test]
    fn an_object_that_was_made_anew_is_not_the_same() {
        let before = objects(&[("A", "n/one", "1"), ("A", "n/two", "2"), ("B", "n/one", "3")]);
        assert!(before.are_those_of(&before).is_ok());
        let after = objects(&[("A", "n/one", "9"), ("B", "n/one", "3"), ("B", "n/new", "4")]);
        let error = after.are_those_of(&before).unwrap_err().to_string();
        assert_eq!(error, "A n/one was made anew, A n/two is gone, B n/new has come");
        assert!(
            after.table(&before).contains("\n| A | 2 | 1 | 0 |"),
            "{}",
            after.table(&before)
        );
    }
}
