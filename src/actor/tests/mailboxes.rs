//! The mailbox against a reader's own account of it, one thread at a time.

use std::collections::VecDeque;
use std::sync::Weak;

use proptest::prelude::*;

use super::super::mailbox::{Ask, Claim, Envelope, Item, Mailbox, NoRoom, SentBy, Share};
use super::super::scheduler::Entrance;
use super::super::ticket::Ticket;
use super::*;
use crate::limits::Overflow;
use crate::test_scale::cases;

const SENDERS: usize = 3;
/// Bounds of the mailbox until a step changes them.
const MESSAGES: u64 = 6;
const BYTES: u64 = 100;

#[derive(Debug, Clone)]
enum Step {
    Claim {
        sender: usize,
        bytes: usize,
    },
    /// The oldest claim comes, or the call that made it failed.
    Put {
        fails: bool,
    },
    /// A message of the host: nobody who waits.
    Host {
        bytes: usize,
    },
    Take,
    /// Those outside have waited long enough.
    Expire,
    Limits {
        overflow: Overflow,
        mailbox: u64,
        bytes: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let overflow = proptest::sample::select(&Overflow::ALL[..]);
    prop_oneof![
        6 => (0..SENDERS, 0..40usize).prop_map(|(sender, bytes)| Step::Claim { sender, bytes }),
        6 => proptest::bool::weighted(0.1).prop_map(|fails| Step::Put { fails }),
        1 => (0..40usize).prop_map(|bytes| Step::Host { bytes }),
        4 => Just(Step::Take),
        1 => Just(Step::Expire),
        1 => (overflow, 1..12u64, 20..200u64)
            .prop_map(|(overflow, mailbox, bytes)| Step::Limits { overflow, mailbox, bytes }),
    ]
}

fn limits(overflow: Overflow, mailbox: u64, bytes: u64) -> Limits {
    Limits {
        mailbox,
        mailbox_bytes: ByteSize(bytes),
        mailbox_overflow: overflow,
        mailbox_wait: Millis(30_000),
        ..Limits::resolve(&LimitOverrides::default(), &LimitOverrides::default())
    }
}

struct World {
    mailbox: Mailbox<()>,
    shares: Vec<Arc<Share>>,
    claims: VecDeque<(usize, usize, Claim)>,
    batch: VecDeque<Item>,
    next_id: u64,
    /// By sender, the host last: the last one that was taken in hand.
    last: [u64; SENDERS + 1],
    taken: u64,
    dead: u64,
    is_broken: Option<String>,
}

impl World {
    fn put(&mut self, sender: usize, bytes: usize, claim: Claim) {
        self.next_id += 1;
        let ticket = || Arc::new(Ticket::new(Weak::new(), Entrance::nowhere()));
        let (sent_by, ticket): (_, Option<&dyn Fn() -> Arc<Ticket>>) = match self.shares.get(sender) {
            Some(share) => {
                let name = sender.to_string().into();
                (SentBy::Installation { name, share: Some(Arc::clone(share)), topic: None }, Some(&ticket))
            }
            None => (SentBy::Host, None),
        };
        let envelope = Envelope {
            id: self.next_id,
            sent_by,
            payload: vec![0; bytes].into(),
            hops: 0,
            expires: None,
            reply: None,
            kept: None,
            outcome: None,
        };
        let put = self.mailbox.put(envelope, claim, ticket);
        self.dead += put.dead.len() as u64;
    }

    /// Says whether there was one.
    fn take(&mut self) -> bool {
        let item = self.batch.pop_front().or_else(|| self.mailbox.take(&mut self.batch));
        let Some(Item::Message(envelope)) = item else { return false };
        drop(self.mailbox.settle_sender(&envelope));
        self.taken += 1;
        let sender = match envelope.sent_by.sender() {
            Sender::Installation(name) => name.parse().unwrap(),
            _ => SENDERS,
        };
        if self.last[sender] >= envelope.id {
            self.is_broken = Some(format!("{} of {sender} came after {}", envelope.id, self.last[sender]));
        }
        self.last[sender] = envelope.id;
        true
    }

