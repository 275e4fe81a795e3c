//! What clients send, of any bytes: however it is cut into pieces, it means the same, and next to nothing is kept of it.

use redkeep::resp::{Batch, Decoder, Limits, ProtocolError};

/// What a client has sent: its requests, and why nothing more is read, if that is so.
type Said = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Two bytes say what holds for the client and how long the pieces are; the rest is what it sends, where a byte 0xFD says
/// how often the byte before it is repeated, by the next one.
pub fn request(data: &[u8]) {
    let data = &data[..data.len().min(64 * 1024)];
    let Some((&[how, piece], bytes)) = data.split_first_chunk() else {
        return;
    };
    let sent = expand(bytes);
    let limits = Limits {
        max_bulk: [512 << 20, 64, 20_000][usize::from(how) % 3],
        unauthenticated: how & 0x40 != 0,
        max_requests: [256, 1, 2, 7][usize::from(how >> 4) % 4],
    };
    let whole = hear(&sent, sent.len().max(1), limits, false);
    let piece = match sent.len() {
        // Byte by byte only what is short.
        0..=4096 => usize::from(piece) + 1,
        _ => (usize::from(piece) + 1) * 300,
    };
    assert_eq!(hear(&sent, piece, limits, false), whole);
    assert_eq!(hear(&sent, piece, limits, true), whole);
}

fn expand(bytes: &[u8]) -> Vec<u8> {
    const MOST: usize = 300_000;
    let mut out: Vec<u8> = Vec::new();
    let mut bytes = bytes.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, out.last()) {
            (0xFD, Some(&last)) => {
                let times = usize::from(bytes.next().copied().unwrap_or(1)).pow(2) * 4;
                out.resize((out.len() + times).min(MOST), last);
            }
            _ => out.push(byte),
        }
    }
    out
}

/// As a connection does it. If it stops behind each request, whatever has been decoded behind that is decoded anew.
fn hear(sent: &[u8], piece: usize, limits: Limits, stops: bool) -> Said {
    let (mut decoder, mut batch, mut buf) = (Decoder::new(), Batch::new(), Vec::new());
    let mut requests = Vec::new();
    for bytes in sent.chunks(piece) {
        buf.extend_from_slice(bytes);
        loop {
            decoder.decode(&buf, &limits, &mut batch);
            let kept = decoder.memory() + batch.memory();
            assert!(
                kept <= (1 << 20) + 16 * buf.len(),
                "{kept} for {}",
                buf.len()
            );
            let heard = if stops {
                batch.len().min(1)
            } else {
                batch.len()
            };
            for n in 0..heard {
                let request: Vec<Vec<u8>> = batch.args(n, &buf).map(<[u8]>::to_vec).collect();
                assert!(!request.is_empty());
                requests.push(request);
            }
            let used = if stops && heard > 0 {
                decoder = Decoder::new();
                batch.end(0)
            } else if let Some(error) = batch.error() {
                return (requests, Some(error));
            } else {
                batch.consumed()
            };
            assert!(used <= buf.len());
            buf.drain(..used);
            let full = batch.len() >= limits.max_requests || limits.unauthenticated;
            if heard == 0 || !(stops || full) {
                break;
            }
        }
    }
    (requests, None)
}
