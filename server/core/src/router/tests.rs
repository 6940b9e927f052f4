mod properties;
mod simulation;
mod tie;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::{
    Bits, DataClass, EmbedInput, GenerateParams, GridEvidence, GridIntensity, JobId, Load,
    ModelDigest, ModelFacts, NodeId, Numerics, PeerFacts, Prefer, Prompt, Tier,
};

pub(super) fn facts(model: &str) -> ModelFacts {
    ModelFacts {
        id: model.into(),
        kind: ModelKind::Generate,
        context: None,
        created: 0,
        loaded: true,
        numerics: None,
        digest: None,
    }
}

pub(super) fn here(backend: &str) -> Candidate {
    Candidate {
        backend: backend.into(),
        model: facts("m"),
        unavailable: None,
        place: Place::Here,
        load: None,
    }
}

pub(super) fn upstream(backend: &str) -> Candidate {
    Candidate {
        place: Place::Upstream,
        ..here(backend)
    }
}

/// A peer that reads 1,000 tokens a second and writes so many.
pub(super) fn peer(number: u8, decode_rate: f32) -> Candidate {
    let load = Load {
        prefill_rate: 1_000.0,
        decode_rate,
        ..Load::default()
    };
    let facts = PeerFacts {
        node: NodeId([number; 32]),
        tier: Tier::T1,
        region: Some("eu-west".into()),
        price: Some(10),
        grid: Some(GridIntensity {
            g_per_kwh: 100.0,
            evidence: GridEvidence::Stated,
        }),
        watts: Some(36.0),
        rtt: Duration::from_millis(10),
        relayed: false,
        load,
        ours: 0,
    };
    Candidate {
        place: Place::Peer(Arc::new(facts)),
        load: Some(load),
        ..here(&format!("peer:{number}"))
    }
}

/// The same candidate with other facts.
pub(super) fn but(mut candidate: Candidate, change: impl FnOnce(&mut PeerFacts)) -> Candidate {
    if let Place::Peer(facts) = &mut candidate.place {
        let mut new = facts.as_ref().clone();
        change(&mut new);
        candidate.load = Some(new.load);
        *facts = Arc::new(new);
    }
    candidate
}

pub(super) fn among(candidates: Vec<Candidate>) -> Snapshot {
    Snapshot {
        candidates,
        ..Snapshot::default()
    }
}

pub(super) fn asks(constraints: Constraints) -> Job {
    let work = Work::Generate {
        prompts: vec![Prompt::Text("four words to read".into())],
        params: GenerateParams::default(),
    };
    Job::new(JobId::new("job"), "m".into(), work).within(constraints)
}

fn prefers(prefer: Prefer) -> Constraints {
    Constraints {
        prefer,
        ..Constraints::default()
    }
}

pub(super) fn names(route: &Route) -> Vec<&str> {
    let backends = route.candidates.iter();
    backends.map(|chosen| chosen.backend.as_str()).collect()
}

fn planned(constraints: Constraints, candidates: Vec<Candidate>) -> Route {
    let route = plan(&asks(constraints), &among(candidates), &Own::default());
    route.expect("there is a route")
}

/// The one that is left, and why the other is not.
fn kept(constraints: Constraints, candidates: [Candidate; 2]) -> (String, Reason) {
    let mut route = planned(constraints, candidates.to_vec());
    assert_eq!((route.candidates.len(), route.dropped.len()), (1, 1));
    let reason = route.dropped.remove(0).reason;
    (names(&route)[0].to_owned(), reason)
}

#[test]
fn a_node_that_withholds_itself_serves_its_owner_and_nobody_else() {
    let mut snapshot = among(vec![here("mine")]);
    snapshot.here.withholds = Some("it runs on battery");
    let mut job = asks(Constraints::default());
    assert!(plan(&job, &snapshot, &Own::default()).is_ok());
    job.origin = Origin::Peer(NodeId([1; 32]));
    let refused = plan(&job, &snapshot, &Own::default());
    let Err(RouteError::Unavailable { dropped, .. }) = refused else {
        panic!("{refused:?}")
    };
    let reason = Reason::Unavailable("it runs on battery".to_owned());
    assert_eq!(dropped[0].reason, reason);
}

#[test]
fn what_is_here_keeps_its_order_and_the_rest_is_explained() {
    let mut down = here("down");
    down.unavailable = Some("it burns".into());
    let mut cold = here("cold");
    cold.model.loaded = false;
    let mut unsaid = here("unsaid");
    unsaid.model.kind = ModelKind::Unknown;
    let mut other = here("other");
    other.model.id = "x".into();
    let route = planned(Constraints::default(), vec![down, cold, unsaid, other]);
    assert_eq!(names(&route), ["cold", "unsaid"]);
    assert_eq!(route.dropped.len(), 1);
    assert_eq!(
        route.dropped[0].reason,
        Reason::Unavailable("it burns".into())
    );
    assert!(
        !route.dropped[0].to_string().contains("burns"),
        "for our log only"
    );
}

