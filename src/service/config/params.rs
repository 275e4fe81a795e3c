//! The parameters: one row each. A row declares the field, its type, default, codec and flags; everything else
//! (`CONFIG`, the file, `CONFIG REWRITE`, conf/redkeep.conf) is derived from it.

use super::codec::{
    Choice, Clamped, Codec, FileName, HostName, Int, Mem, MemOrPercent, Octal, Origin, Secret,
    Share, Text, TextOrNone, TitleTemplate, Word, YesNo,
};
use super::lists::{
    Addresses, BufferLimits, ClientLimits, Leader, NotifyClasses, OomScores, Percentiles,
    SavePoint, SavePoints, ShutdownFlags, ShutdownWords,
};
use super::row::{Access, Row};
use crate::keyspace::event::Classes;
use crate::keyspace::{Lfu, Merit, Policy};

const INT: i64 = i32::MAX as i64;
const UINT: i64 = u32::MAX as i64;
const LONG: i64 = i64::MAX;
const BYTES: u64 = i64::MAX as u64;

const NO_DAEMON: &str = "Redkeep stays in the foreground. Have systemd run it with 'supervised systemd' \
    (conf/redkeep.service), or a shell with 'nohup redkeep ... &' or 'setsid'";
const NO_UPSTART: &str = "upstart stops a process to see that it is ready, which nobody does any more. Use 'supervised \
    systemd' with conf/redkeep.service, or 'supervised no' with 'expect' left out of the job";
const NO_CPU_LISTS: &str = "threads are not bound to processors";
const NO_CLUSTER: &str = "there is no cluster mode";
const NO_DEFRAG: &str = "there is no active defragmentation";
const NO_TITLE: &str = "the title of the process stays as it was started";
const NO_SCHEDULER: &str = "connections are served by tasks, in no cycles";

/// How `oom-score-adj-values` are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OomScoreAdj {
    /// Not at all.
    #[default]
    No,
    /// Added to the score that the process started with.
    Relative,
    /// Written as they are.
    Absolute,
}

const OOM_SCORE_ADJ: Choice<OomScoreAdj> = Choice(&[
    ("no", OomScoreAdj::No),
    ("yes", OomScoreAdj::Relative),
    ("relative", OomScoreAdj::Relative),
    ("absolute", OomScoreAdj::Absolute),
]);

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What is rarely useful.
    Verbose,
    /// What one wants to know in production.
    #[default]
    Notice,
    /// Only what needs attention.
    Warning,
    /// Nothing.
    Nothing,
}

const LOG_LEVELS: Choice<LogLevel> = Choice(&[
    ("debug", LogLevel::Debug),
    ("verbose", LogLevel::Verbose),
    ("notice", LogLevel::Notice),
    ("warning", LogLevel::Warning),
    ("nothing", LogLevel::Nothing),
]);

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// As Redis writes them, for people.
    #[default]
    Human,
    /// An object of JSON each.
    Json,
}

const LOG_FORMATS: Choice<LogFormat> =
    Choice(&[("human", LogFormat::Human), ("json", LogFormat::Json)]);

/// Who may use something dangerous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// Nobody.
    #[default]
    No,
    /// Every client.
    Yes,
    /// Clients from this machine.
    Local,
}

const ALLOW: Choice<Allow> = Choice(&[
    ("no", Allow::No),
    ("yes", Allow::Yes),
    ("local", Allow::Local),
]);

/// Whether clients over TLS must say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsAuth {
    /// They are not asked for a certificate.
    No,
    /// They must show one.
    #[default]
    Yes,
    /// They may show one.
    Optional,
}

const TLS_AUTH: Choice<TlsAuth> = Choice(&[
    ("no", TlsAuth::No),
    ("yes", TlsAuth::Yes),
    ("optional", TlsAuth::Optional),
]);

/// Which keys give way when `maxmemory` is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// The least recently used of those that expire.
    VolatileLru,
    /// The least frequently used of those that expire.
    VolatileLfu,
    /// Any of those that expire.
    VolatileRandom,
    /// The next to expire.
    VolatileTtl,
    /// The least recently used.
    AllKeysLru,
    /// The least frequently used.
    AllKeysLfu,
    /// Any.
    AllKeysRandom,
    /// None: commands that need memory fail.
    #[default]
    NoEviction,
}

const EVICTION: Choice<Eviction> = Choice(&[
    ("volatile-lru", Eviction::VolatileLru),
    ("volatile-lfu", Eviction::VolatileLfu),
    ("volatile-random", Eviction::VolatileRandom),
    ("volatile-ttl", Eviction::VolatileTtl),
    ("allkeys-lru", Eviction::AllKeysLru),
    ("allkeys-lfu", Eviction::AllKeysLfu),
    ("allkeys-random", Eviction::AllKeysRandom),
    ("noeviction", Eviction::NoEviction),
]);

macro_rules! params {
    ($(
        section $section:literal {
            $(
                $(#[doc = $doc:literal])+
                $name:literal => $field:ident: $ty:ty = $default:literal, $codec:expr
                $(, $attr:ident $(($($arg:tt)*))?)*;
            )*
        }
    )*) => {
        /// The value of every parameter.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(
                $(#[doc = $doc])+
                pub $field: $ty,
            )*)*
        }

        impl Config {
            fn blank() -> Self {
                Self { $($($field: <$ty>::default(),)*)* }
            }
        }

        /// The parameters by section, in the order of conf/redkeep.conf.
        pub static SECTIONS: &[(&str, &[Row])] = &[
            $(($section, &[
                $(
                    Row::new($name, $default, &[$($doc),+], Access {
                        assign: |config, words, origin| {
                            Codec::<$ty>::assign(&$codec, &mut config.$field, words, origin)
                        },
                        show: |config| Codec::<$ty>::show(&$codec, &config.$field),
                        lines: |config| Codec::<$ty>::lines(&$codec, &config.$field),
                        accepts: || Codec::<$ty>::accepts(&$codec),
                    })
                    $(.$attr($($($arg)*)?))*,
                )*
            ]),)*
        ];
    };
}

