//! Generates the constants with which the protocol crate distinguishes the object alternatives of a union.

use super::facts::{Alternative, Object, Shape};
use super::plan::Plan;
use super::ty::Type;

/// Whether an alternative is an object.
pub fn is_object(alternative: &Alternative) -> bool {
    matches!(alternative, Alternative::Object(_) | Alternative::Type { ty: Type::Named(_) })
}

/// A required field that the other alternatives lack.
pub fn own_field(object: &Object, alternatives: &[Alternative]) -> String {
    let others: Vec<&Object> = alternatives
        .iter()
        .filter_map(|one| match one {
            Alternative::Object(other) if other != object => Some(other),
            _ => None,
        })
        .collect();
    let is_own =
        |name: &&String| !others.iter().any(|other| other.fields.iter().any(|field| field.name == **name));
    let mut required = object.fields.iter().filter(|field| !field.optional).map(|field| &field.name);
    required
        .find(is_own)
        .cloned()
        .unwrap_or_else(|| panic!("no field distinguishes {object:?} from the other alternatives"))
}

/// The shapes that an alternative may have.
pub fn of(plan: &Plan, alternative: &Alternative) -> String {
    let mut shapes = Vec::new();
    collect(plan, alternative, &mut shapes);
    shapes.join(", ")
}

fn collect(plan: &Plan, alternative: &Alternative, shapes: &mut Vec<String>) {
    let object = match alternative {
        Alternative::Object(object) => object,
        Alternative::Type { ty: Type::Named(name) } => match plan.facts_of(name).map(|facts| &facts.shape) {
            Some(Shape::Object(object)) => object,
            Some(Shape::Shapes { alternatives }) => {
                alternatives.iter().for_each(|one| collect(plan, one, shapes));
                return;
            }
            _ => return,
        },
        Alternative::Type { .. } => return,
    };
    shapes.push(of_object(plan, object));
}

fn of_object(plan: &Plan, object: &Object) -> String {
    let names = |required: bool| {
        let fields = object.fields.iter().filter(|field| !required || !field.optional);
        fields.map(|field| format!("{:?}", field.name)).collect::<Vec<_>>().join(", ")
    };
    let mut values = Vec::new();
    let mut nested = Vec::new();
    for field in &object.fields {
        let Type::Named(name) = &field.ty else { continue };
        match plan.facts_of(name).map(|facts| &facts.shape) {
            Some(Shape::Strings { values: known }) if field.name == "type" => {
                let known: Vec<String> = known.iter().map(|value| format!("{:?}", value.value)).collect();
                values.push(format!("({:?}, &[{}])", field.name, known.join(", ")));
            }
            Some(Shape::Object(inner)) => {
                nested.push(format!("({:?}, {})", field.name, of_object(plan, inner)))
            }
            _ => {}
        }
    }
    format!(
        "crate::wire::ObjectShape {{ required: &[{}], known: &[{}], values: &[{}], nested: &[{}] }}",
        names(true),
        names(false),
        values.join(", "),
        nested.join(", ")
    )
}
