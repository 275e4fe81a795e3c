//! What clients and other sentinels ask.

use super::{find, master, sentinel, sub};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::sentinel::Answer;

pub(super) const MYID: Command = sub("myid", 2, myid)
    .since("6.2.0")
    .summary("Tell how other sentinels know this one.")
    .complexity("O(1)")
    .checked();

fn myid(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let id = sentinel(cx.sys)?.settings.my_id.as_bytes();
    cx.reply.bulk(id);
    Ok(Flow::Done)
}

pub(super) const GET_MASTER_ADDR_BY_NAME: Command =
    sub("get-master-addr-by-name", 3, address_by_name)
        .since("2.8.4")
        .syntax("master-name")
        .summary("Tell address and port of a master.")
        .complexity("O(1)")
        .checked();

pub(super) const GET_PRIMARY_ADDR_BY_NAME: Command =
    sub("get-primary-addr-by-name", 3, address_by_name)
        .since("8.0.0")
        .syntax("master-name")
        .summary("Tell address and port of a master.")
        .complexity("O(1)")
        .checked();

fn address_by_name(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let leads = find(sentinel, args.at(2)).and_then(|id| sentinel.current_address(id));
    let Some(address) = leads else {
        cx.reply.null_array();
        return Ok(Flow::Done);
    };
    cx.reply.array(2);
    let host = address.told(sentinel.settings.naming);
    cx.reply.bulk(host.as_bytes());
    cx.reply.bulk_int(address.port.into());
    Ok(Flow::Done)
}

pub(super) const IS_MASTER_DOWN_BY_ADDR: Command = sub("is-master-down-by-addr", 6, is_down)
    .since("2.8.4")
    .syntax("ip port:int current-epoch:int runid")
    .summary("Tell whether a master is down, and vote.")
    .complexity("O(1)")
    .checked();

pub(super) const IS_PRIMARY_DOWN_BY_ADDR: Command = sub("is-primary-down-by-addr", 6, is_down)
    .since("8.0.0")
    .syntax("ip port:int current-epoch:int runid")
    .summary("Tell whether a master is down, and vote.")
    .complexity("O(1)")
    .checked();

/// Who asks for a vote says its id in place of `*`.
fn is_down(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (port, epoch) = (args.int(3)?, args.int(4)?);
    let host = String::from_utf8_lossy(args.at(2));
    let candidate = String::from_utf8_lossy(args.at(5));
    // There was no epoch before the first.
    let epoch = u64::try_from(epoch).unwrap_or(0);
    let candidate = (candidate != "*").then_some(&*candidate);
    let sentinel = sentinel(cx.sys)?;
    let Answer { down, vote } = match u16::try_from(port) {
        Ok(port) => sentinel.is_master_down(&host, port, epoch, candidate),
        Err(_) => Answer {
            down: false,
            vote: None,
        },
    };
    let (leader, epoch) = vote.map_or(("*".to_owned(), 0), |vote| (vote.leader, vote.epoch));
    cx.reply.array(3);
    cx.reply.int(down.into());
    cx.reply.bulk(leader.as_bytes());
    cx.int(i64::try_from(epoch).unwrap_or(i64::MAX))
}

pub(super) const CKQUORUM: Command = sub("ckquorum", 3, ckquorum)
    .since("2.8.4")
    .syntax("master-name")
    .summary("Tell whether enough sentinels are there to fail a master over.")
    .complexity("O(N), N being the number of sentinels")
    .checked();

fn ckquorum(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let id = master(sentinel, args.at(2))?;
    let Some(master) = sentinel.master(id) else {
        return Ok(Flow::Done);
    };
    let others = master
        .sentinels
        .iter()
        .filter_map(|id| sentinel.instance(*id));
    let usable = 1 + others.filter(|other| !other.s_down).count();
    let mut lacking = Vec::new();
    if usable < master.settings.quorum as usize {
        lacking
            .push("Not enough available Sentinels to reach the specified quorum for this master");
    }
    if usable < master.majority() {
        lacking
            .push("Not enough available Sentinels to reach the majority and authorize a failover");
    }
    if lacking.is_empty() {
        let text = "Quorum and failover authorization can be reached";
        cx.reply
            .simple(&format!("OK {usable} usable Sentinels. {text}"));
        return Ok(Flow::Done);
    }
    let lacking = lacking.join(". ");
    Err(CmdError::new(format!(
        "NOQUORUM {usable} usable Sentinels. {lacking}"
    )))
}
