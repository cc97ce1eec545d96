"""The closed vocabularies of the database, stored as text."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands. `scheduled` is the spec's word for a run that is planned but not yet due."""

    SCHEDULED = "scheduled"
    WAITING_DEPENDENCY = "waiting_dependency"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    NEEDS_HUMAN = "needs_human"
    COLLECTING = "collecting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Trigger(StrEnum):
    """Why a run exists."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    DEPENDENCY = "dependency"
    RETRY = "retry"


class Reason(StrEnum):
    """Why a run did not complete (design, section 4)."""

    TIMEOUT = "timeout"
    BUDGET = "budget"
    BLOCKED = "blocked"
    LOGIN_REQUIRED = "login_required"
    UNCLEAR_RESULT = "unclear_result"
    AGENT_ERROR = "agent_error"
    MODEL_AUTH = "model_auth"
    MODEL_UNAVAILABLE = "model_unavailable"
    SESSION_CRASHED = "session_crashed"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    LOST = "lost"
    IMAGE_MISSING = "image_missing"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    DEPENDENCY_FAILED = "dependency_failed"
    INTERRUPTED = "interrupted"


class Effect(StrEnum):
    """What a task does to the world: an `acts` run that reached `running` is never repeated without a person."""

    READS = "reads"
    ACTS = "acts"


class MessageType(StrEnum):
    """What a message in Discord is about (the spec's words, and `live_card`, `run_opening`)."""

    RUN_OPENING = "run_opening"
    LIVE_CARD = "live_card"
    TASK_START = "task_start"
    TASK_PROGRESS = "task_progress"
    TASK_COMPLETE = "task_complete"
    TASK_ERROR = "task_error"
    ASK_USER = "ask_user"
    HUMAN_NEEDED = "human_needed"
    NOTIFICATION = "notification"
    RESULT = "result"


class Delivery(StrEnum):
    """How far a row of the outbox has come. `delivered` means that we hold a message id for this revision."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class ArtifactKind(StrEnum):
    """What a file of a run is."""

    SCREENSHOT = "screenshot"
    TABLE = "table"
    RESULT = "result"
    DOWNLOAD = "download"
    LOG = "log"
    CHART = "chart"


class ArtifactState(StrEnum):
    """Where an artifact lies: in the run folder still, in the store, or lost with a reason."""

    LOCAL = "local"
    STORED = "stored"
    MISSING = "missing"
