//! Selectors of `_find` and of filtered changes, in the language that CouchDB calls Mango.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::compare;

/// Conditions in one selector, those within others included.
const CONDITIONS_MAX: usize = 1_000;
const DEPTH_MAX: usize = 32;
const PATTERN_BYTES_MAX: usize = 4_096;
/// Bytes that a compiled pattern may take.
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// What is wrong with a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSelector {
    /// It is no object where one must stand.
    #[error("Selector must be a JSON object")]
    NoObject,
    /// An operator that is not known.
    #[error("Invalid operator: {0}")]
    Operator(String),
    /// An operator with what it cannot take.
    #[error("Bad argument for operator {0}")]
    Argument(&'static str),
    /// It is too large.
    #[error("Selector is too large")]
    TooLarge,
}

/// A condition on documents.
#[derive(Clone, Debug)]
pub struct Selector(Condition);

#[derive(Clone, Debug)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    None(Vec<Condition>),
    Not(Box<Condition>),
    /// Of what stands at a path.
    At(Vec<String>, Box<Condition>),
    Exists(bool),
    /// The value is there and its order to another is one of these.
    Order(&'static [Ordering], Value),
    NotEqual(Value),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    Type(&'static str),
    Size(u64),
    Mod(i64, i64),
    Matches(Regex),
    Begins(String),
    Contains(Vec<Value>),
    SomeElement(Box<Condition>),
    EveryElement(Box<Condition>),
    SomeKey(Box<Condition>),
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`BadSelector`] says what is wrong.
    pub fn parse(selector: &Value) -> Result<Self, BadSelector> {
        let mut left = CONDITIONS_MAX;
        Ok(Self(object(selector, &mut left, 0)?))
    }

    /// Whether it holds for a document.
    pub fn holds(&self, document: &Value) -> bool {
        self.0.holds(Some(document))
    }
}

/// An object: members that begin with `$` are operators, others are fields, and all must hold.
fn object(value: &Value, left: &mut usize, depth: usize) -> Result<Condition, BadSelector> {
    let members = value.as_object().ok_or(BadSelector::NoObject)?;
    if depth > DEPTH_MAX || members.len() > *left {
        return Err(BadSelector::TooLarge);
    }
    *left -= members.len();
    let condition = |(name, value): (&String, &Value)| {
        if name.starts_with('$') {
            return operator(name, value, left, depth + 1);
        }
        let path = path(name);
        let condition = field(value, left, depth + 1)?;
        Ok(Condition::At(path, Box::new(condition)))
    };
    let conditions = members.iter().map(condition).collect::<Result<_, _>>()?;
    Ok(Condition::All(conditions))
}

/// What a field has to be: another object of operators and fields, or a value that it equals.
fn field(value: &Value, left: &mut usize, depth: usize) -> Result<Condition, BadSelector> {
    match value {
        Value::Object(members) if !members.is_empty() => object(value, left, depth),
        other => Ok(Condition::Order(&[Ordering::Equal], other.clone())),
    }
}

fn operator(
    name: &str,
    value: &Value,
    left: &mut usize,
    depth: usize,
) -> Result<Condition, BadSelector> {
    use Ordering::{Equal, Greater, Less};
    let list = |name| value.as_array().ok_or(BadSelector::Argument(name));
    let mut each = |name| {
        let items = list(name)?.iter();
        let conditions = items.map(|item| object(item, left, depth));
        conditions.collect::<Result<Vec<_>, _>>()
    };
    Ok(match name {
        "$and" => Condition::All(each("$and")?),
        "$or" => Condition::Any(each("$or")?),
        "$nor" => Condition::None(each("$nor")?),
        "$not" => Condition::Not(Box::new(field(value, left, depth)?)),
        "$exists" => Condition::Exists(value.as_bool().ok_or(BadSelector::Argument("$exists"))?),
        "$eq" => Condition::Order(&[Equal], value.clone()),
        "$ne" => Condition::NotEqual(value.clone()),
        "$lt" => Condition::Order(&[Less], value.clone()),
        "$lte" => Condition::Order(&[Less, Equal], value.clone()),
        "$gt" => Condition::Order(&[Greater], value.clone()),
        "$gte" => Condition::Order(&[Greater, Equal], value.clone()),
        "$in" => Condition::In(list("$in")?.clone()),
        "$nin" => Condition::NotIn(list("$nin")?.clone()),
        "$all" => Condition::Contains(list("$all")?.clone()),
        "$type" => {
            let types = ["null", "boolean", "number", "string", "array", "object"];
            let found = types.into_iter().find(|kind| value == kind);
            Condition::Type(found.ok_or(BadSelector::Argument("$type"))?)
        }
        "$size" => Condition::Size(value.as_u64().ok_or(BadSelector::Argument("$size"))?),
        "$mod" => {
            let pair = value.as_array().filter(|pair| pair.len() == 2);
            let pair = pair.and_then(|pair| Some((pair[0].as_i64()?, pair[1].as_i64()?)));
            let (divisor, rest) = pair
                .filter(|(divisor, _)| *divisor != 0)
                .ok_or(BadSelector::Argument("$mod"))?;
            Condition::Mod(divisor, rest)
        }
        "$regex" => {
            let pattern = value
                .as_str()
                .filter(|text| text.len() <= PATTERN_BYTES_MAX);
            let built = pattern.and_then(|pattern| {
                let mut builder = RegexBuilder::new(pattern);
                builder.size_limit(PATTERN_SIZE_MAX).build().ok()
            });
            Condition::Matches(built.ok_or(BadSelector::Argument("$regex"))?)
        }
        "$beginsWith" => {
            let text = value.as_str();
            Condition::Begins(text.ok_or(BadSelector::Argument("$beginsWith"))?.to_owned())
        }
        "$elemMatch" => Condition::SomeElement(Box::new(field(value, left, depth)?)),
        "$allMatch" => Condition::EveryElement(Box::new(field(value, left, depth)?)),
        "$keyMapMatch" => Condition::SomeKey(Box::new(field(value, left, depth)?)),
        other => return Err(BadSelector::Operator(other.chars().take(32).collect())),
    })
}

