//! What to give back, and when.
//!
//! Decides over plain values and touches nothing itself: it never calls the runtime, the API server or a disk, and
//! never reads a clock. Here so far: which dead containers of a pod go ([`container::plan`]). Images, sandboxes and
//! log directories of pods that are gone, and eviction under pressure belong here too and come later.

pub mod container;
