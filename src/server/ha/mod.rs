//! `redkeep ha`: a leader, its replicas and their sentinels in one process, for whoever develops against them.

mod args;
mod story;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::summons::{Heard, Signals};
use super::topology::Error;
use crate::embed::{Client, Message};

pub(super) use args::Args;
use story::{Story, Told};
use table::Table;

/// What the main thread waits for.
enum News {
    /// A sentinel tells something.
    Told(Told),
    /// It is to end.
    End,
}

/// Runs the nodes until a signal ends them.
pub(super) fn run(args: &Args) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<(), Error> {
    let (sender, news) = channel();
    // Before there is anything to be cleaned up.
    heed(sender.clone())?;
    #[cfg(unix)]
    // Those who want more sockets than there may be are told when they do.
    let _ = super::daemon::raise_file_limit(u64::from(u16::MAX), true);
    let topology = args.builder().start()?;
    for node in topology.sentinels() {
        listen(node.to_string(), topology.client(node)?, sender.clone())?;
    }
    let leader = topology.leader()?;
    say(&Table::of(&topology, leader, args).to_string());
    tell(&news, Story::of(&topology, leader));
    say("Ending.\n");
    topology.shutdown();
    Ok(())
}

/// Tells what happens, until the end.
fn tell(news: &Receiver<News>, mut story: Story) {
    while let Ok(News::Told(told)) = news.recv() {
        if let Some(line) = story.line(&told) {
            say(&format!("{}  {line}\n", clock()));
        }
    }
}

/// A signal so much later than the first is a second one, and not the same sent to the process and to its group.
const INSISTENCE: Duration = Duration::from_secs(1);

/// Signals end it; a second one at once.
fn heed(news: Sender<News>) -> io::Result<()> {
    let signals = Signals::hear()?;
    let first = OnceLock::new();
    let thread = std::thread::Builder::new().name("redkeep-signals".into());
    let called = move |_: Heard| {
        let first: &Instant = first.get_or_init(Instant::now);
        if first.elapsed() > INSISTENCE {
            std::process::exit(1);
        }
        // Nobody hears it when the end has come already.
        let _ = news.send(News::End);
    };
    thread.spawn(move || signals.each(called)).map(drop)
}

/// Passes on what a sentinel tells, until it is gone.
fn listen(sentinel: String, mut client: Client, news: Sender<News>) -> Result<(), Error> {
    let thread = std::thread::Builder::new().name("redkeep-ha".into());
    thread.spawn(move || {
        if client.call(["PSUBSCRIBE", "*"]).is_err() {
            return;
        }
        while let Ok(message) = client.next_message(None) {
            let Some(Message::Published { channel, text, .. }) = message else {
                continue;
            };
            let told = Told {
                sentinel: sentinel.clone(),
                event: String::from_utf8_lossy(&channel).into_owned(),
                text: String::from_utf8_lossy(&text).into_owned(),
            };
            if news.send(News::Told(told)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

fn complain(error: &Error) {
    let hint = match error {
        Error::Port { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            "\nAnother program listens there. Choose other ports with --base-port; 0 takes any that are free."
        }
        _ => "",
    };
    // There is nowhere else to complain to.
    let _ = writeln!(io::stderr(), "redkeep ha: {error}{hint}");
}

fn say(text: &str) {
    // Who does not listen any more may still want the servers.
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The time of the day, UTC.
fn clock() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (seconds, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}
