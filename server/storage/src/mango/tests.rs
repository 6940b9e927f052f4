use serde_json::json;

use super::*;

fn holds(selector: Value, document: Value) -> bool {
    let parsed = Selector::parse(&selector).expect("it is sound");
    parsed.holds(&document)
}

#[test]
fn each_operator_does_what_it_says() {
    let document = json!({"name": "Ada", "born": 1815, "tags": ["a", "b"], "no": null,
        "home": {"city": "London", "a.b": 1}, "list": [{"n": 1}, {"n": 5}]});
    let table = [
        (json!({}), true),
        (json!({"name": "Ada"}), true),
        (json!({"name": "Bob"}), false),
        (json!({"born": {"$gt": 1800, "$lt": 1900}}), true),
        (json!({"born": {"$gte": 1816}}), false),
        (json!({"born": {"$lte": 1815}}), true),
        (json!({"gone": {"$gt": null}}), false),
        (json!({"gone": {"$ne": 1}}), false),
        (json!({"born": {"$ne": 1}}), true),
        (json!({"no": {"$exists": true}}), true),
        (json!({"gone": {"$exists": false}}), true),
        (json!({"home.city": "London"}), true),
        (json!({"home": {"city": "London"}}), true),
        (json!({"home.a\\.b": 1}), true),
        (json!({"list.1.n": 5}), true),
        (json!({"$or": [{"born": 1}, {"name": "Ada"}]}), true),
        (json!({"$and": [{"born": 1}, {"name": "Ada"}]}), false),
        (json!({"$nor": [{"born": 1}, {"name": "Bob"}]}), true),
        (json!({"$not": {"name": "Ada"}}), false),
        (json!({"name": {"$not": {"$eq": "Bob"}}}), true),
        (json!({"name": {"$in": ["Ada", "Bob"]}}), true),
        (json!({"tags": {"$in": ["b"]}}), true),
        (json!({"name": {"$nin": ["Ada"]}}), false),
        (json!({"tags": {"$all": ["a", "b"]}}), true),
        (json!({"tags": {"$all": ["a", "c"]}}), false),
        (json!({"tags": {"$size": 2}}), true),
        (json!({"born": {"$mod": [5, 0]}}), true),
        (json!({"born": {"$type": "number"}}), true),
        (json!({"name": {"$regex": "^A.a$"}}), true),
        (json!({"name": {"$beginsWith": "Ad"}}), true),
        (json!({"list": {"$elemMatch": {"n": {"$gt": 4}}}}), true),
        (json!({"list": {"$allMatch": {"n": {"$gt": 4}}}}), false),
        (json!({"home": {"$keyMapMatch": {"$eq": "city"}}}), true),
        (json!({"tags": {"$elemMatch": {"$eq": "b"}}}), true),
    ];
    for (selector, expected) in table {
        assert_eq!(
            holds(selector.clone(), document.clone()),
            expected,
            "{selector}"
        );
    }
}

#[test]
fn what_is_no_selector_is_refused() {
    for wrong in [
        json!([]),
        json!({"$what": 1}),
        json!({"a": {"$what": 1}}),
        json!({"$and": {}}),
        json!({"$or": [1]}),
        json!({"a": {"$regex": "("}}),
        json!({"a": {"$mod": [0, 1]}}),
        json!({"a": {"$type": "thing"}}),
        json!({"a": {"$size": -1}}),
        json!({"a": {"$exists": 1}}),
    ] {
        assert!(Selector::parse(&wrong).is_err(), "{wrong}");
    }
    let mut deep = json!({"a": 1});
    for _ in 0..100 {
        deep = json!({ "$not": deep });
    }
    assert_eq!(Selector::parse(&deep).err(), Some(BadSelector::TooLarge));
}
