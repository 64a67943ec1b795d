//! Converts wire names to Rust names.

/// Converts `thread/goal/set`, `on-request`, `DISABLED_BY_ADMIN` or `memory_consolidation` to upper camel case.
pub fn upper_camel(text: &str) -> String {
    let mut out = String::new();
    for part in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        let mut chars = part.chars();
        let first = chars.next().unwrap_or_default().to_ascii_uppercase();
        let rest: String = chars.collect();
        let shouted = part.len() > 1 && !part.contains(|c: char| c.is_ascii_lowercase());
        out.push(first);
        out.push_str(&if shouted { rest.to_ascii_lowercase() } else { rest });
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, 'V');
    }
    out
}

/// The variant name of a value or a tag. `openai/form` and `openaiForm` are tags of one union, so the name spells out
/// the slash of a namespace.
pub fn variant(value: &str) -> String {
    match value.split_once('/') {
        Some((space, name)) => format!("{}Slash{}", upper_camel(space), upper_camel(name)),
        None if value == "Self" || value == "self" => "SelfValue".to_owned(),
        None => upper_camel(value),
    }
}

/// Converts `threadId` to `thread_id`.
pub fn snake(text: &str) -> String {
    let chars: Vec<char> = text.trim_start_matches(['_', '$']).chars().collect();
    let mut out = String::new();
    for (index, c) in chars.iter().enumerate() {
        let before = index.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(index + 1);
        let starts_word = c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase)
            });
        if starts_word {
            out.push('_');
        }
        out.push(if *c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    out
}

const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The identifier of a field. `extra` is reserved for the unknown fields; `new` and `default` are constructors.
pub fn field(wire: &str) -> String {
    let name = snake(wire);
    if ["extra", "new", "self", "super", "crate"].contains(&name.as_str()) {
        format!("{name}_")
    } else if KEYWORDS.contains(&name.as_str()) {
        format!("r#{name}")
    } else {
        name
    }
}
