//! A queue that loses nothing: what a worker has in its hands when it dies goes to another, and what nobody can do ends in a
//! list of its own instead of in a circle.
//!
//! On tokio, with redis-rs, as in a service whose Redis is elsewhere: only the address would be another.
//!
//! ```sh
//! cargo run --example unlosable_queue
//! ```
#![allow(clippy::print_stdout, reason = "a program may speak")]

use std::error::Error;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamPendingCountReply,
    StreamReadOptions, StreamReadReply,
};
use redis::{AsyncCommands, Client, RedisResult};
use redkeep::Server;

const JOBS: &str = "jobs";
const GROUP: &str = "workers";
const DEAD: &str = "jobs:dead";

/// Whoever has a job for longer without acknowledging it has lost it.
const PATIENCE: Duration = Duration::from_millis(100);

/// How many workers try a job.
const ATTEMPTS: usize = 3;

struct Worker {
    name: &'static str,
    redis: MultiplexedConnection,
}

impl Worker {
    async fn new(name: &'static str, client: &Client) -> RedisResult<Worker> {
        let redis = client.get_multiplexed_async_connection().await?;
        Ok(Worker { name, redis })
    }

    /// The next jobs: first those that others have lost, then new ones.
    async fn next(&mut self, count: usize) -> RedisResult<Vec<StreamId>> {
        let idle = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
        let options = StreamAutoClaimOptions::default().count(count);
        let lost: StreamAutoClaimReply = self
            .redis
            .xautoclaim_options(JOBS, GROUP, self.name, idle, "0", options)
            .await?;
        if !lost.claimed.is_empty() {
            return Ok(lost.claimed);
        }
        let options = StreamReadOptions::default()
            .group(GROUP, self.name)
            .count(count);
        let fresh: Option<StreamReadReply> =
            self.redis.xread_options(&[JOBS], &[">"], &options).await?;
        let streams = fresh.map(|reply| reply.keys).unwrap_or_default();
        Ok(streams.into_iter().flat_map(|stream| stream.ids).collect())
    }

    async fn done(&mut self, job: &StreamId) -> RedisResult<()> {
        self.redis.xack(JOBS, GROUP, &[&job.id]).await
    }

    /// Puts a job aside that has been tried often enough, in one step: it is always in exactly one of the two places.
    async fn put_aside(&mut self, job: &StreamId) -> RedisResult<bool> {
        let pending: StreamPendingCountReply = self
            .redis
            .xpending_count(JOBS, GROUP, &job.id, &job.id, 1)
            .await?;
        let tried = pending.ids.first().map_or(0, |entry| entry.times_delivered);
        if tried <= ATTEMPTS {
            return Ok(false);
        }
        let fields = [("job", &job.id), ("what", &what(job))];
        redis::pipe()
            .atomic()
            .xadd(DEAD, "*", &fields)
            .xack(JOBS, GROUP, &[&job.id])
            .exec_async(&mut self.redis)
            .await?;
        Ok(true)
    }
}

fn what(job: &StreamId) -> String {
    job.get("what").unwrap_or_default()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder().start()?;
    let client = Client::open(server.url())?;

    let mut redis = client.get_multiplexed_async_connection().await?;
    let _: () = redis.xgroup_create_mkstream(JOBS, GROUP, "0").await?;
    for job in ["resize", "poison", "mail"] {
        let _: String = redis.xadd(JOBS, "*", &[("what", job)]).await?;
    }

    // The first worker takes two jobs, does one, and dies of the other.
    let mut first = Worker::new("first", &client).await?;
    let taken = first.next(2).await?;
    println!("first does {}", what(&taken[0])); // -> first does resize
    first.done(&taken[0]).await?;
    drop(first);

    // Others go on: with what is new, and, once it has waited for long enough, with what the first has left.
    let mut finished = 1;
    for name in ["second", "third", "fourth"].into_iter().cycle() {
        let mut worker = Worker::new(name, &client).await?;
        let jobs = worker.next(1).await?;
        for job in &jobs {
            if worker.put_aside(job).await? {
                println!("{} is put aside", what(job));
            } else if what(job) == "poison" {
                continue; // It dies of that: another will find it when it has waited for long enough.
            } else {
                println!("{} is done", what(job));
                worker.done(job).await?;
            }
            finished += 1;
        }
        if finished == 3 {
            break;
        }
        if jobs.is_empty() {
            tokio::time::sleep(PATIENCE / 4).await;
        }
    }
    // -> mail is done
    // -> poison is put aside

    let dead: usize = redis.xlen(DEAD).await?;
    let pending: StreamPendingCountReply = redis.xpending_count(JOBS, GROUP, "-", "+", 10).await?;
    println!("{dead} put aside, {} left", pending.ids.len()); // -> 1 put aside, 0 left
    Ok(())
}