/// `a.b` is `b` within `a`; a dot that belongs to a name stands behind a backslash.
fn path(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        let last = parts.len() - 1;
        match letter {
            '\\' => parts[last].extend(letters.next()),
            '.' => parts.push(String::new()),
            other => parts[last].push(other),
        }
    }
    parts
}

impl Condition {
    /// Whether it holds for a value; none is one that is not there.
    fn holds(&self, value: Option<&Value>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(value)),
            Self::Any(any) => any.iter().any(|one| one.holds(value)),
            Self::None(none) => !none.iter().any(|one| one.holds(value)),
            Self::Not(one) => !one.holds(value),
            Self::At(path, one) => one.holds(at(value, path)),
            Self::Exists(is) => value.is_some() == *is,
            Self::Order(orders, other) => {
                value.is_some_and(|value| orders.contains(&compare(value, other)))
            }
            Self::NotEqual(other) => value.is_some_and(|value| compare(value, other).is_ne()),
            Self::In(list) => value.is_some_and(|value| is_among(value, list)),
            Self::NotIn(list) => value.is_some_and(|value| !is_among(value, list)),
            Self::Type(kind) => value.is_some_and(|value| kind_of(value) == *kind),
            Self::Size(size) => elements(value).is_some_and(|items| items.len() as u64 == *size),
            Self::Mod(divisor, rest) => {
                let number = value.and_then(Value::as_i64);
                number.is_some_and(|number| number.wrapping_rem(*divisor) == *rest)
            }
            Self::Matches(pattern) => text(value).is_some_and(|text| pattern.is_match(text)),
            Self::Begins(begin) => text(value).is_some_and(|text| text.starts_with(begin)),
            Self::Contains(all) => elements(value).is_some_and(|items| {
                let has = |one: &Value| items.iter().any(|item| compare(item, one).is_eq());
                !all.is_empty() && all.iter().all(has)
            }),
            Self::SomeElement(one) => {
                elements(value).is_some_and(|items| items.iter().any(|item| one.holds(Some(item))))
            }
            Self::EveryElement(one) => elements(value).is_some_and(|items| {
                !items.is_empty() && items.iter().all(|item| one.holds(Some(item)))
            }),
            Self::SomeKey(one) => {
                let members = value.and_then(Value::as_object);
                members.is_some_and(|members| {
                    let names = members.keys().cloned().map(Value::String);
                    names.into_iter().any(|name| one.holds(Some(&name)))
                })
            }
        }
    }
}

fn at<'a>(value: Option<&'a Value>, path: &[String]) -> Option<&'a Value> {
    let step = |value: &'a Value, name: &String| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    };
    path.iter().try_fold(value?, step)
}

/// An array that is compared with a list matches also by one of its elements.
fn is_among(value: &Value, list: &[Value]) -> bool {
    let is = |value: &Value| list.iter().any(|one| compare(one, value).is_eq());
    is(value) || value.as_array().is_some_and(|items| items.iter().any(is))
}

fn elements(value: Option<&Value>) -> Option<&Vec<Value>> {
    value.and_then(Value::as_array)
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
