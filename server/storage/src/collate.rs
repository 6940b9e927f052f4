//! The order of JSON values that CouchDB sorts by: null, booleans, numbers, texts, arrays, objects. Texts
//! are in order of their code points, as PouchDB has them.

use std::cmp::Ordering;

use serde_json::Value;

/// Compares two values.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (whole_a, whole_b) = (a.as_i64(), b.as_i64());
            if let (Some(a), Some(b)) = (whole_a, whole_b) {
                return a.cmp(&b);
            }
            let (a, b) = (a.as_f64(), b.as_f64());
            a.partial_cmp(&b).unwrap_or(Ordering::Equal)
        }
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let pairs = a.iter().zip(b).map(|(a, b)| compare(a, b));
            let first = pairs.into_iter().find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let pairs = a.iter().zip(b);
            let mut orders = pairs.map(|((name_a, a), (name_b, b))| {
                let names = name_a.cmp(name_b);
                names.then_with(|| compare(a, b))
            });
            let first = orders.find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_in_couchdbs_order() {
        let ordered = [
            json!(null),
            json!(false),
            json!(true),
            json!(-3),
            json!(1),
            json!(1.5),
            json!(9_007_199_254_740_993_i64),
            json!(""),
            json!("B"),
            json!("a"),
            json!([]),
            json!([1]),
            json!([1, 0]),
            json!([2]),
            json!({}),
            json!({"a": 1}),
            json!({"a": 2}),
            json!({"b": 1}),
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(&pair[1], &pair[0]), Ordering::Greater, "{pair:?}");
            assert_eq!(compare(&pair[0], &pair[0]), Ordering::Equal, "{pair:?}");
        }
    }
}
