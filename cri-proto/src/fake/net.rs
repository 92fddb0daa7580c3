//! Addresses of pods, out of one /16, the lowest free one first. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

#[derive(Debug)]
pub(super) struct Addresses {
    base: u32,
    taken: BTreeSet<u16>,
}

impl Addresses {
    pub(super) fn new(subnet: Ipv4Addr) -> Self {
        Self { base: u32::from(subnet) & 0xffff_0000, taken: BTreeSet::new() }
    }

    /// A free address; none if all are taken. 0 is the network, 1 the gateway, the last one broadcast.
    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        let free = (2..u16::MAX).find(|host| !self.taken.contains(host))?;
        self.taken.insert(free);
        Some(Ipv4Addr::from(self.base | u32::from(free)))
    }

    pub(super) fn give_back(&mut self, address: Ipv4Addr) {
        let [_, _, high, low] = address.octets();
        self.taken.remove(&u16::from_be_bytes([high, low]));
    }

    /// How many are in use: what is left after all pods are gone is a leak.
    pub(super) fn in_use(&self) -> usize {
        self.taken.len()
    }
}
