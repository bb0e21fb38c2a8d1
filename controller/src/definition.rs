//! Whether the cluster's definitions of Rouse's resources are those that it works with.
//!
//! An API server drops fields that a definition does not know, without a word: with an older one a user's `scalingMetric`
//! would be as if it had never been written, and a status would lose its conditions. So the definitions are looked at, and
//! what is missing of them is said in the log and in `/readyz`, once for each way in which it is so. Nothing waits for it.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::{Api, Client};
use parking_lot::Mutex;
use rouse_daemon::{chain::chain, readiness::Readiness};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often the definitions are looked at. They change when somebody installs something.
const PERIOD: Duration = Duration::from_secs(30);

/// How long the API server has for one.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fields that a message names before it says how many more there are.
const NAMED: usize = 5;

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It does not serve this version, but others.
    NotServed {
        name: String,
        version: String,
        served: Vec<String>,
    },
    /// It does not know these fields.
    Fields { name: String, missing: Vec<String> },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotServed {
                name,
                version,
                served,
            } => {
                write!(f, "{name} is not served as {version}")?;
                if !served.is_empty() {
                    write!(f, ", but as {}", served.join(", "))?;
                }
            }
            Self::Fields { name, missing } => {
                let named = missing.iter().take(NAMED).map(String::as_str);
                let named = named.collect::<Vec<_>>().join(", ");
                write!(f, "{name} is of another version: it drops {named}")?;
                if missing.len() > NAMED {
                    write!(f, " and {} more", missing.len() - NAMED)?;
                }
            }
        }
        f.write_str("; `rouse crds | kubectl apply --server-side -f -` mends it")
    }
}

/// Looks at the definitions until `shutdown`. `/readyz` tells of what is wrong.
pub(crate) async fn watch(client: Client, readiness: Readiness, shutdown: CancellationToken) {
    let problems: Arc<Mutex<Vec<Problem>>> = Arc::default();
    let told = Arc::clone(&problems);
    readiness.remark(move || {
        let told = told.lock();
        (!told.is_empty()).then(|| {
            told.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        })
    });
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let wanted = rouse_api::crds();
    loop {
        match look(&api, &wanted).await {
            Ok(found) => {
                let is_news = *problems.lock() != found;
                if is_news {
                    for problem in &found {
                        tracing::error!(%problem, "a definition is not the one that Rouse works with");
                    }
                    if found.is_empty() {
                        tracing::info!("the definitions are those that Rouse works with");
                    }
                    *problems.lock() = found;
                }
            }
            // The watches say what is wrong with the API server; a role without this right has nothing to be told.
            Err(error) => tracing::debug!(error = %chain(&error), "definitions not looked at"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(PERIOD) => {}
        }
    }
}

/// Why the definitions could not be looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    #[error("read a definition")]
    Read(#[source] Box<kube::Error>),
}

/// A definition that is not there is the watches' to tell.
async fn look(
    api: &Api<CustomResourceDefinition>,
    wanted: &[CustomResourceDefinition],
) -> Result<Vec<Problem>, LookError> {
    let mut problems = Vec::new();
    for wanted in wanted {
        let name = wanted.metadata.name.as_deref().unwrap_or_default();
        let live = timeout(TIMEOUT, api.get_opt(name)).await;
        let live = live
            .map_err(|_elapsed| LookError::Timeout)?
            .map_err(|error| LookError::Read(Box::new(error)))?;
        if let Some(live) = live {
            problems.extend(compare(wanted, &live));
        }
    }
    Ok(problems)
}

/// What `live` lacks of what Rouse reads and writes.
fn compare(wanted: &CustomResourceDefinition, live: &CustomResourceDefinition) -> Vec<Problem> {
    let name = wanted.metadata.name.clone().unwrap_or_default();
    let mut problems = Vec::new();
    for version in &wanted.spec.versions {
        let served = live
            .spec
            .versions
            .iter()
            .find(|live| live.served && live.name == version.name);
        let Some(served) = served else {
            let others = live.spec.versions.iter().filter(|live| live.served);
            problems.push(Problem::NotServed {
                name: name.clone(),
                version: version.name.clone(),
                served: others.map(|live| live.name.clone()).collect(),
            });
            continue;
        };
        let schema = |schema: &Option<_>| -> BTreeSet<String> {
            let schema: Option<&JSONSchemaProps> = schema
                .as_ref()
                .and_then(|validation: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceValidation| {
                    validation.open_api_v3_schema.as_ref()
                });
            let mut fields = BTreeSet::new();
            if let Some(schema) = schema {
                collect("", schema, &mut fields);
            }
            fields
        };
        let (wanted_fields, live_fields) = (schema(&version.schema), schema(&served.schema));
        let missing: Vec<String> = wanted_fields.difference(&live_fields).cloned().collect();
        if !missing.is_empty() {
            problems.push(Problem::Fields {
                name: name.clone(),
                missing,
            });
        }
    }
    problems
}

/// The paths of all fields of a schema: `spec.hosts`, `spec.headers[].name`.
fn collect(path: &str, schema: &JSONSchemaProps, fields: &mut BTreeSet<String>) {
    for (name, property) in schema.properties.iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        collect(&path, property, fields);
        fields.insert(path);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        collect(&format!("{path}[]"), items, fields);
    }
}

#[cfg(test)]
mod tests;
