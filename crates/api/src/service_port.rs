//! How a route names the port of a Service.

use std::fmt;

/// The port of a Service, by number or by name. Borrowed from the object that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServicePort<'a> {
    /// `port: 8000`
    Number(u16),
    /// `portName: http`
    Name(&'a str),
}

impl<'a> ServicePort<'a> {
    /// The port that a reference names, or `None` where it names none, both, or a number that no port can have; then
    /// validation has said so.
    pub(crate) fn from_fields(port: Option<i32>, name: Option<&'a str>) -> Option<Self> {
        match (port, name) {
            (Some(number), None) => u16::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .map(Self::Number),
            (None, Some(name)) if !name.is_empty() => Some(Self::Name(name)),
            _ => None,
        }
    }
}

impl fmt::Display for ServicePort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unambiguous_possible_port_is_one() {
        assert_eq!(
            ServicePort::from_fields(Some(8000), None),
            Some(ServicePort::Number(8000))
        );
        assert_eq!(
            ServicePort::from_fields(None, Some("http")),
            Some(ServicePort::Name("http"))
        );
        for (port, name) in [
            (None, None),
            (Some(80), Some("http")),
            (Some(0), None),
            (Some(65_536), None),
            (None, Some("")),
        ] {
            assert_eq!(ServicePort::from_fields(port, name), None, "{port:?} {name:?}");
        }
    }
}
