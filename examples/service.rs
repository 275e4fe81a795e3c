//! A service on axum whose tests bring their own Redis: links that are shortened, last for a day and count their visits.
//!
//! The service knows no more than an address; that a server of the test is behind it, it cannot tell.
//!
//! ```sh
//! cargo run --example service            # beside a Redis of its own, in the same process
//! cargo test --example service
//! ```
#![allow(clippy::print_stdout, reason = "a program may speak")]

use std::error::Error;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, RedisError, pipe};

const A_DAY: u64 = 24 * 60 * 60;

/// The service; each request goes over the one connection that it shares with all others.
async fn service(url: &str) -> Result<Router, RedisError> {
    let patience = ConnectionManagerConfig::new().set_number_of_retries(0);
    let client = redis::Client::open(url)?;
    let redis = client.get_connection_manager_with_config(patience).await?;
    let routes = Router::new()
        .route("/", post(shorten))
        .route("/{code}", get(follow))
        .route("/{code}/visits", get(visits));
    Ok(routes.with_state(redis))
}

/// Takes a link, and gives the code that stands for it.
async fn shorten(State(mut redis): State<ConnectionManager>, link: String) -> Answer {
    if link.parse::<Uri>().is_err() || link.is_empty() {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    }
    let code: u64 = redis.incr("codes", 1).await?;
    let fields = [("link", link), ("visits", "0".to_owned())];
    pipe()
        .atomic()
        .hset_multiple(key(&code), &fields)
        .expire(key(&code), A_DAY.cast_signed())
        .exec_async(&mut redis)
        .await?;
    Ok((StatusCode::CREATED, code.to_string()).into_response())
}

/// Sends a visitor on, and counts the visit.
async fn follow(State(mut redis): State<ConnectionManager>, Path(code): Path<String>) -> Answer {
    let link: Option<String> = redis.hget(key(&code), "link").await?;
    let Some(link) = link else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let _: u64 = redis.hincr(key(&code), "visits", 1).await?;
    Ok((StatusCode::FOUND, [(header::LOCATION, link)]).into_response())
}

async fn visits(State(mut redis): State<ConnectionManager>, Path(code): Path<String>) -> Answer {
    let visits: Option<u64> = redis.hget(key(&code), "visits").await?;
    Ok(match visits {
        Some(visits) => visits.to_string().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

fn key(code: &impl ToString) -> String {
    format!("link:{}", code.to_string())
}

type Answer = Result<Response, Unavailable>;

/// What a visitor gets who comes during an outage.
struct Unavailable;

impl From<RedisError> for Unavailable {
    fn from(_: RedisError) -> Self {
        Self
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, "try again in a minute").into_response()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let redis = redkeep::Server::builder().start()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}, on {}", listener.local_addr()?, redis.url());
    axum::serve(listener, service(&redis.url()).await?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use redkeep::{Server, Value};
    use tower::ServiceExt;

    /// The service, and the server that it keeps its links in.
    async fn fresh() -> (Router, Server) {
        let redis = Server::builder().start().unwrap();
        let service = service(&redis.url()).await.unwrap();
        (service, redis)
    }

    async fn asked(service: &Router, request: Request<Body>) -> (StatusCode, String) {
        let response = service.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let location = response.headers().get(header::LOCATION).cloned();
        let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        match location {
            Some(link) => (status, link.to_str().unwrap().to_owned()),
            None => (status, text),
        }
    }

    async fn got(service: &Router, path: &str) -> (StatusCode, String) {
        asked(service, Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn posted(service: &Router, link: &str) -> (StatusCode, String) {
        asked(
            service,
            Request::post("/").body(link.to_owned().into()).unwrap(),
        )
        .await
    }

    const LINK: &str = "https://example.org/a/long/way";

    #[tokio::test]
    async fn a_visitor_is_sent_on_and_counted() {
        let (service, _redis) = fresh().await;
        let (status, code) = posted(&service, LINK).await;
        assert_eq!(status, StatusCode::CREATED);
        for _ in 0..3 {
            let sent = got(&service, &format!("/{code}")).await;
            assert_eq!(sent, (StatusCode::FOUND, LINK.to_owned()));
        }
        let visits = got(&service, &format!("/{code}/visits")).await;
        assert_eq!(visits, (StatusCode::OK, "3".to_owned()));
    }

    #[tokio::test]
    async fn a_link_lasts_for_a_day() {
        let (service, redis) = fresh().await;
        let (_, code) = posted(&service, LINK).await;
        let mut inside = redis.client().unwrap();
        let ttl = inside.call(["TTL", &key(&code)]).unwrap();
        assert_eq!(ttl, Value::Int(86_400));
        inside.call(["DEL", &key(&code)]).unwrap();
        assert_eq!(
            got(&service, &format!("/{code}")).await.0,
            StatusCode::NOT_FOUND
        );
    }

    #[tokio::test]
    async fn what_is_no_link_is_not_taken() {
        let (service, redis) = fresh().await;
        assert_eq!(posted(&service, "no link").await.0, StatusCode::BAD_REQUEST);
        assert_eq!(
            redis.client().unwrap().call(["DBSIZE"]).unwrap(),
            Value::Int(0)
        );
    }

    #[tokio::test]
    async fn an_outage_is_told_to_the_visitor() {
        let (service, redis) = fresh().await;
        redis.shutdown();
        let answer = got(&service, "/1").await;
        let told = (
            StatusCode::SERVICE_UNAVAILABLE,
            "try again in a minute".to_owned(),
        );
        assert_eq!(answer, told);
    }
}
