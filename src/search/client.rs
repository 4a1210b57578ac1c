//! Requests as servers like them: a page that is too much is asked for smaller, POST becomes GET where it is refused, and what fails for a
//! passing reason is tried again, no sooner than the server asks.

use url::Url;

use super::ask::Ask;
use crate::error::Error;
use crate::store::counters::{COUNTERS, add};
use crate::store::{Answer, Failure, Keys, Question, Session, backoff, shown};

/// Bytes of one answer. A larger page is asked for smaller.
const MOST_OF_ANSWER: u64 = 128_000_000;

/// Why an answer cannot be read.
pub enum Unread {
    /// It ends in the midst.
    Incomplete(String),
    Wrong(String),
}

/// A request that was given up.
pub struct GivenUp {
    /// Of an answer that refuses.
    pub status: Option<u16>,
    pub error: Error,
}

/// Asks one API.
pub struct Client {
    session: Session,
    keys: Keys,
    /// POST was refused.
    by_get: bool,
    /// The server has answered something.
    answered: bool,
    /// As many items a page, since a larger one was too much.
    size: Option<u64>,
}

impl Client {
    pub fn new(session: Session, keys: Keys) -> Client {
        Client { session, keys, by_get: false, answered: false, size: None }
    }

    /// One page, read by `read`, with its address.
    ///
    /// # Errors
    /// What fails for good, with its place and without secrets.
    pub async fn page<T>(
        &mut self,
        ask: &Ask,
        read: impl Fn(&Answer) -> Result<T, Unread>,
    ) -> Result<(Url, T), GivenUp> {
        let (mut attempts, mut halvings) = (1, 0);
        loop {
            let mut sized = ask.clone();
            if let Some(size) = self.size.filter(|size| ask.limit().is_none_or(|limit| *size < limit)) {
                sized.set_limit(size);
            }
            let question = sized.question(self.by_get);
            let failure = match self.once(&question, &read).await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            if matches!(failure.status, Some(405 | 501)) && question.body.is_some() {
                self.by_get = true;
                continue;
            }
            let most = self.session.options().max_retries;
            let smaller = sized.limit().map(|limit| limit / 2).filter(|size| *size > 0 && is_too_much(&failure));
            if let Some(size) = smaller.filter(|_| !failure.timed_out || attempts <= most) {
                self.size = Some(size);
                halvings += 1;
                attempts += usize::from(failure.timed_out);
                add(&COUNTERS.retries, 1);
                if failure.status != Some(413) {
                    tokio::time::sleep(backoff(halvings, failure.wait)).await;
                }
                continue;
            }
            if !failure.retry || attempts > most {
                add(&COUNTERS.failures, 1);
                return Err(self.told(&question, &failure, attempts + halvings));
            }
            add(&COUNTERS.retries, 1);
            tokio::time::sleep(backoff(attempts, failure.wait)).await;
            attempts += 1;
        }
    }

    async fn once<T>(
        &mut self,
        question: &Question,
        read: &impl Fn(&Answer) -> Result<T, Unread>,
    ) -> Result<(Url, T), Failure> {
        let mut asked = self.session.ask(question, &self.keys, MOST_OF_ANSWER).await;
        if let Err(failure) = &mut asked {
            // Some say 403 where they mean 429; but one that has not answered anything may mean what it says.
            failure.retry |= failure.status == Some(403) && self.answered;
        }
        let answer = asked?;
        let read = read(&answer).map_err(|unread| match unread {
            Unread::Incomplete(why) => Failure::passing(self.keys.hide(&why)),
            Unread::Wrong(why) => Failure::lasting(self.keys.hide(&why)),
        })?;
        self.answered = true;
        Ok((answer.url, read))
    }

    fn told(&self, question: &Question, failure: &Failure, attempts: usize) -> GivenUp {
        let after = if attempts > 1 { format!(" (after {attempts} attempts)") } else { String::new() };
        let place = shown::url(&question.url);
        let message = self.keys.hide(&format!("{place}: {}{after}", failure.message));
        GivenUp { status: failure.status, error: Error::Http { message, attempts: attempts as u64 } }
    }

    /// Requests and bytes of this search.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// Whether a smaller page may go through.
fn is_too_much(failure: &Failure) -> bool {
    match failure.status {
        Some(413 | 500 | 502 | 504) => true,
        // Those that have a bound on it, and say so.
        Some(400 | 422) => failure.message.contains("limit"),
        Some(_) => false,
        None => failure.timed_out,
    }
}
