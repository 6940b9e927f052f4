//! Which jobs are told to two.

use super::*;
use crate::Priority;

fn ties(job: &Job, candidates: Vec<Candidate>) -> bool {
    let snapshot = Snapshot {
        here: Here {
            ties: true,
            ..Here::default()
        },
        ..among(candidates)
    };
    let route = plan(job, &snapshot, &Own::default()).expect("there is a route");
    route.tied
}

fn two() -> Vec<Candidate> {
    vec![peer(1, 50.0), peer(2, 45.0)]
}

#[test]
fn two_peers_of_which_neither_is_much_better_are_tied() {
    let job = asks(Constraints::default());
    assert!(ties(&job, two()));
    assert!(!ties(&job, vec![peer(1, 50.0)]), "there is no other");
    assert!(!ties(&job, vec![peer(1, 50.0), peer(2, 20.0)]));
    let slow_to_begin = |facts: &mut PeerFacts| facts.load.queued_prefill_tokens = 600;
    let busy = but(peer(2, 50.0), slow_to_begin);
    assert!(!ties(&job, vec![peer(1, 50.0), busy]));
    let route = plan(&job, &among(two()), &Own::default()).expect("there is a route");
    assert!(!route.tied, "the owner does not want it");
}

#[test]
fn where_nothing_is_known_two_know_more_than_one() {
    let job = asks(Constraints::default());
    let unknown = |number| but(peer(number, 50.0), |facts| facts.load = Load::default());
    assert!(ties(&job, vec![unknown(1), unknown(2)]));
    assert!(ties(&job, vec![peer(1, 50.0), unknown(2)]));
    let queue = |facts: &mut PeerFacts| facts.load.queued_prefill_tokens = 600;
    assert!(!ties(&job, vec![peer(1, 50.0), but(unknown(2), queue)]));
    let mut unloaded = unknown(2);
    unloaded.model.loaded = false;
    assert!(!ties(&job, vec![unknown(1), unloaded]), "that takes long");
}

#[test]
fn what_stays_here_or_goes_to_an_upstream_is_not_tied() {
    let job = asks(Constraints::default());
    assert!(!ties(
        &job,
        vec![here("here"), peer(1, 50.0), peer(2, 50.0)]
    ));
    assert!(!ties(&job, vec![peer(1, 50.0), upstream("up")]));
}

#[test]
fn secrets_and_what_nobody_waits_for_are_told_to_one() {
    let classes = [DataClass::Normal, DataClass::Confidential, DataClass::Own];
    let told = classes.map(|data_class| {
        let job = asks(Constraints {
            data_class,
            ..Constraints::default()
        });
        let snapshot = Snapshot {
            here: Here {
                ties: true,
                ..Here::default()
            },
            ..among(two())
        };
        plan(&job, &snapshot, &Own::default()).is_ok_and(|route| route.tied)
    });
    assert_eq!(told, [true, false, false]);

    let plain = asks(Constraints::default());
    let batch = |priority| Work::Generate {
        prompts: vec![Prompt::Text("a".into())],
        params: GenerateParams {
            priority,
            ..GenerateParams::default()
        },
    };
    let of = |work| Job {
        work,
        ..plain.clone()
    };
    assert!(ties(&of(batch(Priority::Interactive)), two()));
    assert!(!ties(&of(batch(Priority::Batch)), two()));
    let prompts = vec![Prompt::Text("a".into()), Prompt::Text("b".into())];
    let several = Work::Generate {
        prompts,
        params: GenerateParams::default(),
    };
    assert!(!ties(&of(several), two()));
    for prefer in [Prefer::Green, Prefer::Cheap] {
        assert!(!ties(&asks(prefers(prefer)), two()), "{prefer:?}");
    }
    assert!(ties(&asks(prefers(Prefer::Fast)), two()));
}
