//! Which files are searched, by their attributes.

use serde_json::{Map, Value};

use crate::door::ApiError;

/// How deep filters may stand in each other, and how many there may be in all.
const DEPTH_MAX: usize = 8;
const FILTERS_MAX: usize = 64;
const VALUES_MAX: usize = 256;

/// A condition on a file's attributes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter {
    /// One of them.
    Compare {
        /// Which.
        key: String,
        /// How.
        how: Comparison,
        /// With what; a list for [`Comparison::In`] and [`Comparison::NotIn`].
        value: Value,
    },
    /// All of these hold.
    And(Vec<Filter>),
    /// One of these holds.
    Or(Vec<Filter>),
}

/// How an attribute is compared. One that a file does not have is unequal to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Above,
    AtLeast,
    Below,
    AtMost,
    In,
    NotIn,
}

const COMPARISONS: [(&str, Comparison); 8] = [
    ("eq", Comparison::Equal),
    ("ne", Comparison::NotEqual),
    ("gt", Comparison::Above),
    ("gte", Comparison::AtLeast),
    ("lt", Comparison::Below),
    ("lte", Comparison::AtMost),
    ("in", Comparison::In),
    ("nin", Comparison::NotIn),
];

impl Filter {
    /// Reads a filter; `at` is its field.
    pub(crate) fn parse(value: &Value, at: &str) -> Result<Self, ApiError> {
        parse(value, at, DEPTH_MAX, &mut 0)
    }

    /// Whether it holds for these attributes.
    pub(crate) fn holds(&self, attributes: &Map<String, Value>) -> bool {
        match self {
            Self::And(filters) => filters.iter().all(|filter| filter.holds(attributes)),
            Self::Or(filters) => filters.iter().any(|filter| filter.holds(attributes)),
            Self::Compare { key, how, value } => compare(attributes.get(key), *how, value),
        }
    }
}

fn parse(value: &Value, at: &str, depth: usize, count: &mut usize) -> Result<Filter, ApiError> {
    *count += 1;
    if depth == 0 || *count > FILTERS_MAX {
        let message = format!(
            "Invalid '{at}': at most {FILTERS_MAX} filters, no deeper than {DEPTH_MAX} in each other."
        );
        return Err(ApiError::invalid(at, "invalid_value", message));
    }
    let refuse = |field: &str, what: &str| {
        let param = format!("{at}.{field}");
        let message = format!("Invalid '{param}': expected {what}.");
        ApiError::invalid(param, "invalid_value", message)
    };
    let kind = value.get("type").and_then(Value::as_str).unwrap_or("");
    if matches!(kind, "and" | "or") {
        let filters = value.get("filters").and_then(Value::as_array);
        let filters = filters.filter(|filters| !filters.is_empty());
        let filters = filters.ok_or_else(|| refuse("filters", "a list of filters"))?;
        let inner = filters.iter().enumerate();
        let inner =
            inner.map(|(i, filter)| parse(filter, &format!("{at}.filters[{i}]"), depth - 1, count));
        let inner = inner.collect::<Result<_, _>>()?;
        return Ok(if kind == "and" {
            Filter::And(inner)
        } else {
            Filter::Or(inner)
        });
    }
    let how = COMPARISONS.iter().find(|(name, _)| *name == kind);
    let (_, how) = how.ok_or_else(|| {
        refuse(
            "type",
            "'and', 'or', 'eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in' or 'nin'",
        )
    })?;
    let key = value.get("key").and_then(Value::as_str);
    let key = key.ok_or_else(|| refuse("key", "a string"))?;
    let wanted = value.get("value").unwrap_or(&Value::Null);
    let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    let (fits, what) = match how {
        Comparison::In | Comparison::NotIn => {
            let list = wanted.as_array();
            let fits = list.is_some_and(|l| l.len() <= VALUES_MAX && l.iter().all(is_plain));
            (fits, "a list of strings or numbers")
        }
        Comparison::Equal | Comparison::NotEqual => {
            (is_plain(wanted), "a string, a number or a boolean")
        }
        _ => (wanted.is_number(), "a number"),
    };
    if !fits {
        return Err(refuse("value", what));
    }
    Ok(Filter::Compare {
        key: key.to_owned(),
        how: *how,
        value: wanted.clone(),
    })
}

