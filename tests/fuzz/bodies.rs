//! What is done with bytes from outside: they are refused, or what they are read as survives being used.

use redkeep::ds::listpack::Listpack;

/// The most that a body reads of its input.
const MOST: usize = 4096;

/// A listpack of any bytes: walked both ways, edited by the bytes behind it.
pub fn listpack(data: &[u8]) {
    let data = &data[..data.len().min(MOST)];
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    let Ok(mut lp) = Listpack::from_bytes(bytes.to_vec()) else {
        return;
    };
    let forward: Vec<usize> = lp.iter().map(|(pos, _)| pos).collect();
    let mut back: Vec<usize> = lp.iter_back().map(|(pos, _)| pos).collect();
    back.reverse();
    assert_eq!(forward, back);
    assert_eq!(lp.len(), forward.len());
    let pos = lp.seek(i64::from(first)).unwrap_or(lp.end());
    lp.insert(pos, bytes);
    lp.remove(pos, 1);
    lp.push(&bytes[..bytes.len().min(usize::from(first))]);
    lp.replace(pos, b"12345");
    assert_eq!(Listpack::from_bytes(lp.as_bytes().to_vec()).as_ref(), Ok(&lp));
}
