//! Which addresses may never be asked, whoever names them.
//!
//! A cloud's metadata service answers anybody on the machine, with credentials. It is refused both
//! where a URL gives the address itself and where a name resolves to it, in the same lookup that the
//! connection uses, so that a name cannot change its mind in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Addresses of metadata services that are not link-local: AWS and GCP over IPv6, Azure, Alibaba.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// A metric source that lies where none may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is a link-local or metadata address, which is never asked")]
pub(super) struct Forbidden(pub(super) IpAddr);

/// Refuses link-local and metadata addresses, also where IPv6 wraps an IPv4 one.
pub(super) fn permit(address: IpAddr) -> Result<(), Forbidden> {
    let forbidden = |ip: IpAddr| {
        METADATA.contains(&ip)
            || match ip {
                IpAddr::V4(v4) => v4.is_link_local(),
                IpAddr::V6(v6) => v6.is_unicast_link_local(),
            }
    };
    let wrapped = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => wrapped(v6),
    };
    if forbidden(address) || wrapped.is_some_and(|v4| forbidden(v4.into())) {
        return Err(Forbidden(address));
    }
    Ok(())
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 one.
fn wrapped(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, h, l] | [0x64, 0xff9b, 0, 0, 0, 0, h, l] => Some(low(h, l)),
        [0x2002, h, l, ..] => Some(low(h, l)),
        _ => None,
    }
}

/// The system's resolver, behind [`permit`].
#[derive(Debug)]
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One forbidden address condemns the name: which of several is taken is luck.
            found.iter().try_for_each(|address| permit(address.ip()))?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_are_refused_however_they_are_written() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "168.63.129.16",
            "100.100.100.200",
        ] {
            let ip = text.parse().unwrap();
            assert_eq!(permit(ip), Err(Forbidden(ip)), "{text}");
        }
        for text in ["127.0.0.1", "::1", "10.0.0.8", "192.168.1.1", "fd00::1", "2001:db8::1"] {
            assert_eq!(permit(text.parse().unwrap()), Ok(()), "{text}");
        }
    }
}
