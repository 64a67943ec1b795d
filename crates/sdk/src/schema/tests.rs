//! Schemas of many types. Each is strict and accepts the values of its type, and the type reads what the schema accepts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::schema::generate::{is_wrapped, output};
use crate::schema::write;
use crate::schema::write::{Purpose, WRAPPER};

/// Whether a value satisfies a strict schema. It checks the keywords of the strict form.
fn fits(document: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(document, document.pointer(&reference[1..]).unwrap(), value);
    }
    if let Some(alternatives) = schema["anyOf"].as_array() {
        return alternatives.iter().any(|alternative| fits(document, alternative, value));
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let is_kind = kinds.iter().any(|kind| match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    });
    if !is_kind {
        return false;
    }
    let number = value.as_f64();
    let within = schema["minimum"].as_f64().is_none_or(|least| number.is_none_or(|number| number >= least))
        && schema["maximum"].as_f64().is_none_or(|most| number.is_none_or(|number| number <= most));
    let listed = schema["enum"].as_array().is_none_or(|values| values.contains(value))
        && schema.get("const").is_none_or(|only| only == value);
    let elements = value.as_array().is_none_or(|elements| {
        elements.len() as u64 >= schema["minItems"].as_u64().unwrap_or(0)
            && elements.len() as u64 <= schema["maxItems"].as_u64().unwrap_or(u64::MAX)
            && elements.iter().all(|element| fits(document, &schema["items"], element))
    });
    let fields = value.as_object().is_none_or(|fields| {
        let known = schema["properties"].as_object().unwrap();
        fields.keys().all(|name| known.contains_key(name))
            && known
                .iter()
                .all(|(name, schema)| fields.get(name).is_some_and(|field| fits(document, schema, field)))
    });
    within && listed && elements && fields
}

/// Checks everything that the service requires of a schema below the root.
fn assert_strict(document: &Value, schema: &Value) {
    const KNOWN: [&str; 19] = [
        "type",
        "description",
        "enum",
        "const",
        "anyOf",
        "$ref",
        "$defs",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minItems",
        "maxItems",
        "format",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "multipleOf",
    ];
    let keywords = schema.as_object().unwrap_or_else(|| panic!("no object: {schema}"));
    assert!(keywords.keys().all(|key| KNOWN.contains(&key.as_str())), "{schema}");
    if let Some(reference) = schema["$ref"].as_str() {
        assert_eq!(keywords.len(), 1, "{schema}");
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
        return;
    }
    if let Some(alternatives) = schema["anyOf"].as_array() {
        assert!(keywords.keys().all(|key| key == "anyOf" || key == "description"), "{schema}");
        assert!(!alternatives.is_empty());
        alternatives.iter().for_each(|alternative| assert_strict(document, alternative));
        return;
    }
    let kind = schema["type"].to_string();
    assert_ne!(kind, "null", "untyped: {schema}");
    if kind.contains("object") {
        assert_eq!(schema["additionalProperties"], false, "{schema}");
        let properties = schema["properties"].as_object().unwrap();
        let names: Vec<_> = properties.keys().collect();
        assert_eq!(json!(names), schema["required"], "{schema}");
        properties.values().for_each(|property| assert_strict(document, property));
    }
    if kind.contains("array") {
        assert_strict(document, &schema["items"]);
    }
    if let Some(format) = schema.get("format") {
        assert!(["date-time", "uuid", "ipv4"].iter().any(|known| format == known), "{schema}");
    }
}

#[track_caller]
fn strict<T: JsonSchema>() -> Value {
    let document = output::<T>().unwrap();
    assert_eq!(document["type"], "object", "{document}");
    assert!(document.get("anyOf").is_none(), "{document}");
    assert_strict(&document, &document);
    for definition in document["$defs"].as_object().unwrap_or(&Map::new()).values() {
        assert_strict(&document, definition);
    }
    assert_eq!(is_wrapped::<T>(), document["properties"].get(WRAPPER).is_some(), "{document}");
    document
}

