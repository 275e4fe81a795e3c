//! LOLWUT: a keep.

use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Ctx, Flow};
use crate::service::info::REDIS_VERSION;
use crate::util::num;

/// The least and the greatest drawing, in columns and rows.
const WIDTH: (usize, usize) = (13, 1000);
const HEIGHT: (usize, usize) = (5, 200);

/// Draws, as large as it is asked to: VERSION 5 takes columns and two numbers of squares, of which the second is taken for
/// the height, VERSION 6 columns and rows. Clients look for the version in the last line.
pub(super) fn lolwut(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut size = (WIDTH.0 + 2, HEIGHT.0 + 1);
    if args.get(1).is_some_and(|word| is(word, "version")) && args.len() > 2 {
        let version = num::parse_i64(args.at(2)).ok_or(CmdError::NOT_INTEGER)?;
        let numbers = match version {
            5 => &[66, 8, 12][..],
            6 => &[80, 20],
            _ => &[],
        };
        let mut asked = Vec::new();
        for (i, usual) in numbers.iter().enumerate() {
            let given = args.get(3 + i).map(num::parse_i64);
            let given = given.unwrap_or(Some(*usual)).ok_or(CmdError::NOT_INTEGER)?;
            asked.push(usize::try_from(given).unwrap_or(0));
        }
        if let (Some(width), Some(height)) = (asked.first(), asked.last()) {
            size = (*width, *height);
        }
    }
    let (width, height) = (
        size.0.clamp(WIDTH.0, WIDTH.1),
        size.1.clamp(HEIGHT.0, HEIGHT.1),
    );
    let mut picture = draw(width, height, &mut |n| cx.sys.rng.below(n));
    picture.push_str(&format!(
        "\nRedkeep {}, Redis ver. {REDIS_VERSION}\n",
        env!("CARGO_PKG_VERSION")
    ));
    cx.reply.verbatim("txt", picture.as_bytes());
    Ok(Flow::Done)
}

/// Battlements, a wall of stones that are nowhere the same, and a gate.
fn draw(width: usize, height: usize, random: &mut dyn FnMut(u64) -> u64) -> String {
    let inside = width - 2;
    let row = |edge: char, middle: String| format!("{edge}{middle}{edge}\n");
    let pattern = |text: &str| text.chars().cycle().take(inside).collect::<String>();
    let mut picture = row(' ', pattern("_   "));
    picture.push_str(&row('|', pattern("_| |")));
    for _ in 0..height - 3 {
        let stones = (0..inside).map(|_| match random(6) {
            0 => '#',
            1 => '.',
            _ => ' ',
        });
        picture.push_str(&row('|', stones.collect()));
    }
    const GATE: &str = "[  ]";
    let left = (inside - GATE.len()) / 2;
    let right = inside - GATE.len() - left;
    picture.push_str(&row(
        '|',
        format!("{}{GATE}{}", "_".repeat(left), "_".repeat(right)),
    ));
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_as_wide_as_asked() {
        for (width, height) in [WIDTH, HEIGHT].map(|(least, _)| (least.max(13), 5)) {
            let picture = draw(width, height, &mut |n| n - 1);
            let widths: Vec<usize> = picture.lines().map(str::len).collect();
            assert_eq!(widths, vec![width; height]);
        }
        let large = draw(WIDTH.1, HEIGHT.1, &mut |_| 0);
        assert_eq!(large.lines().count(), HEIGHT.1);
        assert!(large.lines().all(|line| line.len() == WIDTH.1));
    }
}
