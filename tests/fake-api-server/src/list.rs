//! Lists, in pages.

use serde_json::{Value, json};

use crate::{kinds::Kind, query::Query, status::Refusal, store::Store};

/// A list, or its next page. The token names the list's version and the last object of the page before.
pub(crate) fn list(store: &Store, kind: &Kind, namespace: &str, query: &Query) -> Result<Value, Refusal> {
    let token = match &query.continue_token {
        Some(token) => {
            Some(parse_token(token).ok_or_else(|| Refusal::bad_request("continue key is not valid"))?)
        }
        None => None,
    };
    let version = token.as_ref().map_or(store.version(), |(version, _)| *version);
    if version < store.compacted() {
        return Err(Refusal::expired());
    }
    let after = token.map(|(_, key)| key);
    let mut rest = store.list(kind, namespace).filter(|(key, object)| {
        after.as_ref().is_none_or(|after| *key > after) && query.selector.matches(object)
    });
    let limit = if query.limit == 0 { usize::MAX } else { query.limit };
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let remaining = rest.count();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if remaining > 0
        && let Some((last, _)) = page.last()
    {
        metadata["continue"] = json!(format!("{version}|{}|{}", last.0, last.1));
        metadata["remainingItemCount"] = json!(remaining);
    }
    let items: Vec<Value> = page
        .into_iter()
        .map(|(_, object)| in_version(kind, object))
        .collect();
    Ok(json!({
        "apiVersion": kind.api_version(), "kind": format!("{}List", kind.kind), "metadata": metadata, "items": items,
    }))
}

fn parse_token(token: &str) -> Option<(u64, (String, String))> {
    let mut parts = token.splitn(3, '|');
    let version = parts.next()?.parse().ok()?;
    Some((version, (parts.next()?.to_owned(), parts.next()?.to_owned())))
}

/// The object in the version that was asked for.
pub(crate) fn in_version(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    if !object.is_null() {
        object["apiVersion"] = json!(kind.api_version());
    }
    object
}

/// What a client sees that asked for metadata only.
pub(crate) fn metadata_only(answer: &Value) -> Value {
    let one = |object: &Value| {
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
        })
    };
    match answer["items"].as_array() {
        Some(items) => json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": answer["metadata"],
            "items": items.iter().map(one).collect::<Vec<_>>(),
        }),
        None => one(answer),
    }
}