/// Checks that the schema accepts the values, and that the type reads them back unchanged.
#[track_caller]
fn round_trips<T>(values: impl IntoIterator<Item = T>)
where
    T: JsonSchema + Serialize + DeserializeOwned + Debug + PartialEq,
{
    let document = strict::<T>();
    let mut checked = 0;
    for value in values {
        let json = serde_json::to_value(&value).unwrap();
        let response = if is_wrapped::<T>() { json!({WRAPPER: json}) } else { json.clone() };
        assert!(fits(&document, &document, &response), "{response} is not what {document} describes");
        assert_eq!(serde_json::from_value::<T>(json).unwrap(), value);
        checked += 1;
    }
    assert!(checked > 0);
}

/// Checks JSON that the schema accepts, although the type serializes it otherwise.
#[track_caller]
fn takes<T: JsonSchema + DeserializeOwned + Debug + PartialEq>(response: Value, value: T) {
    let document = strict::<T>();
    assert!(fits(&document, &document, &response), "{response} is not what {document} describes");
    assert_eq!(serde_json::from_value::<T>(response).unwrap(), value);
}

#[track_caller]
fn does_not_take<T: JsonSchema>(response: Value) {
    let document = strict::<T>();
    assert!(!fits(&document, &document, &response), "{document} describes {response}");
}

