//! A topology on real ports is one of those that the same test may run on.

use std::time::Duration;

use super::Topology;
use crate::embed::Client;
use crate::embed::topology::{Error, Node, Role, State, as_fortress};

as_fortress!(Topology, Client, Topology::pass);
