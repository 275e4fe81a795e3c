//! HTTP for those who look after a server: `/metrics` for Prometheus, `/healthz` and `/readyz` for a service manager.
//!
//! It runs no commands. What `/metrics` tells is what INFO does, taken under one short hold of the engine's lock and put
//! into its form without it (`page`). Whoever connects gets little: few connections at a time, short requests, and not long
//! to send or to read them.

mod names;
mod page;

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::listen::{self, ListenError};
use crate::embed::{LockError, Node};
use crate::exec::ready;
use crate::service::config::Config;

/// Connections at a time; more wait in the system's queue.
const CONNECTIONS: usize = 32;

/// How long a request may take to arrive.
const HEADERS: Duration = Duration::from_secs(10);

/// How long a connection may last: who reads that slowly gets no more.
const CONNECTION: Duration = Duration::from_secs(60);

/// Bytes of a request, and lines of it.
const REQUEST: usize = 8192;
const REQUEST_LINES: usize = 64;

/// How long to wait when the system has no socket to give.
const PAUSE: Duration = Duration::from_millis(50);

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Listens where the configuration says; nowhere if it says so.
pub(super) fn listen(config: &Config) -> Result<Vec<StdListener>, ListenError> {
    match config.metrics_port {
        0 => Ok(Vec::new()),
        port => listen::tcp(&addresses(config), port, config.tcp_backlog),
    }
}

/// The addresses for the port: without other orders only this machine's own.
fn addresses(config: &Config) -> Vec<String> {
    if !config.metrics_bind.is_empty() {
        return config.metrics_bind.clone();
    }
    let is_own = |word: &&String| {
        let address = word.trim_start_matches('-');
        let ip = address.parse::<std::net::IpAddr>();
        address == "localhost" || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
    };
    let own: Vec<String> = config.bind.iter().filter(is_own).cloned().collect();
    match own.is_empty() {
        true => ["127.0.0.1", "-::1"].map(str::to_owned).to_vec(),
        false => own,
    }
}

/// Serves on the sockets that were given last, until nobody gives any more.
pub(super) async fn serve(mut sockets: UnboundedReceiver<Vec<StdListener>>, node: Node) {
    let mut accepting = JoinSet::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some(given) = sockets.recv().await {
        accepting.shutdown().await;
        for socket in given {
            match TcpListener::from_std(socket) {
                Ok(listener) => {
                    accepting.spawn(accept(listener, node.clone(), Arc::clone(&room)));
                }
                Err(error) => warn!("Listening for HTTP: {error}"),
            }
        }
    }
}

/// Accepts connections until the task is dropped; those that are open go on.
async fn accept(listener: TcpListener, node: Node, room: Arc<Semaphore>) {
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = node.clone();
                tokio::spawn(async move {
                    // Who has left, or is too slow, is told nothing.
                    let _ = timeout(CONNECTION, converse(stream, node)).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("Accepting an HTTP connection: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, node: Node) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&node, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(REQUEST)
        .max_header_size(REQUEST)
        .max_headers(REQUEST_LINES)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(node: &Node, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(path, "/" | "/metrics" | "/healthz" | "/readyz") {
        return text(StatusCode::NOT_FOUND, TEXT, "not found\n");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return answer;
    }
    match path {
        "/metrics" => metrics(node),
        "/readyz" => state(readiness(node)),
        "/healthz" => state(health(node)),
        _ => text(StatusCode::OK, TEXT, "/metrics\n/healthz\n/readyz\n"),
    }
}

fn metrics(node: &Node) -> Response<Full<Bytes>> {
    let told = match node.lock() {
        Ok(mut engine) => engine.report(),
        Err(why) => return state(Err(unavailable(why))),
    };
    text(StatusCode::OK, PROMETHEUS, page::write(&told))
}

/// Whether the process serves: a script that runs for long is no reason to end it.
fn health(node: &Node) -> Result<(), String> {
    match node.is_stopped() {
        true => Err(unavailable(LockError::Stopped)),
        false => Ok(()),
    }
}

/// Whether clients are to be sent here.
fn readiness(node: &Node) -> Result<(), String> {
    let mut engine = node.lock().map_err(unavailable)?;
    match ready::why_not(engine.state()) {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

fn unavailable(why: LockError) -> String {
    why.to_string()
}

fn state(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => text(StatusCode::OK, TEXT, "ok\n"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_other_orders_it_listens_on_this_machine_only() {
        let of = |bind: &[&str], own: &[&str]| {
            addresses(&Config {
                bind: bind.iter().map(ToString::to_string).collect(),
                metrics_bind: own.iter().map(ToString::to_string).collect(),
                ..Config::default()
            })
        };
        assert_eq!(of(&["127.0.0.1", "-::1"], &[]), ["127.0.0.1", "-::1"]);
        assert_eq!(of(&["*", "-::*"], &[]), ["127.0.0.1", "-::1"]);
        assert_eq!(of(&["10.0.0.1", "127.0.0.2"], &[]), ["127.0.0.2"]);
        assert_eq!(of(&["10.0.0.1"], &[]), ["127.0.0.1", "-::1"]);
        assert_eq!(of(&["127.0.0.1"], &["*"]), ["*"]);
    }
}
