//! What a call is about, from the trigger's metadata.

use rouse_proto::externalscaler::ScaledObjectRef;
use rouse_routing::{RouteId, RouteKind};
use tonic::Status;

use crate::metric_name;

/// The trigger metadata's keys, which are the add-on's.
const INTERCEPTOR_ROUTE: &str = "interceptorRoute";
const HTTP_SCALED_OBJECT: &str = "httpScaledObject";
const INTERCEPTOR_TARGET_PENDING_REQUESTS: &str = "interceptorTargetPendingRequests";

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A route, in the ScaledObject's own namespace.
    Route(RouteId),
    /// The interceptors themselves, scaled on the requests of all routes.
    Interceptors {
        /// The metric's name.
        name: String,
        /// How many requests one interceptor should carry.
        target: i64,
    },
}

impl Subject {
    pub(super) fn of(object: &ScaledObjectRef) -> Result<Self, Status> {
        let metadata = &object.scaler_metadata;
        let route = |kind, name: &String| {
            if name.is_empty() {
                return Err(Status::invalid_argument(format!(
                    "the trigger's metadata names no {kind}"
                )));
            }
            Ok(Self::Route(RouteId::new(
                kind,
                object.namespace.as_str(),
                name.as_str(),
            )))
        };
        if let Some(name) = metadata.get(INTERCEPTOR_ROUTE) {
            return route(RouteKind::InterceptorRoute, name);
        }
        if let Some(name) = metadata.get(HTTP_SCALED_OBJECT) {
            return route(RouteKind::HttpScaledObject, name);
        }
        let Some(target) = metadata.get(INTERCEPTOR_TARGET_PENDING_REQUESTS) else {
            return Err(Status::invalid_argument(format!(
                "the trigger's metadata has none of {INTERCEPTOR_ROUTE}, {HTTP_SCALED_OBJECT} and \
                 {INTERCEPTOR_TARGET_PENDING_REQUESTS}"
            )));
        };
        match target.parse() {
            Ok(target) if target > 0 => Ok(Self::Interceptors {
                name: metric_name::of_http_scaled_object(&object.namespace, &object.name),
                target,
            }),
            _ => Err(Status::invalid_argument(format!(
                "{INTERCEPTOR_TARGET_PENDING_REQUESTS} is {target:?}, not a number above zero"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn subject(metadata: &[(&str, &str)]) -> Result<Subject, Code> {
        let object = ScaledObjectRef {
            name: "scaled".to_owned(),
            namespace: "team".to_owned(),
            scaler_metadata: metadata
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        Subject::of(&object).map_err(|status| status.code())
    }

    #[test]
    fn names_what_the_metadata_names() {
        let route = |kind, name| Ok(Subject::Route(RouteId::new(kind, "team", name)));
        assert_eq!(
            subject(&[("interceptorRoute", "a")]),
            route(RouteKind::InterceptorRoute, "a")
        );
        assert_eq!(
            subject(&[("httpScaledObject", "a")]),
            route(RouteKind::HttpScaledObject, "a")
        );
        assert_eq!(
            subject(&[("httpScaledObject", "a"), ("interceptorRoute", "b")]),
            route(RouteKind::InterceptorRoute, "b"),
            "the newer resource wins, as in the add-on"
        );
        assert_eq!(
            subject(&[
                ("interceptorTargetPendingRequests", "200"),
                ("scalerAddress", "x:9090")
            ]),
            Ok(Subject::Interceptors {
                name: "http-team_002Fscaled".to_owned(),
                target: 200
            })
        );
    }

    #[test]
    fn refuses_metadata_that_names_nothing() {
        for metadata in [
            &[][..],
            &[("scalerAddress", "x:9090")],
            &[("httpScaledObject", "")],
            &[("interceptorTargetPendingRequests", "many")],
            &[("interceptorTargetPendingRequests", "0")],
        ] {
            assert_eq!(subject(metadata), Err(Code::InvalidArgument), "{metadata:?}");
        }
    }
}
