use super::*;

fn parse(line: &str) -> Syntax<'_> {
    Syntax::parse(line).unwrap()
}

#[test]
fn a_line_becomes_the_tree_it_means() {
    let s = parse(
        "key:key value [condition=(NX | XX)@2.6.12] [GET@6.2.0] \
         [expiration=(EX^seconds:int@2.6.12 | PXAT^unix-time-milliseconds:unix-time@6.2.0 | KEEPTTL@6.0.0)]",
    );
    assert_eq!(s.args.len(), 5);
    let [key, value, condition, get, expiration] = &s.args[..] else {
        panic!()
    };
    assert_eq!(
        (&*key.name, &key.kind, key.key_spec),
        ("key", &Kind::Key, Some(0))
    );
    assert_eq!(
        (&*value.name, &value.kind, value.key_spec),
        ("value", &Kind::String, None)
    );
    assert!(condition.optional && condition.since == Some("2.6.12"));
    assert_eq!(condition.display(), None);
    let nx = &condition.kind.inner()[0];
    assert_eq!(
        (&*nx.name, &nx.kind, nx.token, nx.display()),
        ("nx", &Kind::PureToken, Some("NX"), Some("nx"))
    );
    assert!(get.optional && get.token == Some("GET") && get.kind == Kind::PureToken);
    let at = &expiration.kind.inner()[1];
    assert_eq!(
        (at.token, &at.kind, at.since),
        (Some("PXAT"), &Kind::UnixTime, Some("6.2.0"))
    );
}

#[test]
fn suffixes_quotes_and_blocks_are_read() {
    let s = parse(
        "[GET^get-pattern:pattern...^#1\"pattern\"] operator='~'@6.2.0 ID:string... lib-name='lib-name' LIMIT^limit={a:int b:double}!2.8.12",
    );
    let [get, op, id, lib, limit] = &s.args[..] else {
        panic!()
    };
    assert!(get.multiple && get.multiple_token && get.optional && get.key_spec == Some(1));
    assert_eq!(get.display(), Some("pattern"));
    assert_eq!(
        (&*op.name, op.token, op.since),
        ("operator", Some("~"), Some("6.2.0"))
    );
    assert!(id.multiple && id.kind == Kind::String && id.name == "ID");
    assert_eq!(lib.token, Some("lib-name"));
    assert_eq!(
        (limit.token, limit.deprecated, limit.kind.inner().len()),
        (Some("LIMIT"), Some("2.8.12"), 2)
    );
}

#[test]
fn faults_are_told_with_their_place() {
    for (line, at) in [
        ("key:kye", 4),
        ("[a b]", 3),
        ("x=(A | B", 8),
        ("x={a", 4),
        ("x={}", 4),
        ("a@1.2", 2),
        ("'*'", 0),
        ("'a", 2),
        ("tok^a", 0),
        ("a]", 1),
        ("a...^", 5),
        ("a#x", 2),
        ("a;b", 1),
        ("x=y", 3),
        ("A^B", 0),
    ] {
        let e = Syntax::parse(line).unwrap_err();
        assert_eq!(e.at, at, "{e}");
    }
    let deep = format!("{}a{}", "x={".repeat(40), "}".repeat(40));
    assert!(Syntax::parse(&deep).is_err());
}

#[test]
fn arity_follows_from_the_syntax() {
    for (line, words, arity) in [
        ("", 1, 1),
        ("key:key", 1, 2),
        ("key:key value [GET]", 1, -3),
        ("key:key...", 1, -2),
        ("data={key:key value}...", 1, -3),
        ("STREAMS^streams={key:key... ID:string...}", 1, -4),
        ("a=(X | Y)", 2, 3),
        ("a=(X | Y^y)", 2, -3),
        ("f=(old | new=([ID^i:int] | [USER^u])...)", 2, -3),
    ] {
        assert_eq!(parse(line).arity(words), arity, "{line}");
    }
}

/// Takes choices from a list, then 0.
struct Fixed(Vec<usize>);

impl Choices for Fixed {
    fn below(&mut self, n: usize) -> usize {
        if self.0.is_empty() {
            0
        } else {
            self.0.remove(0) % n
        }
    }
    fn value(&mut self, arg: &Arg<'_>) -> Vec<u8> {
        arg.name.as_bytes().to_vec()
    }
}

fn generated(line: &str, choices: &[usize]) -> String {
    let words = parse(line).generate(&mut Fixed(choices.to_vec()));
    words
        .iter()
        .map(|w| String::from_utf8_lossy(w).into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn calls_are_generated_with_consistent_counts() {
    let zunion = "numkeys:int key:key...=numkeys [WEIGHTS^weight:double...=numkeys] [AGGREGATE^a=(SUM | MIN)]";
    assert_eq!(
        generated(zunion, &[1, 0, 0, 1]),
        "2 key key WEIGHTS weight weight AGGREGATE MIN"
    );
    let xread = "[COUNT^count:int] STREAMS^streams={key:key... ID:string...=key}";
    assert_eq!(generated(xread, &[1, 2]), "STREAMS key key key ID ID ID");
    let eval = "script numkeys:int [key:key...=numkeys] [arg...]";
    assert_eq!(generated(eval, &[0, 1]), "script 0");
    assert_eq!(generated(eval, &[1, 1, 0, 1]), "script 2 key key arg arg");
    assert_eq!(
        generated("[GET^p:pattern...^] [X]", &[0, 1]),
        "GET p GET p X"
    );
}

#[test]
fn a_syntax_is_shown_to_people() {
    for (line, usage) in [
        (
            "key:key value [c=(NX | XX)] [GET]",
            "key value [NX | XX] [GET]",
        ),
        (
            "key:key... [GET^p:pattern...^\"pattern\"]",
            "key [key ...] [GET pattern [GET pattern ...]]",
        ),
        (
            "data={field value}... u=(M | 'km')",
            "field value [field value ...] <M | km>",
        ),
        (
            "[BY^by=(A | B^b:int)] STREAMS^s={key:key... ID:string...}",
            "[BY <A | B b>] STREAMS key [key ...] ID [ID ...]",
        ),
    ] {
        assert_eq!(parse(line).to_string(), usage);
    }
}
