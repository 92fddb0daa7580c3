//! Whether the node's `resolv.conf` asks for more than resolvers read. Owns nothing; wakes at the start and every hour;
//! writes a warning event of the node for as long as it is so; ends with the stop token.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::v1::DnsConfig;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::resolv_conf::{self, MOST};
use super::{MAX_SEARCH, MAX_SEARCH_CHARS, MAX_SEARCHES, Settings};
use crate::chain::Chain;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::events::{EventLog, Object};
use crate::pod::go_quote::quote;

/// Search domains that a pod gets from the cluster before those of the node.
const OF_CLUSTER: usize = 3;
/// How often the file is read again. The kubelet reads it at its start alone.
const PERIOD: Duration = Duration::from_secs(3600);
/// Reason of the event.
const REASON: &str = "CheckLimitsForResolvConf";

/// What is too much in a file, in the kubelet's words (`pkg/kubelet/network/dns/dns.go`); none if all fits. Pure.
#[must_use]
pub fn exceeded(file: &Path, host: &DnsConfig, domain: &str) -> Option<String> {
    let most = if domain.is_empty() { MAX_SEARCHES } else { MAX_SEARCHES.saturating_sub(OF_CLUSTER) };
    let name = file.display();
    if host.searches.len() > most {
        return Some(format!(
            "Resolv.conf file '{name}' contains search line consisting of more than {most} domains!"
        ));
    }
    if host.searches.iter().any(|search| search.len() > MAX_SEARCH) {
        let quoted = quote(&name.to_string());
        return Some(format!(
            "Resolv.conf file {quoted} contains a search path which length is more than allowed {MAX_SEARCH} chars!"
        ));
    }
    (host.searches.join(" ").len() > MAX_SEARCH_CHARS).then(|| {
        format!(
            "Resolv.conf file '{name}' contains search line which length is more than allowed {MAX_SEARCH_CHARS} chars!"
        )
    })
}

fn unreadable(file: &Path, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => Chain(error).to_string(),
    };
    format!("open {}: {why}", file.display())
}

/// Tells of it. Without a file there is nothing to tell.
pub async fn tell(
    settings: Settings,
    disk: Arc<dyn Disk>,
    events: EventLog,
    clock: Clock,
    stop: CancellationToken,
) {
    let Some(file) = settings.resolv_conf.clone() else { return stop.cancelled().await };
    let mut due = interval(PERIOD);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = due.tick() => {}
        }
        let (disk, path) = (Arc::clone(&disk), file.clone());
        let read = tokio::task::spawn_blocking(move || disk.read(&path, MOST));
        // One that hangs is left behind when the agent ends.
        let read = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            read = read => read.unwrap_or_else(|error| Err(io::Error::other(error))),
        };
        let found = match read {
            Ok(text) => {
                let host = resolv_conf::parse(&String::from_utf8_lossy(&text));
                exceeded(&file, &host, &settings.domain)
            }
            Err(error) => Some(unreadable(&file, &error)),
        };
        if let Some(found) = found {
            tracing::warn!(found, "the node's resolv.conf cannot be used whole");
            events.warning(Object::node(""), REASON, &found, clock.now().wall);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    const FILE: &str = "/etc/resolv.conf";

    fn found(searches: &[String], domain: &str) -> Option<String> {
        let host = DnsConfig { searches: searches.to_vec(), ..DnsConfig::default() };
        exceeded(Path::new(FILE), &host, domain)
    }

    fn domains(count: usize, length: usize) -> Vec<String> {
        (0..count).map(|number| format!("{number:0length$}")).collect()
    }

    #[test]
    fn what_just_fits_is_not_told_and_one_more_is() {
        assert_eq!(found(&domains(32, 3), ""), None);
        assert_eq!(found(&domains(29, 3), "cluster.local"), None);
        let many = |most| {
            Some(format!(
                "Resolv.conf file '{FILE}' contains search line consisting of more than {most} domains!"
            ))
        };
        assert_eq!(found(&domains(33, 3), ""), many(32));
        assert_eq!(found(&domains(30, 3), "cluster.local"), many(29));
        assert_eq!(found(&domains(1, 253), "d"), None);
        let long = format!(
            "Resolv.conf file \"{FILE}\" contains a search path which length is more than allowed 253 chars!"
        );
        assert_eq!(found(&domains(1, 254), "d"), Some(long));
        // Eight of 249 with blanks between them are 1999, and 48 more with another blank 2048.
        let mut line = domains(8, 249);
        line.push("x".repeat(48));
        assert_eq!((line.join(" ").len(), found(&line, "")), (2048, None));
        line[8].push('x');
        let text = format!(
            "Resolv.conf file '{FILE}' contains search line which length is more than allowed 2048 chars!"
        );
        assert_eq!(found(&line, ""), Some(text));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_at_the_start_and_every_hour_for_as_long_as_it_is_so() {
        let (disk, events, stop) =
            (Arc::new(MemoryDisk::default()), EventLog::default(), CancellationToken::new());
        let settings = Settings { resolv_conf: Some(FILE.into()), ..Settings::default() };
        let clock = Clock::of_this_machine().unwrap();
        let task = tell(settings, Arc::clone(&disk) as Arc<dyn Disk>, events.clone(), clock, stop.clone());
        let mut task = std::pin::pin!(task);
        let counts =
            || events.list().iter().map(|event| (event.message.clone(), event.count)).collect::<Vec<_>>();
        let mut let_pass = async |time: Duration| {
            tokio::select! { () = &mut task => panic!("it ended"), () = tokio::time::sleep(time) => {} }
            counts()
        };
        let missing = |times| (format!("open {FILE}: no such file or directory"), times);
        // Between two looks from here on.
        assert_eq!(let_pass(PERIOD / 4).await, [missing(1)]);
        assert_eq!(let_pass(PERIOD).await, [missing(2)]);
        disk.put(Path::new(FILE), b"nameserver 1.1.1.1\nsearch a b\n");
        assert_eq!(let_pass(PERIOD).await, [missing(2)]);
        disk.put(Path::new(FILE), format!("search {}\n", domains(33, 3).join(" ")).as_bytes());
        let many =
            format!("Resolv.conf file '{FILE}' contains search line consisting of more than 32 domains!");
        assert_eq!(let_pass(PERIOD).await, [missing(2), (many, 1)]);
        let event = &events.list()[1];
        assert_eq!((event.reason.as_str(), event.kind.as_str()), (REASON, "Warning"));
        stop.cancel();
        task.await;
    }
}
