//! Calls about images.

use super::{Client, answer, gone_is_done};
use crate::call::Call;
use crate::error::Error;
use crate::image::Image;
use crate::v1;
use crate::wire::Valid;

impl Client {
    /// All images, or those that match `filter`.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn list_images(&self, filter: Option<v1::ImageFilter>) -> Result<Valid<Image>, Error> {
        let request = v1::ListImagesRequest { filter };
        let answered =
            answer(Call::ListImages, self.deadlines.inspect, self.image().list_images(request)).await;
        Ok(Valid::from_wire(answered?.images))
    }

    /// One image; none if it is not here.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn image_status(&self, image: v1::ImageSpec) -> Result<Option<Image>, Error> {
        let request = v1::ImageStatusRequest { image: Some(image), verbose: false };
        let call = Call::ImageStatus;
        match answer(call, self.deadlines.inspect, self.image().image_status(request)).await {
            Ok(answer) => {
                answer.image.map(Image::try_from).transpose().map_err(|why| Error::invalid(call, why))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Pulls an image, and returns the reference that containers are to be made with.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn pull_image(
        &self,
        image: v1::ImageSpec,
        auth: Option<v1::AuthConfig>,
        sandbox_config: Option<v1::PodSandboxConfig>,
    ) -> Result<String, Error> {
        let request = v1::PullImageRequest { image: Some(image), auth, sandbox_config };
        let answered = answer(Call::PullImage, self.deadlines.pull, self.image().pull_image(request)).await;
        Ok(answered?.image_ref)
    }

    /// Removes an image. Succeeds for one that is gone.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn remove_image(&self, image: v1::ImageSpec) -> Result<(), Error> {
        let request = v1::RemoveImageRequest { image: Some(image) };
        let answered =
            answer(Call::RemoveImage, self.deadlines.request, self.image().remove_image(request)).await;
        gone_is_done(answered)
    }

    /// Use of the file systems that hold images and writable layers.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn image_fs_info(&self) -> Result<v1::ImageFsInfoResponse, Error> {
        let request = v1::ImageFsInfoRequest {};
        answer(Call::ImageFsInfo, self.deadlines.inspect, self.image().image_fs_info(request)).await
    }
}
