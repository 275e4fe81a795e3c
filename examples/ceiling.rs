//! What sockets allow: a server that answers `+OK` to everything without looking at it, on the runtime that Redkeep uses.
//!
//! `benches/side_by_side.py` drives it beside real servers, as the bound of what any of them can reach on the machine at hand:
//!
//! ```sh
//! cargo build --release --example ceiling
//! benches/side_by_side.py redis=redis-server redkeep=target/release/redkeep ceiling=target/release/examples/ceiling
//! ```
//!
//! Of its arguments it heeds `--port` alone. A request is told from the next by its `*`: nothing that is sent to it may hold
//! another.

use std::error::Error;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// The most that is read at once, as in Redkeep.
const READ: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip_while(|word| word != "--port").skip(1);
    let port: u16 = words.next().ok_or("--port is missing")?.parse()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

/// Answers one client until it goes.
async fn serve(mut stream: TcpStream) {
    let (mut read, mut reply) = (vec![0; READ], Vec::new());
    while let Ok(n @ 1..) = stream.read(&mut read).await {
        reply.clear();
        for _ in read.iter().take(n).filter(|&&byte| byte == b'*') {
            reply.extend_from_slice(b"+OK\r\n");
        }
        if stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_request_is_answered() -> Result<(), Box<dyn Error>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        tokio::spawn(serve(listener.accept().await?.0));
        let requests = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        client.write_all(requests).await?;
        let mut replies = [0; 10];
        client.read_exact(&mut replies).await?;
        assert_eq!(&replies, b"+OK\r\n+OK\r\n");
        Ok(())
    }
}
