//! What the log of a program begins with: what runs, with which configuration, and what of the machine is in its way.

use std::fs;

use tracing::{info, warn};

use super::daemon::COMMIT;
use crate::service::config::{Config, Loaded};

/// The first lines.
pub(super) fn announce(loaded: &Loaded, program: &str) {
    info!("oO0OoO0OoO0Oo Redkeep is starting oO0OoO0OoO0Oo");
    info!(
        "Redkeep version={}, bits={}, commit={COMMIT}, modified=0, pid={}, just started",
        env!("CARGO_PKG_VERSION"),
        usize::BITS,
        std::process::id()
    );
    match loaded.file {
        Some(_) => info!("Configuration loaded"),
        None => warn!(
            "Warning: no config file specified, using the default config. In order to specify a config file use \
             {program} /path/to/redkeep.conf"
        ),
    }
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
}

/// What runs, for whom who reads the log later.
pub(super) fn summary(loaded: &Loaded) {
    let (config, pid) = (&loaded.config, std::process::id());
    let mode = match loaded.sentinel {
        Some(_) => "sentinel",
        None => "standalone",
    };
    info!("Running mode={mode}, port={}. PID: {pid}", config.port);
    let file = loaded.file.as_ref().map(|path| path.display().to_string());
    info!(
        version = env!("CARGO_PKG_VERSION"),
        mode,
        bind = %config.bind.join(" "),
        port = config.port,
        tls_port = config.tls_port,
        unixsocket = %config.unixsocket,
        metrics_port = config.metrics_port,
        dir = %config.dir,
        persistence = %persistence(config, mode),
        maxmemory = config.maxmemory,
        maxmemory_policy = %config.shown("maxmemory-policy"),
        maxclients = config.maxclients,
        follows = %leader(config),
        config_file = %file.as_deref().unwrap_or("none"),
        "In force:"
    );
}

/// How the data set is kept.
fn persistence(config: &Config, mode: &str) -> String {
    let mut kept = Vec::new();
    if mode == "standalone" && !config.save.is_empty() {
        kept.push(format!("rdb({})", config.shown("save")));
    }
    if mode == "standalone" && config.appendonly {
        kept.push(format!("aof({})", config.appendfsync));
    }
    match kept.is_empty() {
        true => "none".to_owned(),
        false => kept.join("+"),
    }
}

fn leader(config: &Config) -> String {
    match &config.replicaof {
        Some((host, port)) => format!("{host}:{port}"),
        None => "nobody".to_owned(),
    }
}

/// What is likely not meant.
pub(super) fn second_thoughts(config: &Config) {
    if config.maxmemory > 0 && config.maxmemory < 1 << 20 {
        warn!(
            "WARNING: You specified a maxmemory value that is less than 1MB (current value is {} bytes). Are you sure \
             this is what you really want?",
            config.maxmemory
        );
    }
}

/// Says what of the system keeps the server from doing what it is configured for.
pub(super) fn check_system(config: &Config) {
    if let Some(most) = number_in("/proc/sys/net/core/somaxconn")
        && most < u64::from(config.tcp_backlog)
        && config.port != 0
    {
        warn!(
            "WARNING: The TCP backlog setting of {} cannot be enforced because /proc/sys/net/core/somaxconn is set to \
             the lower value of {most}.",
            config.tcp_backlog
        );
    }
    // Nothing is forked for a save, so that Redis's warning of vm.overcommit_memory = 0 has no meaning here.
    if number_in("/proc/sys/vm/overcommit_memory") == Some(2) {
        warn!(
            "WARNING The system hands out no more memory than it has (vm.overcommit_memory = 2): a request that it \
             refuses ends this process. Set maxmemory well below what the system allows, or add 'vm.overcommit_memory \
             = 1' to /etc/sysctl.conf and run 'sysctl vm.overcommit_memory=1'."
        );
    }
    #[cfg(target_os = "linux")]
    huge_pages(config);
}

/// Keeps huge pages out, or says that they are there.
#[cfg(target_os = "linux")]
fn huge_pages(config: &Config) {
    let mode = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let always = mode.is_ok_and(|mode| mode.contains("[always]"));
    let kept_out =
        config.disable_thp && rustix::thread::disable_transparent_huge_pages(true).is_ok();
    if always && !kept_out {
        warn!(
            "WARNING You have Transparent Huge Pages (THP) support enabled in your kernel. This makes the process larger \
             than its data. To fix this issue run the command 'echo madvise > \
             /sys/kernel/mm/transparent_hugepage/enabled' as root, and add it to your /etc/rc.local in order to retain \
             the setting after a reboot."
        );
    }
}

fn number_in(file: &str) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Every client needs a descriptor: asks the system for enough of them, or has fewer clients.
///
/// # Errors
/// When there are too few for any.
#[cfg(unix)]
pub(super) fn make_room(config: &mut Config) -> Result<(), ()> {
    use super::daemon::{RESERVED_FILES, raise_file_limit};
    use rustix::process::{Resource, getrlimit};
    let wanted = u64::from(config.maxclients) + RESERVED_FILES;
    let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let Err(most) = raise_file_limit(u64::from(config.maxclients), true) else {
        if before < wanted {
            info!(
                "Increased maximum number of open files to {wanted} (it was originally set to {before})."
            );
        }
        return Ok(());
    };
    if most == 0 {
        warn!(
            "Your current 'ulimit -n' of {before} is not enough for the server to start. Please increase your open file \
             limit to at least {wanted}. Exiting."
        );
        return Err(());
    }
    warn!(
        "You requested maxclients of {} requiring at least {wanted} max file descriptors.",
        config.maxclients
    );
    let maxclients = u32::try_from(most).unwrap_or(config.maxclients);
    warn!(
        "Current maximum open files is {}. maxclients has been reduced to {maxclients} to compensate for low ulimit. If \
         you need higher maxclients increase 'ulimit -n'.",
        most + RESERVED_FILES
    );
    config.maxclients = maxclients;
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn make_room(_: &mut Config) -> Result<(), ()> {
    Ok(())
}
