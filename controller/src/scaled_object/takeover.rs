//! Taking over a ScaledObject that the add-on's operator wrote.
//!
//! An apply takes the fields that it names from whoever has them. What the operator wrote and Rouse does not name would stay
//! in the operator's hands for ever, though nobody runs it any more: a label that is taken off the HTTPScaledObject later
//! would stay on the ScaledObject. So what the operator had is first made Rouse's, and the apply that follows removes what
//! it does not name. What users have written stays theirs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use super::FIELD_MANAGER;

/// The object's managers with the operator's part in Rouse's name, or `None` where there is no such part or Rouse has one of
/// its own already. The operator is known by what it alone writes: the reference to the owner `uid`.
pub(crate) fn taken_over(metadata: &ObjectMeta, uid: &str) -> Option<Vec<ManagedFieldsEntry>> {
    let mut entries = metadata.managed_fields.clone()?;
    if entries
        .iter()
        .any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER) && is_of_the_object(entry))
    {
        return None;
    }
    let operators = entries.iter_mut().find(|entry| {
        is_of_the_object(entry)
            && entry.operation.as_deref() == Some("Update")
            && entry
                .fields_v1
                .as_ref()
                .is_some_and(|fields| names_owner(&fields.0, uid))
    })?;
    operators.manager = Some(FIELD_MANAGER.to_owned());
    operators.operation = Some("Apply".to_owned());
    Some(entries)
}

/// Not of `/status`, which KEDA writes.
fn is_of_the_object(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource.as_deref().is_none_or(str::is_empty)
}

fn names_owner(fields: &serde_json::Value, uid: &str) -> bool {
    let owners = fields.pointer("/f:metadata/f:ownerReferences");
    owners
        .and_then(serde_json::Value::as_object)
        .is_some_and(|owners| owners.keys().any(|key| key.contains(uid)))
}
