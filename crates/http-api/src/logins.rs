//! Who may have a password hashed, and when. A hash takes tens of milliseconds of a core: few are made at one time, and names
//! take turns, so that many wrong logins under one name keep nobody waiting but those who use it. Clients whose password is
//! remembered never come here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyperbytedb_domain::settings;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::ApiError;

/// The part of the queue that one name may fill.
const NAME_SHARE: usize = 8;

pub struct Logins {
    state: Mutex<State>,
    max_working: usize,
    max_waiting: usize,
    patience: Duration,
}

#[derive(Default)]
struct State {
    working: usize,
    waiting: usize,
    /// Names that wait, the next one first, with their requests in order.
    names: VecDeque<(String, VecDeque<oneshot::Sender<Turn>>)>,
}

/// Leave to hash one password; dropping it hands it on.
pub struct Turn(Arc<Logins>);

impl Logins {
    pub fn new(max_working: usize, max_waiting: usize, patience: Duration) -> Arc<Self> {
        let max_working = max_working.max(1);
        Arc::new(Self { state: Mutex::default(), max_working, max_waiting, patience })
    }

    pub async fn enter(self: &Arc<Self>, name: &str) -> Result<Turn, ApiError> {
        let turn = {
            let mut state = self.lock();
            if state.working < self.max_working {
                state.working += 1;
                return Ok(Turn(self.clone()));
            }
            self.queue(&mut state, name)?
        };
        match timeout(self.patience, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(refusal("timed out waiting for")),
        }
    }

    fn queue(&self, state: &mut State, name: &str) -> Result<oneshot::Receiver<Turn>, ApiError> {
        state.forget_the_gone();
        let (sender, turn) = oneshot::channel();
        let share = (self.max_waiting / NAME_SHARE).max(1);
        let place = state.names.iter().position(|(waiting, _)| waiting == name);
        let has_room = place.is_none_or(|place| state.names[place].1.len() < share);
        if state.waiting >= self.max_waiting || !has_room {
            return Err(refusal("too many"));
        }
        state.waiting += 1;
        match place {
            Some(place) => state.names[place].1.push_back(sender),
            None => state.names.push_back((name.to_owned(), [sender].into())),
        }
        Ok(turn)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes out requests whose client is gone.
    fn forget_the_gone(&mut self) {
        self.names.retain_mut(|(_, requests)| {
            requests.retain(|request| !request.is_closed());
            !requests.is_empty()
        });
        self.waiting = self.names.iter().map(|(_, requests)| requests.len()).sum();
    }

    /// The first request of the next name, which goes to the end.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let (name, mut requests) = self.names.pop_front()?;
        let request = requests.pop_front();
        if !requests.is_empty() {
            self.names.push_back((name, requests));
        }
        self.waiting -= usize::from(request.is_some());
        request
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.lock();
            state.forget_the_gone();
            let next = state.next();
            state.working -= usize::from(next.is_none());
            next
        };
        if let Some(request) = next {
            // To one who has just left it comes back, and is dropped in turn.
            drop(request.send(Turn(self.0.clone())));
        }
    }
}

fn refusal(why: &str) -> ApiError {
    let text =
        format!("{why} logins ({}, {})", settings::AUTH_HASHING_THREADS, settings::AUTH_MAX_QUEUED_LOGINS);
    ApiError::limit_reached(settings::AUTH_MAX_QUEUED_LOGINS, text)
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    async fn is_waiting(
        login: &mut std::pin::Pin<Box<impl Future<Output = Result<Turn, ApiError>>>>,
    ) -> bool {
        std::future::poll_fn(|context| Poll::Ready(login.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn names_take_turns_and_none_fills_the_queue() {
        let logins = Logins::new(1, 16, Duration::from_secs(60));
        let first = logins.enter("flood").await.unwrap();
        let (mut a, mut b) = (Box::pin(logins.enter("flood")), Box::pin(logins.enter("flood")));
        assert!(is_waiting(&mut a).await && is_waiting(&mut b).await);
        assert!(logins.enter("flood").await.is_err_and(|error| error.text.contains("auth.")));
        let mut other = Box::pin(logins.enter("good"));
        assert!(is_waiting(&mut other).await);
        drop(first);
        let second = a.await.unwrap();
        assert!(is_waiting(&mut other).await && is_waiting(&mut b).await);
        drop(second);
        let third = other.await.unwrap();
        assert!(is_waiting(&mut b).await);
        drop(third);
        drop(b.await.unwrap());
        assert!(logins.lock().working == 0 && logins.lock().waiting == 0);
    }

    #[tokio::test]
    async fn who_leaves_keeps_nobody_waiting() {
        let logins = Logins::new(1, 16, Duration::from_secs(60));
        let first = logins.enter("a").await.unwrap();
        let (mut gone, mut left) = (Box::pin(logins.enter("a")), Box::pin(logins.enter("b")));
        assert!(is_waiting(&mut gone).await && is_waiting(&mut left).await);
        drop(gone);
        drop(first);
        drop(left.await.unwrap());
        assert_eq!(logins.lock().working, 0);
        let _first = logins.enter("a").await.unwrap();
        let impatient = Logins::new(1, 1, Duration::ZERO);
        let _turn = impatient.enter("a").await.unwrap();
        assert!(impatient.enter("b").await.is_err());
        assert!(impatient.enter("b").await.is_err_and(|error| error.text.starts_with("timed out")));
    }
}
