//! Lints on the table: what must hold of every command.

use super::*;
use crate::resp::OwnedRequest;

#[test]
fn ids_are_places_in_the_table_and_subcommands_follow_their_container() {
    for (at, spec) in all().iter().enumerate() {
        assert_eq!(spec.id(), at);
        for sub in spec.subcommands() {
            assert_eq!(sub.container_name(), spec.name);
        }
        if spec.is_subcommand() {
            let container = lookup(spec.container_name().as_bytes()).expect("its container");
            assert!(container.subcommands().iter().any(|sub| sub.id() == at), "{}", spec.name);
        }
    }
    let names: std::collections::BTreeSet<&str> = all().iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), COUNT, "names are unique");
    assert_eq!(all().len(), COUNT);
}

#[test]
fn every_command_is_documented() {
    for spec in all() {
        let name = spec.name;
        assert!(spec.summary.ends_with('.') && spec.summary.len() < 100, "{name}");
        assert_eq!(spec.since.split('.').count(), 3, "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b"|-_".contains(&b)), "{name}");
        assert!(spec.history.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{name}: history");
        for (_, change) in spec.history {
            assert!(change.ends_with('.'), "{name}");
        }
    }
}

#[test]
fn flags_arity_and_keys_agree() {
    for spec in all() {
        let name = spec.name;
        assert!(!spec.flags.contains(Flags::WRITE.union(Flags::READONLY)), "{name}");
        assert!(!spec.flags.contains(Flags::WRITE.union(Flags::REPEATABLE)), "{name}");
        let least = match spec.arity {
            Arity::Exactly(n) | Arity::AtLeast(n) => n,
        };
        assert!(least >= if spec.is_subcommand() { 2 } else { 1 }, "{name}");
        assert!(spec.keys.len() <= 3, "{name}: keys.rs holds three ranges");
        for (at, key) in spec.keys.iter().enumerate() {
            match (key.begin, key.find) {
                (BeginSearch::Index(index), FindKeys::Range { last, step, .. }) => {
                    // Only what comes behind a key may be missing (the sources of PFMERGE), and
                    // channels.
                    let may_miss = at > 0 || key.flags.contains(KeyFlags::NOT_KEY);
                    assert!(
                        index >= 1 && (index < least || may_miss),
                        "{name}: its first key may be missing"
                    );
                    assert!(step >= 1 && (last >= 0 || -last <= least as i32), "{name}");
                }
                (BeginSearch::Index(index), FindKeys::KeyNum { count_at, .. }) => {
                    assert!(index + count_at < least, "{name}: its number of keys may be missing");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn classes_fit_what_the_commands_do() {
    let class = |name: &str| lookup_full_name(name.as_bytes()).expect("a command").class;
    for name in ["mget", "mset", "del", "unlink", "exists", "touch"] {
        assert_eq!(class(name), Class::Split, "{name}");
    }
    assert_eq!(all().iter().filter(|spec| spec.class == Class::Split).count(), 6);
    assert_eq!(all().iter().filter(|spec| spec.class == Class::Cursor).count(), 1);
    for spec in all() {
        let name = spec.name;
        match spec.class {
            Class::Split | Class::AllOrNothing => assert!(!spec.keys.is_empty(), "{name}"),
            Class::FanOut | Class::Cursor => assert!(spec.keys.is_empty(), "{name}"),
            Class::Local => assert!(!spec.flags.contains(Flags::WRITE), "{name}"),
            _ => {}
        }
        // Two keys may be in two slots: such a command must not go to the owner of the first.
        let may_have_two = spec.keys.len() > 1
            || spec.keys.iter().any(|key| !matches!(key.find, FindKeys::Range { last: 0, .. }));
        assert!(!(may_have_two && spec.class == Class::OneSlot), "{name}");
    }
}

#[test]
fn keys_are_found_without_trusting_a_number() {
    let found = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_args(&words);
        let request = request.as_request();
        let spec = lookup(words[0].as_bytes()).expect("a command");
        let all = keys(spec, &request).map(|keys| keys.map(|key| key.index).collect::<Vec<_>>());
        let first = first_key(spec, &request);
        assert_eq!(first, all.clone().map(|all| all.first().copied()), "{line}");
        all
    };
    for (line, expected) in [
        ("get k", Ok(vec![1])),
        ("mset a 1 b 2", Ok(vec![1, 3])),
        ("bitop and d a b", Ok(vec![2, 3, 4])),
        ("blpop a b 0", Ok(vec![1, 2])),
        ("eval s 2 a b c", Ok(vec![3, 4])),
        ("eval s 0 a", Ok(vec![])),
        ("eval s -1 a", Ok(vec![])),
        ("zunion 3 a b", Err(KeysError)),
        ("zunion 0 a b", Err(KeysError)),
        ("zunion 9223372036854775808 a", Err(KeysError)),
        ("zunion 9223372036854775807 a", Err(KeysError)),
        ("zunion 4611686018427387905 a", Err(KeysError)),
        ("zunionstore d 2 a b", Ok(vec![1, 3, 4])),
        ("xread count 1 STREAMS a b 0 0", Ok(vec![4, 5])),
        ("xreadgroup group streams c streams k 0", Ok(vec![5])),
        ("sort k by x get y store d", Ok(vec![1, 7])),
        ("sort k limit 0 store", Ok(vec![1])),
        ("georadius k 1 1 1 m store d", Ok(vec![1, 7])),
        ("migrate h 1  0 1 keys a b", Ok(vec![7, 8])),
        ("migrate h 1 k 0 1", Ok(vec![3])),
        ("pfmerge d", Ok(vec![1])),
        ("sunsubscribe", Ok(vec![])),
        ("spublish c m", Ok(vec![1])),
        ("ping", Ok(vec![])),
    ] {
        assert_eq!(found(line), expected, "{line}");
    }
}

proptest::proptest! {
    /// Whatever a client sends, keys are arguments, or there is an error.
    #[test]
    fn no_request_makes_an_index_out_of_range(
        command in 0..COUNT,
        args in proptest::collection::vec(
            "(-?[0-9]{1,20}|k|streams|store|keys|group|limit|by|auth2|block|)", 0..9),
    ) {
        let spec = &all()[command];
        let mut words = vec![spec.name.to_owned()];
        words.extend(args);
        let request = OwnedRequest::from_args(&words);
        let request = request.as_request();
        if spec.arity.accepts(request.len()) {
            let _ = may_block(spec, &request);
            if let Ok(keys) = keys(spec, &request) {
                for key in keys {
                    proptest::prop_assert!(key.index >= 1 && key.index < request.len());
                    let _ = exact_flags(spec, &request, key.flags);
                }
            }
        }
    }
}

#[test]
fn only_a_read_with_block_may_block() {
    let blocks = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_args(&words);
        may_block(lookup(words[0].as_bytes()).expect("a command"), &request.as_request())
    };
    assert!(blocks("blpop a 0"));
    assert!(blocks("xread count 1 block 5 streams a 0"));
    assert!(blocks("xreadgroup group g c BLOCK 0 streams a >"));
    assert!(!blocks("xread streams a 0"));
    assert!(!blocks("xread streams block 0"));
    assert!(!blocks("xreadgroup group block c streams a >"));
    assert!(!blocks("get block"));
}
