//! What a sentinel knows, as it is shown.

use super::{find, master, sentinel, sub};
use crate::exec::{Args, CmdResult, Command, Ctx, Flow};
use crate::resp::ReplyBuf;
use crate::sentinel::{
    Failover, Id, Instance, Kind, Link, Master, Reconfiguration, Script, Sentinel,
};
use crate::service::info::Report;

pub(super) const MASTERS: Command = sub("masters", 2, masters)
    .since("2.8.4")
    .summary("Show what is known of all masters.")
    .complexity("O(N), N being the number of masters")
    .checked();

pub(super) const PRIMARIES: Command = sub("primaries", 2, masters)
    .since("8.0.0")
    .summary("Show what is known of all masters.")
    .complexity("O(N), N being the number of masters")
    .checked();

pub(super) const MASTER: Command = sub("master", 3, one)
    .since("2.8.4")
    .syntax("master-name")
    .summary("Show what is known of a master.")
    .complexity("O(1)")
    .checked();

pub(super) const PRIMARY: Command = sub("primary", 3, one)
    .since("8.0.0")
    .syntax("master-name")
    .summary("Show what is known of a master.")
    .complexity("O(1)")
    .checked();

pub(super) const REPLICAS: Command = sub("replicas", 3, replicas)
    .since("5.0.0")
    .syntax("master-name")
    .summary("Show what is known of the replicas of a master.")
    .complexity("O(N), N being the number of replicas")
    .checked();

pub(super) const SLAVES: Command = sub("slaves", 3, replicas)
    .since("2.8.0")
    .syntax("master-name")
    .summary("Show what is known of the replicas of a master.")
    .complexity("O(N), N being the number of replicas")
    .deprecated("5.0.0", "`SENTINEL REPLICAS`")
    .checked();

pub(super) const SENTINELS: Command = sub("sentinels", 3, sentinels)
    .since("2.8.4")
    .syntax("master-name")
    .summary("Show what is known of the other sentinels that watch a master.")
    .complexity("O(N), N being the number of sentinels")
    .checked();

fn masters(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let all: Vec<Id> = sentinel.masters().map(|master| master.id).collect();
    show_all(sentinel, &all, cx.reply);
    Ok(Flow::Done)
}

fn one(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let id = master(sentinel, args.at(2))?;
    if let Some(instance) = sentinel.instance(id) {
        show(sentinel, instance, cx.reply);
    }
    Ok(Flow::Done)
}

fn replicas(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    members(cx, args, |master| &master.replicas)
}

fn sentinels(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    members(cx, args, |master| &master.sentinels)
}

fn members(cx: &mut Ctx<'_>, args: Args<'_>, of: fn(&Master) -> &Vec<Id>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let id = master(sentinel, args.at(2))?;
    let members = sentinel.master(id).map(of).map_or(&[][..], Vec::as_slice);
    show_all(sentinel, members, cx.reply);
    Ok(Flow::Done)
}

/// Shows instances, but no replicas that do not want to be told of.
fn show_all(sentinel: &Sentinel, ids: &[Id], out: &mut ReplyBuf) {
    let known = ids.iter().filter_map(|id| sentinel.instance(*id));
    let told = |i: &&Instance| i.kind != Kind::Replica || i.replica.announced;
    let all: Vec<&Instance> = known.filter(told).collect();
    out.array(all.len());
    for instance in all {
        show(sentinel, instance, out);
    }
}

/// Fields of a map: names, and values that are bulk strings even if they are numbers.
struct Fields<'a> {
    out: &'a mut ReplyBuf,
    count: usize,
}

impl Fields<'_> {
    fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.out.bulk(name.as_bytes());
        self.out.bulk(value.as_ref());
        self.count += 1;
    }

    fn number(&mut self, name: &str, value: impl TryInto<i64>) {
        self.out.bulk(name.as_bytes());
        self.out.bulk_int(value.try_into().unwrap_or(i64::MAX));
        self.count += 1;
    }
}

fn show(sentinel: &Sentinel, instance: &Instance, out: &mut ReplyBuf) {
    let Some(link) = sentinel.link(instance.id) else {
        return;
    };
    let map = out.deferred_map();
    let mut fields = Fields { out, count: 0 };
    let group = sentinel.master(instance.master);
    let own = group.filter(|master| master.id == instance.id);
    show_link(sentinel, instance, own, link, &mut fields);
    if instance.kind != Kind::Sentinel {
        let now = sentinel.now();
        fields.number("info-refresh", age(now, instance.info_at));
        fields.text("role-reported", instance.role.name());
        fields.number("role-reported-time", now - instance.role_since);
    }
    match (instance.kind, own) {
        (Kind::Master, Some(master)) => show_master(master, &mut fields),
        (Kind::Master, None) => {}
        (Kind::Replica, _) => show_replica(instance, &mut fields),
        (Kind::Sentinel, _) => show_sentinel(sentinel, instance, &mut fields),
    }
    let count = fields.count;
    map.finish(out, count);
}