#[track_caller]
fn refused<T: JsonSchema>() -> String {
    let error = output::<T>().unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::InvalidInput);
    error.to_string()
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq, Clone, Default)]
struct Point {
    x: f64,
    y: f64,
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Level {
    VeryLow,
    High,
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
struct Everything {
    zeta: String,
    alpha: u8,
    id: u64,
    offset: i32,
    /// How sure it is.
    ratio: f32,
    letter: char,
    yes: bool,
    nothing: (),
    maybe: Option<u32>,
    twice: Option<Option<String>>,
    /// Where.
    place: Point,
    other: Option<Point>,
    level: Level,
    levels: Vec<Level>,
    set: BTreeSet<u16>,
    pair: (i8, i8),
    three: [Point; 3],
    boxed: Box<Point>,
    path: std::path::PathBuf,
    address: std::net::Ipv4Addr,
    any_address: std::net::IpAddr,
    outcome: Result<u8, String>,
}

fn everything() -> Everything {
    Everything {
        zeta: "z".into(),
        alpha: 255,
        id: u64::MAX,
        offset: i32::MIN,
        ratio: 0.5,
        letter: 'ß',
        yes: true,
        nothing: (),
        maybe: None,
        twice: None,
        place: Point { x: 1.0, y: -1.5 },
        other: Some(Point::default()),
        level: Level::VeryLow,
        levels: vec![Level::High, Level::VeryLow],
        set: [1, 2].into(),
        pair: (-128, 127),
        three: [const { Point { x: 0.25, y: 2.0 } }; 3],
        boxed: Box::default(),
        path: "a/b".into(),
        address: [127, 0, 0, 1].into(),
        any_address: std::net::Ipv6Addr::LOCALHOST.into(),
        outcome: Err("no".into()),
    }
}

#[test]
fn fields_of_all_sorts() {
    let other = Everything { maybe: Some(u32::MAX), other: None, outcome: Ok(1), ..everything() };
    round_trips([everything(), other]);
    let mut response = serde_json::to_value(everything()).unwrap();
    response["alpha"] = json!(256);
    does_not_take::<Everything>(response.clone());
    response["alpha"] = json!(1);
    response["level"] = json!("VeryLow");
    does_not_take::<Everything>(response.clone());
    response["level"] = json!("high");
    response["pair"] = json!([1]);
    does_not_take::<Everything>(response);
}

#[test]
fn fields_keep_their_order_and_their_descriptions() {
    let schema = strict::<Everything>();
    let names: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(names[..3], ["zeta", "alpha", "id"]);
    assert_eq!(schema["properties"]["ratio"]["description"], "How sure it is.");
    // A reference has no siblings.
    let place = json!({"description": "Where.", "anyOf": [{"$ref": "#/$defs/Point"}]});
    assert_eq!(schema["properties"]["place"], place);
    assert_eq!(schema["properties"]["boxed"], json!({"$ref": "#/$defs/Point"}));
    assert_eq!(schema["properties"]["address"]["format"], "ipv4");
    let letter = schema["properties"]["letter"]["description"].as_str().unwrap();
    assert_eq!(letter, "(minLength: 1)\n(maxLength: 1)");
    let any_address = schema["properties"]["any_address"]["description"].as_str().unwrap();
    assert_eq!(any_address, r#"(format: "ip")"#);
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
enum External {
    Unit,
    #[serde(rename = "new")]
    Newtype(Point),
    Number(u8),
    Same(f64, f64),
    Fields {
        a: Option<String>,
        level: Level,
    },
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Internal {
    Nothing,
    Place(Point),
    Fields { a: u8 },
    Inner(Nested),
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "sort")]
enum Nested {
    One { one: u8 },
    Two { two: String },
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "t", content = "a_content")]
enum Adjacent {
    Unit,
    Value(String),
    Place(Point),
    Fields { a: u8 },
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
#[serde(untagged)]
enum Untagged {
    Text(String),
    Number(i64),
    Place(Point),
    Nothing,
}

fn externals() -> [External; 5] {
    let fields = External::Fields { a: None, level: Level::High };
    [
        External::Unit,
        External::Newtype(Point::default()),
        External::Number(7),
        External::Same(1.0, 2.0),
        fields,
    ]
}

fn internals() -> [Internal; 5] {
    [
        Internal::Nothing,
        Internal::Place(Point { x: 1.0, y: 2.0 }),
        Internal::Fields { a: 1 },
        Internal::Inner(Nested::One { one: 1 }),
        Internal::Inner(Nested::Two { two: "2".into() }),
    ]
}

fn adjacents() -> [Adjacent; 4] {
    let place = Adjacent::Place(Point::default());
    [Adjacent::Unit, Adjacent::Value("v".into()), place, Adjacent::Fields { a: 3 }]
}

fn untagged() -> [Untagged; 4] {
    [Untagged::Text("t".into()), Untagged::Number(-1), Untagged::Place(Point::default()), Untagged::Nothing]
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
struct Holds<T> {
    value_of_it: T,
    list: Vec<T>,
    perhaps: Option<T>,
}

fn holds<T>(mut make: impl FnMut() -> T) -> Holds<T> {
    Holds { value_of_it: make(), list: vec![make(), make()], perhaps: Some(make()) }
}

#[test]
fn enums_in_all_of_serdes_forms() {
    round_trips(externals());
    round_trips(internals());
    round_trips(adjacents());
    round_trips(untagged());
    round_trips([Level::High, Level::VeryLow]);
    for place in 0..5 {
        round_trips([holds(|| externals().into_iter().nth(place).unwrap())]);
        round_trips([holds(|| internals().into_iter().nth(place).unwrap())]);
    }
    for place in 0..4 {
        round_trips([holds(|| adjacents().into_iter().nth(place).unwrap())]);
    }
    // Not the last value, which is `null`: an `Option` reads it as `None`.
    for place in 0..3 {
        round_trips([holds(|| untagged().into_iter().nth(place).unwrap())]);
    }
    does_not_take::<Internal>(json!({WRAPPER: {"kind": "place", "x": 1.0}}));
    does_not_take::<Internal>(json!({WRAPPER: {"kind": "inner", "sort": "One", "two": "2"}}));
    does_not_take::<External>(json!({WRAPPER: {"new": null}}));
}

#[test]
fn the_tag_comes_first() {
    let schema = strict::<Holds<Adjacent>>();
    for variant in schema["$defs"]["Adjacent"]["anyOf"].as_array().unwrap() {
        assert_eq!(variant["required"][0], "t", "{variant}");
    }
    let schema = strict::<Holds<Internal>>();
    let tagged = |schema: &Value| schema["required"][0] == "kind";
    for variant in schema["$defs"]["Internal"]["anyOf"].as_array().unwrap() {
        let inner = variant["anyOf"].as_array().map(|variants| variants.iter().all(tagged));
        assert!(inner.unwrap_or_else(|| tagged(variant)), "{variant}");
    }
}

#[test]
fn a_type_that_cannot_be_the_root_is_wrapped() {
    round_trips([vec![Point::default()], vec![]]);
    round_trips(["text".to_owned()]);
    round_trips([7_u8]);
    round_trips([None, Some(Point::default())]);
    round_trips([Some(vec![Level::High]), None]);
    assert!(!is_wrapped::<Point>());
    assert!(!is_wrapped::<Box<Point>>());
    assert!(!is_wrapped::<HashMap<String, u8>>(), "an object, though one that has no strict schema");
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Tree {
    name: String,
    children: Vec<Tree>,
    next: Option<Box<Tree>>,
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
enum Expression {
    Number(i64),
    Sum(Vec<Expression>),
    Negated(Box<Expression>),
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "op")]
enum Operation {
    Leaf { value: i64 },
    Both(Box<Operands>),
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
struct Operands {
    left: Operation,
    right: Operation,
}

#[test]
fn recursive_types() {
    let leaf = Tree { name: "leaf".into(), children: vec![], next: None };
    let tree = Tree { name: "root".into(), children: vec![leaf.clone()], next: Some(Box::new(leaf)) };
    round_trips([tree.clone()]);
    round_trips([vec![tree.clone()]]);
    round_trips([Some(tree.clone())]);
    round_trips([holds(|| tree.clone())]);
    let expression =
        || Expression::Sum(vec![Expression::Number(1), Expression::Negated(Box::new(Expression::Number(2)))]);
    round_trips([expression()]);
    round_trips([holds(expression)]);
    let operation = || {
        let leaf = |value| Operation::Leaf { value };
        Operation::Both(Box::new(Operands { left: leaf(1), right: leaf(2) }))
    };
    round_trips([operation()]);
    round_trips([holds(operation)]);
    does_not_take::<Expression>(json!({WRAPPER: {"Sum": [{"Negated": "x"}]}}));
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
struct Flattened {
    before: u8,
    #[serde(flatten)]
    place: Point,
    #[serde(flatten)]
    internal: Internal,
    after: Option<String>,
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
struct TwiceFlattened {
    #[serde(flatten)]
    internal: Nested,
    #[serde(flatten)]
    external: OnlyUnits,
    own: bool,
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
enum OnlyUnits {
    A,
    B,
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Closed {
    a: u8,
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
struct MaybeFlattened {
    own: bool,
    #[serde(flatten)]
    inner: Option<Nested>,
}

#[test]
fn flattened_fields() {
    let inner = || Internal::Inner(Nested::Two { two: "2".into() });
    for internal in [Internal::Nothing, Internal::Fields { a: 1 }, inner()] {
        round_trips([Flattened { before: 1, place: Point::default(), internal, after: None }]);
    }
    for external in [OnlyUnits::A, OnlyUnits::B] {
        round_trips([TwiceFlattened { internal: Nested::One { one: 1 }, external, own: true }]);
    }
    round_trips([Closed { a: 1 }]);
    round_trips([
        MaybeFlattened { own: true, inner: Some(Nested::One { one: 2 }) },
        MaybeFlattened { own: false, inner: None },
    ]);
}

fn five() -> u8 {
    5
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    #[serde(rename = "the name")]
    name: String,
    #[serde(rename(deserialize = "read", serialize = "written"))]
    two_names: u8,
    #[serde(default = "five")]
    five_if_left_out: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<u8>,
    #[serde(skip)]
    hidden: u8,
    #[serde(skip_deserializing)]
    never_read: u8,
    #[serde(alias = "other")]
    aliased: u8,
    #[schemars(range(min = 1, max = 9), extend("examples" = [2, 3]))]
    bounded: u8,
    #[schemars(length(max = 3))]
    short: String,
}

#[test]
fn attributes_count_as_in_deserialization() {
    let value = Attributes {
        name: "n".into(),
        two_names: 1,
        five_if_left_out: 5,
        left_out: None,
        hidden: 0,
        never_read: 0,
        aliased: 2,
        bounded: 3,
        short: "s".into(),
    };
    let response = json!({
        "the name": "n", "read": 1, "fiveIfLeftOut": 5, "leftOut": null, "aliased": 2, "bounded": 3, "short": "s",
    });
    takes(response.clone(), value);
    let mut without = response.clone();
    without.as_object_mut().unwrap().remove("leftOut");
    does_not_take::<Attributes>(without);
    let mut unreadable = response;
    unreadable["fiveIfLeftOut"] = Value::Null;
    does_not_take::<Attributes>(unreadable);
    let fields = &strict::<Attributes>()["properties"];
    assert_eq!(fields["fiveIfLeftOut"]["description"], "(default: 5)");
    assert_eq!(fields["bounded"]["description"], "(examples: [2,3])");
    assert_eq!(json!([fields["bounded"]["minimum"], fields["bounded"]["maximum"]]), json!([1, 9]));
    assert_eq!(fields["short"]["description"], "(maxLength: 3)");
    assert!(fields["leftOut"].get("description").is_none());
}

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
struct Newtype(Point);

#[derive(JsonSchema, Serialize, Deserialize, Debug, PartialEq)]
struct Empty {}

#[test]
fn structs_without_names_or_fields() {
    round_trips([Newtype(Point::default())]);
    round_trips([Empty {}]);
    round_trips([holds(|| Empty {})]);
    round_trips([holds(|| holds(|| 1_u8))]);
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "used as a schema only")]
struct Deep<T> {
    steps: Vec<Step<T>>,
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "used as a schema only")]
struct Step<T> {
    extra: Option<T>,
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "used as a schema only")]
struct FlattenedMap {
    own: u8,
    #[serde(flatten)]
    rest: HashMap<String, String>,
}

#[test]
fn an_unsupported_type_is_refused_with_its_path() {
    let text = refused::<Deep<HashMap<String, u8>>>();
    assert!(text.starts_with("`Deep` cannot be an output type: `steps[].extra` is a map"), "{text}");
    assert!(text.contains("`Vec` of a struct"), "{text}");
    assert!(refused::<Deep<BTreeMap<u32, u8>>>().contains("`steps[].extra` is a map"));
    assert!(refused::<Deep<Map<String, Value>>>().contains("`steps[].extra` is a map"));
    assert!(refused::<HashMap<String, u8>>().contains("type: it is a map"));
    assert!(refused::<FlattenedMap>().contains("type: it is a map"));
    let text = refused::<Deep<Value>>();
    assert!(text.contains("`steps[].extra` can be any JSON") && text.contains("a `String`"), "{text}");
    assert!(refused::<Vec<Value>>().contains("`[]` can be any JSON"));
    assert!(refused::<Value>().contains("it can be any JSON"));
    let text = refused::<Deep<(String, u8)>>();
    assert!(
        text.contains("`steps[].extra` is a tuple of different types") && text.contains("a struct"),
        "{text}"
    );
}

/// A hand-written schema that is invalid.
struct Endless;

impl JsonSchema for Endless {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endless".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"allOf": [{"$ref": "#"}]})
    }
}

#[test]
fn hand_written_schemas_are_supported_or_refused() {
    assert!(refused::<Endless>().contains("contains itself endlessly"));
    // `allOf`, an encoded name, and types that only the values imply.
    let schema = json!({
        "allOf": [
            {"properties": {"a": {"const": 1}}, "title": "left"},
            {"$ref": "#/$defs/other%20thing", "deprecated": true},
        ],
        "$defs": {"other thing": {"properties": {"b": {"enum": ["x", null]}, "c": {"type": "string", "format": "uri"}}}},
    });
    let strict = write::document(&schema, Purpose::Output, false).unwrap();
    assert_strict(&strict, &strict);
    assert_eq!(strict["required"], json!(["a", "b", "c"]));
    assert!(fits(&strict, &strict, &json!({"a": 1, "b": null, "c": "x:y"})));
    assert!(!fits(&strict, &strict, &json!({"a": 2, "b": null, "c": "x:y"})));
    for (unsupported, why) in [
        (json!({"allOf": [{"type": "string"}, {"type": "object"}]}), "two different values"),
        (json!({"type": "object", "properties": {"a": false}}), "`a` has no possible value"),
        (json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}), "`a` has a reference"),
        (json!({"type": "object", "properties": {"a": {"type": "array"}}}), "`a[]` can be any JSON"),
    ] {
        let problem = write::document(&unsupported, Purpose::Output, false).unwrap_err();
        assert!(problem.contains(why), "{problem}");
    }
}
