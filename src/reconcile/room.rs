//! Looks at how much room for instances the machine has. What fits is decided by `observed::room`.

use std::time::Duration;

use crate::engine::{Engine, EngineConfig, maps};
use crate::observed::room::{MapRoom, MemoryRoom, Room};
use crate::status::HostStatus;

/// How long a count of maps is good for, as long as nothing was started: counting takes as long as there are maps.
const RECOUNT_EVERY: Duration = Duration::from_secs(60);

/// Counts the maps of this process now and then.
#[derive(Debug, Default)]
pub(super) struct RoomMeter {
    counted: Option<(Option<MapRoom>, Duration)>,
}

impl RoomMeter {
    /// The room at the time `now`.
    pub fn at(&mut self, now: Duration, engine: &Engine) -> Room {
        let maps = match self.counted {
            Some((maps, at)) if now.saturating_sub(at) < RECOUNT_EVERY => maps,
            _ => {
                let maps = map_room();
                self.counted = Some((maps, now));
                maps
            }
        };
        Room { memory: Some(engine.memory_room()), maps }
    }

    /// Something was started: the next look counts again.
    pub fn forget(&mut self) {
        self.counted = None;
    }
}

/// The room that a host which starts now would have, or the one that runs has.
pub fn of_host(config: &EngineConfig, running: Option<&HostStatus>) -> Room {
    match running.and_then(|status| status.host.as_ref()) {
        None => Room { memory: Some(config.memory_room()), maps: map_room() },
        Some(host) => {
            let memory = MemoryRoom { budget: host.memory_budget_bytes, overcommits: host.memory_overcommit };
            let maps = host.maps_max.zip(host.maps_used).map(|(max, used)| MapRoom { max, used });
            Room { memory: Some(memory), maps }
        }
    }
}

/// The maps of this process; none where the kernel does not limit them.
pub fn map_room() -> Option<MapRoom> {
    Some(MapRoom { max: maps::max_maps()?, used: maps::maps_in_use()? })
}
