//! Many clusters at once, some of which do not answer: what is asked of them, and who waits for whom.

#[path = "common/api_servers.rs"]
mod api_servers;

use std::{collections::BTreeMap, future::pending, time::Duration};

use api_servers::{Layout, Manner, Servers, name};
use futures::{StreamExt, future::join_all, stream::BoxStream};
use ringward::{
    act::{
        Connections,
        cluster::{Connection, Kubeconfigs},
    },
    decide::event::{Status, TargetState},
    ids::PlanName,
    model::ring::{Target, TargetKind},
};
use tokio::time::timeout;

/// How many requests may be on their way at once, to those that answer and to those that never did.
const ANSWERING: usize = 34;
const SILENT: usize = 16;

fn layout(deployments: usize) -> Layout {
    Layout { deployments, pods: 2, apart: false, others: 0, forbidden: false }
}

struct Crowd {
    servers: Servers,
    connections: Kubeconfigs,
    layout: Layout,
    _folder: tempfile::TempDir,
}

type States = BoxStream<'static, TargetState>;

impl Crowd {
    async fn start(count: usize, layout: Layout) -> Self {
        let servers = Servers::start(count, layout.clone(), None).await;
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = servers.kubeconfig(folder.path(), None);
        let settings: BTreeMap<String, Connection> = (0..count)
            .map(|n| {
                let kubeconfig = Some(kubeconfig.clone());
                (format!("c{n}"), Connection { kubeconfig, ..Connection::default() })
            })
            .collect();
        Self { servers, connections: Kubeconfigs::new(settings), layout, _folder: folder }
    }

    fn watch(&self, cluster: usize, deployment: usize) -> States {
        let target = Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: self.layout.namespace(deployment),
            name: name(deployment),
        };
        let deployer = self.connections.deployer(&format!("c{cluster}")).unwrap();
        deployer.watch(&PlanName::from("shop"), &target)
    }
}

/// Waits, for half a minute at most.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = timeout(Duration::from_secs(30), work).await;
    done.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn until(states: &mut States, wanted: impl Fn(&Status) -> bool) -> Status {
    loop {
        let status = states.next().await.unwrap().status;
        if wanted(&status) {
            return status;
        }
    }
}

async fn ready(states: &mut States) {
    until(states, |status| *status == Status::Succeeded).await;
}

