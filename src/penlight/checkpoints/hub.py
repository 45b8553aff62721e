"""Fetches a checkpoint from the Hugging Face hub into its cache: only what a reader needs."""

from __future__ import annotations

import re
from pathlib import Path

from penlight.errors import CheckpointError

_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(?:/(?P<file>[\w./-]+\.gguf))?(?:@(?P<rev>[\w./-]+))?")
_PATIENCE = 10.0  # seconds to wait for the hub to say what is new
_PATTERNS = [
    "model*.safetensors",
    "model.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "README.md",
]


def is_hub_id(text: str) -> bool:
    """Whether text has the form owner/name, owner/name@revision or owner/name/file.gguf."""
    return _ID.fullmatch(text) is not None


def current_commit(hub_id: str) -> str | None:
    """The commit that a hub id stands for now; None if the hub cannot be asked."""
    match = _ID.fullmatch(hub_id)
    if match is None:
        return None
    if re.fullmatch("[0-9a-f]{40}", match["rev"] or ""):
        return match["rev"]
    try:
        import huggingface_hub

        api = huggingface_hub.HfApi()
        return api.model_info(match["repo"], revision=match["rev"], timeout=_PATIENCE).sha
    except Exception:  # no network, no package, no access: fetching the model says which
        return None


def fetch(hub_id: str) -> Path:
    """Downloads a model, with a progress bar and resuming, and returns its folder or file.

    Files that are in the cache already are not fetched again, and need no network. Raises
    CheckpointError where the model does not exist, is gated, or there is no network.
    """
    match = _ID.fullmatch(hub_id)
    if match is None:
        raise CheckpointError(
            f"[{hub_id}] expected a hub id such as owner/name but got another form; "
            "check its spelling"
        )
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise CheckpointError(
            f"[{hub_id}] expected the package huggingface_hub but it is not installed; "
            "run: pip install 'penlight[export]'"
        ) from None
    repo, file, revision = match["repo"], match["file"], match["rev"]
    try:
        if file:
            return Path(huggingface_hub.hf_hub_download(repo, file, revision=revision))
        folder = huggingface_hub.snapshot_download(
            repo, revision=revision, allow_patterns=_PATTERNS
        )
        return Path(folder)
    except errors.GatedRepoError:
        reason, advice = "access is gated", "accept its terms on the hub, then run: hf auth login"
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        reason, advice = "no such model or revision", "check the id, or log in if it is private"
    except Exception as error:  # the network's own errors come from several libraries
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = f"could not be reached ({first[:100]})"
        advice = "check the network, or give the path of a local checkpoint"
        absent = isinstance(error, errors.EntryNotFoundError)
        if absent and not isinstance(error, errors.LocalEntryNotFoundError):
            reason, advice = f"no file {file}", "check the file's name"
    raise CheckpointError(f"[{hub_id}] expected a model on the hub but got: {reason}; {advice}")
