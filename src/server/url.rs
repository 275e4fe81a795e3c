//! Where clients of a server connect to, as they are told.

use std::net::SocketAddr;

use super::handle::Server;

impl Server {
    /// The address of the first TCP socket; where there are only such for TLS, of the first of those. Where there is none
    /// at all it is `0.0.0.0:0`.
    pub fn addr(&self) -> SocketAddr {
        let first = self.addrs().first().copied().or_else(|| self.tls_addr());
        first.unwrap_or_else(|| SocketAddr::from(([0; 4], 0)))
    }

    /// The TCP port; 0 when there is none.
    pub fn port(&self) -> u16 {
        self.addrs().first().map_or(0, SocketAddr::port)
    }

    /// Where clients connect to: `redis://127.0.0.1:6379` say, `rediss://` where it is over TLS only, `unix://` and the path where
    /// there is no TCP. Empty where there is no socket. The password is left out, if there is one, so that it may be shown.
    pub fn url(&self) -> String {
        self.locator(b"")
    }

    /// The same with the password that the server was started with, if there was one: for clients, not for logs. In the URL of a
    /// unix socket it is a parameter, as redis-rs reads it: `?pass=`.
    ///
    /// ```
    /// let server = redkeep::Server::builder().password("p@ss").start()?;
    /// let url = server.url_with_password();
    /// assert_eq!(url, format!("redis://:p%40ss@127.0.0.1:{}", server.port()));
    /// let mut connection = redis::Client::open(url)?.get_connection()?;
    /// let _: () = redis::cmd("PING").query(&mut connection)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn url_with_password(&self) -> String {
        self.locator(self.password())
    }

    fn locator(&self, password: &[u8]) -> String {
        let secret = escaped(password, b"");
        let at = match secret.is_empty() {
            true => String::new(),
            false => format!(":{secret}@"),
        };
        match (self.addrs().first(), self.tls_addr(), self.unix_path()) {
            (Some(addr), ..) => format!("redis://{at}{addr}"),
            (None, Some(addr), _) => format!("rediss://{at}{addr}"),
            (None, None, Some(path)) if secret.is_empty() => {
                format!("unix://{}", escaped(path.as_bytes(), b"/"))
            }
            (None, None, Some(path)) => {
                format!("unix://{}?pass={secret}", escaped(path.as_bytes(), b"/"))
            }
            (None, None, None) => String::new(),
        }
    }
}

/// Text as a part of a URL: what may mean something there is written by its number.
fn escaped(text: &[u8], keep: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // A string has room for everything.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
