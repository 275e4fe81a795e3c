//! LCS: what two strings have in common.

use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::resp::ReplyBuf;
use crate::spec::{Group, KeySpec};
use crate::types::DataType as _;
use crate::types::lcs::{self, Match};
use crate::types::string::Str;

pub(super) const ROW: Command = Command::new("lcs", -3, lcs)
    .since("7.0.0")
    .group(Group::String)
    .read()
    .keys(&[KeySpec::at(1).range(1, 1, 0).ro().access()])
    .syntax("key1:key key2:key [LEN] [IDX] [MINMATCHLEN^min-match-len:int] [WITHMATCHLEN]")
    .summary("Return the longest common subsequence of two strings, its length or its place.")
    .complexity("O(N*M) where N and M are the lengths of s1 and s2, respectively")
    .checked();

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    min_match: usize,
    with_match_len: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, CmdError> {
        let mut options = Self::default();
        let mut rest = args.cursor(3);
        while let Some(word) = rest.next() {
            if is(word, "IDX") {
                options.idx = true;
            } else if is(word, "LEN") {
                options.len = true;
            } else if is(word, "WITHMATCHLEN") {
                options.with_match_len = true;
            } else if is(word, "MINMATCHLEN") {
                options.min_match = usize::try_from(rest.int()?).unwrap_or(0);
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        if options.idx && options.len {
            return Err(CmdError::fixed(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

fn lcs(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    // Both are looked up, and count as reads, before anything is found wrong.
    let values = [1, 2].map(|i| cx.ks.read_any(args.at(i)).map(|r| r.value()));
    let none = Str::from_text(b"");
    let [a, b] = values.map(|value| value.map_or(Some(&none), Str::of));
    let (Some(a), Some(b)) = (a, b) else {
        return Err(CmdError::fixed(
            "ERR The specified keys must contain string values",
        ));
    };
    let options = Options::parse(args)?;
    let (mut a, mut b) = (a.text(), b.text());
    let (a, b) = (a.bytes(), b.bytes());
    // Redis builds the table for LEN too, and so refuses what is too large for it.
    let limit = cx.sys.cfg.proto_max_bulk_len;
    if lcs::table_bytes(a.len(), b.len()).is_none_or(|n| n as u64 > limit) {
        return Err(CmdError::fixed(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    if options.len {
        cx.reply.int(lcs::length(a, b) as i64);
        return Ok(Flow::Done);
    }
    let Ok(runs) = lcs::matches(a, b) else {
        return Err(CmdError::fixed(
            "ERR Insufficient memory, failed allocating transient memory for LCS",
        ));
    };
    if options.idx {
        write_runs(cx.reply, &runs, &options);
    } else {
        let parts = runs.iter().rev();
        let parts = parts.filter_map(|m| a.get(m.a..m.a + m.len));
        cx.reply.bulk(&parts.collect::<Vec<_>>().concat());
    }
    Ok(Flow::Done)
}

fn write_runs(reply: &mut ReplyBuf, runs: &[Match], options: &Options) {
    reply.map(2);
    reply.bulk(b"matches");
    let shown = runs.iter().filter(|m| m.len >= options.min_match);
    reply.array(shown.clone().count());
    for m in shown {
        reply.array(2 + usize::from(options.with_match_len));
        for start in [m.a, m.b] {
            reply.array(2);
            reply.int(start as i64);
            reply.int((start + m.len - 1) as i64);
        }
        if options.with_match_len {
            reply.int(m.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.int(runs.iter().map(|m| m.len).sum::<usize>() as i64);
}
