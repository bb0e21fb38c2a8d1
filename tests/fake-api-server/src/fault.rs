//! Faults on demand: what happens to the next requests that match.

use std::time::Duration;

use crate::{record::RequestRecord, record::Verb, status::Refusal};

/// What happens to the requests it matches: all of them, once, unless narrowed and repeated.
///
/// A client of kube repeats 429, 503 and 504 by itself, with growing pauses, unless told not to.
#[derive(Debug, Clone)]
pub struct Fault {
    effect: Effect,
    verb: Option<Verb>,
    writes_only: bool,
    resource: Option<String>,
    subresource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    remaining: Option<u64>,
}

#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Answer(u16, String, String),
    Wait(Duration),
    Hang,
    Cut,
    End,
}

impl Fault {
    /// Answers with a status code: 409, 429, 500, 503, …
    pub fn status(code: u16) -> Self {
        let (reason, message) = match code {
            403 => ("Forbidden", "forbidden"),
            409 => ("Conflict", "the object has been modified"),
            429 => ("TooManyRequests", "too many requests"),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => ("Timeout", "the request did not complete in time"),
            _ => ("InternalError", "an error on the server"),
        };
        Self::new(Effect::Answer(code, reason.to_owned(), message.to_owned()))
    }

    /// Refuses as a validating webhook does, with its message.
    pub fn deny(webhook: &str, message: &str) -> Self {
        let message = format!("admission webhook \"{webhook}\" denied the request: {message}");
        Self::new(Effect::Answer(403, "Forbidden".to_owned(), message))
    }

    /// Answers as always, later.
    pub fn delay(by: Duration) -> Self {
        Self::new(Effect::Wait(by))
    }

    /// Never answers, until the fault is cleared or the client gives up; nothing is done.
    pub fn hang() -> Self {
        Self::new(Effect::Hang)
    }

    /// Takes a watch, and ends it at once without a word.
    pub fn end_at_once() -> Self {
        Self::new(Effect::End).verb(Verb::Watch)
    }

    /// Carries the request out, and closes the connection in place of the answer.
    pub fn lose_answer() -> Self {
        Self::new(Effect::Cut)
    }

    fn new(effect: Effect) -> Self {
        Self {
            effect,
            verb: None,
            writes_only: false,
            resource: None,
            subresource: None,
            namespace: None,
            name: None,
            remaining: Some(1),
        }
    }

    /// For requests of this verb only.
    #[must_use]
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    /// For requests that may change something only.
    #[must_use]
    pub fn on_writes(mut self) -> Self {
        self.writes_only = true;
        self
    }

    /// For a kind only, by its plural: `leases`, or with a subresource, `deployments/scale`.
    #[must_use]
    pub fn on(mut self, resource: &str) -> Self {
        let (plural, subresource) = resource.split_once('/').unzip();
        self.resource = Some(plural.unwrap_or(resource).to_owned());
        self.subresource = subresource.map(str::to_owned);
        self
    }

    /// For requests within this namespace only.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// For the object of this name only.
    #[must_use]
    pub fn of(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// For the next `count` matching requests.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.remaining = Some(count);
        self
    }

    /// Until cleared.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.remaining = None;
        self
    }

    fn matches(&self, request: &RequestRecord) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        self.verb.is_none_or(|verb| verb == request.verb)
            && (!self.writes_only || request.verb.is_write())
            && is(&self.resource, &request.resource)
            && is(&self.subresource, &request.subresource)
            && is(&self.namespace, &request.namespace)
            && is(&self.name, &request.name)
    }
}

/// The effects that `request` meets, counting them off: delays and the first of the others.
pub(crate) fn take(faults: &mut Vec<Fault>, request: &RequestRecord) -> Vec<Effect> {
    let mut taken = Vec::new();
    faults.retain_mut(|fault| {
        let is_over = taken
            .last()
            .is_some_and(|effect| !matches!(effect, Effect::Wait(_)));
        if is_over || !fault.matches(request) {
            return true;
        }
        taken.push(fault.effect.clone());
        match &mut fault.remaining {
            Some(remaining) => {
                *remaining = remaining.saturating_sub(1);
                *remaining > 0
            }
            None => true,
        }
    });
    taken
}

impl Effect {
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Answer(code, reason, message) => Some(Refusal::new(*code, reason, message)),
            _ => None,
        }
    }
}