#[test]
fn no_route_says_why() {
    let mut down = here("b");
    down.model.id = "down".into();
    down.unavailable = Some("gone".into());
    let mut embedder = here("a");
    embedder.model = facts("vectors");
    embedder.model.kind = ModelKind::Embed;
    let snapshot = among(vec![embedder, down, peer(1, 1.0)]);
    let fails = |model: &str, constraints| {
        let job = Job {
            model: model.into(),
            ..asks(constraints)
        };
        plan(&job, &snapshot, &Own::default()).expect_err("no route")
    };
    let none = Constraints::default();
    assert!(matches!(
        fails("nope", none.clone()),
        RouteError::ModelNotFound(_)
    ));
    assert!(matches!(
        fails("vectors", none.clone()),
        RouteError::WrongKind { .. }
    ));
    assert!(matches!(
        fails("down", none),
        RouteError::Unavailable { .. }
    ));
    let cheap = Constraints {
        max_price: Some(9),
        ..Constraints::default()
    };
    let error = fails("m", cheap);
    assert!(matches!(error, RouteError::Unfulfilled { .. }));
    let said = error.to_string();
    assert!(said.contains("peer:1: it asks 10 micro-VDA"), "{said}");
}

#[test]
fn a_job_of_another_node_is_done_here_or_not_at_all() {
    let mut job = asks(Constraints::default());
    job.origin = Origin::Peer(NodeId([9; 32]));
    let others = among(vec![peer(1, 50.0), upstream("up")]);
    let refused = plan(&job, &others, &Own::default());
    assert!(matches!(refused, Err(RouteError::ModelNotFound(_))));
    let with_here = among(vec![peer(1, 50.0), here("local"), upstream("up")]);
    let route = plan(&job, &with_here, &Own::default()).expect("there is a route");
    assert_eq!(names(&route), ["local"]);
}

#[test]
fn confidential_work_stays_with_those_who_are_trusted() {
    let confidential = || Constraints {
        data_class: DataClass::Confidential,
        ..Constraints::default()
    };
    let strangers = [Tier::T2, Tier::T3].map(|tier| but(peer(2, 50.0), |p| p.tier = tier));
    for stranger in strangers.into_iter().chain([upstream("up")]) {
        for friend in [here("local"), peer(1, 1.0)] {
            let name = friend.backend.to_string();
            let left = kept(confidential(), [stranger.clone(), friend]);
            assert_eq!(left, (name, Reason::NotConfidential));
        }
    }
}

#[test]
fn what_is_not_known_fulfils_nothing() {
    let least = |tier| Constraints {
        tier_min: Some(tier),
        ..Constraints::default()
    };
    let t2 = || but(peer(2, 50.0), |p| p.tier = Tier::T2);
    let left = kept(least(Tier::T1), [peer(1, 1.0), t2()]);
    assert_eq!(left, ("peer:1".into(), Reason::Tier(Some(Tier::T2))));
    let left = kept(least(Tier::T3), [t2(), upstream("up")]);
    assert_eq!(left, ("peer:2".into(), Reason::Tier(None)));

    let within = |region: &str| Constraints {
        regions: vec![region.into()],
        ..Constraints::default()
    };
    for region in ["eu", "eu-west"] {
        let left = kept(within(region), [here("local"), peer(1, 1.0)]);
        assert_eq!(left, ("peer:1".into(), Reason::Region { known: false }));
    }
    let europa = but(peer(2, 50.0), |p| p.region = Some("europa".into()));
    let left = kept(within("eu"), [europa, peer(1, 1.0)]);
    assert_eq!(left, ("peer:1".into(), Reason::Region { known: true }));

    let green = Constraints {
        max_gco2_per_1k: Some(1.0),
        ..Constraints::default()
    };
    // 36 W for 1,000 tokens at 10 a second are 1 Wh.
    let left = kept(green.clone(), [here("local"), peer(1, 10.0)]);
    assert_eq!(left, ("peer:1".into(), Reason::Carbon(None)));
    for liar in [
        but(peer(2, 10.0), |p| p.watts = Some(-1.0)),
        but(peer(2, 10.0), |p| p.watts = Some(f32::NAN)),
        but(peer(2, 10.0), |p| p.load.decode_rate = f32::INFINITY),
        but(peer(2, 10.0), |p| p.grid = None),
    ] {
        assert_eq!(
            kept(green.clone(), [peer(1, 10.0), liar]).1,
            Reason::Carbon(None)
        );
    }

    let soon = Constraints {
        max_ttft_ms: Some(500),
        ..Constraints::default()
    };
    let left = kept(soon.clone(), [here("local"), peer(1, 50.0)]);
    assert_eq!(left, ("peer:1".into(), Reason::FirstToken(None)));
    let busy = but(peer(2, 50.0), |p| p.load.queued_prefill_tokens = 2_000);
    let (name, reason) = kept(soon, [busy, peer(1, 50.0)]);
    assert_eq!(name, "peer:1");
    assert!(
        matches!(reason, Reason::FirstToken(Some(2_000..2_500))),
        "{reason:?}"
    );
}

