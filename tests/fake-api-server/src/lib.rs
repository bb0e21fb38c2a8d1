//! An API server for tests: list, watch, writes and leases of the kinds that Rouse uses, in memory, with faults on demand.
