//! The one integration test binary.

mod approvals;
mod architecture;
mod attacks;
mod audit;
mod bombed;
mod bombs;
mod components;
mod control;
mod crash;
mod delivery;
mod dependencies;
mod documented_limits;
mod durable;
mod file_rules;
mod from_git;
mod fuzz;
mod git;
mod golden_cli;
mod guides;
mod harness;
mod keys;
mod killed_run;
mod past;
mod plan_only;
mod properties;
mod remote;
mod rollback;
mod rules;
mod run;
mod saved;
mod scale;
mod secrets;
mod service;
mod slow;
mod slow_orders;
mod storage;
mod surface;
#[path = "../../src/test_guest.rs"]
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
mod test_guest;
mod torn;
mod upkeep;
mod url;
mod watched;
mod worker;