#[test]
fn nodes_are_named_by_their_keys() {
    let named = |nodes: &[u8]| Constraints {
        peers: Some(nodes.iter().map(|n| NodeId([*n; 32])).collect()),
        ..Constraints::default()
    };
    let left = kept(named(&[2]), [peer(1, 50.0), peer(2, 1.0)]);
    assert_eq!(left, ("peer:2".into(), Reason::NotNamed));
    let left = kept(named(&[1]), [here("local"), peer(1, 50.0)]);
    assert_eq!(left.0, "peer:1");
    let mut snapshot = among(vec![here("local"), upstream("up"), peer(1, 50.0)]);
    snapshot.here.node = Some(NodeId([7; 32]));
    let route = plan(&asks(named(&[7])), &snapshot, &Own::default());
    assert_eq!(names(&route.expect("this node is named")), ["local"]);
}

#[test]
fn only_the_same_bits_go_on() {
    let (ours, theirs) = (ModelDigest([1; 32]), ModelDigest([2; 32]));
    let class = Numerics::of("kwaai-canonical/1");
    let with = |number, digest, numerics: Option<&Numerics>| {
        let mut candidate = peer(number, 1.0);
        candidate.model.digest = Some(digest);
        candidate.model.numerics = numerics.cloned();
        candidate
    };
    let same = Constraints {
        bits: Some(Bits {
            digest: ours,
            numerics: class.clone(),
        }),
        ..Constraints::default()
    };
    for wrong in [
        with(2, theirs, Some(&class)),
        with(2, ours, None),
        with(2, ours, Some(&Numerics::of("gpu"))),
        peer(2, 1.0),
    ] {
        let left = kept(same.clone(), [with(1, ours, Some(&class)), wrong]);
        assert_eq!(left, ("peer:1".into(), Reason::OtherBits));
    }
    let mut local = here("local");
    local.model.digest = Some(ours);
    let left = kept(Constraints::default(), [local, with(1, theirs, None)]);
    assert_eq!(left, ("local".into(), Reason::OtherFile));
}

#[test]
fn what_surely_does_not_fit_is_not_asked_unless_it_fits_nowhere() {
    let with = |number, context| {
        let mut candidate = peer(number, 50.0);
        candidate.model.context = context;
        candidate
    };
    let job = |tokens: usize| {
        let mut job = asks(Constraints::default());
        job.work = Work::Generate {
            prompts: vec![Prompt::Tokens(vec![1; tokens])],
            params: GenerateParams::default(),
        };
        job
    };
    let snapshot = among(vec![with(1, Some(100)), with(2, Some(200)), with(3, None)]);
    let route = |tokens| plan(&job(tokens), &snapshot, &Own::default()).expect("a route");
    assert_eq!(route(99).candidates.len(), 3);
    let at_100 = route(100);
    assert_eq!(
        at_100.candidates.len(),
        2,
        "there has to be room for an answer"
    );
    assert_eq!(at_100.dropped[0].reason, Reason::Context(100));
    assert_eq!(names(&route(500)), ["peer:3"]);
    let short = among(vec![with(1, Some(100)), with(2, Some(200))]);
    let nowhere = plan(&job(500), &short, &Own::default()).expect("a route");
    assert_eq!(
        nowhere.candidates.len(),
        2,
        "the backend says how long it is"
    );
}

#[test]
fn this_node_comes_first_unless_it_has_too_much_to_do() {
    let working = |queued_prefill_tokens| Candidate {
        load: Some(Load {
            queued_prefill_tokens,
            prefill_rate: 1_000.0,
            decode_rate: 10.0,
            ..Load::default()
        }),
        ..here("local")
    };
    let first = |prefer, queued| {
        let candidates = vec![upstream("up"), peer(1, 100.0), working(queued)];
        let route = planned(prefers(prefer), candidates);
        assert_eq!(names(&route)[2], "up", "an upstream comes last");
        names(&route)[0].to_owned()
    };
    assert_eq!(first(Prefer::Local, 0), "local");
    assert_eq!(first(Prefer::Local, 1_900), "local");
    assert_eq!(first(Prefer::Local, 50_000), "peer:1");
    assert_eq!(first(Prefer::Fast, 0), "peer:1");
    assert_eq!(first(Prefer::Cheap, 50_000), "local");
    // It has to wait, and nobody else would be done in half of the time.
    let slow = planned(Constraints::default(), vec![peer(1, 8.0), working(10_000)]);
    assert_eq!(names(&slow)[0], "local");
}

