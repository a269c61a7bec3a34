//! Until when a certificate is good: all of X.509 (RFC 5280, 4.1) that is read here rather than by TLS.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, which a certificate of the first version lacks.
const VERSION: u8 = 0xa0;

/// Until when the certificate is good (`notAfter`); `None` where it cannot be read.
pub fn ends(certificate: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = value(SEQUENCE, certificate)?;
    let (mut rest, _) = value(SEQUENCE, certificate)?;
    if rest.first() == Some(&VERSION) {
        (_, rest) = value(VERSION, rest)?;
    }
    // Its number, how it is signed, and by whom.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, rest) = value(tag, rest)?;
    }
    let (validity, _) = value(SEQUENCE, rest)?;
    let (_, not_after) = time(validity)?;
    time(not_after).map(|(at, _)| at)
}

/// The contents of the element that `der` begins with, if it is one of that tag, and what stands behind it
/// (X.690, 8.1).
fn value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

/// A time, of which two digits of a year are from 1950 to 2049 (RFC 5280, 4.1.2.5), and what stands behind it.
fn time(der: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (text, rest, century) = match *der.first()? {
        UTC_TIME => {
            let (text, rest) = value(UTC_TIME, der)?;
            (text, rest, if text.first()? < &b'5' { "20" } else { "19" })
        }
        GENERALIZED_TIME => {
            let (text, rest) = value(GENERALIZED_TIME, der)?;
            (text, rest, "")
        }
        _ => return None,
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let at = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    // The end of the year 9999 stands for no end at all.
    Some((TimeZone::UTC.to_timestamp(at).unwrap_or(Timestamp::MAX), rest))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    #[test]
    fn a_certificate_says_when_it_ends() {
        let der = CertificateDer::from_pem_file("tests/tls/client.pem").unwrap();
        assert_eq!(ends(&der).map(|at| at.to_string()).as_deref(), Some("2126-11-03T04:17:24Z"));
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let read = |tag: u8, text: &str| {
            let der = [&[tag, text.len() as u8], text.as_bytes()].concat();
            time(&der).map(|(at, rest)| (at.to_string(), rest.len()))
        };
        assert_eq!(read(0x17, "491231235959Z"), Some(("2049-12-31T23:59:59Z".into(), 0)));
        assert_eq!(read(0x17, "500101000000Z"), Some(("1950-01-01T00:00:00Z".into(), 0)));
        assert_eq!(read(0x18, "20500101000000Z"), Some(("2050-01-01T00:00:00Z".into(), 0)));
        assert_eq!(read(0x18, "99991231235959Z"), Some((Timestamp::MAX.to_string(), 0)));
        for (tag, text) in [(0x17, "4912312359Z"), (0x18, "491231235959Z"), (0x16, "491231235959Z")]
        {
            assert_eq!(read(tag, text), None, "{text}");
        }
    }

    #[test]
    fn what_is_cut_or_no_certificate_ends_at_no_time() {
        let der = CertificateDer::from_pem_file("tests/tls/client.pem").unwrap();
        let whole = ends(&der);
        for length in 0..der.len() {
            assert_eq!(ends(&der[..length]), None, "{length} bytes of it");
        }
        for at in 0..der.len() {
            let mut spoiled = der.to_vec();
            spoiled[at] ^= 0x85;
            let _ = ends(&spoiled);
        }
        assert!(whole.is_some());
        assert_eq!(ends(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
