//! The longest common subsequence of two strings.

/// Where both strings agree: `len` bytes from `a` in the first, from `b` in the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Start in the first string.
    pub a: usize,
    /// Start in the second string.
    pub b: usize,
    /// How many bytes.
    pub len: usize,
}

/// There is not the memory for the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

/// Bytes of the table that strings of these lengths need; None if that is no number.
pub fn table_bytes(a: usize, b: usize) -> Option<usize> {
    (a.checked_add(1)?)
        .checked_mul(b.checked_add(1)?)?
        .checked_mul(size_of::<u32>())
}

/// The runs of a longest common subsequence, last one first. Of several subsequences this gives the one that Redis gives.
pub fn matches(a: &[u8], b: &[u8]) -> Result<Vec<Match>, OutOfMemory> {
    let table = Table::fill(a, b)?;
    let mut runs: Vec<Match> = Vec::new();
    let mut open = false;
    let (mut i, mut j) = (a.len(), b.len());
    while let (Some(x), Some(y)) = (i.checked_sub(1), j.checked_sub(1)) {
        if a.get(x) == b.get(y) {
            match runs.last_mut().filter(|_| open) {
                Some(run) => {
                    *run = Match {
                        a: x,
                        b: y,
                        len: run.len + 1,
                    }
                }
                None => runs.push(Match { a: x, b: y, len: 1 }),
            }
            open = true;
            (i, j) = (x, y);
        } else {
            open = false;
            if table.at(x, j) > table.at(i, y) {
                i = x;
            } else {
                j = y;
            }
        }
    }
    Ok(runs)
}

/// The length of a longest common subsequence, in memory for one row.
pub fn length(a: &[u8], b: &[u8]) -> usize {
    let mut row = vec![0u32; b.len() + 1];
    for &x in a {
        let (mut diagonal, mut left) = (0, 0);
        for (above, &y) in row.iter_mut().skip(1).zip(b) {
            let best = if x == y {
                diagonal + 1
            } else {
                left.max(*above)
            };
            diagonal = *above;
            *above = best;
            left = best;
        }
    }
    row.last().map_or(0, |&n| n as usize)
}

/// Lengths for all pairs of prefixes, in rows over the second string.
struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    fn fill(a: &[u8], b: &[u8]) -> Result<Self, OutOfMemory> {
        let width = b.len() + 1;
        let size = (a.len() + 1).checked_mul(width).ok_or(OutOfMemory)?;
        let mut cells: Vec<u32> = Vec::new();
        cells.try_reserve_exact(size).map_err(|_| OutOfMemory)?;
        cells.resize(width, 0);
        for &x in a {
            let start = cells.len() - width;
            let mut left = 0;
            cells.push(0);
            for (j, &y) in b.iter().enumerate() {
                let above = start + j;
                left = if x == y {
                    cells[above] + 1
                } else {
                    left.max(cells[above + 1])
                };
                cells.push(left);
            }
        }
        Ok(Self { cells, width })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells.get(i * self.width + j).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(a: &[u8], runs: &[Match]) -> Vec<u8> {
        let parts = runs.iter().rev().map(|m| &a[m.a..m.a + m.len]);
        parts.flatten().copied().collect()
    }

    #[test]
    fn runs_come_last_first() {
        let (a, b) = (b"ohmytext", b"mynewtext");
        let runs = matches(a, b).unwrap();
        let want = [Match { a: 4, b: 5, len: 4 }, Match { a: 2, b: 0, len: 2 }];
        assert_eq!(runs, want);
        assert_eq!(text(a, &runs), b"mytext");
        assert_eq!(length(a, b), 6);
    }

    #[test]
    fn nothing_in_common() {
        assert_eq!(matches(b"", b"abc"), Ok(vec![]));
        assert_eq!(matches(b"xyz", b"abc"), Ok(vec![]));
        assert_eq!(length(b"", b""), 0);
        assert_eq!(table_bytes(2, 3), Some(48));
        assert_eq!(table_bytes(usize::MAX, 1), None);
    }

    proptest! {
        #[test]
        fn runs_are_common_ordered_and_of_the_right_length(
            a in prop::collection::vec(0u8..4, 0..40),
            b in prop::collection::vec(0u8..4, 0..40),
        ) {
            let runs = matches(&a, &b).unwrap();
            prop_assert_eq!(runs.iter().map(|m| m.len).sum::<usize>(), length(&a, &b));
            for pair in runs.windows(2) {
                prop_assert!(pair[1].a + pair[1].len <= pair[0].a && pair[1].b + pair[1].len <= pair[0].b);
            }
            for m in runs {
                prop_assert_eq!(&a[m.a..m.a + m.len], &b[m.b..m.b + m.len]);
            }
        }
    }
}
