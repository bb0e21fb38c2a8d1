//! One line for an error and its causes. Rouse's own errors never repeat their source's text, so the place that logs an
//! error prints the chain.

use std::{error::Error, fmt};

/// How many errors of a chain are printed. A chain that is longer is most likely a loop.
const MAX_DEPTH: usize = 16;

/// Displays an error and its causes, outermost first: `forward request: connect to endpoint: connection refused`.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain { error }
}

/// What [`chain`] returns.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    error: &'a (dyn Error + 'static),
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        let mut next = self.error.source();
        for _ in 1..MAX_DEPTH {
            let Some(error) = next else { return Ok(()) };
            write!(f, ": {error}")?;
            next = error.source();
        }
        if next.is_some() {
            f.write_str(": …")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("level {level}")]
    struct Nested {
        level: usize,
        source: Option<Box<Self>>,
    }

    fn nested(depth: usize) -> Nested {
        (0..depth).fold(
            Nested {
                level: 0,
                source: None,
            },
            |inner, n| Nested {
                level: n + 1,
                source: Some(Box::new(inner)),
            },
        )
    }

    #[test]
    fn an_error_without_a_cause_is_its_own_text() {
        assert_eq!(chain(&nested(0)).to_string(), "level 0");
    }

    #[test]
    fn causes_follow_from_the_outermost_inwards() {
        assert_eq!(chain(&nested(2)).to_string(), "level 2: level 1: level 0");
    }

    #[test]
    fn a_chain_of_sixteen_is_whole_and_of_seventeen_is_cut() {
        let whole = chain(&nested(15)).to_string();
        assert!(whole.ends_with("level 1: level 0"), "{whole}");
        let cut = chain(&nested(16)).to_string();
        assert!(cut.ends_with("level 1: …"), "{cut}");
    }
}
