//! What must come of single situations. The laws that hold in all of them are in `laws`.

mod carried;
pub(super) mod fixture;
mod golden;
mod interface;
mod markdown;
mod rollback;
mod room;
mod scale;
mod situations;
