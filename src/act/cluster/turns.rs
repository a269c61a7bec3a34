//! Whose turn it is to be asked, over all API servers.
//!
//! - So many requests are on their way over all, and so many to one cluster.
//! - Who has gone silent, or has never answered, is asked one thing at a time, in places of their own; whoever
//!   waits behind that question shares its silence. So a dead cluster costs one place, and none of those
//!   that answer wait for it.
//!
//! A request holds its place until it is answered; a watch until it is accepted, and not while it lasts. Writes are
//! not counted: each cluster has so many at once, and the way back must not wait for lists.

use std::{
    error::Error,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{error::Elapsed, timeout},
};

/// How much is asked at once, and how long is waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// Requests on their way, over all clusters that answer.
    pub(super) overall: usize,
    /// Requests on their way to one cluster: each takes a connection, which stays open for a while.
    pub(super) per_cluster: usize,
    /// Requests on their way, over all clusters that do not; at most one to each.
    pub(super) silent: usize,
    /// How long an answer may take to begin.
    pub(super) answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // 50 in all: each costs a connection with its handshake where a fleet comes back together.
        Self { overall: 34, per_cluster: 2, silent: 16, answer: Duration::from_secs(10) }
    }
}

/// The places, over all clusters.
#[derive(Debug)]
pub(super) struct Turns {
    limits: Limits,
    overall: Semaphore,
    silent: Semaphore,
}

/// How one cluster answers.
#[derive(Debug)]
pub(super) struct Standing {
    turns: Semaphore,
    /// The one place while it is silent.
    probe: Semaphore,
    /// Answers that came, of whatever kind.
    answers: AtomicU64,
    /// Silences since the last answer. Who has never answered begins with one.
    silences: AtomicU64,
}

/// Nothing was answered, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silent(pub(super) String);

impl Turns {
    pub(super) fn new(limits: Limits) -> Self {
        let (overall, silent) = (Semaphore::new(limits.overall), Semaphore::new(limits.silent));
        Self { limits, overall, silent }
    }

    /// How a cluster stands that was never asked.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            turns: Semaphore::new(self.limits.per_cluster),
            probe: Semaphore::new(1),
            answers: AtomicU64::new(0),
            silences: AtomicU64::new(1),
        }
    }

    /// Waits for the call's turn, and makes it.
    ///
    /// # Errors
    /// It was not answered, or would not have been.
    pub(super) async fn take<T>(
        &self,
        standing: &Standing,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<kube::Result<T>, Silent> {
        loop {
            let silences = standing.silences.load(Ordering::SeqCst);
            if silences == 0 {
                let _turn = standing.turns.acquire().await;
                if standing.silences.load(Ordering::SeqCst) == 0 {
                    let _place = self.overall.acquire().await;
                    return self.ask(standing, call).await;
                }
            } else {
                let _turn = standing.probe.acquire().await;
                match standing.silences.load(Ordering::SeqCst) {
                    now if now == silences => {
                        let _place = self.silent.acquire().await;
                        return self.ask(standing, call).await;
                    }
                    0 => {}
                    _ => {
                        let why = "the API server answers nothing; another request ran out of time";
                        return Err(Silent(why.into()));
                    }
                }
            }
        }
    }

    async fn ask<T>(
        &self,
        standing: &Standing,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<kube::Result<T>, Silent> {
        let before = standing.answers.load(Ordering::SeqCst);
        let answer = timeout(self.limits.answer, call).await;
        match &answer {
            Ok(Err(error)) if never_connected(error) => standing.silent_since(before),
            Ok(_) => {
                standing.answers.fetch_add(1, Ordering::SeqCst);
                standing.silences.store(0, Ordering::SeqCst);
            }
            Err(Elapsed { .. }) => standing.silent_since(before),
        }
        let within = self.limits.answer;
        answer.map_err(|_| Silent(format!("the API server did not answer within {within:?}")))
    }
}

impl Standing {
    /// It has gone silent on a watch: what comes next is asked in the place of those who do not answer.
    pub(super) fn doubt(&self) {
        self.silences.fetch_add(1, Ordering::SeqCst);
    }

    /// A slow request does not make a silent cluster, as long as others are answered.
    fn silent_since(&self, answers: u64) {
        if self.answers.load(Ordering::SeqCst) == answers {
            self.silences.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Whether no connection came about in the time for that: a refusal is an answer, this is none.
fn never_connected(error: &kube::Error) -> bool {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = link {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        link = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    fn turns(overall: usize, silent: usize) -> Turns {
        let answer = Duration::from_millis(20);
        Turns::new(Limits { overall, per_cluster: 2, silent, answer })
    }

    /// Asks something that is answered at once.
    async fn answered(turns: &Turns, standing: &Standing) -> u8 {
        turns.take(standing, async { Ok(1) }).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_place_is_held_until_the_answer_and_given_up_with_the_question() {
        let turns = Turns::new(Limits { overall: 2, ..Limits::default() });
        let standings = [turns.standing(), turns.standing(), turns.standing()];
        for standing in &standings {
            answered(&turns, standing).await;
        }
        let held: Vec<_> = standings
            .iter()
            .map(|standing| {
                let (answer, heard) = oneshot::channel::<u8>();
                let call = async move { Ok(heard.await.unwrap_or(0)) };
                (answer, Box::pin(turns.take(standing, call)))
            })
            .collect();
        let mut calls = Vec::new();
        let mut answers = Vec::new();
        for (answer, mut call) in held {
            assert!(call.as_mut().now_or_never().is_none());
            calls.push(call);
            answers.push(answer);
        }
        assert_eq!(turns.overall.available_permits(), 0);
        // The third waits for one of the two.
        answers.pop().unwrap().send(3).unwrap();
        assert!(calls[2].as_mut().now_or_never().is_none());
        answers.pop().unwrap().send(2).unwrap();
        assert_eq!(calls[1].as_mut().await.unwrap().unwrap(), 2);
        assert_eq!(calls[2].as_mut().await.unwrap().unwrap(), 3);
        drop(calls);
        assert_eq!(turns.overall.available_permits(), 2);
    }

    #[tokio::test]
    async fn who_does_not_answer_costs_one_place_of_their_own() {
        let turns = Arc::new(turns(2, 1));
        let (dead, alive) = (Arc::new(turns.standing()), turns.standing());
        answered(&turns, &dead).await;
        answered(&turns, &alive).await;
        dead.doubt();
        let hang = |turns: Arc<Turns>, dead: Arc<Standing>| async move {
            turns.take(&dead, pending::<kube::Result<u8>>()).await.err().unwrap()
        };
        let hanging: Vec<_> =
            (0..5).map(|_| tokio::spawn(hang(turns.clone(), dead.clone()))).collect();
        tokio::task::yield_now().await;
        assert_eq!((turns.overall.available_permits(), turns.silent.available_permits()), (2, 0));
        answered(&turns, &alive).await;
        let mut words = Vec::new();
        for one in hanging {
            words.push(one.await.unwrap().0);
        }
        words.sort();
        words.dedup();
        assert_eq!(
            words,
            [
                "the API server answers nothing; another request ran out of time",
                "the API server did not answer within 20ms",
            ]
        );
        // An answer of any kind ends it.
        answered(&turns, &dead).await;
        assert_eq!(dead.silences.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn no_connection_in_time_is_silence_and_a_refusal_is_an_answer() {
        let failed = |kind: io::ErrorKind| kube::Error::Service(Box::new(io::Error::from(kind)));
        assert!(never_connected(&failed(io::ErrorKind::TimedOut)));
        assert!(!never_connected(&failed(io::ErrorKind::ConnectionRefused)));
    }
}
