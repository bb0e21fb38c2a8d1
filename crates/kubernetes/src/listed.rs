//! The names that a list of all objects had.

use std::collections::{HashMap, HashSet};

/// Which objects exist, by namespace. Exists while a list is taken; bounded by the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    names: HashMap<Box<str>, HashSet<Box<str>>>,
}

impl Listed {
    /// Whether the object is among them.
    pub fn contains(&self, namespace: &str, name: &str) -> bool {
        self.names
            .get(namespace)
            .is_some_and(|names| names.contains(name))
    }

    pub(crate) fn insert(&mut self, namespace: &str, name: &str) {
        match self.names.get_mut(namespace) {
            Some(names) => {
                names.insert(name.into());
            }
            None => {
                self.names.insert(namespace.into(), HashSet::from([name.into()]));
            }
        }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Listed {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(names: I) -> Self {
        let mut listed = Self::default();
        for (namespace, name) in names {
            listed.insert(namespace, name);
        }
        listed
    }
}