params! {
    section "Network" {
        /// Addresses to listen on. A leading `-` makes an address optional: no error where the system lacks it.
        /// `*` and `::*` are all IPv4 and all IPv6 addresses. A configuration file that names no address at all
        /// means `* -::*`, as it does to Redis; without a file only this machine can connect.
        "bind" => bind: Vec<String> = "127.0.0.1 -::1", Addresses, multi;
        /// The source address of outgoing connections.
        "bind-source-addr" => bind_source_addr: String = "", TextOrNone;
        /// The TCP port; 0 for none. Where there is nothing else to listen on, and `print-addr` or `ready-fd` tells
        /// somebody which one it is, 0 is any port that is free.
        "port" => port: u16 = "6379", Int(0, 65535);
        /// While the default user needs no password, accept clients from this machine only.
        "protected-mode" => protected_mode: bool = "yes", YesNo;
        /// Connections that the system may queue before they are accepted.
        "tcp-backlog" => tcp_backlog: u32 = "511", Int(0, INT), immutable;
        /// Path of a unix socket to listen on.
        "unixsocket" => unixsocket: String = "", TextOrNone, immutable;
        /// Its permissions; 0 leaves them to the umask.
        "unixsocketperm" => unixsocketperm: u32 = "0", Octal(0o777), immutable;
        /// Its group; empty leaves it as it is.
        "unixsocketgroup" => unixsocketgroup: String = "", TextOrNone, immutable, hidden,
            only(&[""], "set the group of its directory");
        /// Close a client that was idle for this many seconds; 0 never.
        "timeout" => timeout: u64 = "0", Int(0, INT);
        /// Seconds after which the system probes a silent peer; 0 never.
        "tcp-keepalive" => tcp_keepalive: u64 = "300", Int(0, INT);
        /// Clients at a time. One more is told so and closed.
        "maxclients" => maxclients: u32 = "10000", Int(1, UINT);
        /// A mark that the system puts on packets, for its rules of routing; 0 for none.
        "socket-mark-id" => socket_mark_id: u32 = "0", Int(0, UINT), immutable,
            only(&["0"], "sockets are not marked");
        /// Threads that serve sockets.
        "io-threads" => io_threads: u32 = "1", Int(1, 128), immutable;
        /// Whether those threads also read.
        "io-threads-do-reads" => io_threads_do_reads: bool = "no", YesNo, immutable, hint("they do, if there are any");
        /// How many events make another of them work.
        "events-per-io-thread" => events_per_io_thread: u32 = "2", Int(0, INT), hidden, hint(NO_SCHEDULER);
        /// Commands of a pipeline whose keys are fetched from memory at once; more than 16 are as 16.
        "prefetch-batch-max-size" => prefetch_batch_max_size: u32 = "16", Int(0, 128);
        /// Connections to accept at a time.
        "max-new-connections-per-cycle" => max_new_connections_per_cycle: u32 = "10", Int(1, 1000), hint(NO_SCHEDULER);
        /// The same over TLS.
        "max-new-tls-connections-per-cycle" => max_new_tls_connections_per_cycle: u32 = "1", Int(1, 1000),
            hint(NO_SCHEDULER);
        /// Listen with Multipath TCP.
        "mptcp" => mptcp: bool = "no", YesNo, immutable, hidden, only(&["no"], "Multipath TCP is not used");
        /// Where the machine stands, for clients that ask.
        "availability-zone" => availability_zone: String = "", Text, hint("nobody is told");
    }

    section "TLS" {
        /// The port for TLS; 0 for none. It is listened on beside `port`, at the same addresses; `port 0` leaves TLS alone.
        "tls-port" => tls_port: u16 = "0", Int(0, 65535);
        /// The certificate of this server in PEM, and behind it those that lead to the authority. Setting it again, like
        /// the other files here, reads it again: who is connected stays.
        "tls-cert-file" => tls_cert_file: String = "", Text, reread;
        /// The private key of that: PKCS#8, PKCS#1 or SEC1 in PEM.
        "tls-key-file" => tls_key_file: String = "", Text, reread;
        /// What the key is encrypted with (PKCS#8 with PBES2); empty: it is not.
        "tls-key-file-pass" => tls_key_file_pass: String = "", Text, sensitive;
        /// The certificate to show to other servers, in place of `tls-cert-file`.
        "tls-client-cert-file" => tls_client_cert_file: String = "", Text, reread;
        /// The private key of that.
        "tls-client-key-file" => tls_client_key_file: String = "", Text, reread;
        /// What that key is encrypted with.
        "tls-client-key-file-pass" => tls_client_key_file_pass: String = "", Text, sensitive;
        /// The certificates of the authorities that clients and other servers are vouched for by.
        "tls-ca-cert-file" => tls_ca_cert_file: String = "", Text, reread;
        /// A directory of such files.
        "tls-ca-cert-dir" => tls_ca_cert_dir: String = "", Text, reread;
        /// Whether clients must show a certificate, may, or are not asked for one.
        "tls-auth-clients" => tls_auth_clients: TlsAuth = "yes", TLS_AUTH;
        /// Use TLS towards the leader; and, as a sentinel, towards all servers and sentinels.
        "tls-replication" => tls_replication: bool = "no", YesNo;
        /// Use TLS towards the servers that MIGRATE sends keys to.
        "tls-cluster" => tls_cluster: bool = "no", YesNo;
        /// Versions of the protocol, `TLSv1.2 TLSv1.3` say; empty for both. Older ones are never spoken.
        "tls-protocols" => tls_protocols: String = "", Text;
        /// Ciphers of TLS 1.2, as OpenSSL writes lists of them; empty for all that there are here: ECDHE with AES-GCM or
        /// ChaCha20-Poly1305.
        "tls-ciphers" => tls_ciphers: String = "", Text;
        /// Ciphers of TLS 1.3, separated by colons; empty for all.
        "tls-ciphersuites" => tls_ciphersuites: String = "", Text;
        /// Choose the first cipher of this server's list that the client can do, not the first of the client's.
        "tls-prefer-server-ciphers" => tls_prefer_server_ciphers: bool = "no", YesNo;
        /// Remember sessions, so that a client that comes back need not begin anew.
        "tls-session-caching" => tls_session_caching: bool = "yes", YesNo;
        /// How many; 0 for a million.
        "tls-session-cache-size" => tls_session_cache_size: u32 = "20480", Int(0, INT);
        /// For how many seconds.
        "tls-session-cache-timeout" => tls_session_cache_timeout: u32 = "300", Int(0, INT);
        /// Parameters of a key exchange that is not offered here: keys are exchanged by elliptic curves only.
        "tls-dh-params-file" => tls_dh_params_file: String = "", Text, hint("keys are exchanged by elliptic curves only");
    }

    section "General" {
        /// Run in the background. Redkeep stays in the foreground: a service manager does this better.
        "daemonize" => daemonize: bool = "no", YesNo, immutable, only(&["no"], NO_DAEMON);
        /// Report to the service manager that the server is ready, what it does, and that it stops: `systemd` by its
        /// notify socket, `auto` if there is one.
        "supervised" => supervised: &'static str = "no", Word(&["upstart", "systemd", "auto", "no"]), immutable,
            only(&["no", "systemd", "auto"], NO_UPSTART);
        /// Print one line with the address to standard output when clients are served: `redis://127.0.0.1:40123` say,
        /// `rediss://` where there is only TLS, `unix://` and the path of a unix socket where there is only that. The log
        /// goes to standard error then. As an option, its name alone is enough.
        "print-addr" => print_addr: bool = "no", YesNo, immutable, hidden, bare;
        /// Write that line to a descriptor that the process was started with: a pipe or a file, not a socket; -1 for none.
        "ready-fd" => ready_fd: i32 = "-1", Int(-1, INT), immutable, hidden;
        /// End when the process that started this one has ended, however it did. What is to be saved is saved as on SIGTERM;
        /// where that fails, the server ends all the same. As an option, its name alone is enough.
        "exit-with-parent" => exit_with_parent: bool = "no", YesNo, immutable, hidden, bare;
        /// A file to write the process id to while running.
        "pidfile" => pidfile: String = "", TextOrNone, immutable;
        /// How much to log.
        "loglevel" => loglevel: LogLevel = "notice", LOG_LEVELS;
        /// The file to log to; empty for standard output. It may be renamed, removed or cut off at any time: the next
        /// line goes to the file that has the name then.
        "logfile" => logfile: String = "", Text, immutable;
        /// How to log: lines as Redis writes them, or an object of JSON for each.
        "log-format" => log_format: LogFormat = "human", LOG_FORMATS;
        /// Log to the syslog of this machine as well.
        "syslog-enabled" => syslog_enabled: bool = "no", YesNo, immutable;
        /// The name to log under.
        "syslog-ident" => syslog_ident: String = "redis", Text, immutable;
        /// The facility to log to.
        "syslog-facility" => syslog_facility: &'static str = "local0", Word(&[
            "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
        ]), immutable;
        /// How many databases there are.
        "databases" => databases: u32 = "16", Int(1, INT), immutable;
        /// Show a logo in the log.
        "always-show-logo" => always_show_logo: bool = "no", YesNo, immutable, hint("there is none");
        /// Put the state of the server into the title of the process.
        "set-proc-title" => set_proc_title: bool = "yes", YesNo, immutable, hint(NO_TITLE);
        /// That title.
        "proc-title-template" => proc_title_template: String = "{title} {listen-addr} {server-mode}",
            TitleTemplate, hint(NO_TITLE);
        /// The locale that SORT ALPHA compares by.
        "locale-collate" => locale_collate: String = "", Text,
            only(&["", "C", "POSIX"], "text is compared by its bytes, the same everywhere");
        /// Warnings of the host not to fail on.
        "ignore-warnings" => ignore_warnings: String = "", Text, hint("no warning of the host ends the server");
        /// Keep what users store out of the log.
        "hide-user-data-from-log" => hide_user_data_from_log: bool = "yes", YesNo, hint("it is never logged");
        /// Answer as Redis does where Valkey has another name for itself.
        "extended-redis-compatibility" => extended_redis_compatibility: bool = "no", YesNo,
            hint("it does in any case");
        /// Housekeeping rounds per second.
        "hz" => hz: i32 = "10", Clamped { taken: (0, INT), kept: (1, 500) }, hint("what is due is done when it is due");
        /// More rounds while many clients are connected.
        "dynamic-hz" => dynamic_hz: bool = "yes", YesNo, hint("what is due is done when it is due");
        /// How hard to look for expired keys. Expiry is exact here, whatever the effort.
        "active-expire-effort" => active_expire_effort: i32 = "1", Int(1, 10), hint("keys expire in time, whatever the effort");
        /// Dump registers and stacks on a crash.
        "crash-log-enabled" => crash_log_enabled: bool = "yes", YesNo, hint("a panic says where it was; nothing else is caught");
        /// Test the memory on a crash.
        "crash-memcheck-enabled" => crash_memcheck_enabled: bool = "yes", YesNo, hint("memory is not tested");
        /// Leave by exit instead of abort on a panic.
        "use-exit-on-panic" => use_exit_on_panic: bool = "no", YesNo, hidden, hint("a panic ends the server in any case");
        /// What to do about a command that fails while it is replicated.
        "propagation-error-behavior" => propagation_error_behavior: &'static str = "ignore",
            Word(&["ignore", "panic", "panic-on-replicas"]), hint("a replica that cannot run what it is sent asks for all data anew");
        /// Log where the time goes when nothing moves for this many milliseconds.
        "watchdog-period" => watchdog_period: i32 = "0", Int(0, INT), hidden, hint("there is no watchdog");
        /// Keep transparent huge pages out: they make a process larger than its data.
        "disable-thp" => disable_thp: bool = "yes", YesNo, immutable;
        /// Let the system choose this process first when memory runs out.
        "oom-score-adj" => oom_score_adj: OomScoreAdj = "no", OOM_SCORE_ADJ;
        /// The scores for a leader, a replica and a saving child.
        "oom-score-adj-values" => oom_score_adj_values: [i32; 3] = "0 200 800", OomScores, multi;
        /// The processors that clients are served on.
        "server_cpulist" => server_cpulist: String = "", TextOrNone, immutable, only(&[""], NO_CPU_LISTS), alias(&["server-cpulist"]);
        /// The processors for background threads.
        "bio_cpulist" => bio_cpulist: String = "", TextOrNone, immutable, only(&[""], NO_CPU_LISTS), alias(&["bio-cpulist"]);
        /// The processors for rewriting the log.
        "aof_rewrite_cpulist" => aof_rewrite_cpulist: String = "", TextOrNone, immutable, only(&[""], NO_CPU_LISTS), alias(&["aof-rewrite-cpulist"]);
        /// The processors for saving.
        "bgsave_cpulist" => bgsave_cpulist: String = "", TextOrNone, immutable, only(&[""], NO_CPU_LISTS), alias(&["bgsave-cpulist"]);
        /// Flags of SHUTDOWN that SIGTERM implies.
        "shutdown-on-sigterm" => shutdown_on_sigterm: ShutdownFlags = "default", ShutdownWords, multi;
        /// Flags of SHUTDOWN that SIGINT implies.
        "shutdown-on-sigint" => shutdown_on_sigint: ShutdownFlags = "default", ShutdownWords, multi;
        /// Seconds to wait for replicas on shutdown.
        "shutdown-timeout" => shutdown_timeout: u32 = "10", Int(0, INT);
    }

    section "Security" {
        /// The password of the default user; empty for none.
        "requirepass" => requirepass: Vec<u8> = "", Secret, sensitive;
        /// A file of users, one line each; none may stand in the configuration then.
        "aclfile" => aclfile: String = "", Text, immutable;
        /// What a new user may do to channels.
        "acl-pubsub-default" => acl_pubsub_default: &'static str = "resetchannels",
            Word(&["allchannels", "resetchannels"]);
        /// Refusals that ACL LOG remembers.
        "acllog-max-len" => acllog_max_len: u64 = "128", Int(0, LONG);
        /// Who may change parameters that say where files are.
        "enable-protected-configs" => enable_protected_configs: Allow = "no", ALLOW, immutable;
        /// Who may use DEBUG.
        "enable-debug-command" => enable_debug_command: Allow = "no", ALLOW, immutable;
        /// Whether clients on this machine, and nobody else, may use what is for tests: faults, a clock that they set.
        "enable-test-commands" => enable_test_commands: bool = "no", YesNo, immutable, hidden;
        /// Who may use MODULE. There are no modules to load.
        "enable-module-command" => enable_module_command: Allow = "no", ALLOW, immutable, hint("there are no modules to load");
        /// Functions of Lua that later versions have taken away.
        "lua-enable-deprecated-api" => lua_enable_deprecated_api: bool = "no", YesNo, immutable, hidden,
            alias(&["lua-enable-insecure-api"]), only(&["no"], "they reach what other scripts use");
    }

    section "Limits of clients" {
        /// The longest string that a client may send.
        "proto-max-bulk-len" => proto_max_bulk_len: u64 = "512mb", Mem(1 << 20, BYTES);
        /// How much unprocessed input a client may pile up before it is closed.
        "client-query-buffer-limit" => client_query_buffer_limit: u64 = "1gb", Mem(1 << 20, BYTES);
        /// How much output may wait for a client before it is cut off: class, hard limit, soft limit, seconds above the
        /// soft limit. Output of up to 16 KiB does not count.
        "client-output-buffer-limit" => client_output_buffer_limit: BufferLimits =
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", ClientLimits, multi;
        /// Keys that are remembered for clients with a cache of their own.
        "tracking-table-max-keys" => tracking_table_max_keys: u64 = "1000000", Int(0, LONG);
        /// Milliseconds after which a script makes other clients get BUSY; 0 or less: never.
        "busy-reply-threshold" => busy_reply_threshold: i64 = "5000", Int(0, LONG), alias(&["lua-time-limit"]);
    }

    section "Memory" {
        /// Memory beyond which keys give way, or commands that need more are refused; 0 for no limit. What the log and
        /// the stream to replicas hold does not count.
        "maxmemory" => maxmemory: u64 = "0", Mem(0, u64::MAX);
        /// Which keys give way.
        "maxmemory-policy" => maxmemory_policy: Eviction = "noeviction", EVICTION;
        /// Keys of each database to compare for each that gives way. The next to expire is known without.
        "maxmemory-samples" => maxmemory_samples: i32 = "5", Int(1, INT);
        /// How long a command waits at most until there is room: 10 is half a millisecond, each one less 50 microseconds
        /// less, each one more 15% more, 100 for ever. What is left to do then is done between commands.
        "maxmemory-eviction-tenacity" => maxmemory_eviction_tenacity: i32 = "10", Int(0, 100);
        /// Memory that all clients together may use; the largest are closed.
        "maxmemory-clients" => maxmemory_clients: Share = "0", MemOrPercent;
        /// How fast counts of use saturate.
        "lfu-log-factor" => lfu_log_factor: i32 = "10", Int(0, INT);
        /// Minutes after which counts of use halve.
        "lfu-decay-time" => lfu_decay_time: i32 = "1", Int(0, INT);
        /// Free large evicted values when nobody waits for it.
        "lazyfree-lazy-eviction" => lazyfree_lazy_eviction: bool = "no", YesNo;
        /// A key that EXPIRE and the like delete, because the time is over, is freed as by UNLINK.
        "lazyfree-lazy-expire" => lazyfree_lazy_expire: bool = "no", YesNo;
        /// What a command empties or replaces is logged, and goes to replicas, as UNLINK.
        "lazyfree-lazy-server-del" => lazyfree_lazy_server_del: bool = "no", YesNo;
        /// DEL behaves as UNLINK.
        "lazyfree-lazy-user-del" => lazyfree_lazy_user_del: bool = "no", YesNo;
        /// FLUSHALL and FLUSHDB behave as with ASYNC.
        "lazyfree-lazy-user-flush" => lazyfree_lazy_user_flush: bool = "no", YesNo;
        /// Move entries to a grown table in idle time.
        "activerehashing" => activerehashing: bool = "yes", YesNo, hint("tables grow by parts");
        /// Let the allocator clean up in a thread.
        "jemalloc-bg-thread" => jemalloc_bg_thread: bool = "yes", YesNo, hint("the allocator is another one");
        /// Defragment while running.
        "activedefrag" => activedefrag: bool = "no", YesNo, only(&["no"], NO_DEFRAG);
        /// The rest are limits of it.
        "active-defrag-cycle-min" => active_defrag_cycle_min: i32 = "1", Int(1, 99), hint(NO_DEFRAG);
        /// See above.
        "active-defrag-cycle-max" => active_defrag_cycle_max: i32 = "25", Int(1, 99), hint(NO_DEFRAG);
        /// See above.
        "active-defrag-threshold-lower" => active_defrag_threshold_lower: i32 = "10", Int(0, 1000), hint(NO_DEFRAG);
        /// See above.
        "active-defrag-threshold-upper" => active_defrag_threshold_upper: i32 = "100", Int(0, 1000), hint(NO_DEFRAG);
        /// See above.
        "active-defrag-ignore-bytes" => active_defrag_ignore_bytes: u64 = "100mb", Mem(1, BYTES), hint(NO_DEFRAG);
        /// See above.
        "active-defrag-max-scan-fields" => active_defrag_max_scan_fields: u64 = "1000", Int(1, LONG), hint(NO_DEFRAG);
        /// See above.
        "active-defrag-cycle-us" => active_defrag_cycle_us: u32 = "500", Int(0, 100_000), hint(NO_DEFRAG);
    }

    section "Encodings" {
        /// Bytes of a node of a stream; 0 for no limit.
        "stream-node-max-bytes" => stream_node_max_bytes: usize = "4kb", Mem(0, BYTES);
        /// Entries of a node of a stream; 0 for no limit.
        "stream-node-max-entries" => stream_node_max_entries: usize = "100", Int(0, LONG);
        /// Seconds for which a stream remembers what its producers added; XCFGSET sets it per stream.
        "stream-idmp-duration" => stream_idmp_duration: u32 = "100", Int(1, 86_400);
        /// How much of each producer it remembers.
        "stream-idmp-maxsize" => stream_idmp_maxsize: u32 = "100", Int(1, 10_000);
        /// Fields of a hash that is a listpack.
        "hash-max-listpack-entries" => hash_max_listpack_entries: usize = "512", Int(0, LONG),
            alias(&["hash-max-ziplist-entries"]);
        /// Bytes of a field or value in it.
        "hash-max-listpack-value" => hash_max_listpack_value: usize = "64", Mem(0, BYTES),
            alias(&["hash-max-ziplist-value"]);
        /// Elements (or, negative, 4 to 64 kb) of a node of a list.
        "list-max-listpack-size" => list_max_listpack_size: i32 = "-2", Int(-INT - 1, INT),
            alias(&["list-max-ziplist-size"]);
        /// Nodes at either end of a list that stay uncompressed; 0 compresses none.
        "list-compress-depth" => list_compress_depth: i32 = "0", Int(0, INT);
        /// Members of a set of integers.
        "set-max-intset-entries" => set_max_intset_entries: usize = "512", Int(0, LONG);
        /// Members of a set that is a listpack.
        "set-max-listpack-entries" => set_max_listpack_entries: usize = "128", Int(0, LONG);
        /// Bytes of a member in it.
        "set-max-listpack-value" => set_max_listpack_value: usize = "64", Int(0, LONG);
        /// Members of a sorted set that is a listpack.
        "zset-max-listpack-entries" => zset_max_listpack_entries: usize = "128", Int(0, LONG),
            alias(&["zset-max-ziplist-entries"]);
        /// Bytes of a member in it.
        "zset-max-listpack-value" => zset_max_listpack_value: usize = "64", Int(0, LONG),
            alias(&["zset-max-ziplist-value"]);
        /// Bytes of a sparse HyperLogLog.
        "hll-sparse-max-bytes" => hll_sparse_max_bytes: usize = "3000", Mem(0, BYTES);
    }

    section "Observation" {
        /// Which changes of keys are published: K and E choose the channels, the others the classes of events.
        "notify-keyspace-events" => notify_keyspace_events: Classes = "", NotifyClasses;
        /// Microseconds from which a command enters the slow log; 0 for all, -1 for none.
        "slowlog-log-slower-than" => slowlog_log_slower_than: i64 = "10000", Int(-1, LONG),
            alias(&["commandlog-execution-slower-than"]);
        /// Entries that the slow log keeps.
        "slowlog-max-len" => slowlog_max_len: u64 = "128", Int(0, LONG),
            alias(&["commandlog-slow-execution-max-len"]);
        /// Bytes from which COMMANDLOG keeps a request; 0 for all, -1 for none.
        "commandlog-request-larger-than" => commandlog_request_larger_than: i64 = "-1", Int(-1, LONG);
        /// Requests that it keeps.
        "commandlog-large-request-max-len" => commandlog_large_request_max_len: u64 = "128", Int(0, LONG);
        /// Bytes from which COMMANDLOG keeps a command for its reply; 0 for all, -1 for none.
        "commandlog-reply-larger-than" => commandlog_reply_larger_than: i64 = "-1", Int(-1, LONG);
        /// Replies that it counts.
        "commandlog-large-reply-max-len" => commandlog_large_reply_max_len: u64 = "128", Int(0, LONG);
        /// Milliseconds from which LATENCY records an event; 0 for none.
        "latency-monitor-threshold" => latency_monitor_threshold: i64 = "0", Int(0, LONG);
        /// Keep a histogram of the time that each command takes.
        "latency-tracking" => latency_tracking: bool = "yes", YesNo;
        /// Percentiles of it that INFO prints.
        "latency-tracking-info-percentiles" => latency_tracking_info_percentiles: Vec<f64> = "50 99 99.9",
            Percentiles, multi, written;
        /// The port for HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever looks after the process; 0
        /// for none. Whoever reaches it needs no password.
        "metrics-port" => metrics_port: u16 = "0", Int(0, 65535);
        /// The addresses for that port. Empty: those of `bind` that are this machine's own, or else 127.0.0.1 and ::1.
        "metrics-bind" => metrics_bind: Vec<String> = "", Addresses, multi;
    }

    section "Persistence" {
        /// The directory for every file that the server writes.
        "dir" => dir: String = ".", Text, protected, not_loading;
        /// Save when so many changes are so many seconds old: pairs of seconds and changes.
        "save" => save: Vec<SavePoint> = "3600 1 300 100 60 10000", SavePoints, multi, written;
        /// The file to save to.
        "dbfilename" => dbfilename: String = "dump.rdb", FileName("dbfilename", "filename"), protected;
        /// Compress long strings in it, and in the payloads of DUMP.
        "rdbcompression" => rdbcompression: bool = "yes", YesNo;
        /// End it with a checksum.
        "rdbchecksum" => rdbchecksum: bool = "yes", YesNo, immutable;
        /// Sync it every few megabytes.
        "rdb-save-incremental-fsync" => rdb_save_incremental_fsync: bool = "yes", YesNo;
        /// Delete what was written only for replicas, if nothing else is saved.
        "rdb-del-sync-files" => rdb_del_sync_files: bool = "no", YesNo;
        /// Refuse writes while saving fails.
        "stop-writes-on-bgsave-error" => stop_writes_on_bgsave_error: bool = "yes", YesNo;
        /// Check encodings deeply when they are loaded. They are, whatever this says.
        "sanitize-dump-payload" => sanitize_dump_payload: &'static str = "no",
            Word(&["no", "yes", "clients"]), hint("they are checked deeply in any case");
        /// Load RDB files of later versions than are known.
        "rdb-version-check" => rdb_version_check: &'static str = "strict", Word(&["strict", "relaxed"]),
            only(&["strict"], "what is not understood is not loaded");
        /// Microseconds to wait after each key saved, for tests.
        "rdb-key-save-delay" => rdb_key_save_delay: i64 = "0", Int(-INT - 1, INT), hidden;
        /// Microseconds to wait after each key loaded, for tests.
        "key-load-delay" => key_load_delay: i64 = "0", Int(-INT - 1, INT), hidden;
        /// Bytes to load at most before clients are served.
        "loading-process-events-interval-bytes" => loading_process_events_interval_bytes: u64 = "2097152",
            Int(1024, INT), hidden;
        /// Log every write.
        "appendonly" => appendonly: bool = "no", YesNo, not_loading;
        /// The name that the files of the log begin with.
        "appendfilename" => appendfilename: String = "appendonly.aof", FileName("appendfilename", "filename"), immutable;
        /// The directory for them, inside `dir`.
        "appenddirname" => appenddirname: String = "appendonlydir", FileName("appenddirname", "dirname"), immutable;
        /// When the log is synced.
        "appendfsync" => appendfsync: &'static str = "everysec", Word(&["everysec", "always", "no"]);
        /// Do not sync while the log is rewritten.
        "no-appendfsync-on-rewrite" => no_appendfsync_on_rewrite: bool = "no", YesNo;
        /// Rewrite the log when it grew by this many per cent; 0 never.
        "auto-aof-rewrite-percentage" => auto_aof_rewrite_percentage: u32 = "100", Int(0, INT);
        /// But not below this size.
        "auto-aof-rewrite-min-size" => auto_aof_rewrite_min_size: u64 = "64mb", Mem(0, BYTES);
        /// Load a log whose end is missing.
        "aof-load-truncated" => aof_load_truncated: bool = "yes", YesNo;
        /// Begin a rewritten log with a snapshot.
        "aof-use-rdb-preamble" => aof_use_rdb_preamble: bool = "yes", YesNo;
        /// Sync a rewritten log every few megabytes.
        "aof-rewrite-incremental-fsync" => aof_rewrite_incremental_fsync: bool = "yes", YesNo;
        /// Note the time of writes in the log.
        "aof-timestamp-enabled" => aof_timestamp_enabled: bool = "no", YesNo;
        /// Keep files that the log no longer needs, for tests.
        "aof-disable-auto-gc" => aof_disable_auto_gc: bool = "no", YesNo, hidden;
    }

    section "Replication" {
        /// The leader to follow: host and port.
        "replicaof" => replicaof: Option<(String, u16)> = "no one", Leader, immutable, multi, alias(&["slaveof"]);
        /// The password for the leader.
        "masterauth" => masterauth: Vec<u8> = "", Secret, sensitive, alias(&["primaryauth"]);
        /// The user to log in as.
        "masteruser" => masteruser: Vec<u8> = "", Secret, sensitive, alias(&["primaryuser"]);
        /// Answer reads while the leader is out of reach.
        "replica-serve-stale-data" => replica_serve_stale_data: bool = "yes", YesNo,
            alias(&["slave-serve-stale-data"]);
        /// Refuse writes of clients on a replica.
        "replica-read-only" => replica_read_only: bool = "yes", YesNo, alias(&["slave-read-only"]);
        /// Free the old data in the background.
        "replica-lazy-flush" => replica_lazy_flush: bool = "no", YesNo, alias(&["slave-lazy-flush"]), hint("the old data is freed when the new data is whole");
        /// Leave eviction to the leader.
        "replica-ignore-maxmemory" => replica_ignore_maxmemory: bool = "yes", YesNo,
            alias(&["slave-ignore-maxmemory"]);
        /// Keep following when the log cannot be written. A replica does, whatever this says; INFO tells that it cannot.
        "replica-ignore-disk-write-errors" => replica_ignore_disk_write_errors: bool = "no", YesNo, hint("a replica goes on in any case; INFO tells that it cannot write");
        /// Rank in a failover, lowest first; 0 is never chosen.
        "replica-priority" => replica_priority: u32 = "100", Int(0, INT), alias(&["slave-priority"]);
        /// Let sentinels know about this replica.
        "replica-announced" => replica_announced: bool = "yes", YesNo;
        /// The address to announce.
        "replica-announce-ip" => replica_announce_ip: String = "", TextOrNone, alias(&["slave-announce-ip"]);
        /// The port to announce.
        "replica-announce-port" => replica_announce_port: u16 = "0", Int(0, 65535),
            alias(&["slave-announce-port"]);
        /// Replicas that must be near, else writes are refused; 0 asks for none.
        "min-replicas-to-write" => min_replicas_to_write: u32 = "0", Int(0, INT), alias(&["min-slaves-to-write"]);
        /// How many seconds near is.
        "min-replicas-max-lag" => min_replicas_max_lag: u32 = "10", Int(0, INT), alias(&["min-slaves-max-lag"]);
        /// Replicas that must have acknowledged a write before anybody is answered who may have seen it; 0 asks for none.
        /// What is acknowledged then is not lost with this server.
        "sync-replicas" => sync_replicas: u32 = "0", Int(0, INT);
        /// Milliseconds to wait for them. After that the reply is an error that begins with NOREPLICAS: the write was
        /// applied here, but is not confirmed.
        "sync-replicas-timeout" => sync_replicas_timeout: u64 = "1000", Int(1, INT);
        /// They acknowledge what is on their disk, not only in their memory.
        "sync-replicas-durable" => sync_replicas_durable: bool = "no", YesNo;
        /// The latest term that this server knows of: sentinels set it, and whoever speaks for an earlier one is not obeyed any more.
        "failover-term" => failover_term: u64 = "0", Int(0, i64::MAX), immutable, hidden;
        /// Seconds between signs of life.
        "repl-ping-replica-period" => repl_ping_replica_period: u32 = "10", Int(1, INT),
            alias(&["repl-ping-slave-period"]);
        /// Seconds of silence that end a link.
        "repl-timeout" => repl_timeout: u32 = "60", Int(1, INT);
        /// Bytes of writes that a returning replica can catch up on.
        "repl-backlog-size" => repl_backlog_size: u64 = "1mb", Mem(1, BYTES);
        /// Seconds to keep them without a replica; 0 for ever.
        "repl-backlog-ttl" => repl_backlog_ttl: u64 = "3600", Int(0, LONG);
        /// Gather small packets on the way to replicas.
        "repl-disable-tcp-nodelay" => repl_disable_tcp_nodelay: bool = "no", YesNo;
        /// Send a full synchronisation without writing a file.
        "repl-diskless-sync" => repl_diskless_sync: bool = "yes", YesNo;
        /// Seconds to wait for more replicas before it.
        "repl-diskless-sync-delay" => repl_diskless_sync_delay: u32 = "5", Int(0, INT);
        /// How many to wait for; 0 for no such number.
        "repl-diskless-sync-max-replicas" => repl_diskless_sync_max_replicas: u32 = "0", Int(0, INT);
        /// Load a full synchronisation from the socket.
        "repl-diskless-load" => repl_diskless_load: &'static str = "disabled",
            Word(&["disabled", "on-empty-db", "swapdb"]), not_loading;
        /// Send what is written during a full synchronization over another connection.
        "repl-rdb-channel" => repl_rdb_channel: bool = "no", YesNo, alias(&["dual-channel-replication-enabled"]),
            hint("one connection carries both; what is written waits at the leader");
        /// How much of it a replica may hold.
        "replica-full-sync-buffer-limit" => replica_full_sync_buffer_limit: u64 = "0", Mem(0, BYTES),
            hint("it waits at the leader");
        /// Use Multipath TCP towards the leader.
        "repl-mptcp" => repl_mptcp: bool = "no", YesNo, only(&["no"], "Multipath TCP is not used");
        /// Take data of another server in: nothing expires meanwhile.
        "import-mode" => import_mode: bool = "no", YesNo, only(&["no"], "restore into a replica, or use RESTORE");
    }

    section "Cluster" {
        /// Cluster mode. Without it the directives below say nothing.
        "cluster-enabled" => cluster_enabled: bool = "no", YesNo, immutable,
            only(&["no"], "cluster mode is not part of Redkeep");
        /// See cluster-enabled.
        "cluster-config-file" => cluster_config_file: String = "nodes.conf", Text, immutable, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-node-timeout" => cluster_node_timeout: i64 = "15000", Int(0, LONG), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-port" => cluster_port: u16 = "0", Int(0, 65535), immutable, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-ip" => cluster_announce_ip: String = "", TextOrNone, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-hostname" => cluster_announce_hostname: String = "", HostName, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-human-nodename" => cluster_announce_human_nodename: String = "", TextOrNone, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-port" => cluster_announce_port: u16 = "0", Int(0, 65535), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-bus-port" => cluster_announce_bus_port: u16 = "0", Int(0, 65535), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-tls-port" => cluster_announce_tls_port: u16 = "0", Int(0, 65535), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-preferred-endpoint-type" => cluster_preferred_endpoint_type: &'static str = "ip",
            Word(&["ip", "hostname", "unknown-endpoint"]), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-require-full-coverage" => cluster_require_full_coverage: bool = "yes", YesNo, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-migration-barrier" => cluster_migration_barrier: i32 = "1", Int(0, INT), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-allow-replica-migration" => cluster_allow_replica_migration: bool = "yes", YesNo, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-replica-validity-factor" => cluster_replica_validity_factor: i32 = "10", Int(0, INT),
            alias(&["cluster-slave-validity-factor"]), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-replica-no-failover" => cluster_replica_no_failover: bool = "no", YesNo,
            alias(&["cluster-slave-no-failover"]), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-allow-reads-when-down" => cluster_allow_reads_when_down: bool = "no", YesNo, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-allow-pubsubshard-when-down" => cluster_allow_pubsubshard_when_down: bool = "yes", YesNo, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-link-sendbuf-limit" => cluster_link_sendbuf_limit: u64 = "0", Mem(0, BYTES), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-ping-interval" => cluster_ping_interval: i64 = "0", Int(0, LONG), hidden, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-slot-stats-enabled" => cluster_slot_stats_enabled: bool = "no", YesNo, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-compatibility-sample-ratio" => cluster_compatibility_sample_ratio: u32 = "0", Int(0, 100),
            hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-databases" => cluster_databases: u32 = "1", Int(1, INT), immutable, hidden, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-manual-failover-timeout" => cluster_manual_failover_timeout: u32 = "5000", Int(1, INT),
            hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-blacklist-ttl" => cluster_blacklist_ttl: u32 = "60", Int(0, INT), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-client-ipv4" => cluster_announce_client_ipv4: String = "", TextOrNone, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-client-ipv6" => cluster_announce_client_ipv6: String = "", TextOrNone, hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-client-port" => cluster_announce_client_port: u16 = "0", Int(0, 65535), hint(NO_CLUSTER);
        /// See cluster-enabled.
        "cluster-announce-client-tls-port" => cluster_announce_client_tls_port: u16 = "0", Int(0, 65535),
            hint(NO_CLUSTER);
    }
}

