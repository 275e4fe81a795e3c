//! What the operating system knows about this process and its machine.

use std::fs;

use crate::exec::Facts;

/// All of it. Sockets, the allocator and the service manager are nobody's here.
pub(crate) fn of_process() -> Facts {
    let [cpu_user, cpu_sys, cpu_user_children, cpu_sys_children] =
        cpu_seconds().unwrap_or_default();
    Facts {
        os: system_name(),
        executable: std::env::current_exe()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        cpu_sys,
        cpu_user,
        cpu_sys_children,
        cpu_user_children,
        monotonic_clock: if cfg!(unix) {
            "POSIX clock_gettime"
        } else {
            ""
        },
        resident: kilobytes("/proc/self/status", "VmRSS:") * 1024,
        total_memory: kilobytes("/proc/meminfo", "MemTotal:") * 1024,
        ..Facts::default()
    }
}

/// Name, release and architecture, as `uname -smr` prints them.
fn system_name() -> String {
    let read = |file: &str| fs::read_to_string(file).map(|text| text.trim().to_owned());
    match (
        read("/proc/sys/kernel/ostype"),
        read("/proc/sys/kernel/osrelease"),
    ) {
        (Ok(name), Ok(release)) => format!("{name} {release} {}", std::env::consts::ARCH),
        _ => format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// The number after `label` in a file of `/proc`.
fn kilobytes(file: &str, label: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let rest = text.lines().find_map(|line| line.strip_prefix(label));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Processor time of this process, in the program and in the system, and of its children likewise.
fn cpu_seconds() -> Option<[f64; 4]> {
    /// Linux counts these in hundredths of a second for programs, whatever it uses itself.
    const TICKS: f64 = 100.0;
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses, which may hold spaces.
    let (_, rest) = text.rsplit_once(')')?;
    let fields = rest.split_whitespace().skip(11).take(4);
    let seconds: Vec<f64> = fields
        .map(|field| Some(field.parse::<f64>().ok()? / TICKS))
        .collect::<Option<_>>()?;
    seconds.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_described() {
        let facts = of_process();
        assert!(facts.os.starts_with("Linux "));
        assert!(facts.resident > 1 << 20 && facts.total_memory > facts.resident);
        assert!(facts.cpu_user >= 0.0 && facts.cpu_sys >= 0.0);
    }
}
