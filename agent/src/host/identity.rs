//! Reads what names the machine and its system. Pure.

/// The architecture in Go's words, which labels, images and `nodeInfo` use. Others keep their own name.
#[must_use]
pub fn go_arch(rust_arch: &'static str) -> &'static str {
    match rust_arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// What the system calls itself, from `os-release`; `Linux` if it does not say.
#[must_use]
pub fn os_image(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let value = value.map(|value| value.trim().trim_matches(['"', '\'']));
    value.filter(|value| !value.is_empty()).unwrap_or("Linux").to_owned()
}

/// An id from a file that holds nothing else; none if it is empty or says that it is not set yet, as
/// `/etc/machine-id` does during a first boot.
#[must_use]
pub fn id(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('\0');
    (!text.is_empty() && text != "uninitialized").then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pretty_name_is_unquoted() {
        let debian = "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n";
        assert_eq!(os_image(debian), "Debian GNU/Linux 13 (trixie)");
        assert_eq!(os_image("PRETTY_NAME=Alpine\n"), "Alpine");
        assert_eq!(os_image("ID=x"), "Linux");
        assert_eq!(os_image("PRETTY_NAME=\"\""), "Linux");
    }

    #[test]
    fn ids_are_bare_or_missing() {
        assert_eq!(id("3d12\n"), Some("3d12".to_owned()));
        assert_eq!(id(" \n"), None);
        assert_eq!(id("uninitialized\n"), None);
    }

    #[test]
    fn architectures_have_gos_names() {
        assert_eq!(
            (go_arch("x86_64"), go_arch("aarch64"), go_arch("riscv64")),
            ("amd64", "arm64", "riscv64")
        );
    }
}
