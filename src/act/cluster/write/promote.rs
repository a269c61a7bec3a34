//! The end of a pause of a controller's own.

use kube::{
    Error,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Attempt, Link, RACES, annotation, failure, fields, kind};
use crate::{act::WriteError, decide::command::Promote};

/// Makes one attempt to let a target go on.
pub(in crate::act::cluster) async fn promote(
    link: &Link,
    promote: &Promote,
    epoch: u64,
) -> Result<(), WriteError> {
    let write = &promote.write;
    let kind = kind::of(&write.target.kind)
        .ok_or_else(|| WriteError::Refused(kind::stranger(&write.target)))?;
    let client = link.client().await.map_err(WriteError::Unreachable)?;
    let attempt = Attempt { link, client, write, epoch, kind: &*kind };
    for _ in 0..RACES {
        if attempt.end_pause(promote).await? {
            return Ok(());
        }
    }
    let name = &write.target.name;
    Err(WriteError::Unreachable(format!("{name} was changed by others {RACES} times in a row")))
}

impl Attempt<'_> {
    /// Whether it is over with; it is not where the object changed in between.
    async fn end_pause(&self, promote: &Promote) -> Result<bool, WriteError> {
        let (named, seen, request) = self.look().await?;
        let carrier = seen.carrier();
        request.may_touch(carrier)?;
        let carries = fields::annotation(carrier, annotation::INTENT);
        if carries != Some(promote.intent.as_str()) {
            let carries = carries.unwrap_or("none");
            return Err(request.refuse(format!(
                "carries the intent {carries} by now, not {}: the word was about another write",
                promote.intent
            )));
        }
        // It has gone on: by itself, or because somebody, perhaps we, said so before.
        let standing = self.kind.pause(&seen).filter(|here| here.pause.id == promote.pause);
        let Some(standing) = standing else { return Ok(true) };
        let mut word = standing.word;
        // Only what was looked at: another pause may have begun.
        word["metadata"] = json!({"resourceVersion": seen.subject.metadata.resource_version});
        tracing::info!(key = %self.write.key, at = standing.pause.at, "ending a pause");
        let api = self.api(&named.resource);
        match api.patch_status(&named.name, &PatchParams::default(), &Patch::Merge(word)).await {
            Ok(_) => Ok(true),
            Err(Error::Api(answer)) if failure::is_race(&answer) => Ok(false),
            Err(error) => Err(self.fail(&error, "patch of status", &named.resource).await),
        }
    }
}