#[test]
fn each_preference_has_its_own_order() {
    let green = but(peer(1, 10.0), |p| p.watts = Some(3.0));
    let cheap = but(peer(2, 20.0), |p| p.price = Some(1));
    let unsaid = but(peer(3, 100.0), |p| {
        p.price = None;
        p.grid = None;
    });
    let candidates = vec![green, unsaid, cheap];
    let order = |prefer| {
        let route = planned(prefers(prefer), candidates.clone());
        names(&route).join(" ")
    };
    assert_eq!(order(Prefer::Fast), "peer:3 peer:2 peer:1");
    assert_eq!(order(Prefer::Local), "peer:3 peer:2 peer:1");
    assert_eq!(order(Prefer::Green), "peer:1 peer:2 peer:3");
    assert_eq!(order(Prefer::Cheap), "peer:2 peer:1 peer:3");
}

#[test]
fn who_has_read_the_prompt_before_is_sooner_done() {
    let text = "a long story ".repeat(2_000);
    let mut job = asks(prefers(Prefer::Fast));
    job.work = Work::Generate {
        prompts: vec![Prompt::Text(text)],
        params: GenerateParams::default(),
    };
    let snapshot = among(vec![peer(1, 20.0), peer(2, 40.0)]);
    let mut own = Own::default();
    let route = plan(&job, &snapshot, &own).expect("a route");
    assert_eq!(names(&route)[0], "peer:2");
    own.cached.insert("peer:1".into(), 0.99);
    let slow = among(vec![peer(1, 35.0), peer(2, 40.0)]);
    let route = plan(&job, &slow, &own).expect("a route");
    assert_eq!(names(&route)[0], "peer:1");
    let estimate = route.candidates[0].estimate.expect("a peer has one");
    assert_eq!(
        (estimate.prompt_tokens, estimate.cached_tokens),
        (6_500, 6_435)
    );
}

#[test]
fn many_who_know_the_same_do_not_all_ask_the_same() {
    let snapshot = among((1..=4).map(|n| peer(n, 20.0)).collect());
    let mut firsts = std::collections::HashMap::new();
    for number in 0..400 {
        let mut job = asks(prefers(Prefer::Fast));
        job.id = JobId::new(format!("job{number}"));
        let route = plan(&job, &snapshot, &Own::default()).expect("a route");
        *firsts.entry(names(&route)[0].to_owned()).or_insert(0) += 1;
    }
    assert_eq!(firsts.len(), 4);
    assert!(
        firsts.values().all(|count| (60..140).contains(count)),
        "{firsts:?}"
    );
}

#[test]
fn questions_go_where_the_job_may_go() {
    let snapshot = among(vec![upstream("up"), peer(1, 50.0), here("local")]);
    let ask = |constraints: &Constraints, origin| {
        let able = plan_question(&"m".into(), constraints, origin, &snapshot);
        let able = able.expect("somebody is left").into_iter();
        able.map(|c| c.backend.to_string()).collect::<Vec<_>>()
    };
    let any = Constraints::default();
    assert_eq!(ask(&any, Origin::Client), ["local", "up", "peer:1"]);
    assert_eq!(ask(&any, Origin::Peer(NodeId([9; 32]))), ["local"]);
    let confidential = Constraints {
        data_class: DataClass::Confidential,
        ..any
    };
    assert_eq!(ask(&confidential, Origin::Client), ["local", "peer:1"]);
}

#[test]
fn vectors_and_recordings_have_their_own_ways() {
    let mut embedder = peer(1, 0.0);
    embedder.model.kind = ModelKind::Embed;
    let mut job = asks(Constraints {
        max_ttft_ms: Some(1_000),
        ..Constraints::default()
    });
    job.work = Work::Embed {
        inputs: vec![EmbedInput::Text("x".repeat(400))],
        dimensions: None,
    };
    let route = plan(&job, &among(vec![embedder]), &Own::default()).expect("a route");
    let estimate = route.candidates[0].estimate.expect("a peer has one");
    assert_eq!(estimate.prefill, Duration::from_millis(100));
    assert_eq!(estimate.first_token(), estimate.finish());
}
