//! Label and field selectors of lists and watches.

use serde_json::Value;

use crate::status::Refusal;

/// What an object has to be like.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Debug, Clone)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Requirement {
    fn allows(&self, value: Option<&str>) -> bool {
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.iter().any(|allowed| allowed == value)),
            Operator::NotIn(values) => !value.is_some_and(|value| values.iter().any(|other| other == value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl Selector {
    pub(crate) fn add_labels(&mut self, text: &str) -> Result<(), Refusal> {
        self.labels.extend(requirements(text)?);
        Ok(())
    }

    pub(crate) fn add_fields(&mut self, text: &str) -> Result<(), Refusal> {
        self.fields.extend(requirements(text)?);
        Ok(())
    }

    /// Whether `object` is one of those asked for. A field selector looks at any path of plain values.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let by_label = self
            .labels
            .iter()
            .all(|requirement| requirement.allows(labels[&requirement.key].as_str()));
        by_label
            && self.fields.iter().all(|requirement| {
                let value = match requirement.key.as_str() {
                    // Of an event: whoever reports it, in the one form or the other.
                    "source" => {
                        let component = object["source"]["component"].as_str();
                        component.or_else(|| object["reportingComponent"].as_str())
                    }
                    key => {
                        let pointer = format!("/{}", key.replace('.', "/"));
                        object.pointer(&pointer).and_then(Value::as_str)
                    }
                };
                // An unset field compares as the empty string.
                requirement.allows(Some(value.unwrap_or_default()))
            })
    }
}

/// Splits at the commas outside parentheses.
fn requirements(text: &str) -> Result<Vec<Requirement>, Refusal> {
    let mut depth = 0_u32;
    let parts = text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(requirement)
        .collect()
}

fn requirement(text: &str) -> Result<Requirement, Refusal> {
    let make = |key: &str, operator| {
        Ok(Requirement {
            key: key.trim().to_owned(),
            operator,
        })
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    let many = |text: &str| {
        let text = text.trim().trim_start_matches('(').trim_end_matches(')');
        text.split(',')
            .map(|value| value.trim().to_owned())
            .collect::<Vec<_>>()
    };
    if let Some((key, values)) = text.split_once(" notin ") {
        make(key, Operator::NotIn(many(values)))
    } else if let Some((key, values)) = text.split_once(" in ") {
        make(key, Operator::In(many(values)))
    } else if let Some((key, value)) = text.split_once("!=") {
        make(key, Operator::NotIn(one(value)))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        make(key, Operator::In(one(value)))
    } else if let Some(key) = text.strip_prefix('!') {
        make(key, Operator::DoesNotExist)
    } else if text.contains(char::is_whitespace) {
        Err(Refusal::bad_request(format!(
            "unable to parse requirement: {text}"
        )))
    } else {
        make(text, Operator::Exists)
    }
}
