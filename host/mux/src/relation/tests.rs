use super::*;

fn inverse(relation: Relation) -> Relation {
    match relation {
        MoreGeneral => MoreSpecific,
        MoreSpecific => MoreGeneral,
        relation => relation,
    }
}

fn check(compare: fn(&Pattern, &Pattern) -> Relation, p: &str, q: &str, expected: Relation) {
    let (p, q) = (Pattern::parse(p).unwrap(), Pattern::parse(q).unwrap());
    assert_eq!(compare(&p, &q), expected, "{p} and {q}");
    assert_eq!(compare(&q, &p), inverse(expected), "{q} and {p}");
}

#[test]
fn methods() {
    let table = [
        ("GET /", "GET /", Equivalent),
        ("/", "/", Equivalent),
        ("/", "POST /", MoreGeneral),
        ("GET /", "HEAD /", MoreGeneral),
        ("GET /", "get /", Disjoint),
        ("HEAD /", "POST /", Disjoint),
    ];
    for (p, q, expected) in table {
        check(method_relation, p, q, expected);
    }
}

#[test]
fn paths() {
    let table = [
        ("/a", "/a", Equivalent),
        ("/a", "/%61", Equivalent),
        ("/a", "/b", Disjoint),
        ("/a", "/a/b", Disjoint),
        ("/a", "/a/", Disjoint),
        ("/{x}", "/{y}", Equivalent),
        ("/{x}", "/a", MoreGeneral),
        ("/{x}", "/{$}", Disjoint),
        ("/{x}", "/", MoreSpecific),
        ("/{$}", "/", MoreSpecific),
        ("/{$}", "/{$}", Equivalent),
        ("/{x...}", "/", Equivalent),
        ("/", "/a/b", MoreGeneral),
        ("/", "/a/", MoreGeneral),
        ("/a/", "/a/{x}/c", MoreGeneral),
        ("/a/", "/b/{x}/c", Disjoint),
        ("/a/{x}", "/{y}/b", Overlap),
        ("/a/{x}", "/{y}/b/", Disjoint),
        ("/{z}/{$}", "/a/", Overlap),
        ("/{a}/{b}", "/c/", Overlap),
        ("/{x}/{y}", "/{x}/a/", Disjoint),
        ("/{x}/b/", "/a/{y}/{z}/d", Overlap),
        ("//", "/{x}/", MoreSpecific),
    ];
    for (p, q, expected) in table {
        check(path_relation, p, q, expected);
    }
}

#[test]
fn both() {
    let table = [
        ("GET /", "/a", Overlap),
        ("GET /a", "/", MoreSpecific),
        ("GET /a", "POST /a", Disjoint),
        ("HEAD /a", "GET /a", MoreSpecific),
        ("GET /{x}", "/{y}", MoreSpecific),
    ];
    for (p, q, expected) in table {
        check(relation, p, q, expected);
    }
}