impl Default for Config {
    /// Every parameter at the default that its row declares.
    fn default() -> Self {
        let mut config = Self::blank();
        for row in rows() {
            let assigned = row.assign(&mut config, &[row.default.as_bytes()], Origin::Command);
            debug_assert!(assigned.is_ok(), "default of {}: {assigned:?}", row.name);
        }
        config
    }
}

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(|(_, rows)| rows.iter())
}

impl Config {
    /// How uses of keys are counted, if the policy is about how often.
    pub fn lfu(&self) -> Option<Lfu> {
        let by_use = matches!(
            self.maxmemory_policy,
            Eviction::VolatileLfu | Eviction::AllKeysLfu
        );
        by_use.then(|| Lfu {
            log_factor: self.lfu_log_factor.unsigned_abs(),
            decay_minutes: self.lfu_decay_time.unsigned_abs(),
        })
    }

    /// How keys are chosen that give way when memory is short; none if none does.
    pub fn eviction_policy(&self) -> Option<Policy> {
        let (merit, volatile) = match self.maxmemory_policy {
            Eviction::VolatileLru => (Merit::LastUse, true),
            Eviction::VolatileLfu => (Merit::Frequency, true),
            Eviction::VolatileRandom => (Merit::Chance, true),
            Eviction::VolatileTtl => (Merit::Deadline, true),
            Eviction::AllKeysLru => (Merit::LastUse, false),
            Eviction::AllKeysLfu => (Merit::Frequency, false),
            Eviction::AllKeysRandom => (Merit::Chance, false),
            Eviction::NoEviction => return None,
        };
        Some(Policy {
            merit,
            volatile,
            samples: usize::try_from(self.maxmemory_samples).unwrap_or(1),
            lazy: self.lazyfree_lazy_eviction,
        })
    }

    /// Microseconds that a command may wait for keys to give way: up to half a millisecond for a tenacity of 10, from
    /// there on 15% more with each, and no end for 100.
    pub fn eviction_patience_us(&self) -> u64 {
        match self.maxmemory_eviction_tenacity {
            tenacity @ ..=10 => 50 * u64::try_from(tenacity).unwrap_or(0),
            tenacity @ ..100 => (500.0 * 1.15f64.powi(tenacity - 10)) as u64,
            _ => u64::MAX,
        }
    }

    /// The port that other servers are told: that of TLS, if they are to talk TLS to each other.
    pub fn announced_port(&self) -> u16 {
        match self.tls_port {
            port @ 1.. if self.tls_replication => port,
            _ => self.port,
        }
    }

    /// The value of the parameter of this name, as `CONFIG GET` shows it; empty if there is none.
    pub fn shown(&self, name: &str) -> String {
        let shown = find(name.as_bytes())
            .map(|row| row.show(self))
            .unwrap_or_default();
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// The row known under this name or alias, in any case.
pub fn find(name: &[u8]) -> Option<&'static Row> {
    rows().find(|row| row.is(name))
}
