//! The user's manifests: read, checked, and turned into what this machine is to run.
//!
//! [`read`] takes files apart into typed objects, [`resolve`] checks them against each other and makes the [`Plan`].
//! Both collect every fault instead of stopping at the first; a fault of one kind does not set off faults of another,
//! so one mistake is one line. Called once, before anything binds or starts.

mod check;
mod conflicts;
mod documents;
mod error;
mod kinds;
mod lookup;
mod probes;
mod reader;
mod source;
mod unknown;
mod workloads;

pub use check::{Plan, ScaledWorkload, resolve};
pub use error::{DocumentRef, ManifestError, ManifestErrors};
pub use reader::{Located, Manifests, read};
pub use source::{Source, demo, load};
pub use workloads::{RunOverride, Workload};
