//! What every part that talks to a Kubernetes API server needs: the client, watches, namespace scopes, the lease.

pub mod lease;
