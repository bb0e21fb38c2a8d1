//! A real Kubernetes on one bare Linux machine, and the tests that run on it.
//!
//! `rouse-cluster build` provides the [`parts`], `up` starts the cluster ([`cluster::OwnCluster`]), `test` runs the [`cases`],
//! `down` leaves the machine as it was. The same cases run on any cluster that `KUBECONFIG` names; those that need what only
//! a cluster of our own has are skipped there, with the reason.

pub mod addons;
pub mod case;
pub mod cases;
mod checksum;
pub mod cluster;
pub mod command;
pub mod control_plane;
mod dns;
pub mod evidence;
pub mod fleet;
pub mod images;
pub mod keda;
mod machine;
pub mod network;
pub mod node;
pub mod parts;
pub mod pki;
pub mod places;
pub mod process;
pub mod report;
pub mod room;
pub mod rouse;
pub mod say;
mod state;
pub mod timeline;
pub mod trial;
pub mod wait;