    /// What waits inside, outside, or on a worker's desk.
    fn waiting(&self) -> u64 {
        self.mailbox.used().0 - self.claims.len() as u64
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(5_000), ..ProptestConfig::default() })]

    #[test]
    fn every_message_is_taken_or_dead_in_order_and_no_room_is_lost_under_every_policy(
        overflow in proptest::sample::select(&Overflow::ALL[..]),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mailbox = Mailbox::new(&limits(overflow, MESSAGES, BYTES));
        mailbox.open();
        mailbox.set_runnable(true);
        let shares = (0..SENDERS).map(|_| Arc::new(mailbox.share())).collect();
        let (claims, batch) = (VecDeque::new(), VecDeque::new());
        let mut is_fixed = true;
        let mut world =
            World { mailbox, shares, claims, batch, next_id: 0, last: [0; SENDERS + 1], taken: 0, dead: 0, is_broken: None };
        for step in steps {
            match step {
                Step::Claim { sender, bytes } => {
                    let share = Arc::clone(&world.shares[sender]);
                    if let Ok(claim) = world.mailbox.claim(bytes, Some(&share), Ask::Usual) {
                        world.claims.push_back((sender, bytes, claim));
                    }
                }
                Step::Put { fails } => {
                    let Some((sender, bytes, claim)) = world.claims.pop_front() else { continue };
                    if fails {
                        drop(world.mailbox.give_up(bytes, Some(&world.shares[sender]), claim));
                    } else {
                        world.put(sender, bytes, claim);
                    }
                }
                Step::Host { bytes } => {
                    if let Ok(claim) = world.mailbox.claim(bytes, None, Ask::WithoutWaiting) {
                        world.put(SENDERS, bytes, claim);
                    }
                }
                Step::Take => drop(world.take()),
                Step::Expire => {
                    let expired = world.mailbox.expire(Instant::now() + Duration::from_secs(60));
                    world.dead += expired.envelopes.len() as u64;
                }
                Step::Limits { overflow, mailbox, bytes } => {
                    is_fixed = false;
                    drop(world.mailbox.set_limits(&limits(overflow, mailbox, bytes)));
                }
            }
            prop_assert_eq!(world.mailbox.accepted(), world.taken + world.dead + world.waiting());
            let (messages, bytes) = world.mailbox.used();
            prop_assert!(!is_fixed || (messages <= 2 * MESSAGES && bytes <= 2 * BYTES));
            prop_assert_eq!(&world.is_broken, &None);
        }
        for (sender, bytes, claim) in std::mem::take(&mut world.claims) {
            drop(world.mailbox.give_up(bytes, Some(&world.shares[sender]), claim));
        }
        // All but what is larger than a limit that was lowered gets in by itself.
        while world.take() {}
        let expired = world.mailbox.expire(Instant::now() + Duration::from_secs(60));
        prop_assert!(!is_fixed || expired.envelopes.is_empty());
        world.dead += expired.envelopes.len() as u64;
        prop_assert_eq!(world.mailbox.accepted(), world.taken + world.dead);
        prop_assert_eq!(world.mailbox.used(), (0, 0));
        prop_assert_eq!(&world.is_broken, &None);
        for share in &world.shares {
            prop_assert_eq!(share.used(), (0, 0));
        }
    }
}

#[test]
fn the_oldest_makes_room_and_what_fits_nowhere_is_dropped_itself() {
    let mailbox: Mailbox<()> = Mailbox::new(&limits(Overflow::DropOldest, 3, 100));
    mailbox.open();
    let put = |id, bytes| {
        let claim = mailbox.claim(bytes, None, Ask::WithoutWaiting).unwrap();
        let envelope = Envelope {
            id,
            sent_by: SentBy::Host,
            payload: vec![0; bytes].into(),
            hops: 0,
            expires: None,
            reply: None,
            kept: None,
            outcome: None,
        };
        mailbox.put(envelope, claim, None).dead.into_iter().map(|(dead, _)| dead.id).collect::<Vec<_>>()
    };
    assert_eq!([put(1, 30), put(2, 30), put(3, 30)], [[0; 0]; 3]);
    assert_eq!(put(4, 30), [1]);
    assert_eq!(put(5, 90), [2, 3, 4], "by bytes, too");
    assert_eq!(mailbox.claim(101, None, Ask::WithoutWaiting), Err(NoRoom::Full), "larger than all of it");
    assert_eq!(mailbox.claim(100, None, Ask::Free), Err(NoRoom::Full), "who pushes nobody out");
    assert_eq!(mailbox.used(), (1, 90));
}
