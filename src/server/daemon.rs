//! The server as a program: log, signals, process id file, exit code.

use std::fs;
use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::builder::StartError;
use super::handle::{Ports, Server, Surroundings};
use super::log::{self, Role};
use super::parent::{self, Parent};
use super::runtime::End;
use super::sentinel;
use super::startup;
use super::summons::Signals;
use super::supervised::Supervisor;
use crate::embed::jobs::JobError;
use crate::embed::{FragileDisk, OpenError};
use crate::persist::aof::{DirectoryError, ManifestError};
use crate::persist::{Disk, Files};
use crate::service::config::{Config, Given, Invocation, Loaded, SystemFiles, invocation_as};
use crate::util::digest::sha256_hex;
use crate::util::system::reason;

const HELP: &str = "\
Usage: redkeep [FILE] [--NAME VALUE ...] [-]
       redkeep FILE --sentinel [--NAME VALUE ...]
       redkeep check-rdb FILE
       redkeep check-aof [--fix | --truncate-to-timestamp SECONDS] FILE
       redkeep drill [--help]
       redkeep dr [--help]
       redkeep --version
       redkeep --help

FILE is a configuration file; - reads one from standard input; --NAME VALUE sets
a parameter as a line of such a file would. Later settings replace earlier ones.
A sentinel keeps in FILE what it has learned and decided.

       redkeep                               this machine only, port 6379
       redkeep /etc/redkeep.conf
       redkeep --port 7777 --bind 0.0.0.0 --requirepass secret
       echo 'maxclients 128' | redkeep -
       redkeep --port 0 --print-addr --exit-with-parent --save ''
";

/// Whoever is called like this is a sentinel.
const SENTINELS: &[&[u8]] = &[b"redis-sentinel", b"redkeep-sentinel"];

/// The commit that the program was built from, if whoever built it said so.
pub(super) const COMMIT: &str = match option_env!("REDKEEP_COMMIT") {
    Some(commit) => commit,
    None => "00000000",
};

/// Descriptors that are kept for other things than clients.
#[cfg(unix)]
pub(super) const RESERVED_FILES: u64 = 32;

