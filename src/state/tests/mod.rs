mod attacks;
mod cache;
mod collect;
mod crashes;
mod fixture;
mod measure;
mod power;
mod store;