/// What all instances have in common.
fn show_link(
    sentinel: &Sentinel,
    instance: &Instance,
    own: Option<&Master>,
    link: &Link,
    fields: &mut Fields<'_>,
) {
    let (now, address) = (sentinel.now(), &instance.address);
    fields.text("name", &instance.name);
    fields.text("ip", address.told(sentinel.settings.naming));
    fields.number("port", address.port);
    fields.text("runid", instance.run_id.as_deref().unwrap_or_default());
    fields.text("flags", flags(instance, own, link));
    fields.number("link-pending-commands", link.questions.len());
    fields.number("link-refcount", sentinel.sharing(instance.link));
    if let Some(failover) = own.map(|master| &master.failover).filter(|f| f.is_going()) {
        fields.text("failover-state", failover.state.name());
    }
    fields.number(
        "last-ping-sent",
        link.waits_since.map_or(0, |since| now - since),
    );
    fields.number("last-ok-ping-reply", now - link.available_at);
    fields.number("last-ping-reply", now - link.answered_at);
    if instance.s_down {
        fields.number("s-down-time", now - instance.s_down_since);
    }
    if instance.o_down {
        fields.number("o-down-time", now - instance.o_down_since);
    }
    fields.number("down-after-milliseconds", sentinel.down_after(instance.id));
}

fn flags(instance: &Instance, own: Option<&Master>, link: &Link) -> String {
    let failover = own.map(|master| &master.failover);
    let is_forced = |failover: &Failover| failover.forced;
    let stands = |at| instance.replica.reconfiguration == at;
    let all = [
        (instance.s_down, "s_down"),
        (instance.o_down, "o_down"),
        (true, instance.kind.name()),
        (link.disconnected, "disconnected"),
        (instance.opinion.down, "master_down"),
        (
            failover.is_some_and(Failover::is_going),
            "failover_in_progress",
        ),
        (instance.replica.promoted, "promoted"),
        (stands(Reconfiguration::Sent), "reconf_sent"),
        (stands(Reconfiguration::InProgress), "reconf_inprog"),
        (stands(Reconfiguration::Done), "reconf_done"),
        (failover.is_some_and(is_forced), "force_failover"),
        (instance.script_kill_sent, "script_kill_sent"),
        (instance.rebooted_at.is_some(), "master_reboot"),
    ];
    let set = all.iter().filter(|(is, _)| *is).map(|(_, name)| *name);
    set.collect::<Vec<_>>().join(",")
}

fn show_master(master: &Master, fields: &mut Fields<'_>) {
    let set = &master.settings;
    fields.number("config-epoch", master.config_epoch);
    fields.number("num-slaves", master.replicas.len());
    fields.number("num-other-sentinels", master.sentinels.len());
    fields.number("quorum", set.quorum);
    fields.number("failover-timeout", set.failover_timeout);
    fields.number("parallel-syncs", set.parallel_syncs);
    if !set.notification_script.is_empty() {
        fields.text("notification-script", &set.notification_script);
    }
    if !set.reconfig_script.is_empty() {
        fields.text("client-reconfig-script", &set.reconfig_script);
    }
}

fn show_replica(instance: &Instance, fields: &mut Fields<'_>) {
    let facts = &instance.replica;
    fields.number("master-link-down-time", facts.link_down_for);
    let status = if facts.link_up { "ok" } else { "err" };
    fields.text("master-link-status", status);
    fields.text("master-host", facts.master_host.as_deref().unwrap_or("?"));
    fields.number("master-port", facts.master_port);
    fields.number("slave-priority", facts.priority);
    fields.number("slave-repl-offset", facts.offset);
    fields.number("replica-announced", facts.announced);
}

fn show_sentinel(sentinel: &Sentinel, instance: &Instance, fields: &mut Fields<'_>) {
    let opinion = &instance.opinion;
    fields.number("last-hello-message", sentinel.now() - opinion.hello_at);
    let vote = opinion.vote.as_ref();
    fields.text("voted-leader", vote.map_or("?", |vote| &vote.leader));
    fields.number("voted-leader-epoch", vote.map_or(0, |vote| vote.epoch));
}

