//! What is declared about a command, as pure data.