/// Does what the command line asks for; the name of the program comes first.
pub fn main(argv: &[Vec<u8>]) -> ExitCode {
    let (program, argv) = match argv.split_first() {
        Some((program, argv)) => (program.as_slice(), argv),
        None => (&b""[..], argv),
    };
    if let Some(code) = super::check::main(program, argv) {
        return code;
    }
    if let Some(code) = super::cli::main(argv) {
        return code;
    }
    let given = Given {
        sentinel: SENTINELS.iter().any(|name| has_name(program, name)),
        ..Given::default()
    };
    match invocation_as(given, argv, &SystemFiles) {
        Ok(Invocation::Run(loaded)) => run(*loaded, &String::from_utf8_lossy(program)),
        Ok(Invocation::Help) => say(HELP),
        Ok(Invocation::Version) => say(&format!(
            "Redkeep {} v={} sha={COMMIT}:0 malloc=mimalloc bits={} build={}\n",
            if given.sentinel { "sentinel" } else { "server" },
            env!("CARGO_PKG_VERSION"),
            usize::BITS,
            build_id()
        )),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Whether a program is called like that; there may be more to its name.
fn has_name(program: &[u8], name: &[u8]) -> bool {
    let file = program.rsplit(|b| *b == b'/').next().unwrap_or_default();
    file.windows(name.len()).any(|part| part == name)
}

fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(text: &str) {
    // There is nowhere else to complain to.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Runs a server until SHUTDOWN or a signal ends it.
fn run(mut loaded: Loaded, program: &str) -> ExitCode {
    let is_sentinel = loaded.sentinel.is_some();
    if let Err(error) = log::start(&loaded.config) {
        complain(&format!("Can't open the log file: {}", reason(&error)));
        return ExitCode::FAILURE;
    }
    panic::set_hook(Box::new(|panic| error!("=== REDKEEP BUG REPORT: {panic}")));
    if is_sentinel && let Err(why) = sentinel::check_file(loaded.file.as_deref()) {
        warn!("{why}");
        return ExitCode::FAILURE;
    }
    let parent = match Parent::find(&loaded.config) {
        Ok(parent) => parent,
        Err(why) => {
            error!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let supervisor = Supervisor::find(loaded.config.supervised);
    startup::announce(&loaded, program);
    if let Err(error) = std::env::set_current_dir(&loaded.config.dir) {
        let why = reason(&error);
        error!("Can't chdir to '{}': {why}", loaded.config.dir);
        return ExitCode::FAILURE;
    }
    if startup::make_room(&mut loaded.config).is_err() {
        return ExitCode::FAILURE;
    }
    let follows = loaded.config.replicaof.is_some();
    log::speak_as(match (is_sentinel, follows) {
        (true, _) => Role::Sentinel,
        (false, true) => Role::Replica,
        (false, false) => Role::Leader,
    });
    startup::summary(&loaded);
    let Some(ports) = parent::ports(&loaded.config) else {
        error!("Configured to not listen anywhere, exiting.");
        return ExitCode::FAILURE;
    };
    startup::check_system(&loaded.config);
    let end = serve(loaded, ports, supervisor, parent);
    match end {
        Some(End::Asked) => ExitCode::SUCCESS,
        Some(End::Failed) | None => ExitCode::FAILURE,
    }
}

/// Starts the server and waits for its end; none: it did not start.
fn serve(loaded: Loaded, ports: Ports, supervisor: Supervisor, mut parent: Parent) -> Option<End> {
    let config = loaded.config.clone();
    let is_sentinel = loaded.sentinel.is_some();
    let signals = match Signals::hear() {
        Ok(signals) => Some(signals),
        Err(error) => {
            error!("Signals are not handled: {error}");
            None
        }
    };
    // Whoever has no use for it need not pay for it.
    let fragile = config
        .enable_test_commands
        .then(|| FragileDisk::over(Arc::new(Files), Arc::default()));
    let disk: Arc<dyn Disk> = match &fragile {
        Some(disk) => Arc::new(disk.clone()),
        None => Arc::new(Files),
    };
    let surroundings = Surroundings {
        owns_process: true,
        disk: Some(disk),
        fragile,
        supervisor: supervisor.clone(),
        ..Surroundings::default()
    };
    let mut server = match Server::open(loaded, ports, surroundings) {
        Ok(server) => server,
        Err(error) => {
            explain(&error, &config);
            return None;
        }
    };
    let pid_file = PidFile::write(&config.pidfile, std::process::id());
    if let Some(signals) = signals
        && let Err(error) = signals.heed(server.node().clone(), Arc::clone(server.stop()))
    {
        error!("Signals are not heeded: {error}");
    }
    if let Err(error) = parent.end_with(server.node().clone(), Arc::clone(server.stop())) {
        error!("The end of the parent process is not noticed: {error}");
    }
    if !is_sentinel {
        info!("Server initialized");
    }
    match server.load() {
        Ok(()) => {
            if !is_sentinel {
                announce(&server, &config);
            }
            startup::second_thoughts(&config);
            supervisor.ready(config.replicaof.is_some() && !is_sentinel);
            parent.ready(&server, &config);
        }
        // It was told to end while it loaded.
        Err(StartError::Instance(OpenError::Data(JobError::GivenUp))) => {}
        Err(error) => {
            // What is wrong is the last that is told.
            server.shutdown();
            drop(pid_file);
            explain(&error, &config);
            return None;
        }
    }
    let end = server.wait();
    server.shutdown();
    drop(pid_file);
    let name = if is_sentinel { "Sentinel" } else { "Redkeep" };
    warn!("{name} is now ready to exit, bye bye...");
    Some(end)
}

fn announce(server: &Server, config: &Config) {
    if !server.addrs().is_empty() {
        info!("Ready to accept connections tcp");
    }
    if !config.unixsocket.is_empty() {
        info!("Ready to accept connections unix");
    }
    if server.tls_addr().is_some() {
        info!("Ready to accept connections tls");
    }
}

fn explain(error: &StartError, config: &Config) {
    match error {
        StartError::Listen(failed) => {
            error!(
                "Could not create server TCP listening socket {}:{}: bind: {}",
                failed.address,
                failed.port,
                reason(&failed.source)
            );
            let kind = match failed.port == config.tls_port && failed.port != config.port {
                true => "tls",
                false => "tcp",
            };
            error!(
                "Failed listening on port {} ({kind}), aborting.",
                failed.port
            );
        }
        StartError::Tls(why) => {
            warn!("{why}");
            error!("Failed to configure TLS. Check logs for more info.");
        }
        StartError::Unix { path, source } => {
            error!("Failed opening Unix socket: bind: {path}: {source}");
            error!("Failed listening on port {} (unix), aborting.", config.port);
        }
        StartError::Instance(OpenError::Data(JobError::File(what))) => {
            warn!("Internal error in RDB reading: {what}");
            error!("{error}");
            error!("Terminating server after rdb file reading failure.");
        }
        // As what is wrong with other lines.
        StartError::Instance(OpenError::Config(error)) => complain(&error.to_string()),
        StartError::Instance(OpenError::Users(what)) => error!("{what}"),
        StartError::Instance(OpenError::Data(JobError::LogFile(what))) => error!("{what}"),
        StartError::Instance(OpenError::Data(JobError::Log(DirectoryError::Manifest(
            path,
            wrong,
        )))) => {
            let ManifestError { what, line, text } = wrong;
            error!("*** FATAL AOF MANIFEST FILE ERROR ***");
            error!(
                "Reading the manifest file {}, at line {line}",
                path.display()
            );
            error!(">>> '{text}'");
            error!("{what}");
        }
        other => error!("{other}"),
    }
}

/// Every client needs a descriptor: asks the system for enough of them if the process is ours, and otherwise says
/// for how many clients there are.
#[cfg(unix)]
pub(super) fn raise_file_limit(clients: u64, ours: bool) -> Result<(), u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = clients + RESERVED_FILES;
    let limit = getrlimit(Resource::Nofile);
    let Some(mut current) = limit.current.filter(|now| *now < wanted) else {
        return Ok(());
    };
    let raised = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let limit = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    if ours && setrlimit(Resource::Nofile, limit).is_ok() {
        current = raised;
    }
    if current < wanted {
        return Err(current.saturating_sub(RESERVED_FILES));
    }
    Ok(())
}

/// Tells builds apart: a digest of what is known of this one.
fn build_id() -> String {
    let known = [env!("CARGO_PKG_VERSION"), COMMIT, std::env::consts::ARCH];
    let digest = sha256_hex(known.join(" ").as_bytes());
    digest.iter().take(16).map(|b| char::from(*b)).collect()
}

/// A file with the process id, while the server runs.
struct PidFile<'a>(&'a str);

impl<'a> PidFile<'a> {
    fn write(path: &'a str, pid: u32) -> Option<Self> {
        if path.is_empty() {
            return None;
        }
        match fs::write(path, format!("{pid}\n")) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                warn!("Failed to write PID file: {}: {path}", reason(&error));
                None
            }
        }
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        info!("Removing the pid file.");
        // Somebody else may have removed it.
        let _ = fs::remove_file(self.0);
    }
}
