//! Reads which interfaces default routes go through. Pure.

/// Interfaces of the IPv4 default routes in `/proc/net/route`, in its order.
#[must_use]
pub fn default_v4(table: &str) -> Vec<String> {
    let entries = table.lines().filter(|line| !line.starts_with("Iface"));
    let entries = entries.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let names = entries.filter_map(|fields| match fields.as_slice() {
        [name, "00000000", _, ..] => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

/// Interfaces of the IPv6 default routes in `/proc/net/ipv6_route`, in its order. Routes without a gateway are the
/// loopback's.
#[must_use]
pub fn default_v6(table: &str) -> Vec<String> {
    let is_zero = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte == b'0');
    let entries = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let names = entries.filter_map(|fields| match (fields.first(), fields.get(4), fields.get(9)) {
        (Some(to), Some(via), Some(name)) if is_zero(to) && !is_zero(via) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn default_routes_are_found() {
        let v4 = "Iface\tDestination\tGateway \tFlags\n\
                  eth0\t00000000\t010200C0\t0003\neth0\t000200C0\t00000000\t0001\nppp0\t00000000\t00000000\t1\n";
        assert_eq!(default_v4(v4), ["eth0", "ppp0"]);
        let zero = "0".repeat(32);
        let via = "fd000000000000000000000000000001";
        let v6 = format!(
            "{zero} 00 {zero} 00 {via} 400 2 0 3 eth0\n{zero} 00 {zero} 00 {zero} 400 2 0 3 lo\n\
             {via} 40 {zero} 00 {zero} 100 1 0 1 eth1\n"
        );
        assert_eq!(default_v6(&v6), ["eth0"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\PC\n]{0,200}") {
            let _ = (default_v4(&text), default_v6(&text));
        }
    }
}
