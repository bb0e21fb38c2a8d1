//! A real Kubernetes on one bare Linux machine, and the tests that run on it.
