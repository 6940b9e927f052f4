//! `route explain`: what would be asked, and why, over HTTP and from the command line.

use super::*;

#[tokio::test]
async fn a_route_is_explained_and_nothing_is_run() {
    let (node, handles) = federated().await;
    let demand = json!({"kwaai": {"prefer": "fast", "max_gco2_per_1k": 1}, "max_tokens": 100});
    let plan = node.post(ROUTE, chat(MODEL, demand)).await.json();
    assert_eq!(
        (&plan["object"], &plan["prefer"]),
        (&json!("kwaai.route"), &json!("fast"))
    );
    let candidates = plan["candidates"].as_array().expect("a list");
    assert_eq!(candidates.len(), 2);
    for candidate in candidates {
        assert_eq!(candidate["place"], "peer");
        assert_eq!(candidate["region"], "eu-west");
        assert_eq!(candidate["price"], 10);
        let grams = candidate["gco2_per_1k"].as_f64().expect("a number");
        assert!((grams - 0.02).abs() < 1e-9, "36 W for 20 s: {grams}");
        let estimate = &candidate["estimate"];
        assert_eq!(estimate["rtt_ms"], 3.0);
        assert_eq!(estimate["decode_ms"], 2_000.0);
        assert_eq!(estimate["is_guess"], false);
    }
    let dropped = plan["dropped"].as_array().expect("a list");
    let reasons: Vec<_> = dropped
        .iter()
        .map(|one| (&one["backend"], &one["reason"]))
        .collect();
    let unknown = json!("what it costs the climate is not known");
    assert_eq!(
        reasons,
        [(&json!("scripted"), &unknown), (&json!("up"), &unknown)]
    );

    let nobody = json!({"kwaai": {"max_price": 0, "tier_min": "t1", "peers": [id(9)]}});
    let plan = node.post(ROUTE, chat(AFAR, nobody)).await.json();
    assert_eq!(plan["candidates"], json!([]));
    assert_eq!(plan["dropped"].as_array().map(Vec::len), Some(3));

    let vectors = json!({"model": EMBEDDER, "input": ["a", "b"]});
    let plan = node.post(ROUTE, vectors).await.json();
    assert_eq!(plan["candidates"][0]["backend"], "scripted");
    let text = json!({"model": MODEL, "prompt": "hi"});
    assert_eq!(node.post(ROUTE, text).await.status, 200);
    assert_eq!(
        node.post(ROUTE, json!({"model": MODEL})).await.error().0,
        400
    );
    assert_eq!(
        node.post(ROUTE, chat("nobody-has-it", json!({})))
            .await
            .error()
            .0,
        404
    );
    let started = handles.iter().map(|handle| handle.counts().started);
    assert_eq!(started.sum::<u64>() + node.script.counts().started, 0);
}

#[tokio::test]
async fn the_command_line_asks_the_running_node() {
    let (node, script, dir) = listening(Config::default()).await;
    let address = node.address().to_string();
    let data = dir.path().display().to_string();
    let explain = |address: &str, more: &[&str]| {
        let start = ["kwaainet", "--listen", address, "--data-dir", &data];
        let command = ["--model", MODEL, "route", "explain"];
        let words = start
            .iter()
            .chain(&command)
            .chain(more)
            .map(ToString::to_string);
        let cli = Cli::try_parse_from(words).expect("it is a command");
        Box::pin(cli.run())
    };
    let demands = [
        "--prefer",
        "green",
        "--tier-min",
        "t1",
        "--data-class",
        "confidential",
        "--max-price",
        "5",
        "--prompt",
        "How far?",
        "--max-tokens",
        "9",
    ];
    assert!(explain(&address, &demands).await.is_ok());
    assert!(
        explain(&address, &["--json", "--region", "eu"])
            .await
            .is_ok()
    );
    let said = |error: anyhow::Error| format!("{error:#}");
    let wrong = explain(&address, &["--prefer", "best"]).await.map_err(said);
    let wrong = wrong.expect_err("it is refused");
    assert!(wrong.contains("Invalid 'kwaai.prefer'"), "{wrong}");
    // A model that makes text is asked for vectors.
    assert!(explain(&address, &["--embed"]).await.is_err());
    assert_eq!(script.counts().started, 0);
    node.shutdown().await;
    let nobody = explain(&address, &[]).await.map_err(said);
    let nobody = nobody.expect_err("nobody is there");
    assert!(nobody.contains("kwaainet serve"), "{nobody}");
}
