//! Container probes.
//!
//! Nothing is probed yet: the agent's gate holds a pod that asks for a probe in Pending and names the field. What
//! belongs here is one worker per container and kind of probe, a pure tally of successes and failures, and the checks
//! by exec, HTTP, TCP and gRPC. Verdicts leave as plain values; this crate will not know the API server or the runtime.
