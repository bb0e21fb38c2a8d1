//! What the user says about gateways.

use std::time::Duration;

use super::settings::{GatewaySettings, RequestTimeoutError, parse_object_name};
use crate::observed::ObjectName;

/// What the user typed.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Gateways")]
pub struct GatewayArgs {
    /// Writes ReferenceGrants, timeout policies and HTTPRoutes, and reads what gateways say. `false` leaves all of it to
    /// you; no condition speaks of gateways then.
    #[arg(
        long,
        env = "ROUSE_GATEWAY",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub gateway: bool,

    /// The Gateway, as namespace/name, on which an HTTPRoute is written for every host that has none. Unset: none is
    /// written, and those that were are taken away.
    #[arg(
        long,
        env = "ROUSE_DEFAULT_GATEWAY",
        value_name = "NAMESPACE/NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub default_gateway: String,

    /// The deadline of a whole request at the gateway, for HTTPRoutes without one of their own. 0 for none: the interceptor
    /// has deadlines, and a gateway cannot tell a request that takes long from a stream. Longer than requests may be held.
    #[arg(
        long,
        env = "ROUSE_GATEWAY_REQUEST_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "0s"
    )]
    pub gateway_request_timeout: Duration,

    /// The interceptor's proxy Service, in the namespace of the interceptor.
    #[arg(
        long,
        env = "ROUSE_INTERCEPTOR_PROXY_SERVICE",
        value_name = "NAME",
        default_value = "keda-add-ons-http-interceptor-proxy"
    )]
    pub interceptor_proxy_service: String,

    /// The port of the interceptor's proxy Service.
    #[arg(
        long,
        env = "ROUSE_INTERCEPTOR_PROXY_PORT",
        value_name = "PORT",
        default_value_t = 8080
    )]
    pub interceptor_proxy_port: u16,

    /// The interceptors' own setting: how long they hold requests while the target waits for a node. A gateway that would end
    /// them sooner is told of.
    #[arg(
        long,
        env = "ROUSE_EXTENDED_READINESS_TIMEOUT",
        value_name = "DURATION",
        value_parser = rouse_daemon::duration::parse,
        default_value = "360s"
    )]
    pub extended_readiness_timeout: Duration,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GatewayArgsError {
    /// Not the name of a Gateway.
    #[error("--default-gateway: {0}")]
    DefaultGateway(super::settings::ObjectNameError),
    /// Requests would be cut off.
    #[error("--gateway-request-timeout: {0}")]
    RequestTimeout(RequestTimeoutError),
}

impl GatewayArgs {
    /// The settings, or `None` where gateways are left to the user. The interceptor is in `namespace`.
    pub(crate) fn settings(&self, namespace: &str) -> Result<Option<GatewaySettings>, GatewayArgsError> {
        let default_gateway = match self.default_gateway.trim() {
            "" => None,
            name => Some(parse_object_name(name).map_err(GatewayArgsError::DefaultGateway)?),
        };
        let settings = GatewaySettings {
            interceptor: ObjectName::new(namespace, &*self.interceptor_proxy_service),
            interceptor_port: self.interceptor_proxy_port,
            default_gateway,
            hold: self.extended_readiness_timeout,
            request_timeout: Some(self.gateway_request_timeout),
        };
        let settings = settings.checked().map_err(GatewayArgsError::RequestTimeout)?;
        Ok(self.gateway.then_some(settings))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn settings(arguments: &[&str]) -> Result<Option<GatewaySettings>, GatewayArgsError> {
        let command = GatewayArgs::augment_args(clap::Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).unwrap();
        GatewayArgs::from_arg_matches(&matches).unwrap().settings("keda")
    }

    #[test]
    fn without_arguments_nothing_is_written_but_what_the_users_routes_need() {
        let settings = settings(&[]).unwrap().unwrap();
        assert_eq!(settings.default_gateway, None);
        assert_eq!(settings.request_timeout, None);
        assert!(settings.is_interceptor("keda", "keda-add-ons-http-interceptor-proxy"));
    }

    #[test]
    fn it_can_be_left_to_the_user() {
        assert_eq!(settings(&["--gateway=false"]), Ok(None));
    }

    #[test]
    fn a_default_gateway_has_a_namespace_and_a_name() {
        let given = settings(&["--default-gateway=infra/main"]).unwrap().unwrap();
        assert_eq!(given.default_gateway, Some(ObjectName::new("infra", "main")));
        for wrong in ["main", "/main", "infra/", "a/b/c"] {
            let given = settings(&[&format!("--default-gateway={wrong}")]);
            assert!(
                matches!(given, Err(GatewayArgsError::DefaultGateway(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_deadline_at_the_gateway_is_longer_than_the_hold() {
        let given = settings(&["--gateway-request-timeout=361s"]).unwrap().unwrap();
        assert_eq!(given.request_timeout, Some(Duration::from_secs(361)));
        for wrong in ["360s", "15s"] {
            let given = settings(&[&format!("--gateway-request-timeout={wrong}")]);
            assert!(
                matches!(given, Err(GatewayArgsError::RequestTimeout(_))),
                "{wrong}"
            );
        }
    }
}