fn compare(found: Option<&Value>, how: Comparison, wanted: &Value) -> bool {
    let is = |wanted: &Value| found.is_some_and(|found| equal(found, wanted));
    let is_one_of = || wanted.as_array().is_some_and(|list| list.iter().any(is));
    let ordered = |holds: fn(f64, f64) -> bool| {
        let found = found.and_then(Value::as_f64);
        found.zip(wanted.as_f64()).is_some_and(|(a, b)| holds(a, b))
    };
    match how {
        Comparison::Equal => is(wanted),
        Comparison::NotEqual => !is(wanted),
        Comparison::In => is_one_of(),
        Comparison::NotIn => !is_one_of(),
        Comparison::Above => ordered(|a, b| a > b),
        Comparison::AtLeast => ordered(|a, b| a >= b),
        Comparison::Below => ordered(|a, b| a < b),
        Comparison::AtMost => ordered(|a, b| a <= b),
    }
}

/// 1 and 1.0 are one number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(filter: &Value) -> bool {
        let attributes = json!({"who": "ann", "year": 2020, "draft": false});
        let filter = Filter::parse(filter, "filters").expect("it is sound");
        filter.holds(attributes.as_object().expect("an object"))
    }

    #[test]
    fn comparisons_do_what_they_say() {
        for (kind, key, value, expected) in [
            ("eq", "who", json!("ann"), true),
            ("eq", "year", json!(2020.0), true),
            ("eq", "none", json!("x"), false),
            ("ne", "none", json!("x"), true),
            ("ne", "draft", json!(false), false),
            ("gt", "year", json!(2019), true),
            ("gte", "year", json!(2020), true),
            ("lt", "year", json!(2020), false),
            ("lte", "year", json!(2020), true),
            ("gt", "who", json!(1), false),
            ("in", "who", json!(["bob", "ann"]), true),
            ("nin", "who", json!(["bob"]), true),
            ("nin", "none", json!(["bob"]), true),
        ] {
            let filter = json!({"type": kind, "key": key, "value": value});
            assert_eq!(holds(&filter), expected, "{filter}");
        }
        let yes = json!({"type": "eq", "key": "who", "value": "ann"});
        let no = json!({"type": "eq", "key": "who", "value": "bob"});
        assert!(!holds(&json!({"type": "and", "filters": [yes, no]})));
        assert!(holds(&json!({"type": "or", "filters": [no, yes]})));
    }

    #[test]
    fn what_is_no_filter_is_named() {
        let refused = |filter: &Value| {
            let error = Filter::parse(filter, "filters").expect_err("it is refused");
            error.body().error.param.expect("it is named")
        };
        assert_eq!(refused(&json!({})), "filters.type");
        assert_eq!(refused(&json!({"type": "eq", "value": 1})), "filters.key");
        let value = |kind: &str, value: Value| json!({"type": kind, "key": "k", "value": value});
        assert_eq!(refused(&value("eq", json!([1]))), "filters.value");
        assert_eq!(refused(&value("in", json!("x"))), "filters.value");
        assert_eq!(refused(&value("gt", json!("x"))), "filters.value");
        let inner = json!({"type": "and", "filters": [{"type": "x"}]});
        assert_eq!(refused(&inner), "filters.filters[0].type");
        assert_eq!(
            refused(&json!({"type": "or", "filters": []})),
            "filters.filters"
        );
        let mut deep = value("eq", json!(1));
        for _ in 0..DEPTH_MAX {
            deep = json!({"type": "and", "filters": [deep]});
        }
        assert!(Filter::parse(&deep, "filters").is_err());
        let many = vec![value("eq", json!(1)); FILTERS_MAX];
        assert!(Filter::parse(&json!({"type": "and", "filters": many}), "f").is_err());
    }
}
