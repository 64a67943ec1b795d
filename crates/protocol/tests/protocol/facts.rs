//! The vendored facts, read independently of the generator.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Map, Value};

pub(crate) static FACTS: LazyLock<Facts> = LazyLock::new(Facts::load);

pub(crate) struct Facts {
    pub(crate) methods: Value,
    pub(crate) types: Map<String, Value>,
}

impl Facts {
    fn load() -> Self {
        let read = |name: &str| -> Value {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol").join(name);
            serde_json::from_str(&std::fs::read_to_string(path).expect("facts are vendored"))
                .expect("facts are JSON")
        };
        let mut types = Map::new();
        for name in ["objects.json", "unions.json", "values.json"] {
            types.extend(read(name).as_object().expect("types by name").clone());
        }
        Self { methods: read("methods.json"), types }
    }

    /// (name, type of the parameters, experimental) of each method of a list.
    pub(crate) fn list(&self, list: &str) -> Vec<(&str, Option<&str>, bool)> {
        let methods = self.methods[list].as_array().expect("a list of methods");
        methods
            .iter()
            .map(|method| (text(method), method["params"].as_str(), method["experimental"] == true))
            .collect()
    }
}

fn text(method: &Value) -> &str {
    method["method"].as_str().expect("a name")
}
