//! Checks that the tests named in `docs/reference.md` exist.

use std::fs;
use std::path::Path;

#[test]
fn every_test_named_in_the_table_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(here.join("../../docs/reference.md")).unwrap();
    let mut named = 0;
    for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| reference")) {
        let tests = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for test in tests.split('`').filter(|part| part.contains(": ")) {
            let (file, name) = test.split_once(": ").unwrap();
            let source = fs::read_to_string(here.join("tests").join(file).with_extension("rs"));
            let source = source.unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(source.contains(&format!("fn {name}(")), "{test} is not there");
            named += 1;
        }
    }
    assert!(named > 60, "{named} tests are named");
}
