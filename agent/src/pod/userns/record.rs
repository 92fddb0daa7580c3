//! The kubelet's record of a pod's user namespace, `pods/<uid>/userns` (`pkg/kubelet/userns`). Pure.

use serde::{Deserialize, Serialize};

use super::blocks::{Block, UNIT};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    host_id: u32,
    container_id: u32,
    length: u32,
}

/// The file's text.
#[must_use]
pub fn text(block: Block) -> String {
    let run = Mapping { host_id: block.first, container_id: 0, length: block.length };
    let record = Record { uid_mappings: vec![run], gid_mappings: vec![run] };
    // Numbers and lists of them cannot fail.
    serde_json::to_string(&record).unwrap_or_default()
}

/// What the file says; the error says why it cannot be what a kubelet or this agent wrote.
pub fn parse(text: &[u8]) -> Result<Block, String> {
    let record: Record = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let ([users], [groups]) = (record.uid_mappings.as_slice(), record.gid_mappings.as_slice()) else {
        return Err("it does not have one mapping of users and one of groups".to_owned());
    };
    if users != groups {
        return Err("users and groups differ".to_owned());
    }
    let Mapping { host_id, container_id, length } = *users;
    let whole = |number: u32| number > 0 && number.is_multiple_of(UNIT);
    if container_id != 0 || !whole(host_id) || !whole(length) || host_id.checked_add(length).is_none() {
        return Err(format!("{length} ids from {host_id} on as {container_id} are no block"));
    }
    Ok(Block { first: host_id, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_kubelets_shape() {
        let block = Block { first: 131_072, length: UNIT };
        let wanted = r#"{"uidMappings":[{"hostId":131072,"containerId":0,"length":65536}],"gidMappings":[{"hostId":131072,"containerId":0,"length":65536}]}"#;
        assert_eq!(text(block), wanted);
        assert_eq!(parse(wanted.as_bytes()), Ok(block));
    }

    #[test]
    fn what_nobody_wrote_is_refused() {
        let with =
            |users: &str, groups: &str| format!("{{\"uidMappings\":[{users}],\"gidMappings\":[{groups}]}}");
        let run = |host: u32, inside: u32, length: u32| {
            format!("{{\"hostId\":{host},\"containerId\":{inside},\"length\":{length}}}")
        };
        let good = run(65_536, 0, 65_536);
        assert!(parse(with(&good, &good).as_bytes()).is_ok());
        for bad in [
            run(0, 0, 65_536),
            run(65_536, 1, 65_536),
            run(65_536, 0, 1000),
            run(65_537, 0, 65_536),
            run(4_294_901_760, 0, 65_536),
        ] {
            assert!(parse(with(&bad, &bad).as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(with(&good, &run(131_072, 0, 65_536)).as_bytes()).is_err());
        assert!(parse(with("", "").as_bytes()).is_err());
        assert!(parse(b"").is_err() && parse(b"{").is_err() && parse(b"{}").is_err());
    }
}
