//! The machine of an agent whose API server is the fake one.

use std::net::IpAddr;

use pinnace::host::address::{InterfaceAddress, Network};
use pinnace::host::machine::{Host, Machine};

/// A machine with one address.
pub(crate) struct OneAddress;

impl Host for OneAddress {
    fn machine(&self) -> std::io::Result<Machine> {
        Ok(Machine {
            cpus: 4,
            memory: 8 << 30,
            storage: Some(1 << 40),
            machine_id: "m1".into(),
            system_uuid: "m1".into(),
            boot_id: "b1".into(),
            kernel: "6.12".into(),
            os_image: "Debian".into(),
            ..Machine::default()
        })
    }

    fn network(&self) -> std::io::Result<Network> {
        let ip = IpAddr::from([192, 0, 2, 7]);
        let address = InterfaceAddress { interface: "eth0".into(), ip, up: true, loopback: false };
        Ok(Network { addresses: vec![address], ..Network::default() })
    }

    fn resolve(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}
