//! Which objects are Rouse's own. Nothing else is ever changed or deleted.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Label: who manages an object.
pub(super) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Its value on Rouse's objects.
pub(super) const MANAGED_BY: &str = "rouse";

/// Label: the namespace of the interceptor that an object is for, so that two releases in one cluster let each other be.
pub(super) const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// The labels of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ownership {
    instance: String,
}

impl Ownership {
    pub(super) fn new(interceptor_namespace: &str) -> Self {
        Self {
            instance: interceptor_namespace.to_owned(),
        }
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
            (INSTANCE_LABEL.to_owned(), self.instance.clone()),
        ])
    }

    pub(super) fn is_ours(&self, metadata: &ObjectMeta) -> bool {
        let label = |name| metadata.labels.as_ref().and_then(|labels| labels.get(name));
        label(MANAGED_BY_LABEL).is_some_and(|value| value == MANAGED_BY)
            && label(INSTANCE_LABEL) == Some(&self.instance)
    }
}
