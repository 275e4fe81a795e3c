//! What MIGRATE sends to other servers: each parcel over a connection of its own.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;

use super::channel::Channel;
use super::link::lock;
use super::timer::timeout;
use super::wire::{Destination, Network, connect};
use crate::embed::{Held, Node};
use crate::exec::migrate::{Broken, Parcel, Report};
use crate::resp::{Value, parse_reply};
use crate::util::clock::ManualClock;

/// Bytes that are written at once: each time the other server has all the time again.
const PIECE: usize = 64 * 1024;

/// Bytes that are read at once.
const READ: usize = 4 * 1024;

/// The longest answer: what is answered here is `OK`, a number or an error.
const LONGEST: usize = 64 * 1024;

/// Carries one parcel after the other, all at the same time.
pub(super) async fn carry_all(
    node: Node,
    network: Network,
    mut parcels: UnboundedReceiver<Parcel>,
) {
    while let Some(parcel) = parcels.recv().await {
        let (node, network) = (node.clone(), network.clone());
        tokio::spawn(async move {
            let talks_tls = |mut engine: Held<'_>| engine.state().sys.cfg.tls_cluster;
            let Some(secure) = lock(&node).await.map(talks_tls) else {
                return;
            };
            let report = carry(&network, parcel, secure).await;
            if let Some(mut engine) = lock(&node).await {
                engine.arrived(report);
            }
        });
    }
}

async fn carry(network: &Network, parcel: Parcel, secure: bool) -> Report {
    let mut answers = Vec::new();
    let broken = match converse(network, &parcel, secure, &mut answers).await {
        Ok(()) => None,
        Err(broken) => {
            let (host, port) = (&parcel.host, parcel.port);
            tracing::debug!("MIGRATE to {host}:{port} broke off: {broken:?}");
            Some(broken)
        }
    };
    Report {
        client: parcel.client,
        number: parcel.number,
        answers,
        broken,
    }
}

async fn converse(
    network: &Network,
    parcel: &Parcel,
    secure: bool,
    answers: &mut Vec<Result<(), String>>,
) -> Result<(), Broken> {
    let patience = parcel.patience;
    let to = Destination {
        source: String::new(),
        host: parcel.host.clone(),
        port: parcel.port,
        secure,
    };
    let connecting = connect(network, &to, patience);
    // Redis does not notice that nobody listens until it writes.
    let mut wire = connecting.await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Broken::Writing,
        _ => Broken::Connecting,
    })?;
    for piece in parcel.commands.chunks(PIECE) {
        let writing = async {
            wire.write_all(piece).await?;
            wire.flush().await
        };
        let written = timeout(network.clock(), patience, writing).await;
        written
            .map_err(|_| Broken::Writing)?
            .map_err(|_| Broken::Writing)?;
    }
    let hearing = listen(&mut wire, parcel.count, patience, answers, network.clock());
    hearing.await
}

/// Hears so many answers.
async fn listen(
    wire: &mut Channel,
    count: usize,
    patience: Duration,
    answers: &mut Vec<Result<(), String>>,
    clock: &ManualClock,
) -> Result<(), Broken> {
    let (mut heard, mut piece) = (Vec::new(), [0; READ]);
    while answers.len() < count {
        match parse_reply(&heard).map_err(|_| Broken::Reading)? {
            Some((answer, len)) => {
                heard.drain(..len);
                answers.push(match answer {
                    Value::Error(text) => Err(String::from_utf8_lossy(text.as_ref()).into_owned()),
                    _ => Ok(()),
                });
            }
            None if heard.len() > LONGEST => return Err(Broken::Reading),
            None => {
                let read = timeout(clock, patience, wire.read(&mut piece)).await;
                let n = read
                    .map_err(|_| Broken::Reading)?
                    .map_err(|_| Broken::Reading)?;
                if n == 0 {
                    return Err(Broken::Reading);
                }
                heard.extend_from_slice(piece.get(..n).unwrap_or_default());
            }
        }
    }
    Ok(())
}
