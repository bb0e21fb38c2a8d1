//! Reconciles HTTPScaledObjects and InterceptorRoutes into what the scaling engine and the gateway need.
