//! The calls of the image service.

use futures::StreamExt;
use futures::stream;
use tonic::codegen::BoxStream;
use tonic::{Request, Status};

use super::Fake;
use super::image::normal;
use super::lists::pieces;
use super::lock::lock;
use super::select::Subject;
use super::services::{Answer, Services};
use crate::call::Call;
use crate::v1::image_service_server::ImageService;
use crate::v1::*;

/// Size of a pulled image.
const PULLED_BYTES: u64 = 4 * 1024 * 1024;
/// Inodes per image: any number that is not zero.
const INODES_PER_IMAGE: u64 = 100;

fn about(image: Option<&ImageSpec>) -> Subject {
    Subject { image: image.map(|spec| spec.image.clone()), ..Subject::default() }
}

fn wanted(filter: Option<ImageFilter>) -> String {
    filter.and_then(|filter| filter.image).map(|spec| spec.image).unwrap_or_default()
}

impl Fake {
    async fn pull(&self, spec: ImageSpec, auth: AuthConfig) -> Result<PullImageResponse, Status> {
        let script = lock(&self.inner.scripts).pulls.find(&about(Some(&spec))).unwrap_or_default();
        if !script.takes.is_zero() {
            tokio::time::sleep(script.takes).await;
        }
        if let Some((code, text)) = script.error {
            return Err(Status::new(code, text));
        }
        let login = lock(&self.inner.scripts).logins.find(&about(Some(&spec)));
        if login.is_some_and(|login| login != (auth.username, auth.password)) {
            let name = normal(&spec.image);
            return Err(Status::unknown(format!(
                "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials"
            )));
        }
        let mut state = lock(&self.inner.state);
        if state.images.find(&spec.image).is_none() && !state.switches.pull_any_image {
            let name = normal(&spec.image);
            return Err(Status::not_found(format!(
                "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
            )));
        }
        let image_ref = state.images.add(&spec.image, PULLED_BYTES);
        Ok(PullImageResponse { image_ref })
    }

    fn image_usage(&self) -> FilesystemUsage {
        let state = lock(&self.inner.state);
        let images = u64::try_from(state.images.list("").len()).unwrap_or(u64::MAX);
        FilesystemUsage {
            timestamp: state.wall(),
            fs_id: Some(FilesystemIdentifier {
                mountpoint: self.inner.options.root.to_string_lossy().into_owned(),
            }),
            used_bytes: Some(UInt64Value { value: state.images.total_bytes() }),
            inodes_used: Some(UInt64Value { value: images.saturating_mul(INODES_PER_IMAGE) }),
        }
    }
}

#[tonic::async_trait]
impl ImageService for Services {
    async fn list_images(&self, request: Request<ListImagesRequest>) -> Answer<ListImagesResponse> {
        let (fake, wanted) = (self.0.clone(), wanted(request.into_inner().filter));
        self.plain(Call::ListImages)
            .run(async move { Ok(ListImagesResponse { images: lock(&fake.inner.state).images.list(&wanted) }) })
            .await
    }

    async fn stream_images(
        &self,
        request: Request<StreamImagesRequest>,
    ) -> Answer<BoxStream<StreamImagesResponse>> {
        let (fake, wanted) = (self.0.clone(), wanted(request.into_inner().filter));
        self.plain(Call::ListImages)
            .run(async move {
                fake.streams_lists()?;
                let records = lock(&fake.inner.state).images.list(&wanted);
                let parts = pieces(&records, |images| StreamImagesResponse { images });
                Ok(stream::iter(parts).boxed() as BoxStream<_>)
            })
            .await
    }

    async fn image_status(&self, request: Request<ImageStatusRequest>) -> Answer<ImageStatusResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.0.begin(Call::ImageStatus, about(request.image.as_ref()), String::new());
        call.run(async move {
            let name = request.image.unwrap_or_default().image;
            let image = lock(&fake.inner.state).images.find(&name).cloned();
            Ok(ImageStatusResponse { image, ..Default::default() })
        })
        .await
    }

    async fn pull_image(&self, request: Request<PullImageRequest>) -> Answer<PullImageResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.0.begin(Call::PullImage, about(request.image.as_ref()), String::new());
        call.run(async move {
            fake.pull(request.image.unwrap_or_default(), request.auth.unwrap_or_default()).await
        })
        .await
    }

    async fn remove_image(&self, request: Request<RemoveImageRequest>) -> Answer<RemoveImageResponse> {
        let (fake, request) = (self.0.clone(), request.into_inner());
        let call = self.0.begin(Call::RemoveImage, about(request.image.as_ref()), String::new());
        call.run(async move {
            lock(&fake.inner.state).images.remove(&request.image.unwrap_or_default().image);
            Ok(RemoveImageResponse {})
        })
        .await
    }

    async fn image_fs_info(&self, _: Request<ImageFsInfoRequest>) -> Answer<ImageFsInfoResponse> {
        let fake = self.0.clone();
        self.plain(Call::ImageFsInfo)
            .run(async move {
                let usage = fake.image_usage();
                Ok(ImageFsInfoResponse {
                    image_filesystems: vec![usage.clone()],
                    container_filesystems: vec![usage],
                })
            })
            .await
    }
}
