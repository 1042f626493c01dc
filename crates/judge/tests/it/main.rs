//! The judge seen from outside: known answers, properties, and error rates by simulation.

mod common;
mod containers;
mod corpus;
mod paired;
mod properties;
mod rules;
mod sequential;
mod simulation;
mod verdict;
mod work;
