//! Images that are there, and images that are not.

use std::sync::Arc;

use pinnace_cri::v1::ImageSpec;

use crate::bench::{Bench, Failure, Outcome, check};

pub(crate) async fn an_image_is_known_by_its_name_or_not_at_all(bench: Arc<Bench>) -> Outcome {
    let spec = |image: &str| ImageSpec { image: image.to_owned(), ..Default::default() };
    let Some(image) = bench.client.image_status(spec(&bench.target.image)).await? else {
        return Err(Failure(format!("{} is not there", bench.target.image)));
    };
    check!(image.repo_tags.contains(&bench.target.image), "{image:?}");
    let by_id = bench.client.image_status(spec(image.id.as_str())).await?;
    check!(by_id.as_ref().is_some_and(|found| found.id == image.id), "{by_id:?}");
    let all = bench.client.list_images(None).await?.items;
    check!(all.iter().any(|found| found.id == image.id), "{all:?}");
    let absent = bench.client.image_status(spec("pinnace.local/absent:1")).await?;
    check!(absent.is_none(), "{absent:?}");
    bench.client.remove_image(spec("pinnace.local/absent:1")).await?;
    Ok(())
}