/// Waits until so many requests are on their way.
async fn on_their_way(crowd: &Crowd, count: usize) {
    within(&format!("{count} requests on their way"), async {
        while crowd.servers.counts.in_flight() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn no_more_is_on_its_way_than_there_are_places() {
    let crowd = Crowd::start(80, layout(2)).await;
    crowd.servers.answer(false);
    let mut all: Vec<States> =
        (0..80).flat_map(|c| [crowd.watch(c, 0), crowd.watch(c, 1)]).collect();
    let looking = join_all(all.iter_mut().map(ready));
    let watching = async {
        // Nobody has answered yet.
        on_their_way(&crowd, SILENT).await;
        crowd.servers.answer(true);
    };
    within("all to be seen", async { tokio::join!(looking, watching) }).await;
    let most = crowd.servers.counts.most();
    assert!((SILENT..=ANSWERING + SILENT).contains(&most), "{most} at once");

    // Everybody has answered. Each of them changes twice, which takes two lists of pods.
    crowd.servers.answer(false);
    let begun = crowd.servers.counts.in_flight();
    assert!(begun <= ANSWERING, "{begun} at once");
    (0..80).for_each(|c| (0..2).for_each(|d| crowd.servers.turn(c, d)));
    let looking = join_all(
        all.iter_mut()
            .map(|states| until(states, |status| matches!(status, Status::Progressing(_)))),
    );
    let watching = async {
        on_their_way(&crowd, ANSWERING).await;
        crowd.servers.answer(true);
    };
    within("all changes", async { tokio::join!(looking, watching) }).await;
    let most = crowd.servers.counts.most();
    assert_eq!(most, ANSWERING, "at once");
}

#[tokio::test]
async fn clusters_that_answer_nothing_hold_up_no_other() {
    let crowd = Crowd::start(SILENT + 4, layout(3)).await;
    let (dead, alive) = (0..SILENT - 1, SILENT - 1..SILENT + 4);
    crowd.servers.set(dead.clone(), Manner::Mute);
    let mut lost: Vec<States> =
        dead.flat_map(|c| (0..3).map(move |d| (c, d))).map(|(c, d)| crowd.watch(c, d)).collect();
    let lost = async {
        join_all(lost.iter_mut().map(|states| until(states, |_| true))).await;
        pending::<()>().await
    };
    let mut seen: Vec<States> = alive.map(|c| crowd.watch(c, 0)).collect();
    let seeing = async {
        // All places of those who never answered but one are taken by those who never will.
        on_their_way(&crowd, SILENT - 1).await;
        join_all(seen.iter_mut().map(ready)).await;
    };
    tokio::select! {
        () = lost => unreachable!("it never ends"),
        () = within("those that answer", seeing) => {}
    }
    let mute = crowd.servers.counts.in_flight();
    assert!(mute < SILENT + 5, "{mute} at once: one for each that is mute");
}

#[tokio::test]
async fn clusters_that_fall_silent_are_unknown_however_many_wait_for_them() {
    let crowd = Crowd::start(60, layout(3)).await;
    let places = || (0..60).flat_map(|c| (0..3).map(move |d| (c, d)));
    let mut all: Vec<States> = places().map(|(c, d)| crowd.watch(c, d)).collect();
    within("all of them", join_all(all.iter_mut().map(ready))).await;
    crowd.servers.counts.most();
    crowd.servers.set(0..60, Manner::Mute);
    // Watches that are open go on. What they say takes a list of pods, for which everybody waits.
    places().for_each(|(c, d)| crowd.servers.turn(c, d));
    let dark = |status: &Status| matches!(status, Status::Unknown(_));
    within("their end", join_all(all.iter_mut().map(|states| until(states, dark)))).await;
    let most = crowd.servers.counts.most();
    assert!(most <= ANSWERING + SILENT, "{most} at once");
}

#[tokio::test]
async fn what_is_in_one_namespace_is_watched_by_one_watch() {
    let crowd = Crowd::start(1, Layout { others: 20, ..layout(10) }).await;
    let mut all: Vec<States> = (0..9).map(|d| crowd.watch(0, d)).collect();
    within("all of them", join_all(all.iter_mut().map(ready))).await;
    let [lists, watches, pods, _] = crowd.servers.counts.all();
    assert_eq!((lists, pods), (1, 9));
    assert!(watches <= 1, "{watches} watches");

    // Who comes later is asked for alone, once; those that are there go on.
    all.push(crowd.watch(0, 9));
    within("who came later", ready(&mut all[9])).await;
    let [lists, _, pods, _] = crowd.servers.counts.all();
    assert_eq!((lists, pods), (2, 10));
    crowd.servers.turn(0, 9);
    let change = until(&mut all[9], |status| matches!(status, Status::Progressing(_)));
    within("the change", change).await;
    let mut again = crowd.watch(0, 3);
    within("who is seen already", ready(&mut again)).await;
    crowd.servers.turn(0, 3);
    for states in [&mut again, &mut all[3]] {
        let change = until(states, |status| matches!(status, Status::Progressing(_)));
        within("the change", change).await;
    }
}

#[tokio::test]
async fn what_may_not_or_cannot_be_watched_together_is_watched_one_by_one() {
    for layout in [
        Layout { forbidden: true, ..layout(4) },
        Layout { others: 400, ..layout(4) },
        Layout { apart: true, ..layout(4) },
    ] {
        let crowd = Crowd::start(1, layout).await;
        let mut all: Vec<States> = (0..4).map(|d| crowd.watch(0, d)).collect();
        within("all of them", join_all(all.iter_mut().map(ready))).await;
        crowd.servers.turn(0, 2);
        let change = until(&mut all[2], |status| matches!(status, Status::Progressing(_)));
        let Status::Progressing(why) = within("the change", change).await else { unreachable!() };
        assert!(why.contains("1 of 2"), "{why}");
    }
}

#[tokio::test]
async fn a_fleet_that_was_away_is_seen_again() {
    let crowd = Crowd::start(40, layout(3)).await;
    let mut all: Vec<States> =
        (0..40).flat_map(|c| (0..3).map(move |d| (c, d))).map(|(c, d)| crowd.watch(c, d)).collect();
    within("all of them", join_all(all.iter_mut().map(ready))).await;
    crowd.servers.counts.most();
    crowd.servers.set(0..40, Manner::Away);
    let dark = |status: &Status| matches!(status, Status::Unknown(_));
    within("their end", join_all(all.iter_mut().map(|states| until(states, dark)))).await;
    crowd.servers.set(0..40, Manner::Serving);
    within("all of them again", join_all(all.iter_mut().map(ready))).await;
    let most = crowd.servers.counts.most();
    assert!(most <= ANSWERING + SILENT, "{most} at once");
}
