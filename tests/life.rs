//! The life of a process that serves: reloads, probes, and other processes before and after it.

mod admin; // `/live` and `/ready`, through drains and upgrades
mod load; // clients that must not notice anything
mod notify; // what a service manager is told
mod reload; // SIGHUP: good and bad deployments, requests in flight
mod sockets; // listeners that are handed over
mod upgrade; // SIGUSR2: under load, and when the new process fails
