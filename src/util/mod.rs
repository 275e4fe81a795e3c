//! Numbers, globs, digests, clocks and randomness.
