//! Checks that the tests named in `docs/faults.md` exist.

use std::fs;
use std::path::Path;

#[test]
fn every_test_named_in_the_table_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(here.join("../../docs/faults.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault"));
    let mut named = 0;
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let tests: Vec<_> = tests.split('`').filter(|part| part.contains(": ")).collect();
        assert!(!tests.is_empty(), "no test shows this: {row}");
        for test in tests {
            let (file, name) = test.split_once(": ").unwrap();
            let (path, keyword) = match file.strip_prefix("python/") {
                Some(file) => (here.join("../python/tests").join(file).with_extension("py"), "def"),
                None if file.starts_with("restate/") => {
                    (here.join("..").join(file).with_extension("rs"), "fn")
                }
                // The unit tests of the connection lie beside their code.
                None if file.starts_with("io/") || file.starts_with("transport/") => {
                    (here.join("src").join(file).with_extension("rs"), "fn")
                }
                None => (here.join("tests").join(file).with_extension("rs"), "fn"),
            };
            let source = fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(source.contains(&format!("{keyword} {name}(")), "{test} is not there");
            named += 1;
        }
    }
    assert!(named > 50, "{named} tests are named");
}
