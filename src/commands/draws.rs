//! What HRANDFIELD and ZRANDMEMBER are asked to do.

use crate::exec::args::is;
use crate::exec::{Args, CmdError, Ctx};

/// So many draws at most are answered: the reply would hold each of them.
const MOST: usize = 1 << 24;

const OUT_OF_RANGE: CmdError = CmdError::fixed("ERR value is out of range");

/// `key count [WITH…]`.
pub(super) struct Draws {
    /// How many.
    pub(super) count: usize,
    /// An element may come more than once.
    pub(super) repeated: bool,
    /// With what belongs to the element.
    pub(super) with: bool,
}

impl Draws {
    /// Reads the arguments behind the key, if there are any; `with` is the word that may follow the count.
    pub(super) fn parse(args: Args<'_>, with: &str) -> Result<Option<Draws>, CmdError> {
        if args.len() == 2 {
            return Ok(None);
        }
        let number = args.int(2)?;
        if number == i64::MIN {
            return Err(CmdError::fixed(
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ));
        }
        let with = match args.from(3) {
            [] => false,
            [word] if is(word, with) => true,
            _ => return Err(CmdError::SYNTAX),
        };
        if with && number.unsigned_abs() > (i64::MAX / 2).unsigned_abs() {
            return Err(OUT_OF_RANGE);
        }
        let draws = Draws {
            count: usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX),
            repeated: number < 0,
            with,
        };
        Ok(Some(draws))
    }

    /// Whether these are more than are answered.
    pub(super) fn are_too_many(&self) -> bool {
        self.repeated && self.count > MOST
    }

    /// Refuses to answer so many.
    pub(super) fn refuse(&self, cx: &mut Ctx<'_>) -> CmdError {
        const LEAST: usize = b"$0\r\n\r\n".len();
        cx.refuse_reply(self.count.saturating_mul(LEAST));
        OUT_OF_RANGE
    }
}
