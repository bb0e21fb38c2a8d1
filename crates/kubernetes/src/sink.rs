//! Where the objects of a watch go.

use std::sync::Arc;

use crate::Listed;

/// Takes the objects of one kind. Called by the watches of that kind, of which there is one for each namespace where the
/// scope names some, so calls for different namespaces come at the same time.
///
/// It has to keep what it was told: nothing is told twice, except that each list of all objects applies them all again.
pub trait Sink<K>: Send + Sync + 'static {
    /// The object exists, as it is now.
    fn apply(&self, object: K);

    /// The object is gone. It need not have been applied.
    fn delete(&self, namespace: &str, name: &str);

    /// A list of all objects is complete: what was applied of the namespace `within` (`None`: of any) and is not in
    /// `listed` is gone. An object that exists but cannot be read is listed, so its last good version stays.
    fn reset(&self, within: Option<&str>, listed: &Listed);

    /// How many objects it keeps.
    fn count(&self) -> usize;
}

impl<K, S: Sink<K> + ?Sized> Sink<K> for Arc<S> {
    fn apply(&self, object: K) {
        (**self).apply(object);
    }

    fn delete(&self, namespace: &str, name: &str) {
        (**self).delete(namespace, name);
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        (**self).reset(within, listed);
    }

    fn count(&self) -> usize {
        (**self).count()
    }
}
