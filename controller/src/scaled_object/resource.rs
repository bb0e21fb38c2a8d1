//! KEDA's resource, as far as Rouse goes into it: the parts, unread.

use std::borrow::Cow;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of KEDA's API that is written.
pub(crate) const API_VERSION: &str = "keda.sh/v1alpha1";

/// Its kind.
pub(crate) const KIND: &str = "ScaledObject";

/// Its name in paths.
pub(crate) const RESOURCE: &str = "scaledobjects";

/// The name of its definition.
pub(crate) const DEFINITION: &str = "scaledobjects.keda.sh";

/// What KEDA puts on each, to have a word before it goes.
pub(crate) const FINALIZER: &str = "finalizer.keda.sh";

/// A ScaledObject. KEDA's own type has a hundred fields, of which Rouse writes ten and reads three: the rest is to pass
/// through, whatever the version of KEDA.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ScaledObjectResource {
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: Value,
    #[serde(default)]
    pub(crate) status: Value,
}

impl Resource for ScaledObjectResource {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "keda.sh".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1alpha1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        RESOURCE.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
