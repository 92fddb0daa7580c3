//! The calls of CRI by name: what errors say and what metrics count by.

use std::fmt;

macro_rules! calls {
    ($($name:ident: $words:literal,)*) => {
        /// One RPC of `runtime.v1.RuntimeService` or `runtime.v1.ImageService`, or `Subscribe` of containerd's events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Call {
            $(
                #[doc = concat!("The RPC `", stringify!($name), "`.")]
                $name,
            )*
        }

        impl Call {
            /// Every call that the client makes.
            pub const ALL: &[Call] = &[$(Call::$name),*];

            /// The name of the RPC, such as `RunPodSandbox`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Call::$name => stringify!($name),)*
                }
            }

            /// What it does, for a sentence that begins with "failed to".
            #[must_use]
            pub fn words(self) -> &'static str {
                match self {
                    $(Call::$name => $words,)*
                }
            }
        }
    };
}

calls! {
    Version: "get the runtime's version",
    Status: "get the runtime's status",
    RuntimeConfig: "get the runtime's configuration",
    UpdateRuntimeConfig: "update the runtime's configuration",
    RunPodSandbox: "run pod sandbox",
    StopPodSandbox: "stop pod sandbox",
    RemovePodSandbox: "remove pod sandbox",
    PodSandboxStatus: "get the status of pod sandbox",
    ListPodSandbox: "list pod sandboxes",
    StreamPodSandboxes: "list pod sandboxes in pieces",
    UpdatePodSandboxResources: "update the resources of pod sandbox",
    PortForward: "prepare port forwarding",
    CreateContainer: "create container",
    StartContainer: "start container",
    StopContainer: "stop container",
    RemoveContainer: "remove container",
    ContainerStatus: "get the status of container",
    ListContainers: "list containers",
    StreamContainers: "list containers in pieces",
    UpdateContainerResources: "update the resources of container",
    ReopenContainerLog: "reopen the log of container",
    CheckpointContainer: "checkpoint container",
    ExecSync: "run command in container",
    Exec: "prepare a command in container",
    Attach: "prepare attaching to container",
    ContainerStats: "get the usage of container",
    ListContainerStats: "list the usage of containers",
    PodSandboxStats: "get the usage of pod sandbox",
    ListPodSandboxStats: "list the usage of pod sandboxes",
    GetContainerEvents: "read container events",
    SubscribeTaskEvents: "read containerd's own events",
    ListImages: "list images",
    ImageStatus: "get the status of image",
    PullImage: "pull image",
    RemoveImage: "remove image",
    ImageFsInfo: "get the use of image file systems",
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
