"""The session image is built from its recipe by the real `podman build`; here from a recipe of three lines."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ccdtasks.adapters.image import CONTENT_LABEL, build_image, content_hash, find_ca_bundle, find_recipe, is_built
from ccdtasks.adapters.podman import Podman
from ccdtasks.errors import Unavailable
from tests.doubles.podman import SESSION_IMAGE


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "Containerfile").write_text(
        f"FROM {SESSION_IMAGE}\nRUN head -c 27 /opt/host-ca.crt; echo; echo built here\nCOPY extra.txt /extra.txt\n"
    )
    (folder / "extra.txt").write_text("one")
    return folder


@pytest.fixture
def tag() -> Iterator[str]:
    tag = f"localhost/ccdtest-build:{uuid4().hex[:12]}"
    yield tag
    subprocess.run(["podman", "rmi", "--force", "--ignore", tag], check=False, capture_output=True)


def test_the_recipe_of_this_checkout_is_found() -> None:
    assert (find_recipe() / "Containerfile").is_file()


def test_the_hash_changes_with_any_file_and_with_nothing_else(recipe: Path) -> None:
    first = content_hash(recipe)
    (recipe / "__pycache__").mkdir()
    (recipe / "__pycache__/x.pyc").write_text("x")
    os.utime(recipe / "extra.txt", (1, 1))
    assert content_hash(recipe) == first
    (recipe / "extra.txt").write_text("two")
    assert content_hash(recipe) != first


def test_the_hosts_certificates_are_found(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("x")
    assert find_ca_bundle({"SSL_CERT_FILE": str(bundle)}) == bundle
    assert find_ca_bundle({"SSL_CERT_FILE": str(tmp_path / "absent")}) == find_ca_bundle({})


@pytest.mark.image
async def test_builds_and_labels_the_image(recipe: Path, tag: str, podman: Podman) -> None:
    lines: list[str] = []
    assert not await is_built(tag, recipe)
    await build_image(tag, lines.append, recipe)
    assert "built here" in lines
    if find_ca_bundle() is not None:
        assert "-----BEGIN CERTIFICATE-----" in lines, "the build did not see the host's certificates"
    image = await podman.image(tag)
    assert image is not None
    assert image.labels[CONTENT_LABEL] == content_hash(recipe)
    assert await is_built(tag, recipe)
    (recipe / "extra.txt").write_text("two")
    assert not await is_built(tag, recipe)


@pytest.mark.image
async def test_a_build_that_fails_shows_its_last_lines(recipe: Path, tag: str, podman: Podman) -> None:
    (recipe / "Containerfile").write_text(f"FROM {SESSION_IMAGE}\nRUN echo the reason; exit 7\n")
    with pytest.raises(Unavailable, match="the reason") as caught:
        await build_image(tag, lambda line: None, recipe)
    assert caught.value.part == "image"


async def test_without_podman_nothing_is_tried(recipe: Path, tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="not installed"):
        await build_image(tag, lambda line: None, recipe)
