"""Builds the session image from its recipe with the `podman build` command."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

from ccdtasks import __version__
from ccdtasks.errors import Unavailable

CONTENT_LABEL = "ccdtasks.content"
"""The label that says from which recipe an image was built."""

_CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
)
_CA_VARIABLES = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_TAIL_LINES = 12


def find_recipe() -> Path:
    """The folder with the Containerfile: of the installed package, or of the checkout that the package runs from."""
    package = Path(str(resources.files("ccdtasks")))
    for folder in (package / "_container", package.parent / "container"):
        if (folder / "Containerfile").is_file():
            return folder
    raise Unavailable(
        "image", "The recipe of the session image is missing from this installation.", "Reinstall ccdtasks."
    )


def content_hash(recipe: Path) -> str:
    """Changes whenever anything in the recipe does: an image that carries it is up to date."""
    digest = hashlib.sha256()
    for path in sorted(recipe.rglob("*")):
        relative = path.relative_to(recipe)
        if path.is_file() and not any(part.endswith(("__pycache__", "_cache")) for part in relative.parts):
            digest.update(f"{relative}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def find_ca_bundle(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The certificates that this host trusts: where the network inspects TLS, the build needs them too."""
    named = (environ.get(variable) for variable in _CA_VARIABLES)
    return next((Path(path) for path in (*named, *_CA_BUNDLES) if path and Path(path).is_file()), None)


async def is_built(tag: str, recipe: Path | None = None) -> bool:
    """Whether the present user's storage holds `tag`, built from this very recipe."""
    return await built_from(tag) == content_hash(recipe or find_recipe())


async def built_from(tag: str) -> str | None:
    """The hash of the recipe that `tag` in the present user's storage was built from; None when there is no `tag`."""
    if shutil.which("podman") is None:
        return None
    process = await asyncio.create_subprocess_exec(
        *("podman", "image", "inspect", "--format", f'{{{{index .Labels "{CONTENT_LABEL}"}}}}', tag),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    label, _ = await process.communicate()
    return label.decode().strip() if process.returncode == 0 else None


def build_command(tag: str, recipe: Path, ca_bundle: Path | None, *, refresh: bool = False) -> tuple[str, ...]:
    """The command line that builds `tag`. `refresh`: with the newest base and packages instead of what is kept."""
    # Mounted, not passed as a variable or copied: nothing of it stays in the image.
    mounts = ("--volume", f"{ca_bundle}:/opt/host-ca.crt:ro") if ca_bundle else ()
    label = f"{CONTENT_LABEL}={content_hash(recipe)}"
    return (
        *("podman", "build", "--network", "host", "--tag", tag, "--label", label, *mounts),
        *("--build-arg", f"VERSION={__version__}"),
        *(("--pull=newer", "--no-cache") if refresh else ("--pull=missing",)),
        *("--file", str(recipe / "Containerfile"), str(recipe)),
    )


async def build_image(
    tag: str, on_line: Callable[[str], None], recipe: Path | None = None, *, refresh: bool = False
) -> None:
    """Builds the image in the storage of the present user; each line of the build's output goes to `on_line`.

    `refresh`: with the newest base and packages instead of what earlier builds left.
    Raises `Unavailable("image")` with the last lines of the output when the build fails.
    """
    if shutil.which("podman") is None:
        raise Unavailable("image", "The command `podman` is not installed.", "Install Podman, then run this again.")
    command = build_command(tag, recipe or find_recipe(), find_ca_bundle(), refresh=refresh)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 20,
    )
    assert process.stdout is not None  # noqa: S101  asked for above
    last: deque[str] = deque(maxlen=_TAIL_LINES)
    try:
        async for line in process.stdout:
            text = line.decode("utf-8", "replace").rstrip()
            last.append(text)
            on_line(text)
        code = await process.wait()
    except BaseException:
        process.terminate()
        await process.wait()
        raise
    if code != 0:
        said = "\n".join(last)
        raise Unavailable("image", f"The session image could not be built:\n{said}", _hint(said))


def _hint(said: str) -> str:
    text = said.lower()
    if "no space left" in text:
        return "The build needs about 6 GB of free disk."
    if "certificate" in text:
        return "This network inspects TLS: add its certificate to the host's trusted ones (update-ca-certificates)."
    if "resolve" in text or "lookup" in text or "connection" in text:
        return "The build downloads packages: check the internet connection and try again."
    return "Try again; what was built already is kept."
