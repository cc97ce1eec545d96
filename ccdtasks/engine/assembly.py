"""Puts the parts of the engine together over an open core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from ccdtasks.adapters.painter import Painter
from ccdtasks.adapters.podman import Podman, find_socket
from ccdtasks.adapters.pushover import Pushover
from ccdtasks.adapters.s3 import S3Store
from ccdtasks.adapters.seccomp import write_session_profile
from ccdtasks.adapters.storage import LocalStore
from ccdtasks.config import ClaudeConfig, Config
from ccdtasks.core import Core
from ccdtasks.core.runs.shapes import SPOOL
from ccdtasks.engine.cleaning import Cleaner
from ccdtasks.engine.folder import RunFolders
from ccdtasks.engine.keeping import ArtifactStore, Keeper
from ccdtasks.engine.parts import Parts, Patience, read_boot_id
from ccdtasks.engine.purses import Purses
from ccdtasks.gateways.egress import EgressGateway
from ccdtasks.gateways.model import Credential, ModelGateway
from ccdtasks.gateways.prices import PriceTable
from ccdtasks.gateways.resolver import Resolve

_THREADS = 4


@asynccontextmanager
async def open_parts(
    core: Core, patience: Patience | None = None, resolve: Resolve | None = None
) -> AsyncIterator[Parts]:
    """The parts that runs share. Needs neither Podman nor the store to answer. `resolve`: names for the egress gateway.

    Raises Invalid for a data folder whose path is too long, Unavailable for one that cannot be written, and for a host
    without a seccomp profile to derive ours from.
    """
    config = core.config
    async with AsyncExitStack() as stack:
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="folders")
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        instance_id = await core.facts.instance_id()
        folders = RunFolders(config.paths.data_dir / "runs", config.limits.run_folder_mib, instance_id)
        folders.prepare()
        seccomp_profile = config.paths.data_dir / "seccomp.json"
        write_session_profile(seccomp_profile)
        podman = Podman(find_socket(config.podman.socket), counters=core.counters)
        stack.push_async_callback(podman.close)
        keeper = await stack.enter_async_context(open_keeper(core, threads))
        model = ModelGateway(credential(config.claude), config.claude.base_url, price_table(config.claude))
        stack.push_async_callback(model.close)
        pushover = open_pushover(config)
        stack.push_async_callback(pushover.close)
        cleaner = Cleaner(
            podman,
            folders,
            image=config.podman.image,
            seccomp_profile=seccomp_profile,
            labels={"ccdtasks.instance": instance_id},
        )
        yield Parts(
            core=core,
            podman=podman,
            folders=folders,
            cleaner=cleaner,
            keeper=keeper,
            model=model,
            egress=EgressGateway(resolve=resolve, model_hosts=(urlsplit(config.claude.base_url).hostname or "",)),
            purses=Purses(core.budgets, core.clock),
            pushover=pushover,
            painter=Painter(config.paths.data_dir / "cache" / "pictures"),
            seccomp_profile=seccomp_profile,
            instance_id=instance_id,
            boot_id=read_boot_id(),
            threads=threads,
            patience=patience or Patience(),
        )


def open_pushover(config: Config) -> Pushover:
    """The client of `[pushover]`, for the whole process: Pushover wants no more than two connections from one."""
    token = config.pushover.token
    return Pushover(token.get_secret_value() if token else None, config.pushover.api_url)


@asynccontextmanager
async def open_keeper(core: Core, threads: Executor) -> AsyncIterator[Keeper]:
    """The keeper of artifacts over the store that the configuration names, with a spool before a remote one."""
    store = open_store(core.config)
    spool = None if isinstance(store, LocalStore) else LocalStore(core.config.paths.data_dir / SPOOL)
    try:
        yield Keeper(core, store, spool, threads)
    finally:
        await store.close()
        if spool is not None:
            await spool.close()


def open_store(config: Config) -> ArtifactStore:
    """The store of artifacts that the configuration names. Makes no connection yet."""
    storage = config.storage
    if storage.kind == "local":
        return LocalStore(storage.path or config.paths.data_dir / "artifacts")
    return S3Store(
        bucket=storage.bucket or "",
        endpoint_url=storage.endpoint_url,
        region=storage.region,
        access_key=storage.access_key.get_secret_value() if storage.access_key else None,
        secret_key=storage.secret_key.get_secret_value() if storage.secret_key else None,
    )


def price_table(claude: ClaudeConfig) -> PriceTable:
    """The list prices, with those of the configuration in front."""
    given = {model: price.model_dump(exclude_none=True) for model, price in claude.prices.items()}
    return PriceTable(given)


def credential(claude: ClaudeConfig) -> Credential | None:
    """The real credential for the model API, None when none is configured."""
    if claude.oauth_token is not None:
        return Credential("oauth_token", claude.oauth_token.get_secret_value())
    if claude.api_key is not None:
        return Credential("api_key", claude.api_key.get_secret_value())
    return None
