//! A registry with a password, on a port of this machine, and ways to it that are slow.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::runtime::Runtime;

/// Who is given images.
pub(crate) const USER: &str = "tester";
pub(crate) const PASSWORD: &str = "let-me-in";
/// Of the password, by bcrypt at its lowest cost.
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuu3Jd./u/rH1RxB6auX5v7gLP6uWhKCgG";
/// An image that every containerd of the tests has.
const SOURCE: &str = "pinnace.local/busybox:1.35";

/// Debian's docker-registry; its process ends when it is dropped.
pub(crate) struct Registry {
    /// `127.0.0.1:port`.
    pub(crate) host: String,
    process: Child,
    _dir: TempDir,
}

impl Registry {
    /// A fresh, empty one.
    pub(crate) fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("pinnace-registry-").tempdir().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("its address").to_string();
        drop(listener);
        let (passwords, config) = (dir.path().join("htpasswd"), dir.path().join("config.yml"));
        fs::write(&passwords, format!("{USER}:{HASH}\n")).expect("passwords");
        let settings = json!({
            "version": 0.1, "log": { "level": "warn" },
            "storage": { "filesystem": { "rootdirectory": dir.path().join("images") } },
            "http": { "addr": host },
            "auth": { "htpasswd": { "realm": "tests", "path": passwords } },
        });
        fs::write(&config, settings.to_string()).expect("a configuration");
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv of util-linux starts Debian's docker-registry");
        let began = Instant::now();
        while TcpStream::connect(&host).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "the registry does not listen on {host}");
            thread::sleep(Duration::from_millis(50));
        }
        Self { host, process, _dir: dir }
    }

    /// Puts an image there whose blobs the runtime has, but not its name.
    pub(crate) fn push(&self, runtime: &Runtime, path: &str) -> String {
        let image = format!("{}/{path}", self.host);
        ctr(runtime, &["images", "tag", SOURCE, &image]);
        ctr(runtime, &["images", "push", "--plain-http", "--user", &format!("{USER}:{PASSWORD}"), &image]);
        forget(runtime, &image);
        image
    }

    /// Puts an image there of which the runtime has nothing: one layer of so many bytes that nothing compresses.
    pub(crate) fn push_new(&self, runtime: &Runtime, path: &str, bytes: u64) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let local = format!("pinnace.local/new-{}:1", self.host.replace([':', '.'], "-"));
        let archive = archive(dir.path(), &local, bytes);
        // Not where CRI looks: it would keep a name of its own for the image, and with it the layer.
        let ctr = |args: &[&str]| ctr_in(runtime, "pinnace-registry", args);
        ctr(&["images", "import", &archive]);
        let image = format!("{}/{path}", self.host);
        ctr(&["images", "tag", &local, &image]);
        ctr(&["images", "push", "--plain-http", "--user", &format!("{USER}:{PASSWORD}"), &image]);
        ctr(&["images", "rm", "--sync", &image]);
        ctr(&["images", "rm", "--sync", &local]);
        image
    }

    /// A Secret with a login for a host; the right one unless another password is named.
    pub(crate) fn secret(name: &str, host: &str, password: Option<&str>) -> Value {
        let auth = STANDARD.encode(format!("{USER}:{}", password.unwrap_or(PASSWORD)));
        let config = json!({ "auths": { host: { "auth": auth } } }).to_string();
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "type": "kubernetes.io/dockerconfigjson", "stringData": { ".dockerconfigjson": config },
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A docker archive with an image of this name.
fn archive(dir: &Path, name: &str, bytes: u64) -> String {
    let tar = |args: &[&str]| {
        let done = Command::new("tar").current_dir(dir).args(args).status().expect("tar runs");
        assert!(done.success(), "tar {args:?}");
    };
    let mut random = fs::File::open("/dev/urandom").expect("random bytes").take(bytes);
    let mut file = fs::File::create(dir.join("file")).expect("a file");
    std::io::copy(&mut random, &mut file).expect("a file of random bytes");
    tar(&["-cf", "layer.tar", "file"]);
    let layer = fs::read(dir.join("layer.tar")).expect("the layer");
    let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
    fs::write(dir.join("config.json"), config.to_string()).expect("a configuration");
    fs::write(dir.join("manifest.json"), manifest.to_string()).expect("a manifest");
    tar(&["-cf", "image.tar", "manifest.json", "config.json", "layer.tar"]);
    dir.join("image.tar").to_string_lossy().into_owned()
}

/// Takes an image's name from the runtime.
pub(crate) fn forget(runtime: &Runtime, image: &str) {
    ctr(runtime, &["images", "rm", "--sync", image]);
}

fn ctr(runtime: &Runtime, args: &[&str]) {
    ctr_in(runtime, "k8s.io", args);
}

fn ctr_in(runtime: &Runtime, namespace: &str, args: &[&str]) {
    let socket = runtime.endpoint.trim_start_matches("unix://");
    let output =
        Command::new("ctr").args(["-a", socket, "-n", namespace]).args(args).output().expect("ctr runs");
    assert!(output.status.success(), "ctr {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A port where connections are taken and nothing ever comes.
pub(crate) fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("its address").to_string();
    // Lives as long as the tests' process.
    thread::spawn(move || {
        let mut held = Vec::new();
        for connection in listener.incoming() {
            held.push(connection);
        }
    });
    host
}

/// Another port of a registry, from which at most so many bytes come in a second.
pub(crate) fn slowed(registry: &str, per_second: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("its address").to_string();
    let registry = registry.to_owned();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (Ok(client), Ok(server)) = (connection, TcpStream::connect(&registry)) else { continue };
            let (client_again, server_again) = (client.try_clone(), server.try_clone());
            thread::spawn(move || copy(client, server, usize::MAX));
            if let (Ok(client), Ok(server)) = (client_again, server_again) {
                thread::spawn(move || copy(server, client, per_second));
            }
        }
    });
    host
}

/// Another port of a registry, where each connection goes silent after so many bytes until the way is open.
pub(crate) fn stalling(registry: &str, bytes: usize) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("its address").to_string();
    let (registry, open) = (registry.to_owned(), Arc::new(AtomicBool::new(false)));
    let is_open = Arc::clone(&open);
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (Ok(client), Ok(server)) = (connection, TcpStream::connect(&registry)) else { continue };
            let (client_again, server_again) = (client.try_clone(), server.try_clone());
            thread::spawn(move || copy(client, server, usize::MAX));
            let is_open = Arc::clone(&is_open);
            if let (Ok(client), Ok(server)) = (client_again, server_again) {
                thread::spawn(move || copy_some(server, client, bytes, &is_open));
            }
        }
    });
    (host, open)
}

/// Copies so many bytes, and all that comes once the way is open. What is held back is held for ever.
fn copy_some(mut from: TcpStream, mut to: TcpStream, bytes: usize, is_open: &AtomicBool) {
    let (mut buffer, mut left) = (vec![0; 1 << 14], bytes);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if count > left && !is_open.load(Ordering::Relaxed) {
            loop {
                thread::park();
            }
        }
        left = left.saturating_sub(count);
        let Some(part) = buffer.get(..count) else { break };
        if to.write_all(part).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Copies until either side closes.
fn copy(mut from: TcpStream, mut to: TcpStream, per_second: usize) {
    let mut bytes = vec![0; (per_second / 10).clamp(1, 1 << 16)];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let Some(part) = bytes.get(..count) else { break };
        if to.write_all(part).is_err() {
            break;
        }
        if per_second != usize::MAX {
            thread::sleep(Duration::from_millis(100));
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
