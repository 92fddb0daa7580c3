//! A container runtime that holds its pods in memory: the base of the tests.
