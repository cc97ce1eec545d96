"""Links that open one thing without a login, until they expire: the report of a run, a file of a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from ccdtasks.config import Config
from ccdtasks.core.vault import BadLink, ExpiredLink, Vault
from ccdtasks.times import Clock

_RUN = "link:run"
_FILE = "link:file"


class Links:
    """Makes links below `[server] public_url` that work for `[storage] link_ttl_s`, and checks them later.

    Opening one consumes nothing: Discord's own link preview opens them too.
    """

    def __init__(self, vault: Vault, clock: Clock, config: Config) -> None:
        self._vault = vault
        self._clock = clock
        self._public_url = (config.server.public_url or "").rstrip("/") if config.server.enabled else ""
        self._ttl = timedelta(seconds=config.storage.link_ttl_s)

    def run(self, run_id: UUID) -> str | None:
        """The link to the report of a run; None where no `public_url` is configured."""
        return self._public(self.run_path(run_id))

    def file(self, artifact_id: UUID) -> str | None:
        """The link to a file of a run; None where no `public_url` is configured."""
        return self._public(self.file_path(artifact_id))

    def run_path(self, run_id: UUID, until: datetime | None = None) -> str:
        """The same without the host: for pages of ours. `until`: when the link ends that leads to such a page."""
        return f"/r/{run_id}?t={self._token(_RUN, run_id, until)}"

    def file_path(self, artifact_id: UUID, until: datetime | None = None) -> str:
        """The same without the host: for pages of ours. `until`: when the link ends that leads to such a page."""
        return f"/files/{artifact_id}?t={self._token(_FILE, artifact_id, until)}"

    def require_run(self, run_id: UUID, token: str) -> datetime:
        """Until when `token` opens this run. Raises BadLink or ExpiredLink when it does not."""
        try:
            return self._require(_RUN, run_id, token)
        except (BadLink, ExpiredLink) as error:
            raise type(error)(error.message, "press View Full Report again, in Discord") from None

    def require_file(self, artifact_id: UUID, token: str) -> None:
        """Raises BadLink or ExpiredLink unless `token` opens this file."""
        try:
            self._require(_FILE, artifact_id, token)
        except (BadLink, ExpiredLink) as error:
            raise type(error)(error.message, "in Discord, /task-files gives a new one") from None

    def _public(self, path: str) -> str | None:
        return self._public_url + path if self._public_url else None

    def _token(self, purpose: str, thing_id: UUID, until: datetime | None = None) -> str:
        until = until or self._clock.now() + self._ttl
        return self._vault.sign(f"{purpose}:{thing_id}", f"{int(until.timestamp())}", until)

    def _require(self, purpose: str, thing_id: UUID, token: str) -> datetime:
        until = self._vault.read(f"{purpose}:{thing_id}", token, self._clock.now())
        return datetime.fromtimestamp(int(until), UTC)
