"""Where things lie inside the container. Only the run folder is shared with the host; the rest is in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """All paths of one session, derived from three roots."""

    run: Path = Path("/run/ccdtasks")
    home: Path = Path("/home/agent")
    scratch: Path = Path("/home/agent/.session")
    image: Path = Path("/opt/ccdtasks")

    @property
    def job(self) -> Path:
        return self.run / "host/job.json"

    @property
    def inputs(self) -> Path:
        return self.run / "host/inputs"

    @property
    def model_socket(self) -> Path:
        return self.run / "host/model.sock"

    @property
    def egress_socket(self) -> Path:
        return self.run / "host/egress.sock"

    @property
    def guest(self) -> Path:
        return self.run / "guest"

    @property
    def out(self) -> Path:
        return self.guest / "out"

    @property
    def logs(self) -> Path:
        return self.out / "logs"

    @property
    def result(self) -> Path:
        return self.guest / "result.json"

    @property
    def agent_state(self) -> Path:
        """The CLI's transcripts. They outlive the container, so that a later attempt can go on from them."""
        return self.guest / "claude"

    @property
    def work(self) -> Path:
        """The agent's working folder. Always the same: the CLI finds the transcript to resume by this path."""
        return self.home / "work"

    @property
    def profile(self) -> Path:
        """Chromium's user data; the host may mount a kept profile here."""
        return self.home / "profile"

    @property
    def mcp_socket(self) -> Path:
        return self.scratch / "mcp.sock"

    def make_folders(self) -> None:
        """Create what the session writes into; the run folder's own `guest/` comes from the host."""
        for folder in (self.logs, self.agent_state, self.work / "downloads", self.profile, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        # The host moves this folder to a later attempt; rootless it is another user, and moving takes writing.
        self.agent_state.chmod(0o777)
