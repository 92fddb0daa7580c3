//! How images are got on a real machine: the configuration, the machine's files, and the programs of providers.

use std::path::PathBuf;

use super::{StartError, machine};
use crate::config::effective::Config;
use crate::config::images::ImagePulls;
use crate::image::Settings;
use crate::image::keyring::node::Places;
use crate::image::plugin::{self, Plugins};

/// Reads the providers; what is wrong with them ends the start, as every fault of the configuration.
pub(super) fn settings(config: &Config) -> Result<Settings, StartError> {
    let ImagePulls { policy, per_second, burst, providers, provider_tokens } = config.image_pulls.clone();
    let plugins = match providers {
        Some((config, programs)) => plugin::config::load(&config, &programs, provider_tokens)?,
        None => Plugins::default(),
    };
    let directory = std::env::current_dir().map_err(|source| machine("the working directory", source))?;
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let places = Some(Places::new(&config.root_dir, &directory, home.as_deref()));
    Ok(Settings { parallel: config.parallel_image_pulls, per_second, burst, policy, places, plugins })
}