/// How long ago something was; 0 if it never was.
const fn age(now: i64, at: i64) -> i64 {
    match at {
        0 => 0,
        at => now - at,
    }
}

pub(super) const INFO_CACHE: Command = sub("info-cache", -3, info_cache)
    .since("3.2.0")
    .syntax("nodename...")
    .summary("Show what masters and their replicas last answered to INFO.")
    .complexity("O(N), N being the number of instances")
    .checked();

fn info_cache(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let mut ids: Vec<Id> = Vec::new();
    for id in args.from(2).iter().filter_map(|name| find(sentinel, name)) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let out = &mut *cx.reply;
    out.array(2 * ids.len());
    for master in ids.into_iter().filter_map(|id| sentinel.master(id)) {
        let members = master
            .replicas
            .iter()
            .filter_map(|id| sentinel.instance(*id));
        let all: Vec<&Instance> = sentinel
            .instance(master.id)
            .into_iter()
            .chain(members)
            .collect();
        out.bulk(all.first().map_or("", |master| &master.name).as_bytes());
        out.array(all.len());
        for instance in all {
            out.array(2);
            out.int(age(sentinel.now(), instance.info_at));
            match instance.info_at {
                0 => out.null(),
                _ => out.bulk(&instance.info),
            }
        }
    }
    Ok(Flow::Done)
}

pub(super) const PENDING_SCRIPTS: Command = sub("pending-scripts", 2, pending_scripts)
    .since("2.8.4")
    .summary("Show the scripts that run or wait.")
    .complexity("O(N), N being the number of scripts")
    .checked();

fn pending_scripts(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let all = sentinel.scripts.iter();
    cx.reply.array(all.len());
    for script in all {
        show_script(script, sentinel.now(), cx.reply);
    }
    Ok(Flow::Done)
}

fn show_script(script: &Script, now: i64, out: &mut ReplyBuf) {
    out.map(5);
    out.bulk(b"argv");
    out.array(script.argv.len());
    for word in &script.argv {
        out.bulk(word.as_bytes());
    }
    let runs = script.job.is_some();
    let state = if runs { "running" } else { "scheduled" };
    let mut fields = Fields { out, count: 0 };
    fields.text("flags", state);
    fields.number("pid", script.pid.unwrap_or(0));
    match runs {
        true => fields.number("run-time", now - script.at),
        false => fields.number("run-delay", (script.at - now).max(0)),
    }
    fields.number("retry-num", script.tries);
}

/// ROLE of a sentinel: the names of the masters that it watches.
pub(in crate::commands) fn role(cx: &mut Ctx<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let ids = sentinel.masters().map(|master| master.id);
    let all: Vec<&Instance> = ids.filter_map(|id| sentinel.instance(id)).collect();
    cx.reply.array(2);
    cx.reply.bulk(b"sentinel");
    cx.reply.array(all.len());
    for master in all {
        cx.reply.bulk(master.name.as_bytes());
    }
    Ok(Flow::Done)
}

/// What INFO tells of a sentinel.
pub(in crate::commands) fn report(sentinel: &Sentinel, now: i64, out: &mut Report) {
    let tilt = sentinel.tilt_since();
    out.field("sentinel_masters", sentinel.masters().count());
    out.field("sentinel_tilt", u8::from(tilt.is_some()));
    let seconds = tilt.map_or(-1, |since| (now - since).max(0) / 1000);
    out.field("sentinel_tilt_since_seconds", seconds);
    out.field("sentinel_running_scripts", sentinel.scripts.running());
    let waiting = sentinel.scripts.iter().len();
    out.field("sentinel_scripts_queue_length", waiting);
    let failures = sentinel.simulated.bits();
    out.field("sentinel_simulate_failure_flags", failures);
    for (number, master) in sentinel.masters().enumerate() {
        let Some(instance) = sentinel.instance(master.id) else {
            continue;
        };
        let status = match (instance.o_down, instance.s_down) {
            (true, _) => "odown",
            (false, true) => "sdown",
            (false, false) => "ok",
        };
        let address = &instance.address;
        out.field(
            format_args!("master{number}"),
            format_args!(
                "name={},status={status},address={}:{},slaves={},sentinels={}",
                instance.name,
                address.told(sentinel.settings.naming),
                address.port,
                master.replicas.len(),
                master.sentinels.len() + 1
            ),
        );
    }
}
