use super::*;
use kwaainet_core::{Outcome, Receipt, Usage};

async fn store(dir: &std::path::Path) -> Store {
    Store::open(&dir.join("node.db")).await.expect("it opens")
}

fn receipt(model: &str, principal: &str, footprint: Option<Footprint>) -> Receipt {
    Receipt {
        job: JobId::random(),
        principal: principal.into(),
        key: None,
        model: model.into(),
        work: "generate",
        backend: None,
        continued: 0,
        outcome: Outcome::Done,
        usage: Usage {
            prompt_tokens: 10,
            cached_tokens: 4,
            completion_tokens: 20,
        },
        admitted_at_ms: 86_400_000 + 5,
        queued_ms: 0,
        first_token_ms: None,
        duration_ms: 7,
        footprint,
    }
}

const FOOTPRINT: Footprint = Footprint {
    energy_uj: 1_000,
    method: EnergyMethod::RaplAndGpu,
    uncertainty_percent: 15,
    machine_us: 3,
    carbon: Some(Carbon {
        operational_ng: 40,
        embodied_ng: 2,
        evidence: GridEvidence::Live,
    }),
};

#[tokio::test]
async fn a_requests_figures_come_back_and_add_up() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = store(dir.path()).await;
    let unknown_grid = Footprint {
        carbon: None,
        ..FOOTPRINT
    };
    let batch = [
        receipt("a", "owner", Some(FOOTPRINT)),
        receipt("a", "key:x", Some(unknown_grid)),
        receipt("b", "owner", None),
    ];
    store.record(&batch).await.expect("it is written");
    for receipt in &batch {
        let kept = store
            .carbon_request(&receipt.job)
            .await
            .expect("it answers");
        let kept = kept.expect("it is there");
        assert_eq!((kept.footprint, kept.tokens), (receipt.footprint, 26));
        assert_eq!(kept.principal, receipt.principal);
    }
    let none = store.carbon_request(&"nobody".into()).await;
    assert_eq!(none.expect("it answers"), None);

    let all = (0, i64::MAX);
    let days = store
        .carbon_sums(CarbonBy::Day, None, all)
        .await
        .expect("it answers");
    assert_eq!(
        days,
        [CarbonSum {
            name: "1970-01-02".to_owned(),
            requests: 3,
            tokens: 78,
            energy_uj: 2_000,
            operational_ng: 40,
            embodied_ng: 2,
            unknown: 2,
        }]
    );
    let names = |sums: Vec<CarbonSum>| {
        let named = sums.into_iter().map(|sum| (sum.name, sum.requests));
        named.collect::<Vec<_>>()
    };
    let owner = PrincipalId::operator();
    let models = store.carbon_sums(CarbonBy::Model, Some(&owner), all).await;
    let models = names(models.expect("it answers"));
    assert_eq!(models, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    let methods = store.carbon_sums(CarbonBy::Method, None, all).await;
    let methods = names(methods.expect("it answers"));
    assert_eq!(
        methods,
        [("rapl+gpu".to_owned(), 2), ("unknown".to_owned(), 1)]
    );
    let later = store
        .carbon_sums(CarbonBy::Day, None, (2 * 86_400_000, i64::MAX))
        .await;
    assert_eq!(later.expect("it answers"), []);
}

#[tokio::test]
async fn hours_are_added_to_and_never_out_of_balance() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = store(dir.path()).await;
    let hour = CarbonHour {
        hour_ms: 3_600_000,
        total_uj: 10,
        jobs_uj: 4,
        unattributed_uj: 6,
        known_uj: 10,
        carbon_ng: 3,
    };
    let house = |seen_s, matched_mwh| MatchedHour {
        hour_ms: 3_600_000,
        load_mwh: 900,
        matched_mwh,
        seen_s,
        evidence: Some("cross_checked"),
    };
    store
        .set_matched_hours(&[house(60, 5)])
        .await
        .expect("written");
    store.add_carbon_hours(&[hour]).await.expect("written");
    store.add_carbon_hours(&[hour]).await.expect("written");
    store
        .set_matched_hours(&[house(120, 7)])
        .await
        .expect("written");
    store
        .set_matched_hours(&[house(30, 1)])
        .await
        .expect("written");
    let kept = store.carbon_hours(0, i64::MAX).await.expect("it answers");
    assert_eq!(kept.len(), 1);
    let sums = kept[0].hour;
    assert_eq!(
        (sums.total_uj, sums.jobs_uj, sums.unattributed_uj),
        (20, 8, 12)
    );
    assert_eq!(
        (kept[0].load_mwh, kept[0].matched_mwh, kept[0].seen_s),
        (900, 7, 120)
    );
    let odd = CarbonHour {
        total_uj: 11,
        ..hour
    };
    assert!(store.add_carbon_hours(&[hour, odd]).await.is_err());
    let kept = store.carbon_hours(0, i64::MAX).await.expect("it answers");
    assert_eq!(kept[0].hour.total_uj, 20, "all or nothing");
}

#[tokio::test]
async fn a_forecast_is_the_one_that_was_known_then() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = store(dir.path()).await;
    let forecast = |generated_at_ms, heard_at_ms| ForecastRecord {
        location: "GB".to_owned(),
        kind: "average",
        generated_at_ms,
        heard_at_ms,
        points: generated_at_ms.to_string(),
    };
    for (made, heard) in [(10, 11), (20, 29), (20, 40), (30, 31)] {
        store
            .put_forecast(&forecast(made, heard))
            .await
            .expect("written");
    }
    async fn find(store: &Store, ms: i64) -> Option<(i64, String)> {
        store
            .forecast_at("GB", "average", ms)
            .await
            .expect("it answers")
    }
    let store_at = |ms| find(&store, ms);
    assert_eq!(store_at(10).await, None, "it was not heard yet");
    assert_eq!(store_at(25).await.map(|(made, _)| made), Some(10));
    assert_eq!(store_at(29).await.map(|(made, _)| made), Some(20));
    assert_eq!(store_at(99).await.map(|(made, _)| made), Some(30));
    let marginal = store.forecast_at("GB", "marginal", 99).await;
    assert_eq!(marginal.expect("it answers"), None);

    let interval = |from_ms, mg_per_kwh| IntensityRecord {
        location: "GB".to_owned(),
        kind: "average",
        from_ms,
        to_ms: from_ms + 10,
        mg_per_kwh,
        source: "uk_carbon_intensity",
    };
    for (from, grams) in [(0, 5), (10, 6), (20, 7), (10, 8)] {
        store
            .put_intensity(&interval(from, grams))
            .await
            .expect("written");
    }
    let seen = store.intensities("GB", "average", (5, 15)).await;
    assert_eq!(seen.expect("it answers"), [(0, 10, 5), (10, 20, 8)]);
    store.forget_heard(15, 35).await.expect("it is done");
    let seen = store.intensities("GB", "average", (0, 99)).await;
    assert_eq!(seen.expect("it answers"), [(10, 20, 8), (20, 30, 7)]);
    assert_eq!(store_at(99).await, None);
}
