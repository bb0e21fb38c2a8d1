//! The add-on's end-to-end tests, as cases that keep their names. The rows that they speak of number those tests, in the order
//! in which the add-on's repository has them.

pub(super) mod changes;
pub(super) mod cold_start;
pub(super) mod interceptors;
pub(super) mod legacy;
pub(super) mod load;
pub(super) mod objects;
pub(super) mod routing;
pub(super) mod scaling;
pub(super) mod site;
