use std::sync::atomic::AtomicUsize;

use super::*;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Confirmed for Counter {
    fn confirmed(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A gate for one replica and 1000 ms, at the time 5000, and somebody who waits.
fn gate() -> (Arc<Gate>, Arc<Counter>, Arc<dyn Confirmed>) {
    let gate = Arc::new(Gate::default());
    gate.configure(1, 1000, 10);
    gate.tick(5000);
    let counter = Arc::new(Counter::default());
    let who = Arc::clone(&counter) as Arc<dyn Confirmed>;
    (gate, counter, who)
}

fn answers(ranges: &[(usize, usize)]) -> Answers {
    let mut answers = Answers::default();
    ranges.iter().for_each(|&(from, to)| answers.add(from..to));
    answers
}

#[test]
fn a_reply_waits_until_its_offset_is_confirmed() {
    let (gate, counter, who) = gate();
    let pass = gate.pass(20, answers(&[(0, 5)]));
    assert_eq!(pass.reached_or_tell(&who), Reached::Later);
    gate.confirm(19);
    gate.wake();
    assert_eq!((pass.reached(), counter.get()), (Reached::Later, 0));
    gate.confirm(20);
    assert_eq!(gate.figures().waiting, 1);
    gate.wake();
    assert_eq!((pass.reached(), counter.get()), (Reached::Yes, 1));
    assert_eq!(gate.figures().waiting, 0);
    // What is confirmed stays so.
    gate.confirm(15);
    assert_eq!(gate.confirmed(), 20);
}

#[test]
fn nobody_waits_where_nothing_is_needed_or_everything_is_confirmed() {
    let open = Arc::new(Gate::default());
    assert!(!open.is_on());
    assert_eq!(open.pass(7, Answers::default()).reached(), Reached::Yes);
    let (gate, counter, who) = gate();
    assert!(gate.is_on());
    let pass = gate.pass(10, Answers::default());
    assert_eq!(pass.reached_or_tell(&who), Reached::Yes);
    assert_eq!((gate.next_deadline(), counter.get()), (None, 0));
}

#[test]
fn time_runs_out_by_the_clock_of_the_engine() {
    let (gate, counter, who) = gate();
    let first = gate.pass(20, answers(&[(0, 5)]));
    assert_eq!(first.reached_or_tell(&who), Reached::Later);
    gate.tick(5400);
    let second = gate.pass(21, answers(&[(0, 5), (5, 10)]));
    assert_eq!(second.reached_or_tell(&who), Reached::Later);
    assert_eq!(gate.next_deadline(), Some(6000));
    assert_eq!(
        (gate.figures().waiting, gate.figures().worst_wait),
        (3, 400)
    );
    gate.tick(5999);
    gate.wake();
    assert_eq!((first.reached(), counter.get()), (Reached::Later, 0));
    gate.tick(6000);
    gate.wake();
    assert_eq!((first.reached(), counter.get()), (Reached::TimedOut, 1));
    assert_eq!(second.reached(), Reached::Later);
    assert_eq!(gate.next_deadline(), Some(6400));
    gate.confirm(21);
    gate.wake();
    assert_eq!((second.reached(), counter.get()), (Reached::Yes, 2));
    // It is looked once more, and then there is nothing to look at.
    gate.tick(6400);
    assert_eq!(gate.next_deadline(), None);
    assert_eq!(gate.figures().worst_wait, 1000);
    gate.reset_figures();
    assert_eq!(gate.figures().worst_wait, 0);
}

#[test]
fn the_driver_hears_of_earlier_deadlines_only() {
    let (gate, _, who) = gate();
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    gate.on_earlier(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    for (time, expected) in [(5000, 1), (5100, 1), (5200, 1)] {
        gate.tick(time);
        let pass = gate.pass(20, Answers::default());
        assert_eq!(pass.reached_or_tell(&who), Reached::Later);
        assert_eq!(told.load(Ordering::SeqCst), expected, "{time}");
    }
    gate.configure(1, 10, 20);
    let pass = gate.pass(20, Answers::default());
    assert_eq!(pass.reached_or_tell(&who), Reached::Later);
    assert_eq!(told.load(Ordering::SeqCst), 2);
    assert_eq!(gate.next_deadline(), Some(5210));
}

#[test]
fn whoever_waits_is_let_go_when_none_are_needed_any_more() {
    let (gate, counter, who) = gate();
    let pass = gate.pass(20, Answers::default());
    assert_eq!(pass.reached_or_tell(&who), Reached::Later);
    gate.configure(0, 1000, 30);
    gate.wake();
    assert_eq!((pass.reached(), counter.get()), (Reached::Yes, 1));
    // Also if it looks only when some are needed again.
    gate.configure(2, 1000, 30);
    assert_eq!(pass.reached(), Reached::Yes);
    assert_eq!(gate.pass(31, Answers::default()).reached(), Reached::Later);
}

#[test]
fn whoever_waits_is_given_up_with_the_history() {
    let (gate, counter, who) = gate();
    let pass = gate.pass(20, answers(&[(0, 5)]));
    assert_eq!(pass.reached_or_tell(&who), Reached::Later);
    gate.end_history();
    gate.wake();
    assert_eq!((pass.reached(), counter.get()), (Reached::TimedOut, 1));
    let text = String::from_utf8(pass.refuse(b"+OK\r\n")).unwrap();
    assert!(text.starts_with("-NOREPLICAS "), "{text}");
    assert!(text.contains("began to follow"), "{text}");
    // Offsets of the next one say nothing about it.
    gate.configure(1, 1000, 5);
    gate.confirm(100);
    assert_eq!(pass.reached(), Reached::TimedOut);
}

/// What becomes of replies, with `!` for the error.
fn refused(written: &[u8], ranges: &[(usize, usize)]) -> (String, u64) {
    let (gate, ..) = gate();
    let pass = gate.pass(20, answers(ranges));
    let error =
        "-NOREPLICAS the write was applied here, but not confirmed by 1 replica within 1000 ms\r\n";
    let out = String::from_utf8(pass.refuse(written)).unwrap();
    (out.replace(error, "!"), gate.figures().timeouts)
}

#[test]
fn each_reply_that_waited_becomes_an_error() {
    assert_eq!(refused(b"+OK\r\n", &[(0, 5)]), ("!".into(), 1));
    let three = b"+OK\r\n$3\r\na\r\n\r\n*2\r\n:1\r\n*1\r\n$-1\r\n";
    assert_eq!(refused(three, &[(0, three.len())]).0, "!!!");
    // One after the other, and not the one between.
    let (out, timeouts) = refused(b"+a\r\n+b\r\n+c\r\n+d\r\n", &[(0, 4), (8, 12), (12, 16)]);
    assert_eq!((&out[..], timeouts), ("!+b\r\n!!", 3));
    // A command that answered nothing had nothing that waited.
    assert_eq!(refused(b"+a\r\n", &[(0, 0)]), ("+a\r\n".into(), 0));
}

#[test]
fn what_was_not_asked_for_stays() {
    let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    let all = format!("{push}%1\r\n+k\r\n+v\r\n{push}");
    let (out, timeouts) = refused(all.as_bytes(), &[(0, all.len())]);
    assert_eq!((out, timeouts), (format!("{push}!{push}"), 1));
    // Side information goes with its reply, which is one.
    assert_eq!(
        refused(b"|1\r\n+a\r\n:1\r\n+v\r\n", &[(0, 18)]),
        ("!".into(), 1)
    );
}

#[test]
fn what_cannot_be_read_is_one_reply() {
    for text in [
        "*2\r\n+a\r\n",
        "$9\r\nabc\r\n",
        "?",
        "$-7\r\n",
        "*4294967295\r\n",
    ] {
        assert_eq!(
            refused(text.as_bytes(), &[(0, text.len())]),
            ("!".into(), 1),
            "{text}"
        );
    }
    // Ranges beyond the end, as where the replies were dropped.
    assert_eq!(refused(b"", &[(0, 5), (9, 12)]), (String::new(), 0));
}

#[test]
fn a_thread_waits_until_somebody_opens() {
    let (gate, ..) = gate();
    let pass = gate.pass(20, Answers::default());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| pass.wait());
        while gate.waiting.lock().is_empty() {
            std::thread::yield_now();
        }
        gate.confirm(20);
        gate.wake();
        assert_eq!(waits.join().unwrap(), Reached::Yes);
    });
}
