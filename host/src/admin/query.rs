//! The parameters of a request to the admin API.

use http::Request;
use percent_encoding::percent_decode_str;

use crate::config::parse_share;
use crate::deployer::CanaryWanted;
use crate::history::Sticky;

/// Names and values, decoded.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let decode =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = request.uri().query().unwrap_or_default().split('&');
        Self(pairs.filter_map(|pair| pair.split_once('=')).map(|(k, v)| (decode(k), decode(v))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What is wanted of a canary, if one is; or a sentence about what is wrong.
    pub(super) fn canary(&self) -> Result<Option<CanaryWanted>, String> {
        let Some(share) = self.get("canary") else { return Ok(None) };
        let share = parse_share(share).map_err(|wanted| format!("`canary`: `{share}`: {wanted}"))?;
        let sticky = match self.get("sticky").map(|text| text.split_once(':').unwrap_or((text, ""))) {
            None | Some(("client", "")) => Sticky::Client,
            Some(("header", name)) if http::HeaderName::from_bytes(name.as_bytes()).is_ok() => {
                Sticky::Header(name.to_owned())
            }
            Some(("cookie", name)) if !name.is_empty() => Sticky::Cookie(name.to_owned()),
            Some(_) => return Err("`sticky` is client, header:NAME or cookie:NAME".to_owned()),
        };
        let seconds = |text: &str| {
            let number = text.parse().ok().filter(|seconds| *seconds > 0);
            number.ok_or_else(|| format!("`promote_after`: `{text}` is no number of seconds from 1 on"))
        };
        let promote_after_s = self.get("promote_after").map(seconds).transpose()?;
        Ok(Some(CanaryWanted { share, sticky, promote_after_s }))
    }
}
